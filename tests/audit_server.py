"""Audit streams for tests: what a ledger sends them, what they have, and one that does what no honest one does."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import httpx
import uvicorn
from audit_stream.app import app

from slo_budget_tracker.delivery import Delivery
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.settings import Audit
from slo_budget_tracker.verdict import Transition
from tests.servers import free_port

NOW = 1_700_000_000
PATIENCE = 90  # seconds for anything that needs no clock
GENESIS = "0" * 64


def told(slo, number, *, kind=None, **payload):
    """A transition of an SLO, the next one in turn."""
    kind = kind or ("slo_burn_started" if number % 2 else "slo_recovered")
    figures = {"slo_name": slo, "labels": {"team": "payments"}, "window_seconds": 3_600, **payload}
    return Transition(kind, "burn:page:3600:300", NOW + 60 * number, f"number {number}", figures)


def ledger_of(url="sqlite://", *, slos=("shop",), events=3):
    """An open ledger with so many events per SLO, in memory unless it is said where."""
    ledger = Ledger.open(url)
    happen(ledger, slos=slos, numbers=range(1, events + 1))
    return ledger


def happen(ledger, *, slos=("shop",), numbers):
    """Commit further transitions."""
    ledger.commit(Entry(events=[told(slo, number) for number in numbers for slo in slos]))


def delivery_of(ledger, url, *, may_send=None, **options):
    """A delivery that was not started, impatient."""
    chosen = {"timeout": 5.0, **options}
    return Delivery(
        ledger=ledger,
        settings=Audit(url=url, **chosen),
        clock=lambda: NOW + 86_400.0,
        settle=0.05,
        may_send=may_send,
    )


def wait_for(condition, *, what="a condition", seconds=PATIENCE):
    """Poll until it is true; its last value."""
    ends = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < ends, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return value


def drained(delivery):
    """Wait until nothing is pending."""
    wait_for(lambda: delivery.figures().pending == 0, what="an empty outbox")
    return delivery.figures()


def story(events):
    """(SLO, sequence, number in the reason) of a server's events, as they lie there."""
    payloads = [event["payload"] for event in events if event["source"] == "slo-budget-tracker"]
    return [(one["slo_name"], one["sequence"], one["reason"]) for one in payloads]


def expected(numbers, *, slo="shop"):
    """What `story` says of these events of one SLO."""
    return [(slo, number, f"number {number}") for number in numbers]


class Handler(BaseHTTPRequestHandler):
    """Answers like an audit stream, unless a trouble says otherwise."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """Events by source, by kind and by number, the chain."""
        self.server.count("GET", self.path, self.headers)
        parts = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        trouble = self.server.trouble_of("GET", self.path, None)
        if trouble is not None:
            trouble(self)
        elif parts.path == "/events" and "kind" in query and query["kind"] not in self.server.kinds:
            self.answer(422, {"detail": [{"type": "literal_error", "loc": ["query", "kind"]}]})
        elif parts.path == "/events":
            found = [one for one in self.server.events if one["source"] == query.get("source", one["source"])]
            self.answer(200, found[-int(query.get("limit", "1000")) :])
        elif parts.path.startswith("/events/"):
            number = int(parts.path.rpartition("/")[2])
            found = [one for one in self.server.events if one["event_id"] == number]
            self.answer(200, found[0]) if found else self.answer(
                404, {"detail": f"unknown event_id: {number}"}
            )
        elif parts.path == "/stats":
            self.answer(200, {"last_event_id": len(self.server.events)})
        else:
            self.answer(200, {"valid": True, "checked": len(self.server.events), "reason": None})

    def do_POST(self):
        """Store an event."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.count("POST", self.path, self.headers, body)
        trouble = self.server.trouble_of("POST", self.path, body)
        if trouble is not None:
            trouble(self, body)
        else:
            self.take(body)

    def take(self, body):
        """The honest answer to a POST."""
        if body["kind"] not in self.server.kinds:
            self.answer(422, {"detail": [{"type": "literal_error", "loc": ["body", "kind"], "msg": "no"}]})
        else:
            self.answer(201, self.server.store(body))

    def answer(self, status, document=None, *, headers=(), body=None):
        """Send an answer."""
        content = json.dumps(document).encode() if body is None else body
        with suppress(OSError):
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            if self.server.closing:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_):
        """Be silent."""


class FakeAuditStream(ThreadingHTTPServer):
    """An audit stream in this process; `troubles` are tried before the honest answer, `None` when it is over.

    A trouble is a pair of a method and a function of the handler (and the body, for a POST).
    """

    daemon_threads = True

    def __init__(self, *troubles, kinds=("other",), closing=False):
        super().__init__(("127.0.0.1", 0), Handler)
        self.troubles = list(troubles)
        self.kinds = set(kinds)
        self.closing = closing
        self.events: list[dict] = []
        self.asked: list[tuple] = []
        self.lock = threading.Lock()

    @property
    def url(self):
        """Base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def count(self, method, path, headers, body=None):
        """Note what was asked."""
        with self.lock:
            self.asked.append((method, path, dict(headers), body, time.monotonic()))

    def trouble_of(self, method, path, body):
        """The next trouble for a request, if there is one for its method."""
        with self.lock:
            for place, (wanted, trouble) in enumerate(self.troubles):
                if wanted == method:
                    del self.troubles[place]
                    return trouble
        return None

    def store(self, body):
        """Put an event at the end of the chain."""
        with self.lock:
            before = self.events[-1]["hash"] if self.events else GENESIS
            event = {"event_id": len(self.events) + 1, "prev_hash": before, **body}
            event["hash"] = hashlib.sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()
            self.events.append(event)
            return event

    def posts(self):
        """The bodies of all POSTs, in order."""
        return [body for method, _, _, body, _ in self.asked if method == "POST"]

    def handle_error(self, *_):
        """A client that went away is no error of the server."""


class NearAuditStream:
    """The real audit stream on a thread of this process: starts at once, forgets when it is restarted."""

    def __init__(self):
        self.port = free_port()
        self._server = self._thread = None

    @property
    def url(self):
        """Base URL."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        config = uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="critical", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_for(lambda: self._server.started, what="the audit stream")
        return self

    def __exit__(self, *_):
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(PATIENCE)

    def restart(self):
        """Lose everything."""
        self.__exit__()
        self.__enter__()

    def get(self, path, **params):
        """A plain GET."""
        return httpx.get(self.url + path, params=params, timeout=PATIENCE, trust_env=False)
