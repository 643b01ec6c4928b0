"""The running daemon as other machines see it: one question over HTTP, with its certificate and password."""

from __future__ import annotations

import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson

from slo_budget_tracker.connection import authorization, base_address, tls_context
from slo_budget_tracker.errors import DaemonError, PrometheusError, UsageError, shown
from slo_budget_tracker.transport import Transport, mapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slo_budget_tracker.connection import Connection

_HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[-\w./]*)?", re.ASCII)
_ASKED_WRONGLY = {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}
_REFUSED: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "a user and the right password are needed (`daemon.basic_auth`)",
    HTTPStatus.FORBIDDEN: "it lets this client do nothing",
    HTTPStatus.TOO_MANY_REQUESTS: "it was asked too often",
    HTTPStatus.MISDIRECTED_REQUEST: "it answers to loopback names only (`web.listen`)",
}


def address_of(settings: Connection) -> str:
    """The daemon's address, without a user in it.

    Raises:
        UsageError: it is none; what may have been meant is proposed.
    """
    try:
        return base_address(settings)
    except PrometheusError:
        text = str(settings.url)
        found = "it has a user in it and" if "@" in text else shown(text, most=200)
        meant = f"; perhaps http://{text}" if _HOST.fullmatch(text) else ""
        raise UsageError(f"the daemon's address: {found} is no http or https URL{meant}") from None


def ask(settings: Connection, path: str, query: Sequence[tuple[str, str]]) -> Any:
    """What a daemon answers to a GET, as JSON.

    Raises:
        DaemonError: nobody answers, or not so that it could be used.
        UsageError: it was asked for what there is not.
    """
    address = address_of(settings)
    try:
        credentials = authorization(settings)
        with mapped():
            door = Transport(
                context=tls_context(settings),
                server_name=getattr(settings.tls, "server_name", None),
                connections=1,
                most_bytes=settings.max_response_bytes,
            )
        try:
            reply = door.send(
                "GET",
                f"{address}{path}",
                form=query,
                headers={"Authorization": credentials} if credentials else {},
                deadline=time.monotonic() + settings.timeout,
            )
        finally:
            door.close()
    except PrometheusError as error:
        raise DaemonError(f"the daemon at {address}: {error}") from None
    try:
        found = orjson.loads(reply.body)
    except ValueError:
        found = None
    if reply.status in _ASKED_WRONGLY and isinstance(found, dict) and "detail" in found:
        raise UsageError(f"the daemon at {address}: {found['detail']}")
    if reply.status != HTTPStatus.OK or found is None:
        why = _REFUSED.get(reply.status, f"it answered with status {reply.status}")
        raise DaemonError(f"the daemon at {address}: {why}")
    return found
