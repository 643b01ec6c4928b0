"""A daemon with TLS and passwords: what a reload takes over, and that no secret ever comes out of it."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import bcrypt
import httpx
import pytest

from tests.authority import Authority
from tests.real.lives import EmptyPrometheus, Life

CANARY = "S3CR3T-"
HASHED = {
    name: bcrypt.hashpw(f"{CANARY}{name}".encode(), bcrypt.gensalt(4)).decode() for name in ("alice", "bob")
}


class Parrot:
    """A Prometheus that is in trouble and says back whatever it was told, secrets too."""

    def __init__(self):
        self.status = 500
        self.heard = ""

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(handler):  # noqa: N805 - as the base class wants it; self is the parrot
                handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
                said = " ".join(f"{name}: {value}" for name, value in handler.headers.items())
                self.heard += said
                body = json.dumps({"status": "error", "errorType": "execution", "error": said}).encode()
                handler.send_response(self.status, said[:200].replace("\n", " "))
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        """End it."""
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def make(tmp_path):
    """Daemons that are gone after the test."""
    made = []

    def life(url, **options):
        made.append(Life(tmp_path, url, **options))
        return made[-1]

    yield life
    for one in made:
        one.kill()


def client_of(life, *, auth=None, verify=True, scheme="http"):
    """An HTTP client."""
    url = f"{scheme}://127.0.0.1:{life.port}"
    return httpx.Client(base_url=url, auth=auth, verify=verify, trust_env=False, timeout=60)


def test_a_reload_takes_over_users_and_opens_nothing(make, tmp_path):
    """H13: users come by a reload; one that would let everybody in is refused, and what ran goes on."""
    empty = EmptyPrometheus()
    config = "web: {{reload: true, reload_token_file: token, basic_auth_users: {{{}}}}}\n"
    (tmp_path / "token").write_text("token")
    life = make(empty.url, further=config.format(f"alice: '{HASHED['alice']}'")).start()
    text = life.config.read_text()
    alice, bob = ((name, f"{CANARY}{name}") for name in ("alice", "bob"))
    with client_of(life) as client:

        def statuses():
            return [client.get("/metrics", auth=auth).status_code for auth in (alice, bob)]

        def reload():
            return client.post("/-/reload", headers={"authorization": "Bearer token"})

        assert [200, 401] == statuses()
        life.config.write_text(text.replace("{alice", f"{{bob: '{HASHED['bob']}', alice"))
        assert (200, []) == ((done := reload()).status_code, done.json()["restart"])
        assert [200, 200] == statuses()
        life.config.write_text(
            text.replace(
                config.format(f"alice: '{HASHED['alice']}'"),
                "web: {listen: '127.0.0.1:1', reload: true, reload_token_file: token}\n",
            )
        )
        refused = reload()
        expected = "web: passwords would no longer be asked for, which needs a restart"
        assert (400, [expected]) == (refused.status_code, refused.json()["reasons"])
        life.config.write_text(text.replace("alice: '", "alice: 'x"))
        assert (400, False) == ((refused := reload()).status_code, HASHED["alice"] in refused.text)
        assert [200, 200, 401] == [*statuses(), client.get("/metrics").status_code]
    assert (0, False) == (life.end()[0], "Traceback" in life.said)
    empty.close()


def test_a_web_configuration_that_cannot_be_used_is_one_sentence(make, tmp_path):
    """Exit status 2 at the start: the place, what is wrong, what would do."""
    life = make("http://127.0.0.1:9", further="web: {config_file: web.yaml}\n")
    (tmp_path / "web.yaml").write_text("tls_server_config: {cert_file: tls.pem, key_file: tls.key}\n")
    life.spawn()
    assert 2 == life.process.wait(60)
    expected = f"{tmp_path}/tls.pem:1:1: cert_file: a file that cannot be opened (No such file or directory), expected a certificate in PEM"
    assert [expected, True] == [life.said.splitlines()[0], "Traceback" not in life.said]


def test_no_secret_ever_comes_out(make, tmp_path):
    """H14: with a secret in every place that takes one, and a server that repeats them: log, answers, pages, ledger, errors."""
    authority = Authority.in_folder(tmp_path / "authority")
    certificate, key = authority.certificate("server")
    shutil.copy(certificate, tmp_path / "tls.pem")
    shutil.copy(key, tmp_path / "tls.key")
    places = (
        "bearer",
        "password",
        "token",
        "url",
        "header",
        "audit",
        "wrong",
        "alice",
        "bob",
        "plain",
        "env",
    )
    secret = {name: f"{CANARY}{name}" for name in places}
    for name in ("bearer", "password", "token"):
        (tmp_path / name).write_text(secret[name])
    parrot = Parrot()
    (tmp_path / "web.yaml").write_text(
        "tls_server_config: {cert_file: tls.pem, key_file: tls.key}\n"
        f"basic_auth_users: {{alice: '{HASHED['alice']}', bob: '{HASHED['bob']}'}}\n"
    )
    further = (
        "web: {config_file: web.yaml, reload: true, reload_token_file: token}\n"
        "datasources:\n"
        f"  bearer: {{url: 'http://{parrot.address}', bearer_token_file: bearer}}\n"
        f"  basic: {{url: 'http://{parrot.address}', basic_auth: {{username: u, password_file: password}}}}\n"
    )
    life = make("http://127.0.0.1:9", further=further)
    life.config.write_text(
        life.config.read_text().partition("\n")[2].replace("format: json", "format: json, level: debug")
    )
    shop = (life.slos / "shop.yaml").read_text()
    slos = [
        shop.replace("shop", name).replace("alerts:", f"datasource: {name}\n    alerts:")
        for name in ("bearer", "basic", "default")
    ]
    for number, text in enumerate(slos):
        (life.slos / f"{number}.yaml").write_text(text)
    (life.slos / "shop.yaml").unlink()
    env = {
        "SLO_BUDGET_TRACKER_DATASOURCES__DEFAULT__URL": f"http://user:{secret['url']}@{parrot.address}",
        "SLO_BUDGET_TRACKER_DATASOURCES__DEFAULT__HEADERS__X-API-KEY": secret["header"],
        "SLO_BUDGET_TRACKER_DAEMON__BASIC_AUTH__USERNAME": "alice",
        "SLO_BUDGET_TRACKER_DAEMON__BASIC_AUTH__PASSWORD": secret["env"],
        "AUDIT_STREAM_URL": f"http://user:{secret['audit']}@{parrot.address}",
    }
    life.spawn(env=env)
    outputs: dict[str, str] = {}
    verify = ssl.create_default_context(cafile=authority.folder / "ca.pem")
    with client_of(life, auth=("alice", secret["alice"]), verify=verify, scheme="https") as client:
        life.until(lambda: client.get("/-/healthy").status_code == 200)
        for status in (500, 400, 422, 302, 200, 401):
            parrot.status = status
            time.sleep(1.5)
        for auth in (("alice", secret["wrong"]), ("mallory", secret["wrong"])):
            outputs[f"login {auth[0]}"] = client.get("/metrics", auth=auth).text
        for number, broken in enumerate(
            (
                f"basic_auth_users: {{alice: {secret['plain']}}}",
                f"tls_server_config: {{key: {secret['plain']}}}",
            )
        ):
            (tmp_path / "web.yaml").write_text(broken)
            life.until(
                lambda number=number: (
                    len(life.lines("the web configuration is refused, what ran goes on")) > number
                )
            )
        (life.slos / "bad.yaml").write_text(
            f"slos: [{{name: {secret['plain']}, password: {secret['plain']}}}]"
        )
        for token in (secret["wrong"], secret["token"]):
            outputs[f"reload {token}"] = client.post(
                "/-/reload", headers={"authorization": f"Bearer {token}"}
            ).text
        (life.slos / "bad.yaml").unlink()
        paths = client.get("/openapi.json").json()["paths"]
        paths = [path for path, verbs in paths.items() if "get" in verbs and "stream" not in path]
        names = ("bearer", "basic", "default")
        for path in [*paths, "/", "/slos/{name}", "/openapi.json", "/nothing"]:
            for name in names if "{name}" in path else ("",):
                for query in ("", "?slo=basic", "?limit=nonsense"):
                    address = path.replace("{name}", name) + query
                    answer = client.get(address)
                    outputs[address] = f"{answer.headers} {answer.text}"
        for status in (True, False):
            with client_of(life, verify=verify, scheme="https") as stranger:
                outputs[f"stranger {status}"] = stranger.get("/-/ready").text
    commands = [
        ["evaluate", "-c", life.config], ["validate", "--live", "-c", life.config], ["discover", "-c", life.config],
        ["gate", "-c", life.config, "--url", f"https://127.0.0.1:{life.port}"],
        ["gate", "-c", life.config, "--url", f"http://alice:{secret['wrong']}@127.0.0.1:9"],
        ["audit", "verify", "-c", life.config],
    ]  # fmt: skip
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "slo_budget_tracker", *map(str, command)],
            env={**os.environ, **env}, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        outputs[" ".join(map(str, command))] = done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
    assert 0 == life.end()[0]
    outputs["log"] = life.said
    for file in tmp_path.glob("ledger.db*"):
        outputs[file.name] = file.read_bytes().decode("latin-1")
    needles = [CANARY, *HASHED.values(), *key.read_text().splitlines()[1:3]]
    needles += [
        b64encode(f"{user}:{word}".encode()).decode()
        for user in ("u", "user", "alice")
        for word in secret.values()
    ]
    leaks = [
        (where, needle, text[max(0, text.index(needle) - 100) :][:250])
        for where, text in outputs.items()
        for needle in needles
        if needle in text
    ]
    assert [] == leaks
    heard = parrot.heard
    parrot.close()
    told = [secret["bearer"], secret["header"]] + [
        b64encode(f"{user}:{secret[word]}".encode()).decode()
        for user, word in (("u", "password"), ("user", "url"))
    ]
    assert [] == [word for word in told if word not in heard]
