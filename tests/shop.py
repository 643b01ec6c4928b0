"""A shop whose every request is known: it counts them as an instrumented service does, and is scraped."""

from __future__ import annotations

import random
import threading
from collections import Counter

from tests.small_server import SmallServer

STEP = 0.05  # seconds between two requests for a page, on average


class Shop:
    """Serves pages and counts the requests; half of those to an ailing page fail."""

    def __init__(self, names, *, seed):
        self.random = random.Random(seed)
        self.served = {name: Counter({"200": 0, "500": 0}) for name in names}
        self.ailing = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._traffic = threading.Thread(target=self._run, daemon=True)
        self.server = SmallServer(lambda *_: self.text().encode())

    @property
    def address(self):
        """Where it is scraped."""
        return self.server.address

    def text(self):
        """What it exports."""
        with self._lock:
            return "# TYPE shop_requests_total counter\n" + "".join(
                f'shop_requests_total{{page="{name}",code="{code}"}} {count}\n'
                for name, codes in self.served.items()
                for code, count in codes.items()
            )

    def open(self):
        """Requests come."""
        self._traffic.start()

    def _run(self):
        while not self._closed.wait(STEP):
            with self._lock:
                for name, codes in self.served.items():
                    for _ in range(self.random.randrange(3)):
                        fails = name in self.ailing and self.random.random() < 0.5
                        codes["500" if fails else "200"] += 1

    def close(self):
        """No request comes any more; what was counted stays to be seen."""
        self._closed.set()
        self._traffic.join()

    def counted(self):
        """Total and failures of each page."""
        with self._lock:
            return {name: (codes.total(), codes["500"]) for name, codes in self.served.items()}

    def end(self):
        """Nothing is served any more."""
        self.server.close()
