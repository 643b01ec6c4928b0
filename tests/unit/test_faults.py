"""The table of faults and the tests of them: whatever stands in one stands in the other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from slo_budget_tracker.manual import pages

TESTS = Path(__file__).parents[1]
NUMBER = re.compile(r"\b([PDACSTH]\d{1,2})\b")
ROWS = re.compile(r"^\| ([A-Z]\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
WANTED = {
    *(f"P{n}" for n in range(21, 27)),
    *("D16", "D23", "C1", "C2", "C3", "C13", "C14", "C15", "C16", "C21"),
    *(f"A{n}" for n in range(1, 23)),
    *(f"S{n}" for n in range(1, 16)),
    *(f"T{n}" for n in range(1, 19)),
    *(f"H{n}" for n in range(1, 21)),
}


def numbered():
    """Which tests say which numbers in their sentence."""
    found = {}
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for number in NUMBER.findall(ast.get_docstring(node) or ""):
                    found.setdefault(number, []).append(node.name)
    return found


DOCUMENTED = [number for number, _, _ in ROWS.findall(pages()["faults"].text)]
TESTED = numbered()


def test_the_table_has_each_fault_once():
    """All the faults of these groups, none of them twice."""
    assert sorted(WANTED) == sorted(DOCUMENTED)


@pytest.mark.parametrize("number", DOCUMENTED)
def test_each_fault_of_the_table_is_tested(number):
    """A row that no test names is a claim."""
    assert TESTED.get(number)


def test_tests_name_faults_that_are_in_the_table():
    """A number of these groups that the table lacks is a slip of the pen."""
    groups = {"A": 22, "S": 15, "T": 18, "C": 21, "H": 20}
    strange = {
        number for number in TESTED if number[0] in groups and not 1 <= int(number[1:]) <= groups[number[0]]
    }
    assert set() == strange
