"""Sockets: connections of which every wait ends at a deadline, for httpx, which knows no total one.

Name look-up, connect, TLS, write and read are each cut to what is left of it.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

from slo_budget_tracker.answers import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

KEEP_ALIVE = 90.0  # seconds: longer than a tick, so that connections live from tick to tick


class Said(str):
    """A reason in our own words, which may be shown; what libraries say may contain addresses."""

    __slots__ = ()


class Deadline(threading.local):
    """When the request that this thread is busy with must be over, on the monotonic clock."""

    at: float = float("inf")
    may_connect: bool = True
    refused: bool = False  # a connection was needed and not allowed

    def left(self) -> float:
        """Seconds until then; raises TimeoutError when there are none."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, threading.TIMEOUT_MAX)


DEADLINE = Deadline()


class _Stream(httpcore.NetworkStream):
    """A socket of which every wait ends at the deadline of the thread's request."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the total counts
        with _as_httpcore(httpcore.ReadTimeout, httpcore.ReadError):
            self._socket.settimeout(DEADLINE.left())
            return self._socket.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        with _as_httpcore(httpcore.WriteTimeout, httpcore.WriteError):
            rest = memoryview(buffer)
            while rest:
                self._socket.settimeout(DEADLINE.left())
                rest = rest[self._socket.send(rest) :]

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        with _as_httpcore(httpcore.ConnectTimeout, httpcore.ConnectError):
            try:
                self._socket.settimeout(DEADLINE.left())
                return _Stream(ssl_context.wrap_socket(self._socket, server_hostname=server_hostname))
            except BaseException:
                self.close()
                raise

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
        if info == "is_readable":  # an idle connection that has something to read was closed by the server
            readable = select.poll()
            readable.register(self._socket, select.POLLIN)
            return bool(readable.poll(0))
        return None


class _Backend(httpcore.NetworkBackend):
    """Connects within the deadline, the look-up of the name included, which has no time limit by itself."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the total counts
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        if not DEADLINE.may_connect:
            DEADLINE.refused = True
            raise httpcore.ConnectError
        with _as_httpcore(httpcore.ConnectTimeout, httpcore.ConnectError):
            addresses = _look_up(host, port)
            for tried, (family, kind, protocol, _, address) in enumerate(addresses, start=1):
                connecting = socket.socket(family, kind, protocol)
                try:
                    # each address gets its share, so that a dead first one leaves time for the next
                    connecting.settimeout(DEADLINE.left() / (len(addresses) - tried + 1))
                    connecting.connect(address)
                    connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                except OSError:
                    connecting.close()
                    if tried == len(addresses):
                        raise
                else:
                    return _Stream(connecting)
            raise OSError(0, "the name has no address")


def _look_up(host: str, port: int) -> list[Any]:
    """The addresses of a name, asked afresh each time; in a thread, as a look-up cannot be interrupted."""
    found: list[Any] = []
    failed: list[OSError] = []

    def resolve() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            failed.append(error if isinstance(error, OSError) else OSError(0, "not a host name"))

    thread = threading.Thread(target=resolve, name="name look-up", daemon=True)
    thread.start()
    thread.join(DEADLINE.left())
    if thread.is_alive():
        raise TimeoutError
    if failed:
        raise failed[0]
    return found


@contextmanager
def _as_httpcore(timeout: type[Exception], error: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as late:
        raise timeout from late
    except OSError as broken:
        raise error(Said(reason_of(broken))) from broken


class Pool(httpx.BaseTransport):
    """httpx's own transport, but over streams that know the deadline."""

    def __init__(self, context: ssl.SSLContext | None, connections: int) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=KEEP_ALIVE,
            network_backend=_Backend(),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request over one of its connections."""
        answered = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            status_code=answered.status,
            headers=answered.headers,
            stream=_Body(answered.stream),
            extensions=answered.extensions,
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        self._stream.close()


def reason_of(error: BaseException) -> str:
    """What the system says, without addresses and names."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is refused: {printable(error.verify_message)}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {printable(str(getattr(error, 'reason', None) or 'no reason given'))}"
    if isinstance(error, OSError) and error.strerror:
        return printable(error.strerror)
    if error.args and isinstance(error.args[0], Said):
        return error.args[0]
    under = error.__cause__ or error.__context__
    return type(error).__name__ if under is None else reason_of(under)
