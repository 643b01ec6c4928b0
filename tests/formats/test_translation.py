"""Foreign files to native ones: what each example becomes, and the sentence for everything left out or refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slo_budget_tracker.documents import read_documents
from slo_budget_tracker.errors import SpecError
from slo_budget_tracker.fields import LATER
from slo_budget_tracker.formats.drafts import Draft
from slo_budget_tracker.formats.recognition import Shelf, expanded
from slo_budget_tracker.formats.texts import yaml_text
from slo_budget_tracker.gauges import render
from slo_budget_tracker.payloads import about
from slo_budget_tracker.specfiles import load

FILES = Path(__file__).parent / "files"
EXAMPLES = sorted(FILES.glob("*.yaml"))


def translation(path: Path) -> str:
    """What a file becomes: native YAML, and each warning and fault as a comment."""
    reading = read_documents(path.read_bytes().decode(), file=path.name)
    assert () == reading.faults
    roots = tuple(expanded(reading.documents))
    shelf, draft, natives = Shelf.of(roots), Draft(), []
    for root in roots:
        translated = shelf.native(draft, root)
        natives.extend((root,) if translated is None else translated)
    told = [f"# {fault}\n" for fault in (*sorted(draft.warnings), *sorted(draft.fields.faults))]
    return yaml_text(natives) + "".join(told)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_becomes_exactly_its_native_form(path):
    """Each example of each format and trap: the native form, every warning and every refusal, word for word."""
    golden = path.with_suffix(".expected")
    if os.environ.get("SLO_TEST_REWRITE"):
        golden.write_text(translation(path))
    assert golden.read_text() == translation(path)


@pytest.mark.parametrize(
    "path", [path for path in EXAMPLES if "refused" not in path.stem], ids=lambda path: path.stem
)
def test_what_was_translated_is_read(path):
    """The native form is accepted, or refused only where this version lacks what it needs, by name."""
    expected_refusal = ("SomethingElse", "v9", "catalogue", "catalogues")
    try:
        assert len(load([path]).slos) > 0
    except SpecError as error:
        unexplained = [
            str(fault)
            for fault in error.faults
            if LATER not in str(fault) and not any(word in str(fault) for word in expected_refusal)
        ]
        assert [] == unexplained


def test_the_original_name_is_in_the_info_gauge_and_in_events():
    """What people know an SLO by stays findable: a label of `slo_info` and of every payload."""
    (slo,) = load([FILES / "crlf.yaml"]).slos
    info = next(line for line in render([], [slo], None).decode().splitlines() if line.startswith("slo_info"))
    assert 'original_name="availability"' in info
    assert 'slo="web-availability"' in info
    assert "availability" == str(about(slo)).partition("original_name': '")[2].partition("'")[0]


def test_foreign_and_native_files_share_a_folder(tmp_path):
    """Formats mix in one folder and in one file; references lead across files."""
    first = (FILES / "openslo.yaml").read_text().partition("---")[0]
    condition, rest = first.partition("- apiVersion: openslo/v1\n  kind: AlertPolicy")[::2]
    (tmp_path / "1.yaml").write_text(condition)
    (tmp_path / "2.yml").write_text(f"- apiVersion: openslo/v1\n  kind: AlertPolicy{rest}")
    (tmp_path / "3.yaml").write_bytes((FILES / "crlf.yaml").read_bytes())
    (tmp_path / "4.yaml").write_text(
        "slos: [{name: own, target: 99%, sli: {requests: {total: t, bad: b}}}]\n"
    )
    names = [slo.name for slo in load([tmp_path]).slos]
    assert ["own", "shop-availability-good", "shop-availability-great", "web-availability"] == names


def test_a_long_name_is_cut_with_a_hash_and_the_original_stays(tmp_path):
    """Over 63 characters: a name of 63 at most that depends on all of it; the label original_name has the whole."""
    long = "Requests that are answered in time, by the whole of the Checkout Service"
    text = (
        (FILES / "pyrra.yaml")
        .read_text()
        .partition("---")[0]
        .replace("      grouping: [handler, code]\n", "")
    )
    for name in (long, f"{long}!"):
        (tmp_path / f"{len(name)}.yaml").write_text(text.replace("api-errors", f'"{name}"'))
    slos = load([tmp_path]).slos
    assert 2 == len({slo.name for slo in slos})
    assert {54 + 1 + 8} == {len(slo.name) for slo in slos}
    assert {long, f"{long}!"} == {dict(slo.labels)["original_name"] for slo in slos}
