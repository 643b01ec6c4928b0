"""Laws of translation: whatever is done to a foreign file, it becomes SLOs or faults with a place, never anything else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import example, given, settings
from hypothesis import strategies as st

from slo_budget_tracker.documents import read_documents
from slo_budget_tracker.errors import SpecError
from slo_budget_tracker.filesets import Source
from slo_budget_tracker.formats.expressions import functions, read_counts, read_ratio
from slo_budget_tracker.formats.names import slug
from slo_budget_tracker.formats.texts import yaml_text
from slo_budget_tracker.specfiles import understand_texts
from slo_budget_tracker.specs import NAME

if TYPE_CHECKING:
    from slo_budget_tracker.understood import Understood

FILES = sorted((Path(__file__).parent / "files").glob("*.yaml"))
TEXTS = [path.read_bytes().decode() for path in FILES]
LINES = sorted({line for text in TEXTS for line in text.splitlines()})
PIECES = [
    "",
    "\n",
    ": ",
    "- ",
    "[]",
    "{}",
    "null",
    "~",
    "&a ",
    "*a",
    '"',
    "'",
    "{{.window}}",
    "$window",
    "(",
    ")",
    "[",
    "]",
    "%",
    "é",
    "\u202e",
    "1e9",
    "0x1f",
    "yes",
    "-1",
    "99.9",
    "1M",
    "9" * 40,
    "/",
    "sum(",
    "or vector(0)",
    "{a=~'('}",
]


def understood(*texts: str) -> tuple[Understood, ...] | SpecError:
    """What files become, or what is wrong with them."""
    try:
        return understand_texts([Source(f"{number}.yaml", text) for number, text in enumerate(texts)])
    except SpecError as error:
        return error


def check(found: tuple[Understood, ...] | SpecError, *texts: str) -> None:
    """Faults stand in their files and are one line each; what was read reads back."""
    if isinstance(found, SpecError):
        for fault in found.faults:
            lines = len(texts[int(fault.file.partition(".")[0])].splitlines())
            assert 1 <= fault.line <= lines + 2
            assert "\n" not in str(fault)
        return
    native = yaml_text(root for file in found for root in file.roots)
    again = understand_texts([Source("again.yaml", native)]) if native.strip() else ()
    names = sorted(one.slo.name for file in found for one in file.file.found)
    assert names == sorted(one.slo.name for file in again for one in file.file.found)


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_foreign_file_becomes_slos_or_faults(data):
    """Pieces cut out, put in and put elsewhere: SLOs that read back, or faults with a line that the file has."""
    text = data.draw(st.sampled_from(TEXTS))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        until = min(len(text), at + data.draw(st.integers(0, 12)))
        text = text[:at] + data.draw(st.sampled_from(PIECES)) + text[until:]
    check(understood(text), text)


@settings(max_examples=100)
@given(st.data())
def test_lines_lost_repeated_or_of_another_file_become_slos_or_faults(data):
    """Lines gone, twice, or from a file in another format."""
    lines = data.draw(st.sampled_from(TEXTS)).splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.lists(st.sampled_from(LINES), max_size=2)
        )
        lines = lines or [""]
    text = "\n".join(lines)
    check(understood(text), text)


@settings(max_examples=50)
@given(first=st.sampled_from(TEXTS), second=st.sampled_from(TEXTS))
def test_two_files_together_are_slos_or_faults(first, second):
    """Any two examples in one folder: catalogues, objects and policies of the one are seen by the other."""
    check(understood(first, second), first, second)


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            [
                "sum(",
                "rate(",
                ")",
                "x",
                "[$window]",
                "{a='b'}",
                "/",
                "-",
                "+",
                "1",
                " or vector(0)",
                " > 0",
                "by (a)",
                "increase(",
            ]
        ),
        max_size=12,
    ).map("".join)
)
@example("(" * 200 + "x" + ")" * 200)
@example("-" * 5_000 + "x")
@example("sum(rate(x[$window])) / 0")
def test_any_expression_is_recognised_or_told_why_not(text):
    """No expression ends in anything but counters or a sentence."""
    for read in (read_counts, functions, lambda one: read_ratio(one, good=True)):
        told = "counters"
        try:
            read(text)
        except ValueError as error:
            told = str(error)
        assert told


@given(st.lists(st.text(max_size=90), min_size=1, max_size=3))
def test_any_names_become_a_name_or_nothing(parts):
    """A slug is a legal name of at most 63 characters, or empty where nothing is left."""
    name = slug(*parts)
    assert name == "" or NAME.fullmatch(name)


def test_examples_have_no_fault_of_form():
    """The examples themselves are YAML."""
    assert [] == [fault for text in TEXTS for fault in read_documents(text, file="f").faults]
