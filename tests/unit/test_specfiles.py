"""SLO files: what good ones become, and the exact sentence for everything wrong in bad ones."""

from __future__ import annotations

import os
import time
from decimal import Decimal
from pathlib import Path

import pytest

from slo_budget_tracker import presets
from slo_budget_tracker.documents import read_documents
from slo_budget_tracker.errors import SpecError
from slo_budget_tracker.specfiles import load
from slo_budget_tracker.specs import LatencySli, PromqlSli, RequestsSli
from slo_budget_tracker.understood import Kept

HERE = Path(__file__).parent.parent / "specfiles"
SLI = '{requests: {total: x_total, bad: "x_total{code=~\\"5..\\"}"}}'

# The fixture files of tests/specfiles/bad by what they show.
ROWS = {
    "C5": ("anchors", "billion-laughs", "self-reference"),
    "C6": ("anchors",),
    "C8": ("deep",),
    "C9": ("anchors",),
    "C10": ("duplicate-keys",),
    "C11": ("yaml-1.1", "targets", "bare-target"),
    "C12": ("unknown-keys",),
    "C13": ("twice",),
    "C17": ("promql", "selectors"),
    "C18": ("secrets",),
    "C19": ("names", "control", "latin"),
    "C20": ("later", "budgets"),
    "H8": ("links",),
    "H19": ("labels",),
}


def faults_of(*paths: Path, **options) -> list[str]:
    """The sentences of a refused load, or none."""
    try:
        load(paths, **options)
    except SpecError as error:
        return str(error).splitlines()
    return []


def slo(name: str, target: str = "99.9%") -> str:
    """A small file with one SLO."""
    return f"slos:\n  - name: {name}\n    target: {target}\n    sli: {SLI}\n"


@pytest.mark.parametrize("path", sorted((HERE / "bad").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_bad_file_is_told_exactly(path, monkeypatch):
    """C5-C13, C17-C20: every fault of a bad file is told at once, with place, path, found, expected, suggestion."""
    monkeypatch.chdir(path.parent)
    expected = path.with_suffix(".expected").read_text()
    assert expected == "\n".join(faults_of(Path(path.name))) + "\n"


def test_letters_are_shown_as_they_are_unless_they_deceive(tmp_path):
    """An é is an é, and the proposed name has an e; a Cyrillic letter that looks Latin is told by its code."""
    path = tmp_path / "a.yaml"
    sli = "sli: {probe: {up: up}}"
    path.write_text(
        f"slos:\n  - {{name: café, target: 99%, {sli}}}\n  - {{name: c\u0430fe, target: 99%, {sli}}}\n"
    )
    expected = "expected 1 to 63 of a-z, 0-9 and -, no - at the ends; perhaps"
    assert [
        f'{path}:2:12: slos[0].name: "café", {expected} cafe',
        f"{path}:3:12: slos[1].name: 'c\\u0430fe', {expected} cfe",
    ] == faults_of(path)


@pytest.mark.parametrize("sli", ["{preset: nginx}", "{preset: {name: nginx}}", "{preset: {app: shop}}"])
def test_an_unknown_preset_lists_those_there_are(tmp_path, sli):
    """Whatever form the mistake has, the names are in the sentence."""
    path = tmp_path / "a.yaml"
    path.write_text(f"slos:\n  - {{name: a, target: 99%, sli: {sli}}}\n")
    (said,) = faults_of(path)
    assert [] == [name for name in presets.names() if name not in said]


def test_every_row_of_the_fault_catalogue_has_a_bad_file():
    """C5-C13, C17-C20: the fixture files that show a row exist."""
    missing = [
        f"{row} {name}"
        for row, names in ROWS.items()
        for name in names
        if not (HERE / "bad" / f"{name}.yaml").exists()
    ]
    assert [] == missing


def test_all_faults_of_all_files_are_told_at_once():
    """Nothing is left for a second run: the faults of all bad files come in one error, sorted by place."""
    alone = [line for path in sorted((HERE / "bad").glob("*.yaml")) for line in faults_of(path)]
    together = faults_of(HERE / "bad")
    duplicates = [line for line in together if " again in " in line]
    assert sorted(line for line in alone if " again in " not in line) == sorted(
        set(together) - set(duplicates)
    )
    assert len(duplicates) > 0


def test_a_file_with_every_key_becomes_its_slos():
    """What the native format says is what the SLO has."""
    catalogue = load([HERE / "good"])
    slos = {one.name: one for one in catalogue.slos}
    assert ["checkout-availability", "checkout-latency", "jobs", "one", "ratio", "sums", "two"] == list(slos)
    assert () == catalogue.warnings
    one = slos["checkout-availability"]
    assert ("checkout", "shop@example.org") == (one.service, one.owner)
    assert (("area", "shop"), ("team", "payments"), ("tier", "2")) == one.labels
    assert (Decimal("0.999"), 2_592_000) == (one.target, one.window)
    assert isinstance(one.sli, RequestsSli)
    assert 'http_requests_total{code=~"5..",job="checkout"}' == str(one.sli.bad[0])
    assert ["14.4", "6", "3", "1"] == [str(alert.burn_rate) for alert in one.alerts]
    two = slos["checkout-latency"]
    assert isinstance(two.sli, LatencySli)
    assert Decimal("0.3") == two.sli.threshold
    assert (120, 600) == (two.alerts[0].for_seconds, two.alerts[0].keep_firing_for)
    assert "payments@example.org" == two.owner
    assert [3_600, 21_600] == [alert.long for alert in slos["jobs"].alerts]
    assert () == slos["sums"].alerts
    assert (Decimal("0.5"), Decimal("0.9995")) == (slos["sums"].target, slos["ratio"].target)


def test_a_comment_in_an_expression_cannot_swallow_the_query_around_it():
    """Comments of PromQL are taken out, a $ in a text stays."""
    slos = {one.name: one for one in load([HERE / "good"]).slos}
    assert isinstance(slos["jobs"].sli, PromqlSli)
    assert "sum(increase(jobs_total[$window]))" == slos["jobs"].sli.total
    assert '1 - avg_over_time(up{job="a$"}[$window])' == slos["ratio"].sli.error_ratio


def test_unreachable_tiers_of_the_workbook_are_left_out_with_a_warning(tmp_path):
    """A tier that the target makes unreachable is a warning where it stands, not an error."""
    path = tmp_path / "a.yaml"
    path.write_text(slo("a", "90%"))
    catalogue = load([path])
    assert 3 == len(catalogue.slos[0].alerts)
    expected = (
        f"{path}:2:11: warning: slos[0].alerts: the page pair 1h&5m of `workbook` is left out: "
        "its factor 14.4 cannot be reached, at most 10"
    )
    assert [expected] == [str(warning) for warning in catalogue.warnings]


def test_an_equal_factor_is_reachable(tmp_path):
    """A factor of exactly 1 / (1 - target) is accepted."""
    path = tmp_path / "a.yaml"
    path.write_text(slo("a", "99%") + "    alerts: [{long: 1h, short: 5m, burn_rate: 100}]\n")
    assert Decimal(100) == load([path]).slos[0].alerts[0].burn_rate


def test_the_shortest_alert_window_follows_from_the_interval(tmp_path):
    """Two ticks of the interval in use are the least."""
    path = tmp_path / "a.yaml"
    path.write_text(slo("a") + "    alerts: [{long: 1h, short: 1m, burn_rate: 2}]\n")
    assert [f"{path}:5:32: slos[0].alerts[0].short: 1m, expected at least 2m"] == faults_of(path)
    assert 60 == load([path], tick=30).slos[0].alerts[0].short


def test_the_same_name_in_two_files_rejects_both_in_any_order(tmp_path):
    """C13: both files are named, whichever is read first."""
    one, two = tmp_path / "1.yaml", tmp_path / "2.yaml"
    one.write_text(slo("a"))
    two.write_text(slo("a", "99.5%"))
    expected = [
        f'{one}:2:11: slos[0].name: the name "a" again in {two}:2:11, expected each name once over all files',
        f'{two}:2:11: slos[0].name: the name "a" again in {one}:2:11, expected each name once over all files',
    ]
    assert expected == faults_of(one, two)
    assert expected == faults_of(two, one)
    assert expected == faults_of(tmp_path)


def test_a_file_that_two_paths_lead_to_is_read_once(tmp_path):
    """A file named beside its folder does not collide with itself."""
    path = tmp_path / "a.yaml"
    path.write_text(slo("a"))
    assert 1 == len(load([path, tmp_path, Path(f"{tmp_path}/*.yaml")]).slos)


def test_folders_are_read_recursively_and_hidden_names_are_not(tmp_path):
    """.yaml and .yml at any depth; no dot files, no other suffixes."""
    for name in ("a.yaml", "deep/er/b.yml", ".hidden.yaml", ".git/c.yaml", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(slo(path.stem.strip(".")))
    assert ["a", "b"] == [one.name for one in load([tmp_path]).slos]


def test_a_configmap_is_read_through_its_links(tmp_path):
    """C4: links of Kubernetes through ..data stay inside the folder and are followed, files and folders alike."""
    data = tmp_path / "..2026_10_31"
    (data / "sub").mkdir(parents=True)
    (data / "a.yaml").write_text(slo("a"))
    (data / "sub" / "b.yaml").write_text(slo("b"))
    (tmp_path / "..data").symlink_to("..2026_10_31")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    (tmp_path / "sub").symlink_to("..data/sub")
    assert ["a", "b"] == [one.name for one in load([tmp_path]).slos]


def test_links_out_of_the_folder_pipes_large_and_unreadable_files_are_all_named(tmp_path):
    """C4: regular files up to 1 MiB inside the folder only; everything else rejects the load, at once."""
    outside = tmp_path / "outside.yaml"
    outside.write_text(slo("secret"))
    root = tmp_path / "slos"
    root.mkdir()
    (root / "good.yaml").write_text(slo("a"))
    (root / "link.yaml").symlink_to(outside)
    (root / "loop.yaml").symlink_to("loop.yaml")
    (root / "gone.yaml").symlink_to("nowhere.yaml")
    (root / "folder").symlink_to(tmp_path)
    os.mkfifo(root / "pipe.yaml")
    (root / "large.yaml").write_bytes(b"#" * 1_048_577)
    start = time.monotonic()
    expected = [
        f"{root}/folder:1:1: a link that leads out of the folder, expected links inside the folder",
        f"{root}/gone.yaml:1:1: a file that cannot be opened (No such file or directory), expected a file or folder that can be read",
        f"{root}/large.yaml:1:1: more than 1048576 bytes, expected a smaller file; split it",
        f"{root}/link.yaml:1:1: a link that leads out of the folder, expected links inside the folder",
        f"{root}/loop.yaml:1:1: a file that cannot be opened (Too many levels of symbolic links), expected a file or folder that can be read",
        f"{root}/pipe.yaml:1:1: no regular file, expected a regular file",
    ]
    assert expected == faults_of(root)
    assert time.monotonic() - start < 20  # not read: a pipe would never end


def test_devices_missing_paths_and_empty_folders_are_faults(tmp_path):
    """C4: a path that brings no SLO file is told, never skipped."""
    (tmp_path / "empty").mkdir()
    expected = [
        "/dev/zero:1:1: no regular file, expected a regular file",
        f"{tmp_path}/*.yaml:1:1: a pattern that matches no file, expected at least one",
        f"{tmp_path}/empty:1:1: a folder without .yaml or .yml files, expected at least one",
        f"{tmp_path}/gone.yaml:1:1: a file that cannot be opened (No such file or directory), expected a file or folder that can be read",
    ]
    paths = [tmp_path / "empty", tmp_path / "gone.yaml", Path("/dev/zero"), tmp_path / "*.yaml"]
    assert expected == faults_of(*paths)
    assert ["slo_files:1:1: no SLO files, expected at least one file or folder"] == faults_of()


def test_too_many_files_are_refused_before_they_are_read(tmp_path, monkeypatch):
    """C4: the number of files has a limit."""
    monkeypatch.setattr("slo_budget_tracker.filesets.MOST_FILES", 20)
    for number in range(21):
        (tmp_path / f"{number}.yaml").write_text("[")
    assert [f"{tmp_path}:1:1: more than 20 files, expected fewer"] == faults_of(tmp_path)


def test_too_many_slos_are_refused(tmp_path, monkeypatch):
    """C4: the number of SLOs has a limit."""
    monkeypatch.setattr("slo_budget_tracker.specfiles.MOST_SLOS", 1)
    (tmp_path / "a.yaml").write_text(slo("a"))
    (tmp_path / "b.yaml").write_text(slo("b"))
    assert [f"{tmp_path}/b.yaml:2:11: slos[0].name: 2 SLOs in all files, expected at most 1"] == faults_of(
        tmp_path
    )


def test_many_faults_of_one_file_are_cut(tmp_path):
    """A file of nothing but faults does not fill the terminal."""
    path = tmp_path / "a.yaml"
    path.write_text("slos:\n" + "  - {}\n" * 200)
    lines = faults_of(path)
    assert 101 == len(lines)
    assert f"{path}:201:5: 500 more faults, expected none" == lines[-1]


def test_a_long_expression_is_refused_before_it_is_parsed(tmp_path):
    """C17: 16 KiB are the most, and no number of brackets or operators overflows the parser's stack."""
    path = tmp_path / "a.yaml"
    expressions = ["x" * 20_000, "(" * 8_000 + "x" + ")" * 8_000, "x" + "+x" * 8_000, "-" * 16_000 + "x"]
    items = "".join(
        f"  - {{name: s{at}, target: 99%, sli: {{promql: {{error_ratio: 'rate(x[$window]) + {text}'}}}}}}\n"
        for at, text in enumerate(expressions)
    )
    path.write_text(f"slos:\n{items}")
    limit = "more than 100 nested brackets or 500 operators"
    lines = faults_of(path)
    assert ["20014 characters; at most 16384 are accepted", limit, limit, limit] == [
        line.split('": ' if '": ' in line else "': ")[-1].split(", expected")[0] for line in lines
    ]


def test_laughs_of_a_billion_and_merge_bombs_are_quick():
    """C5, C6: aliases are refused where they stand and never followed."""
    start = time.process_time()
    for name in ("billion-laughs", "anchors", "self-reference", "deep"):
        faults_of(HERE / "bad" / f"{name}.yaml")
    assert time.process_time() - start < 10  # followed, they take for ever


def test_no_secret_is_in_any_message(tmp_path):
    """C18, H14: values that look like secrets appear in no sentence."""
    lines = faults_of(HERE / "bad" / "secrets.yaml")
    assert [] == [line for line in lines if "S3CR3T" in line or "hunter2" in line]
    path = tmp_path / "a.yaml"
    secret = "Bearer S3CR3T0123456789abcdef"
    path.write_text(
        f"service: {secret}\nslos:\n  - name: {secret}\n    target: {secret}\n    window: {secret}\n    sli: {secret}\n"
        f"    alerts: {secret}\n    no_data: {secret}\n    labels: {secret}\n    datasource: {secret}\n"
        f"    links: {{a: {secret}}}\n    burn_rate: {{threshold: {secret}, windows: {secret}}}\n"
    )
    lines = faults_of(path)
    assert 12 == len(lines)
    assert [] == [line for line in lines if "S3CR3T" in line]


def test_a_missing_environment_variable_is_named_not_filled_in(tmp_path, monkeypatch):
    """C18: ${NAME} is refused by name, set or not; its value appears nowhere."""
    monkeypatch.setenv("TEAM_SECRET", "S3CR3T-value")
    path = tmp_path / "a.yaml"
    path.write_text(slo("a") + "    owner: ${TEAM_SECRET:-x}\n")
    expected = (
        f"{path}:5:12: slos[0].owner: the environment variable TEAM_SECRET, expected the value itself; "
        "variables are not filled in here"
    )
    assert [expected] == faults_of(path)


def test_titles_are_in_normal_form(tmp_path):
    """C19: a description in decomposed letters is stored composed."""
    path = tmp_path / "a.yaml"
    path.write_text(slo("a") + "    description: Cafe\u0301\n")
    assert "Café" == load([path]).slos[0].description


def test_a_file_that_takes_too_long_to_read_is_refused():
    """C7: reading has a budget of time; what was read until then is not used."""
    clock = iter(range(100))
    text = "slos:\n" + "- a\n" * 2_000
    reading = read_documents(text, file="a.yaml", seconds=3, stopwatch=lambda: next(clock))
    expected = "a.yaml:1020:3: a file that takes over 3 s to read, expected a smaller one"
    assert ((), [expected]) == (reading.documents, [str(fault) for fault in reading.faults])


def test_a_full_megabyte_of_slos_passes_all_limits():
    """C7: 1 MiB of ordinary SLOs is no reason to refuse a file (its time is for the bench to tell)."""
    text = "slos:\n"
    for number in range(4_500):
        text += (
            f"  - name: slo-{number}\n    description: {'words ' * 18}\n    target: 99.9%\n    sli: {SLI}\n"
        )
    text = text[: 1 << 20].rpartition("  - name")[0]
    assert () == read_documents(text, file="a.yaml", seconds=60).faults


def test_the_ends_of_what_is_checked(tmp_path):
    """C12, C17: lists of selectors, long texts, empty expressions, wrong shapes and strange links are faults too."""
    path = tmp_path / "a.yaml"
    many = ", ".join(f"t{at}" for at in range(101))
    path.write_text(
        f"service: {'x' * 201}\nlabels: {{{', '.join(f'l{at}: x' for at in range(33))}}}\nslos:\n"
        f"  - {{name: a, target: 99%, sli: {{requests: {{total: [{many}], bad: b}}}}, links: {{a: 'http://[x/'}}}}\n"
        "  - {name: b, target: 99%, sli: {latency: [x]}, burn_rate: [x]}\n"
        "  - {name: c, target: 99%, sli: {promql: x}, alerts: [x], burn_rate: {threshold: much}}\n"
        "  - {name: d, target: 99%, sli: {requests: x}}\n"
        "  - x\n"
    )
    told = [line.removeprefix(f"{path}:").split(", expected")[0] for line in faults_of(path)]
    expected = [
        "1:10: service: 201 characters",
        "2:9: labels: 33 labels",
        "4:52: slos[0].sli.requests.total: 101 selectors",
        '4:571: slos[0].links.a: "http://[x/"',
        "5:43: slos[1].sli.latency: a list",
        "5:60: slos[1].burn_rate: a list",
        '6:42: slos[2].sli.promql: "x"',
        "6:70: slos[2].burn_rate: both `alerts` and `burn_rate`",
        '6:82: slos[2].burn_rate.threshold: "much"',
        '7:44: slos[3].sli.requests: "x"',
        '8:5: slos[4]: "x"',
    ]
    assert expected == told


def test_files_that_did_not_change_are_not_understood_again(tmp_path):
    """Their SLOs are the very same objects; a changed file, a clash of names and another tick are seen all the same."""
    one, other, kept = tmp_path / "one.yaml", tmp_path / "other.yaml", Kept()
    one.write_text(slo("shop"))
    other.write_text(slo("queue"))
    first = load([tmp_path], kept=kept).slos
    other.write_text(slo("queue", "99%"))
    second = load([tmp_path], kept=kept).slos
    assert [False, True] == [old is new for old, new in zip(first, second, strict=True)]
    one.write_text(f"# the same\n{slo('shop')}".replace("slos:", "slos:", 1))
    third = load([tmp_path], tick=30, kept=kept).slos
    assert [True, False] == [old is new for old, new in zip(second, third, strict=True)]
    other.write_text(slo("shop"))
    assert 2 == len(faults_of(tmp_path, kept=kept))
    other.unlink()
    assert ["shop"] == [found.name for found in load([tmp_path], kept=kept).slos]
