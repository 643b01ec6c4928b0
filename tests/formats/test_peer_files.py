"""Files of other tools as their own documentation has them, where a folder of them is named.

SLO_TEST_PEER_SPECS=folder pytest tests/formats/test_peer_files.py -s     # prints the table of counts
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from slo_budget_tracker.errors import SpecError
from slo_budget_tracker.specfiles import load

FOLDER = os.environ.get("SLO_TEST_PEER_SPECS")
FILES = sorted(path for path in Path(FOLDER).rglob("*.y*ml")) if FOLDER else []

pytestmark = pytest.mark.skipif(not FOLDER, reason="SLO_TEST_PEER_SPECS names no folder")


def outcome(path):
    """How a file was taken: its SLOs, warnings, and the faults it was refused for."""
    try:
        catalogue = load([path])
    except SpecError as error:
        return (), (), error.faults
    return catalogue.slos, catalogue.warnings, ()


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(path.parts[-2:]))
def test_a_file_is_read_or_refused_by_name(path):
    """Each file becomes SLOs, or each of its faults has a place, a key and what to do or what is expected."""
    slos, _, faults = outcome(path)
    assert [] == [str(fault) for fault in faults if not (fault.path and (fault.expected or fault.suggestion))]
    assert [] == [slo.name for slo in slos if not dict(slo.labels).get("original_name", slo.name)]


def test_the_table_of_counts(show):
    """What was read, what not and why, by format."""
    counts: Counter[tuple[str, str]] = Counter()
    reasons = []
    for path in FILES:
        slos, warnings, faults = outcome(path)
        folder = path.relative_to(Path(FOLDER)).parts[0]
        counts[folder, "files"] += 1
        counts[folder, "refused" if faults else "read"] += 1
        counts[folder, "SLOs"] += len(slos)
        counts[folder, "PromQL"] += sum(slo.sli.kind == "promql" for slo in slos)
        counts[folder, "warnings"] += len(warnings)
        reasons += [f"  {'/'.join(path.parts[-2:])}: {fault.path}: {fault.found}" for fault in faults]
    columns = ("files", "read", "refused", "SLOs", "PromQL", "warnings")
    rows = [f"{'format':16}" + "".join(f"{column:>10}" for column in columns)]
    rows += [
        f"{folder:16}" + "".join(f"{counts[folder, column]:>10}" for column in columns)
        for folder in sorted({folder for folder, _ in counts})
    ]
    for line in (*rows, "refused:", *reasons):
        show(line)
    assert sum(count for (_, column), count in counts.items() if column in {"read", "refused"}) == len(FILES)
