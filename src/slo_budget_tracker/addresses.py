"""Addresses to listen on, and whether only this machine is meant by them."""

from __future__ import annotations

from ipaddress import ip_address

from slo_budget_tracker.errors import UsageError

_HIGHEST_PORT = 65_535


def parse_listen(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:9724`, `[::1]:9724` or `:9724` (all interfaces); port 0 is any free one."""
    host, colon, port = text.rpartition(":")
    bare = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not colon or not port.isdecimal() or int(port) > _HIGHEST_PORT or bare:
        raise UsageError(f"web.listen: {text!r} is no host:port, for example 127.0.0.1:9724 or [::1]:9724")
    return host.strip("[]"), int(port)


def without_port(host: str) -> str:
    """The host of a Host header."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine for itself."""
    host = host.strip("[]").lower()
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
