"""A small TCP proxy that can be cut: by ending all connections, or by keeping silent."""

from __future__ import annotations

import contextlib
import socket
import threading

CHUNK = 1 << 16


class Proxy:
    """Passes bytes on between those who connect to `port` and a server; usable from any thread."""

    def __init__(self, target):
        self.target = target
        self.cut = False  # connections are ended, new ones refused
        self._flowing = threading.Event()
        self._flowing.set()
        self._guard = threading.Lock()
        self._open = set()
        self._listener = None
        self.port = 0
        self._listen()

    def _listen(self):
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=50)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near):
        self._flowing.wait()
        try:
            far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        pair = (near, far)
        with self._guard:
            self._open.add(pair)
        if self.cut:
            self._end(pair)
        for source, sink in (pair, pair[::-1]):
            threading.Thread(target=self._pass_on, args=(source, sink, pair), daemon=True).start()

    def _pass_on(self, source, sink, pair):
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                self._flowing.wait()
                sink.sendall(data)
        self._end(pair)

    def _end(self, pair):
        with self._guard:
            self._open.discard(pair)
        for one in pair:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def break_off(self):
        """End all connections and take no new ones."""
        self.cut = True
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self._guard:
            pairs = list(self._open)
        for pair in pairs:
            self._end(pair)

    def fall_silent(self):
        """Keep the connections and pass nothing on."""
        self._flowing.clear()

    def mend(self):
        """Work again; what was held back is passed on."""
        self.cut = False
        self._flowing.set()
        if self._listener is None:
            self._listen()

    def close(self):
        """End it."""
        self._flowing.set()
        self.break_off()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
