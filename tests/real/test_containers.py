"""What config/ has for containers: the image, Kubernetes, compose, scrape configurations; each by its own tool."""

from __future__ import annotations

import itertools
import json
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from slo_budget_tracker.configuration import Files
from slo_budget_tracker.guarding import OPEN
from slo_budget_tracker.protection import protect
from slo_budget_tracker.web import Display, compose, routes
from tests.servers import free_port, promtool_binary
from tests.unit.test_webconfig import HASH

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
PATIENCE = 120  # seconds


@pytest.mark.skipif(platform.machine() != "x86_64", reason="hadolint is a program for x86_64")
def test_the_dockerfile_is_linted():
    """Hadolint finds nothing."""
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stdout)


def instructions():
    """The Dockerfile's instructions by stage: name and rest, continued lines joined."""
    text = re.sub(
        r"\\\n\s*", "", re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    )
    found = [line.partition(" ")[::2] for line in text.splitlines() if line]
    ends = [at for at, (name, _) in enumerate(found) if name == "FROM"] + [len(found)]
    return [found[begin:end] for begin, end in itertools.pairwise(ends)]


def test_the_image_is_built_of_what_there_is():
    """What is copied exists and is not ignored; no root, no shell in front, and a health check."""
    build, last = instructions()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for name, rest in build:
        for source in rest.split()[:-1] if name == "COPY" else ():
            assert (True, True) == ((ROOT / source).exists(), f"!{source}" in ignored)
    named = dict(last)
    assert ("9724", ["slo-budget-tracker"]) == (named["USER"], json.loads(named["ENTRYPOINT"]))
    config = json.loads(named["CMD"])[-1]
    assert ["slo-budget-tracker", "health", "-c", config] == json.loads(
        named["HEALTHCHECK"].partition("CMD ")[2]
    )


@pytest.mark.long
def test_the_steps_of_the_dockerfile_by_hand(tmp_path):
    """In a clean folder: build, no pip left, the daemon runs by its entry point, its health check says so."""
    build, last = instructions()
    context, image = tmp_path / "build", tmp_path / "opt"
    context.mkdir()
    for name, rest in build:
        if name == "COPY":
            *sources, _ = rest.split()
            for source in sources:
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                copy(ROOT / source, context / source)
        elif name == "RUN":
            command = rest.replace("/opt/slo-budget-tracker", str(image)).replace("python -m", "python3 -m")
            subprocess.run(["sh", "-ec", command], cwd=context, check=True, capture_output=True, timeout=900)
    assert [] == list((image / "bin").glob("pip*"))
    shutil.rmtree(context)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "slo-budget-tracker.yaml").write_text(
        "prometheus: {url: 'http://127.0.0.1:9'}\nslo_files: [slos.yaml]\n"
    )
    shutil.copy(CONFIG / "slos" / "checkout.yaml", tmp_path / "etc" / "slos.yaml")
    named = dict(last)
    port = free_port()
    env = {"PATH": f"{image}/bin:/usr/bin:/bin", "PYTHONUNBUFFERED": "1"}
    env |= dict(one.split("=", 1) for one in named["ENV"].split() if one.startswith("SLO_"))
    env["SLO_BUDGET_TRACKER_LEDGER__URL"] = f"sqlite:///{tmp_path}/ledger.db"
    env["SLO_BUDGET_TRACKER_WEB__LISTEN"] = f"0.0.0.0:{port}"
    here = {
        "/etc/slo-budget-tracker": str(tmp_path / "etc"),
        "slo-budget-tracker": f"{image}/bin/slo-budget-tracker",
    }

    def line(text):
        words = json.loads(text)
        return [
            here.get(word, word.replace("/etc/slo-budget-tracker", here["/etc/slo-budget-tracker"]))
            for word in words
        ]

    def healthy():
        command = line(named["HEALTHCHECK"].partition("CMD ")[2])
        return subprocess.run(command, env=env, capture_output=True, check=False).returncode

    assert 3 == healthy()
    daemon = subprocess.Popen([*line(named["ENTRYPOINT"]), *line(named["CMD"])], env=env)
    try:
        end = time.monotonic() + PATIENCE
        while healthy() and time.monotonic() < end:
            time.sleep(0.2)
        assert (0, None) == (healthy(), daemon.poll())
        assert (
            b"checkout-availability"
            in httpx.get(f"http://127.0.0.1:{port}/api/v1/status").content
            + httpx.get(f"http://127.0.0.1:{port}/").content
        )
    finally:
        daemon.terminate()
        assert 0 == daemon.wait(60)


def kubernetes():
    """The example's objects by kind and name."""
    found = yaml.safe_load_all((CONFIG / "kubernetes" / "slo-budget-tracker.yaml").read_text())
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def test_the_manifest_is_whole():
    """What is mounted, selected and probed is there; nothing runs as root or may write beside ledger and /tmp."""
    objects = kubernetes()
    spec = objects["Deployment", "slo-budget-tracker"]["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    labels = spec["template"]["metadata"]["labels"]
    assert [labels] * 3 == [
        spec["selector"]["matchLabels"],
        objects["Service", "slo-budget-tracker"]["spec"]["selector"],
        objects["NetworkPolicy", "slo-budget-tracker"]["spec"]["podSelector"]["matchLabels"],
    ]
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert set(volumes) == {one["name"] for one in container["volumeMounts"]}
    for name in ("config", "slos"):
        assert ("ConfigMap", volumes[name]["configMap"]["name"]) in objects
    assert ("PersistentVolumeClaim", volumes["ledger"]["persistentVolumeClaim"]["claimName"]) in objects
    assert [] == [one for one in container["volumeMounts"] if "subPath" in one]
    assert {"ledger", "tmp"} == {one["name"] for one in container["volumeMounts"] if not one.get("readOnly")}
    paths = {route.path for route in routes(Display(compose())).routes}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in paths & OPEN
    assert ({"drop": ["ALL"]}, True, False, True) == (
        container["securityContext"]["capabilities"],
        container["securityContext"]["readOnlyRootFilesystem"],
        container["securityContext"]["allowPrivilegeEscalation"],
        pod["securityContext"]["runAsNonRoot"],
    )
    assert (1, "Recreate") == (spec["replicas"], spec["strategy"]["type"])


def test_the_manifests_configuration_is_loaded_as_kubelet_shows_it(tmp_path):
    """C3: through links to a hidden folder, with the users of the Secret; a changed ConfigMap is another digest."""
    objects = kubernetes()
    shown = {
        "slo-budget-tracker": objects["ConfigMap", "slo-budget-tracker"]["data"],
        "slo-budget-tracker-slos": objects["ConfigMap", "slo-budget-tracker-slos"]["data"],
        "slo-budget-tracker-web": {"web.yaml": f"basic_auth_users: {{prometheus: {HASH}}}\n"},
    }

    def project(name, data, *, stamp):
        folder = tmp_path / name
        (folder / f"..{stamp}").mkdir(parents=True)
        for file, text in data.items():
            (folder / f"..{stamp}" / file).write_text(text.replace("/etc/", f"{tmp_path}/"))
            if not (folder / file).is_symlink():
                (folder / file).symlink_to(f"..data/{file}")
        (folder / "..new").symlink_to(f"..{stamp}")
        (folder / "..new").rename(folder / "..data")

    for name, data in shown.items():
        project(name, data, stamp="2026_11_28")
    files = Files(tmp_path / "slo-budget-tracker" / "slo-budget-tracker.yaml", {})
    configuration = files.read()
    assert ["checkout-availability"] == [slo.name for slo in configuration.catalogue.slos]
    assert ["prometheus"] == list(protect(configuration.settings.web).users)
    before = files.digest(configuration.settings)
    changed = {"checkout.yaml": shown["slo-budget-tracker-slos"]["checkout.yaml"].replace("99.9%", "99.5%")}
    project("slo-budget-tracker-slos", changed, stamp="2026_11_29")
    assert before != files.digest(configuration.settings)


@pytest.mark.prometheus
@pytest.mark.parametrize("file", ["kubernetes/prometheus-scrape.yaml", "compose/prometheus.yaml"])
def test_scrape_configurations_are_what_prometheus_takes(file, tmp_path):
    """`promtool check config`, with the files that they name in a folder of the test."""
    text = (CONFIG / file).read_text().replace("/etc/prometheus/rules", str(CONFIG / "prometheus"))
    secrets = tmp_path / "slo-budget-tracker"
    secrets.mkdir()
    (secrets / "password").write_text("x")
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/secrets", str(tmp_path)))
    command = [promtool_binary(), "check", "config", tmp_path / "prometheus.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr


def test_the_compose_file_mounts_what_there_is():
    """Every file that is mounted exists, and nothing listens beyond this machine."""
    services = yaml.safe_load((CONFIG / "compose.yaml").read_text())["services"]
    for service in services.values():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")
        for mount in service.get("volumes", ()):
            source = mount.partition(":")[0]
            assert not source.startswith(".") or (CONFIG / source).exists(), mount
    wanted = {"slo-budget-tracker", "shop", "audit-stream", "prometheus", "alertmanager", "grafana"}
    assert wanted == set(services)
