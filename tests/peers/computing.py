"""slo-generator's own compute over many SLOs, run by the Python of a folder in which it is installed.

    PYTHON computing.py CONFIG SLOS CONCURRENCY SECONDS

CONFIG and SLOS are JSON files of slo-generator's own format. As many processes as CONCURRENCY take their share of the
SLOs, round by round until SECONDS have passed; imports are done before the clock starts. Prints one line of JSON:
among it, in how many of the rounds every report was valid.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any


def compute_share(compute: Any, config: dict[str, Any], slos: list[dict[str, Any]]) -> bool:
    """Compute some SLOs; whether every report is valid."""
    reports = [report for slo in slos for report in compute(slo, config)]
    return bool(reports) and all(report["valid"] for report in reports)


def compute_round(compute: Any, config: dict[str, Any], slos: list[dict[str, Any]], concurrency: int) -> bool:
    """Compute all SLOs once, in so many processes."""
    children = []
    for first in range(min(concurrency, len(slos))):
        child = os.fork()
        if not child:
            os._exit(not compute_share(compute, config, slos[first::concurrency]))
        children.append(child)
    ended = [os.waitpid(child, 0)[1] for child in children]
    return not any(ended)


def main() -> None:
    """Compute round by round and print what it took."""
    config, slos = (json.loads(Path(path).read_text()) for path in sys.argv[1:3])
    concurrency, seconds = int(sys.argv[3]), float(sys.argv[4])
    compute = import_module("slo_generator.compute").compute
    import_module("slo_generator.backends.prometheus")
    logging.disable(logging.CRITICAL)
    rounds, valid, began = 0, 0, time.perf_counter()
    while not rounds or time.perf_counter() - began < seconds:
        valid += compute_round(compute, config, slos, concurrency)
        rounds += 1
    wall = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({"rounds": rounds, "wall": wall, "cpu": used.ru_utime + used.ru_stime, "valid": valid}))


if __name__ == "__main__":
    main()
