"""What config/ has for a machine: nginx in front, the systemd unit; each by its own tool."""

from __future__ import annotations

import base64
import contextlib
import re
import shutil
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from slo_budget_tracker.listening import WebServer
from slo_budget_tracker.web import Display, build, compose
from tests.servers import Server, find_binary
from tests.unit.test_web import SLOS

CONFIG = Path(__file__).parents[2] / "config"
NGINX = CONFIG / "nginx" / "slo-budget-tracker.conf"
UNIT = CONFIG / "systemd" / "slo-budget-tracker.service"
PASSWORD = ("user", "let me in")
PATIENCE = 120  # seconds
AROUND = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log info; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{health}; location / {{ return 200; }} }}
  include {folder}/slo-budget-tracker.conf;
}}
"""


@dataclass
class Proxy(Server):
    """A real nginx with the example, its addresses and files replaced by those of the test."""

    upstream: str = ""
    outside: int = 0

    name: ClassVar[str] = "nginx"

    def command(self):
        """In the foreground, with everything below the folder."""
        folder = self.folder
        text = NGINX.read_text().replace("127.0.0.1:9724;", f"{self.upstream};")
        text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{self.outside} ssl")
        text = text.replace("/etc/ssl/slo.example.org.pem", f"{folder}/tls.pem")
        text = text.replace("/etc/ssl/private/slo.example.org.key", f"{folder}/tls.key")
        text = text.replace("/etc/nginx/slo-budget-tracker.htpasswd", f"{folder}/htpasswd")
        (folder / "slo-budget-tracker.conf").write_text(text)
        (folder / "nginx.conf").write_text(AROUND.format(folder=folder, health=self.port))
        request = (
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
        )
        made = [
            *request.split(),
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            "tls.key",
            "-out",
            "tls.pem",
        ]
        subprocess.run(["openssl", *made], cwd=folder, check=True, capture_output=True)
        digest = subprocess.run(
            ["openssl", "passwd", "-apr1", PASSWORD[1]], check=True, capture_output=True, text=True
        ).stdout
        (folder / "htpasswd").write_text(f"{PASSWORD[0]}:{digest}")
        (folder / "htpasswd").chmod(0o644)
        for parent in (folder, *folder.parents[:3]):
            with contextlib.suppress(PermissionError):
                parent.chmod(0o755)
        return [
            find_binary("nginx", variable="SLO_TEST_NGINX"),
            "-c",
            str(folder / "nginx.conf"),
            "-p",
            str(folder),
        ]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    """The proxy in front of a web server with five SLOs."""
    server = WebServer(build(Display(compose(snapshots=SLOS)), listen="127.0.0.1:0"), listen="127.0.0.1:0")
    server.start()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        outside = free.getsockname()[1]
    with Proxy(tmp_path_factory.mktemp("nginx"), upstream=server.address, outside=outside) as one:
        yield one
    server.stop()


def client(proxy, *, auth=PASSWORD):
    """A client that trusts the proxy's certificate."""
    context = ssl.create_default_context(cafile=proxy.folder / "tls.pem")
    return httpx.Client(
        base_url=f"https://127.0.0.1:{proxy.outside}", verify=context, auth=auth, trust_env=False, timeout=30
    )


def connect(proxy):
    """An open TLS connection."""
    context = ssl.create_default_context(cafile=proxy.folder / "tls.pem")
    return context.wrap_socket(
        socket.create_connection(("127.0.0.1", proxy.outside), timeout=PATIENCE), server_hostname="127.0.0.1"
    )


def heads(**more):
    """The head of a request with the password."""
    secret = base64.b64encode(":".join(PASSWORD).encode()).decode()
    lines = {"Host": "slo.example.org", "Authorization": f"Basic {secret}", **more}
    return "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())


@pytest.mark.nginx
def test_only_who_has_the_password_gets_through(proxy):
    """TLS and a password; page, API, metrics and the stream come through, a reload does not."""
    with client(proxy, auth=None) as anonymous:
        assert 401 == anonymous.get("/").status_code
    with client(proxy) as known:
        assert [200, 200, 200] == [known.get(path).status_code for path in ("/", "/api/v1/slos", "/metrics")]
        assert 403 == known.post("/-/reload").status_code
        with known.stream("GET", "/api/v1/stream") as stream:
            assert any(line.startswith("data: ") for line in stream.iter_lines())
            stream.close()


@pytest.mark.nginx
def test_large_and_odd_requests_are_refused(proxy):
    """H3, H16: a body over 64 KiB is 413, one with two lengths 400, a head over its buffers 400."""
    with client(proxy) as known:
        assert 413 == known.post("/api/v1/slos", content=b"x" * 70_000).status_code
        assert 400 == known.get("/", headers={"x-long": "x" * 40_000}).status_code
    with connect(proxy) as line:
        head = heads(Content_Length="5", Transfer_Encoding="chunked")
        line.sendall(f"POST / HTTP/1.1\r\n{head}\r\n0\r\n\r\n".encode())
        assert b" 400 " in line.recv(100)


@pytest.mark.nginx
def test_many_connections_of_one_address_are_refused(proxy):
    """H2: beyond 32 streams of one address the next request is 503, and 200 again when they are gone."""
    with contextlib.ExitStack() as lines:
        for _ in range(32):
            line = lines.enter_context(connect(proxy))
            line.sendall(f"GET /api/v1/stream HTTP/1.1\r\n{heads()}\r\n".encode())
            assert b" 200 " in line.recv(100)
        with client(proxy) as known:
            assert 503 == known.get("/").status_code
    end = time.monotonic() + PATIENCE
    status = 503
    while status != 200 and time.monotonic() < end:
        with client(proxy) as known:
            status = known.get("/").status_code
    assert 200 == status


@pytest.mark.nginx
def test_slow_heads_are_cut_off(proxy):
    """H1: a head that does not come to its end is not waited for."""
    with connect(proxy) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert b" 200 " not in line.recv(1_000)


def test_the_unit_is_sound(tmp_path):
    """`systemd-analyze verify` (where there is one) has nothing to say; the daemon may write its ledger alone."""
    text = UNIT.read_text()
    for line in (
        "Type=notify",
        "DynamicUser=yes",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "WatchdogSec=5min",
    ):
        assert f"\n{line}\n" in text
    analyze = shutil.which("systemd-analyze")
    if analyze is not None:
        there = re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", text)
        (tmp_path / UNIT.name).write_text(there)
        done = subprocess.run(
            [analyze, "verify", "--man=no", tmp_path / UNIT.name], capture_output=True, text=True, check=False
        )
        ours = [line for line in done.stderr.splitlines() if UNIT.name in line]
        assert [] == ours


def test_the_unit_is_little_exposed(tmp_path):
    """`systemd-analyze security` (where there is one) counts what it could do to the machine: at most 2 of 10."""
    analyze = shutil.which("systemd-analyze")
    if analyze is not None:
        command = [analyze, "security", "--offline=true", "--no-pager", "--threshold=20", UNIT]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stdout[-300:] + done.stderr
