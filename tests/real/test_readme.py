"""What the README tells people to type works as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
import yaml

from slo_budget_tracker.cli import main
from slo_budget_tracker.manual import pages
from tests.real.lives import Life
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PROGRAM = str(Path(sysconfig.get_path("scripts")) / "slo-budget-tracker")
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
TYPED = [
    line[2:].partition("    #")[0].strip()
    for block in BLOCKS
    for line in block.splitlines()
    if line[:2] == "$ "
]
ROWS = re.findall(r"^\| `slo-budget-tracker (.+?)` \|", README, re.MULTILINE)


def typed(beginning):
    """The one command of the console blocks that begins so."""
    (found,) = [one for one in TYPED if one.startswith(beginning)]
    return found


def test_every_command_is_tried_here():
    """A command that comes into a console block comes into this file."""
    assert [
        "make demo",
        "make test",
        "python3 -m venv .venv && .venv/bin/pip install .",
        ".venv/bin/slo-budget-tracker validate config/slos",
        ".venv/bin/slo-budget-tracker run -c config/slo-budget-tracker.yaml",
        "docker build -t slo-budget-tracker .",
        typed("docker run"),
        "slo-budget-tracker validate slos/",
    ] == TYPED


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_two_commands_are_there(target):
    """`make` knows what it has to do for each of the two commands (they run themselves in CI and in test_demo)."""
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (0, True) == (done.returncode, target == "test" or "config/demo/demo.py" in done.stdout)


def test_the_shipped_slos_are_valid():
    """`validate config/slos` of the installed program."""
    command = typed(".venv/bin/slo-budget-tracker validate").split()[1:]
    done = subprocess.run([PROGRAM, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (0, True) == (done.returncode, "SLOs are valid" in done.stdout), done.stderr


def test_the_shipped_configuration_runs(tmp_path):
    """`run -c config/slo-budget-tracker.yaml`: alive without a Prometheus, and gone when asked."""
    life = Life(tmp_path, "http://127.0.0.1:9")
    command = typed(".venv/bin/slo-budget-tracker run").split()[1:]
    environ = {
        **os.environ,
        "SLO_BUDGET_TRACKER_WEB__LISTEN": f"127.0.0.1:{life.port}",
        "SLO_BUDGET_TRACKER_LEDGER__URL": f"sqlite:///{tmp_path}/ledger.db",
        "PROMETHEUS_URL": f"http://127.0.0.1:{free_port()}",
    }
    with (tmp_path / "log").open("wb") as log:
        life.process = subprocess.Popen([PROGRAM, *command], cwd=ROOT, env=environ, stdout=log, stderr=log)
    try:
        life.until(lambda: life.get("/-/healthy").status_code == 200)
        assert 0 == life.end()[0], life.said
    finally:
        life.kill()


@pytest.mark.long
def test_a_fresh_installation_has_the_program(tmp_path):
    """`python3 -m venv .venv && .venv/bin/pip install .` in a copy of what is needed for it."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(
        ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__")
    )
    command = typed("python3 -m venv").replace("python3", sys.executable, 1)
    subprocess.run(command, shell=True, cwd=tmp_path, check=True, capture_output=True, timeout=600)
    told = subprocess.run(
        [tmp_path / ".venv/bin/slo-budget-tracker", "--version"], capture_output=True, text=True, check=True
    )
    assert told.stdout.startswith("slo-budget-tracker ")


def test_what_the_container_is_given_is_what_it_looks_for():
    """The port, the volume and the folder of the configuration are those of the Dockerfile."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    port, config, data = re.findall(r"-[pv] \S*?:([^: ]+?)(?::ro)?(?= )", typed("docker run"))
    assert [True, True, True] == [
        f"EXPOSE {port}" in dockerfile,
        f"{config}/slo-budget-tracker.yaml" in dockerfile,
        f"VOLUME {data}" in dockerfile,
    ]


def test_the_fault_that_is_shown_is_what_is_printed(tmp_path):
    """`validate slos/` with the file of the example prints the line that stands below it."""
    (tmp_path / "slos").mkdir()
    (tmp_path / "slos" / "shop.yaml").write_text(
        "service: shop\nslos:\n  - name: shop\n    target: 99.9\n"
        "    sli: {requests: {total: x_total, bad: 'x_total{code=\"500\"}'}}\n"
    )
    (block,) = [one for one in BLOCKS if "validate slos/" in one]
    command = typed("slo-budget-tracker validate").split()[1:]
    done = subprocess.run([PROGRAM, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (1, block.splitlines()[1:]) == (done.returncode, (done.stdout + done.stderr).splitlines())


def test_every_page_of_the_manual_that_is_named_exists():
    """`docs NAME`, wherever the README says so."""
    named = set(re.findall(r"`(?:slo-budget-tracker )?docs ([a-z0-9.-]+)`", README))
    assert (True, set()) == (len(named) > 5, named - set(pages()))


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A Prometheus with three hours of a shop, and a daemon beside it that has ticked."""
    from tests.servers import PrometheusServer  # noqa: PLC0415 - only where there is one

    folder = tmp_path_factory.mktemp("readme")
    now = int(time.time())
    lines = ["# TYPE up gauge"]
    lines += [f'up{{job="shop",instance="a"}} 1 {t}' for t in range(now - 10_800, now + 120, 15)]
    lines.append("# TYPE shop_requests counter")
    for code, much in (("200", 99), ("500", 1)):
        times = enumerate(range(now - 10_800, now + 120, 15))
        lines += [
            f'shop_requests_total{{job="shop",instance="a",code="{code}"}} {n * much} {t}' for n, t in times
        ]
    (folder / "shop.om").write_text("\n".join([*lines, "# EOF", ""]))
    server = PrometheusServer(folder / "prometheus")
    server.load(folder / "shop.om")
    server.start()
    token = folder / "token"
    token.write_text("secret\n")
    token.chmod(0o600)
    (folder / "corrections").mkdir()
    further = (
        f"corrections_files: [corrections]\nweb: {{annotations: true, annotations_token_file: '{token}'}}\n"
    )
    life = Life(folder, server.url, further)
    fast = life.config.read_text()
    life.config.write_text(fast.replace("interval: 1s", "interval: 15s"))  # a day has fewer ticks to read
    life.start()
    life.until(lambda: life.metric('slo_total{slo="shop"}'))
    yield life
    life.kill()
    server.stop()


# How the placeholders of the table are filled in, and the exit statuses that a row may have beside 0.
WORDS = {"CONFIG": "{config}", "TIME": "-10m", "T": "-{t}m", "PATH...": "{slos}", "SLO...": "shop", "[PAGE]": "counting",
         "FILE": "{file}", "URL": "{url}", "TEXT": "deployed", "NAME": "shop"}  # fmt: skip
ANSWERS = {
    "gate": {1, 3},
    "health": {1},
    "diff": {1},
    "audit retry": {2},
    "audit verify": {2, 3},
    "corrections add": {2},
}


def commands():
    """Every row of the table with and without its options, and with each of its words to choose from."""
    for row in ROWS:
        words = row.replace(r"\|", "|")
        if "PATH...|-c CONFIG" in words:  # files, or a configuration that names them
            yield words.replace("PATH...|-c CONFIG [--live]", "PATH...")
            yield words.replace("PATH...|-c CONFIG [--live]", "-c CONFIG")
            words = words.replace("PATH...|", "")
        first = words.split()[1]
        for choice in first.split("|") if re.fullmatch(r"[a-z]+(\|[a-z]+)+", first) else [first]:
            one = words.replace(first, choice, 1)
            yield re.sub(r" \[--[^]]*\]", "", one)
            if "[--" in one:
                yield re.sub(r"\[(--[^]]*)\]", r"\1", one)


@pytest.mark.prometheus
@pytest.mark.parametrize("command", [one for one in commands() if not one.startswith("run ")])
def test_every_row_of_the_table_works(shop, command, monkeypatch, capsys):
    """Each command, beside a running daemon, with all its options and without: an answer, and never a traceback."""
    filled, times = [], iter((20, 10, 5))
    for word in command.split():
        chosen = WORDS.get(word.strip("[]"), WORDS.get(word, word.split("|")[0]))
        filled.append(
            chosen.format(
                config=shop.config,
                slos=shop.slos,
                file=shop.folder / f"found-{time.monotonic_ns()}.yaml",
                url=f"http://127.0.0.1:{shop.port}",
                t=next(times) if chosen == "-{t}m" else "",
            )
        )
    month = time.strftime("%Y-%m", time.gmtime())
    monkeypatch.setattr(
        sys, "argv", ["slo-budget-tracker", *(month if one == "2026-10" else one for one in filled)]
    )
    monkeypatch.setenv("SLO_ANNOTATIONS_TOKEN", "secret")
    monkeypatch.setenv("SLO_BUDGET_TRACKER_WEB__LISTEN", f"127.0.0.1:{shop.port}")
    with pytest.raises(SystemExit) as left:
        main()
    out, err = capsys.readouterr()
    also = ANSWERS.get(filled[0], set()) | ANSWERS.get(" ".join(filled[:2]), set())
    assert "Traceback" not in out + err
    assert (left.value.code or 0) in {0, *also}, f"{filled}\n{out}\n{err}"


def test_the_example_file_is_an_slo_file(tmp_path):
    """The YAML under "SLO files" is valid as it stands."""
    section = README.partition("\n## SLO files\n")[2]
    (tmp_path / "checkout.yaml").write_text(section.partition("```yaml\n")[2].partition("```")[0])
    done = subprocess.run([PROGRAM, "validate", tmp_path], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


def test_the_rule_files_are_there():
    """What `rule_files` names, Prometheus finds."""
    section = README.partition("\n## Alerts\n")[2]
    named = yaml.safe_load(section.partition("```yaml\n")[2].partition("```")[0])["rule_files"]
    assert [] == [name for name in named if not (ROOT / name).exists()]
