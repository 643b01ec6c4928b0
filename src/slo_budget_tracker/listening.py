"""The web server: uvicorn in a thread of its own, with limits that uvicorn itself does not have."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import suppress
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from slo_budget_tracker.addresses import parse_listen
from slo_budget_tracker.doors import Door, Hall
from slo_budget_tracker.errors import UsageError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from slo_budget_tracker.protection import Protector

HEADER_SECONDS = 10  # a request's header must be complete by then
KEEP_ALIVE_SECONDS = 5
FLUSH_SECONDS = 20  # for a client that reads its answer slowly
MOST_CONNECTIONS = 512
LARGEST_HEADER = 16_384
START_SECONDS = 10
BACKLOG = 128  # asyncio tries so many times a second to accept where no descriptor is left (T10)


class Connection(H11Protocol):
    """One connection that speaks HTTP: one that is silent for too long is closed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.silent_since = self.loop.time()
        self.header_timer: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Take the connection; its first header must come in time."""
        super().connection_made(transport)
        self.silent_since = self.loop.time()
        self.header_timer = self.loop.call_later(HEADER_SECONDS, self._close)

    def data_received(self, data: bytes) -> None:
        """Read on; a header that has begun must come to its end in time. Answers bear the time of now."""
        self.server_state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._forget_timer()
        elif self.header_timer is None and not self.transport.is_closing():
            self.header_timer = self.loop.call_later(HEADER_SECONDS, self._close)

    def on_response_complete(self) -> None:
        """Be silent from now on."""
        self.silent_since = self.loop.time()
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that was kept open in vain; what is not read soon is not sent."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(FLUSH_SECONDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget_timer()
        super().connection_lost(exc)

    def _forget_timer(self) -> None:
        if self.header_timer is not None:
            self.header_timer.cancel()
            self.header_timer = None

    def _close(self) -> None:
        self._forget_timer()
        self.transport.close()
        self.loop.call_later(FLUSH_SECONDS, self.transport.abort)


class Sleeper(uvicorn.Server):
    """uvicorn's server; it wakes for requests only, not ten times a second to see whether it shall end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = asyncio.Event()

    async def main_loop(self) -> None:
        """Serve until the end is asked for, which may have been before."""
        self._loop = asyncio.get_running_loop()
        if not self.should_exit:
            await self._over.wait()

    def end(self) -> None:
        """Ask for the end, from any thread."""
        self.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._over.set)


class WebServer:
    """Serves an application until it is stopped; `address` is known after `start`."""

    def __init__(self, app: ASGIApp, *, listen: str, protector: Protector | None = None) -> None:
        self.app = app
        self.protector = protector
        self.listen = listen
        self.address = listen
        self._server: Sleeper | None = None
        self._thread: threading.Thread | None = None
        self._hall: Hall | None = None

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end."""
        secured = self.protector is not None and self.protector.current.identity is not None
        return f"{'https' if secured else 'http'}://{self.address}"

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Bind the address (UsageError where that fails) and serve in a thread."""
        bound = _bind(self.listen)
        host, port = bound.getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        config = uvicorn.Config(
            self.app,
            http=self._door,  # type: ignore[arg-type]  # makes what uvicorn would make
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
            backlog=BACKLOG,
            h11_max_incomplete_event_size=LARGEST_HEADER,
        )
        self._server = Sleeper(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [bound]}, name="web", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._server.started and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)

    def _door(self, **options: Any) -> Door:
        """What stands between a new connection and HTTP; called by uvicorn for each."""
        connection = Connection(**options)
        if self._hall is None:
            self._hall = Hall(connection.connections, MOST_CONNECTIONS, HEADER_SECONDS, self.protector)  # type: ignore[arg-type]  # all are ours
        return Door(connection, self._hall)

    def stop(self, *, within: float = 4.0) -> None:
        """Close the address and the connections; answers under way get a second."""
        if self._server is None or self._thread is None:
            return
        self._server.end()
        self._thread.join(within)


def _bind(listen: str) -> socket.socket:
    """A socket bound to the address."""
    host, port = parse_listen(listen)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except BaseException:
            bound.close()
            raise
    except OSError as error:
        raise UsageError(f"web.listen: cannot listen on {listen}: {error.strerror or error}") from error
    return bound
