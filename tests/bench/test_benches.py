"""Which benches run when they are asked for, and that the documentation says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import __main__ as benches

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "src" / "slo_budget_tracker" / "docs" / "scale.md").read_text()


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ([], {"scale": ["--growth"], "peers": []}),
        (["peers"], {"peers": []}),
        (["ticks", "500", "--ticks", "3", "stores"], {"ticks": ["500", "--ticks", "3"], "stores": []}),
    ],
    ids=["nothing is said", "one by name", "two, one with options"],
)
def test_what_runs_is_what_was_asked_for(words, asked):
    """Without a name those of a quarter of an hour; options belong to the bench before them."""
    assert asked == benches.wanted(words)


def test_all_are_all():
    """`all` runs every bench, and those that run without a name as they do then."""
    every = benches.wanted(["all"])
    assert (list(benches.BENCHES), ["--growth"]) == (list(every), every["scale"])


def test_a_bench_that_is_none_is_said_to_be_none():
    """What there is instead stands beside it."""
    with pytest.raises(benches.UnknownBench, match=r"no bench 'scael'; there are: table, .*, scale, .*, all"):
        benches.wanted(["scael"])


@pytest.mark.parametrize("name", benches.BENCHES)
def test_every_bench_is_in_the_help_and_on_the_page(name):
    """Who looks for what can be measured finds it."""
    assert f"\n  {name} " in benches.usage()
    assert f"python -m tests.bench {name}" in PAGE


def test_the_page_says_what_make_bench_runs():
    """The same benches, in the same order, with the same options."""
    short = " ".join(" ".join((name, *options)) for name, options in benches.SHORT.items())
    assert f"python -m tests.bench {short}" in PAGE


def test_raw_figures_are_all_that_is_printed(monkeypatch, capsys):
    """`scale --json > points.json` is a file that `beyond` reads: titles and times are beside it."""
    monkeypatch.setitem(benches.BENCHES, "scale", ("Sizes", lambda: print(json.dumps([{"slos": 100}]))))
    monkeypatch.setattr("sys.argv", ["bench", "scale", "--json"])
    benches.main()
    printed = capsys.readouterr()
    assert [{"slos": 100}] == json.loads(printed.out)
    assert "## Sizes" in printed.err
