"""Compares the installed dependencies with a database of advisories (OSV), by a pip-audit of its own.

Exit status: 0 none is known to be vulnerable, 1 some are, 3 the database is out of reach, nothing checked.
With --if-reachable that is said, too, and is no failure: a machine without a way out cannot know.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

CLEAN, VULNERABLE, UNREACHABLE = 0, 1, 3
DATABASE = ("api.osv.dev", 443)
ROOT = Path(__file__).parents[1]
COMMAND = [
    "-m",
    "pip_audit",
    "--vulnerability-service=osv",
    "--format=json",
    "--progress-spinner=off",
    "--timeout=15",
]


def main(*, if_reachable: bool) -> int:
    """Audit the packages beside the interpreter that runs this, and print what is known of them."""
    try:
        socket.create_connection(DATABASE, timeout=10).close()
        found = answer(tool(ROOT / ".cache" / "audit"), sysconfig.get_path("purelib"))
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"dependencies were NOT checked, the database of advisories is out of reach: {error}")
        return CLEAN if if_reachable else UNREACHABLE
    checked = [one for one in found if "vulns" in one]
    for one in checked:
        for known in one["vulns"]:
            fixed = ", ".join(known["fix_versions"]) or "no release"
            print(f"{one['name']} {one['version']}: {known['id']}, fixed in {fixed}")
    print(f"{len(checked)} dependencies were compared with the advisories")
    return VULNERABLE if any(one["vulns"] for one in checked) else CLEAN


def tool(folder: Path) -> Path:
    """The Python of an environment with pip-audit, made when it is first needed."""
    python = folder / "bin" / "python"
    if not (folder / "bin" / "pip-audit").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "pip-audit>=2.7"], check=True)  # noqa: S603 - our own command
    return python


def answer(python: Path, folder: str) -> list[dict[str, Any]]:
    """What pip-audit found in a folder of packages; ValueError with its last word where that is nothing."""
    done = subprocess.run(  # noqa: S603 - our own command
        [python, *COMMAND, f"--path={folder}"], capture_output=True, text=True, check=False
    )
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        raise ValueError((done.stderr.strip().splitlines() or ["it said nothing"])[-1][:300]) from None
    return found


if __name__ == "__main__":
    sys.exit(main(if_reachable="--if-reachable" in sys.argv))
