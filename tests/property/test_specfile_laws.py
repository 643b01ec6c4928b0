"""Laws of SLO files: whatever is in a file, it becomes SLOs or faults with a place, never anything else."""

from __future__ import annotations

from pathlib import Path

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slo_budget_tracker.documents import Broken, Mapping, Node, Scalar, Sequence, read_documents
from slo_budget_tracker.errors import SpecError
from slo_budget_tracker.fields import Fields
from slo_budget_tracker.native import NativeFile
from slo_budget_tracker.specfiles import load

GOOD = (Path(__file__).parent.parent / "specfiles" / "good" / "everything.yaml").read_text()
BAD = sorted((Path(__file__).parent.parent / "specfiles" / "bad").glob("*.yaml"))
PIECES = ["{", "}", "[", "]", "&a ", "*a", "<<: ", "!!int ", "99.9", "no", "1:30", "- ", ": ", "\n", "  ", '"', "'", "#", "%", "\t", "\0", "é", "${A}", "~", "---\n"]  # fmt: skip


def values():
    """Values as JSON has them, with texts of every kind."""
    text = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=12)
    leaves = text | st.sampled_from(["no", "1:30", "017", "", "null", "1e3", "2026-10-31", "<<", "=", "~"])
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
        max_leaves=20,
    )


def plain(node: Node):
    """The values that nodes stand for."""
    assert not isinstance(node, Broken)
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.values.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    assert isinstance(node, Scalar)
    return node.text


@given(values())
def test_what_is_written_is_what_is_read(value):
    """Quoted texts come back as they are: no surprise of any YAML version."""
    text = yaml.safe_dump(value, default_style='"', allow_unicode=True)
    reading = read_documents(text, file="f.yaml")
    assert ((), [value]) == (reading.faults, [plain(one) for one in reading.documents])


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_file_becomes_slos_or_faults_with_a_place(data):
    """C4-C20: no damage raises anything; each fault has a line and a column that the file has."""
    text = data.draw(st.sampled_from([GOOD, *(path.read_bytes().decode(errors="replace") for path in BAD)]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        until = min(len(text), at + data.draw(st.integers(0, 6)))
        text = text[:at] + data.draw(st.sampled_from(PIECES)) + text[until:]
    reading = read_documents(text, file="f.yaml")
    fields = Fields(list(reading.faults))
    file = NativeFile(fields)
    for document in reading.documents:
        file.read(document)
    lines = (
        text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029")
    )
    assert [] == [
        fault for fault in fields.faults if not (1 <= fault.line <= lines + 2 and fault.column >= 1)
    ]
    assert [] == [fault for fault in fields.faults if not fault.found or "\n" in str(fault)]


@settings(max_examples=100)
@given(content=st.binary(max_size=200))
@example(content=b"\xff\xfea\x00")
@example(content=b"\xef\xbb\xbfslos: []")
@example(content=b"%YAML 9.9\n---\n{}")
@example(content=b"slos:\n - {name: a, target: 99%, sli: {requests: {total: '\xed\xa0\x80', bad: x}}}")
def test_any_bytes_are_slos_or_one_error(tmp_path_factory, content):
    """C19: bytes that are no text, no YAML or no SLO end in SpecError."""
    path = tmp_path_factory.mktemp("any") / "a.yaml"
    path.write_bytes(content)
    faults = ()
    try:
        load([path])
    except SpecError as error:
        faults = error.faults
    assert {fault.file for fault in faults} <= {str(path)}


@given(
    order=st.permutations(["a", "b", "c"]),
    names=st.lists(st.sampled_from(["x", "y"]), min_size=3, max_size=3),
)
def test_the_order_of_files_is_no_difference(tmp_path_factory, order, names):
    """C13: catalogue and faults are the same whichever file is read first."""
    folder = tmp_path_factory.mktemp("order")
    for file, name in zip("abc", names, strict=True):
        sli = "{requests: {total: t, bad: b}}"
        (folder / f"{file}.yaml").write_text(f"slos: [{{name: {name}, target: 99.9%, sli: {sli}}}]\n")
    told = []
    for paths in (["a", "b", "c"], order):
        try:
            told.append(str(load([folder / f"{path}.yaml" for path in paths])))
        except SpecError as error:
            told.append(str(error))
    assert told[0] == told[1]
