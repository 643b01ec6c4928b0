"""A server written by hand on a raw socket, for answers that no honest HTTP server would give."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
from types import SimpleNamespace

EMPTY = {"status": "success", "data": {"resultType": "vector", "result": []}}


def settings(url, **changes):
    """A datasource as it is configured."""
    plain = {
        "url": url, "timeout": 5.0, "headers": {}, "basic_auth": None, "bearer_token_file": None, "tls": None,
        "max_response_bytes": 1 << 20, "concurrency": 4,
    }  # fmt: skip
    return SimpleNamespace(**{**plain, **changes})


def answer(body=EMPTY, *, status="200 OK", headers=(), packed=False):
    """The bytes of a well-formed answer."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", *headers]
    if packed:
        content = gzip.compress(content)
        lines.append("Content-Encoding: gzip")
    lines += [f"Content-Length: {len(content)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode() + content


class RawServer:
    """Gives each connection to a script: bytes to send, or a callable that gets the socket.

    Scripts are used in turn, the last one for ever. `requests` are the bytes of all requests that were read.
    """

    def __init__(self, *scripts, wrap=None, read=True):
        self.scripts = list(scripts)
        self.wrap = wrap
        self.read = read
        self.requests: list[bytes] = []
        self.over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def address(self):
        """host:port."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def url(self):
        """Base URL."""
        return f"http://{self.address}"

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self):
        while not self.over.is_set():
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(accepted)
            script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
            thread = threading.Thread(target=self._serve, args=(accepted, script), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection, script):
        with contextlib.suppress(OSError):
            if self.wrap is not None:
                connection = self.wrap(connection)
                self._sockets.append(connection)
            if self.read:
                self.requests.append(self._request(connection))
            if callable(script):
                script(connection)
            else:
                connection.sendall(script)
            connection.close()

    @staticmethod
    def _request(connection):
        received = b""
        while b"\r\n\r\n" not in received and (part := connection.recv(65_536)):
            received += part
        head, _, body = received.partition(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
                while len(body) < length and (part := connection.recv(65_536)):
                    body += part
        return head + b"\r\n\r\n" + body

    def drip(self, content, *, every=0.05):
        """A script that sends one byte at a time."""

        def script(connection):
            for byte in content:
                if self.over.wait(every):
                    return
                connection.sendall(bytes([byte]))

        return script

    def silence(self, _connection):
        """A script that never answers."""
        self.over.wait()
