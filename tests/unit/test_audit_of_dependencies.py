"""The audit of dependencies (row H20): what pip-audit finds makes it red, and what it cannot know is said."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import sys
from pathlib import Path

import pytest

FOUND = [
    {"name": "good", "version": "1", "vulns": []},
    {"name": "bad", "version": "2", "vulns": [{"id": "GHSA-x", "fix_versions": ["2.1"]}]},
    {"name": "ours", "skip_reason": "not published"},
]
BAD = "bad 2: GHSA-x, fixed in 2.1\n2 dependencies were compared with the advisories\n"
SILENT = "dependencies were NOT checked, the database of advisories is out of reach: no such host\n"


@pytest.fixture
def audit(monkeypatch, tmp_path):
    """The script, with a pip-audit of our own that prints what it is told, and a database that is there."""
    script = Path(__file__).parents[2] / "config" / "audit.py"
    spec = importlib.util.spec_from_file_location("audit_of_dependencies", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with socket.create_server(("127.0.0.1", 0)) as database:
        monkeypatch.setattr(module, "DATABASE", database.getsockname())
        monkeypatch.setattr(module, "tool", lambda _: Path(sys.executable))
        monkeypatch.setenv(
            "PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
        )
        (tmp_path / "pip_audit").mkdir()

        def answering(found):
            code = "import sys; sys.stderr.write('Traceback\\nno such host\\n'); sys.exit(1)"
            if found is not None:
                code = f"print({json.dumps({'dependencies': found})!r})"
            (tmp_path / "pip_audit" / "__main__.py").write_text(code)
            return module

        yield answering


@pytest.mark.parametrize(
    ("found", "if_reachable", "expected"),
    [
        (FOUND, False, (1, BAD)),
        (FOUND, True, (1, BAD)),
        (FOUND[:1], False, (0, "1 dependencies were compared with the advisories\n")),
        (None, False, (3, SILENT)),
        (None, True, (0, SILENT)),
    ],
)
def test_what_is_known_makes_it_red(audit, capsys, found, if_reachable, expected):
    """H20: a known vulnerability is a failure; a database out of reach is never taken for a clean answer."""
    assert expected == (audit(found).main(if_reachable=if_reachable), capsys.readouterr().out)


def test_a_database_that_is_not_there_is_said(audit, capsys, monkeypatch):
    """H20: nothing is installed for a question that cannot be asked."""
    module = audit(FOUND)
    monkeypatch.setattr(module, "DATABASE", ("127.0.0.1", 9))
    assert (3, True) == (module.main(if_reachable=False), "were NOT checked" in capsys.readouterr().out)
