"""`health`: is the daemon of this machine alive, or ready? For containers and service managers.

It loads little, and asks the address that the configuration listens on, with TLS or without as that says.
Health needs no password, and nothing secret is sent or learned, so the certificate is not looked at.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
from argparse import ArgumentParser
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from slo_budget_tracker.addresses import parse_listen
from slo_budget_tracker.configfile import overlay, plain, read_config
from slo_budget_tracker.documents import Mapping
from slo_budget_tracker.errors import SettingsError, TrackerError
from slo_budget_tracker.sections import faults_of
from slo_budget_tracker.webconfig import Web

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slo_budget_tracker.webconfig import TlsServer

TIMEOUT = 4.0  # seconds
ALIVE, BAD_NEWS, OUT_OF_REACH = 0, 1, 3
_MOST = 65_536
_REQUIRED = "RequireAndVerifyClientCert"


class NoAnswerError(Exception):
    """Nobody answers at the address, or not with HTTP."""


def main(arguments: Sequence[str]) -> int:
    """The command; its exit status: 0 it is so, 1 it is not, 2 a wrong configuration, 3 nobody answers."""
    parser = ArgumentParser("slo-budget-tracker health", add_help=False)
    parser.add_argument("-c", "--config", type=Path)
    parser.add_argument("--ready", action="store_true")
    given = parser.parse_args(list(arguments))
    return check(given.config, ready=given.ready)


def check(config: Path | None, *, ready: bool) -> int:
    """Ask, and say what came of it."""
    path = "/-/ready" if ready else "/-/healthy"
    try:
        web = _web(config)
        tls = web.policy().tls_server_config
    except TrackerError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_status
    try:
        status, said = asked(*there(web.listen), path, tls)
    except NoAnswerError as error:
        usual = config is None and web.listen == Web().listen
        where = f"{web.listen} (-c CONFIG if it listens elsewhere)" if usual else web.listen
        sys.stderr.write(f"no answer at {where}: {error}\n")
        return OUT_OF_REACH
    if status is None:
        known = (
            "alive: it asks for a client certificate" if not ready else "alive; whether it is ready it tells "
        )
        sys.stdout.write(known + ("" if not ready else "only to clients with a certificate") + "\n")
        return OUT_OF_REACH if ready else ALIVE
    sys.stdout.write(f"{said}\n")
    return ALIVE if status == 200 else BAD_NEWS  # noqa: PLR2004 - OK; http.HTTPStatus loads more than this does


def _web(config: Path | None) -> Web:
    """The section `web` alone: the others need not be loaded, and are none of this command's business."""
    root = Mapping("environment", 1, 1, "", {}, {}) if config is None else read_config(config)
    data = plain(root)
    overlay(data, os.environ)
    try:
        web = Web.model_validate(data.get("web") or {})
    except ValidationError as error:
        raise SettingsError(faults_of(error, root.values.get("web", root), Web)) from None
    return web.resolved(Path.cwd() if config is None else config.parent.resolve())


def there(listen: str) -> tuple[str, int]:
    """Where this machine reaches what listens there."""
    host, port = parse_listen(listen)
    if host:
        try:
            address = ip_address(host)
        except ValueError:
            return host, port
        if not address.is_unspecified:
            return host, port
        return ("127.0.0.1" if address.version == 4 else "::1"), port  # noqa: PLR2004 - of IP
    return "127.0.0.1", port


def asked(host: str, port: int, path: str, tls: TlsServer | None) -> tuple[int | None, str]:
    """Status and text of an answer; no status where a client certificate is asked for.

    Raises:
        NoAnswerError: nobody is there.
    """
    try:
        return _exchange(host, port, path, None if tls is None else _context())
    except (ssl.SSLError, EOFError) as error:
        if tls is not None and tls.client_auth_type == _REQUIRED:
            return None, ""  # somebody is there, awake, and breaks off with who has no certificate
        reason = str(getattr(error, "reason", "closed")).lower().replace("_", " ")
        raise NoAnswerError(f"no HTTP ({reason})") from None
    except TimeoutError:
        raise NoAnswerError(f"not within {TIMEOUT:.0f} s") from None
    except (OSError, ValueError) as error:
        raise NoAnswerError(getattr(error, "strerror", None) or "not HTTP") from None


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _exchange(host: str, port: int, path: str, context: ssl.SSLContext | None) -> tuple[int, str]:
    """One request over a connection of its own."""
    with socket.create_connection((host, port), timeout=TIMEOUT) as plain:
        line = plain if context is None else context.wrap_socket(plain)
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while len(answer) < _MOST and (part := line.recv(_MOST)):
            answer += part
    if not answer:
        raise EOFError
    head, _, body = answer.partition(b"\r\n\r\n")
    protocol, status, *_ = head.split(maxsplit=2)
    if not protocol.startswith(b"HTTP/1."):
        raise ValueError
    text = body.decode("utf-8", "replace").strip()
    return int(status), "".join(one if one.isprintable() else " " for one in text)[:500]
