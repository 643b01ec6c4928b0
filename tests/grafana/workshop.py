"""Grafana's own parts, from npm: the types of its files and the components that it draws panels with.

They are 670 MB and none of ours, so they are fetched into `.cache/grafana` when they are first asked for.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / ".cache" / "grafana"
OURS = ("package.json", "tsconfig.json", "schemas.mjs", "panels.jsx", "scrollbars.js")
LIBRARIES = (
    "@grafana/schema",
    "grafana-schema-next",
)  # the Grafana that the dashboards are for, and the next
FETCH = (
    "npm",
    "install",
    "--legacy-peer-deps",
    "--no-audit",
    "--no-fund",
    "--no-package-lock",
    "--ignore-scripts",
)
BUNDLE = (
    "node_modules/.bin/esbuild", "panels.jsx", "--bundle", "--outfile=panels.js", "--format=iife", "--jsx=automatic",
    "--alias:react-custom-scrollbars-2=./scrollbars.js", "--define:global=window",
    '--define:process.env.NODE_ENV="production"', "--log-level=error",
    *(f"--loader:.{ending}=dataurl" for ending in ("woff2", "woff", "svg", "png", "ttf")),
)  # fmt: skip
MINUTES = 10


def _run(*command: str) -> str:
    """What a command in the folder says; its complaint where it fails."""
    done = subprocess.run(
        command, cwd=FOLDER, capture_output=True, text=True, timeout=60 * MINUTES, check=False
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-2_000:]}{done.stderr[-2_000:]}"
    return done.stdout


def fetched() -> Path:
    """The folder with Grafana's parts and ours."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    asked = FOLDER / "fetched.json"
    for name in OURS:
        shutil.copy2(HERE / name, FOLDER / name)
    wanted = (HERE / "package.json").read_text()
    if not asked.exists() or asked.read_text() != wanted:
        _run(*FETCH)
        for old in FOLDER.glob("schemas-*.json"):
            old.unlink()
        asked.write_text(wanted)
    return FOLDER


def findings(library: str, *dashboards: Path) -> list[dict[str, Any]]:
    """What in the dashboards is not as the types of a version of Grafana have it."""
    fetched()
    told = _run("node", "schemas.mjs", library, *map(str, dashboards))
    return [json.loads(line) for line in told.splitlines()]


def bundled() -> tuple[Path, Path]:
    """The script that draws a dashboard, and its styles."""
    folder = fetched()
    made = folder / "panels.js"
    newest = max((folder / name).stat().st_mtime for name in ("panels.jsx", "scrollbars.js", "fetched.json"))
    if not made.exists() or made.stat().st_mtime < newest:
        _run(*BUNDLE)
    return made, made.with_suffix(".css")
