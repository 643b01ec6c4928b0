"""Ratios: a Prometheus that knows nothing but error ratios, which rise and fall with the clock."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from slo_budget_tracker.answers import Answer, Query, Series

PERIOD, BAD = 12, 4  # ticks: each period starts an alert and ends it
NAMES = ("one", "two", "three")


class Ratios:
    """A Prometheus that knows only error ratios, by data instant: the same to whoever asks, whenever."""

    def __init__(self, interval):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                length = int(self.headers.get("Content-Length", 0))
                form = {key: values[-1] for key, values in parse_qs(self.rfile.read(length).decode()).items()}
                self.answer(form)

            def do_GET(self):
                self.answer({key: values[-1] for key, values in parse_qs(urlsplit(self.path).query).items()})

            def answer(self, form):
                body = json.dumps({"status": "success", "data": data(form, interval)}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # who is killed breaks off
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        """End it."""
        self.server.shutdown()
        self.server.server_close()


def ratio_at(name, at, interval):
    """What an SLO's error ratio is at a data instant."""
    return float((at // interval + 4 * NAMES.index(name)) % PERIOD < BAD)


TAGGED = re.compile(r'ratio_(\w+)\[.*?"slo", "([^"]+)"')


def data(form, interval):
    """The `data` of an answer: each ratio that the query names."""
    named = TAGGED.findall(form.get("query", ""))
    if "start" in form:
        start, end, step = (float(form[key]) for key in ("start", "end", "step"))
        times = [int(start + n * step) for n in range(int((end - start) / step) + 1)]
        result = [
            {"metric": {"slo": tag}, "values": [[at, str(ratio_at(name, at, interval))] for at in times]}
            for name, tag in named
        ]
        return {"resultType": "matrix", "result": result}
    at = float(form.get("time", time.time()))
    result = [
        {"metric": {"slo": tag}, "value": [at, str(ratio_at(name, int(at), interval))]} for name, tag in named
    ]
    return {"resultType": "vector", "result": result}


def ask(interval, query):
    """The same, without a server."""
    instants = [query.at] if isinstance(query, Query) else range(query.start, query.end + 1, query.step)
    return Answer(
        tuple(
            Series(
                {"slo": tag},
                [at * 1000 for at in instants],
                [ratio_at(name, at, interval) for at in instants],
            )
            for name, tag in TAGGED.findall(query.expression)
        )
    )
