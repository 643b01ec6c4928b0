"""Fakes of Mimir, Thanos and the VictoriaMetrics cluster: their doors, tenants, limits and ways to fail.

What they say is what they really say: Mimir's runbooks and issues 4518 and 6415, Thanos' query API (`warnings`,
issue 6223), VictoriaMetrics' cluster documentation (`isPartial`) and issue 1148.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from slo_budget_tracker.answers import Query, RangeQuery

TOO_MANY_CHUNKS = (
    "the query exceeded the maximum number of chunks (limit: 2000000 chunks) (err-mimir-max-chunks-per-query). "
    "Consider reducing the time range and/or number of series selected by the query."
)
NO_STORAGE = (
    "error occured during search: cannot fetch query results from vmstorage nodes: cannot perform search on "
    "vmstorage 10.0.0.7:8401: cannot obtain connection from a pool: cannot dial 10.0.0.7:8401: dial tcp4 "
    "10.0.0.7:8401: i/o timeout"
)
NO_STORE = (
    "expanding series: proxy Series(): rpc error: code = Aborted desc = No StoreAPIs matched for this query"
)
DEAD_STORE = (
    'receive series from Addr: 10.0.0.9:10901 LabelSets: {replica="a"} Mint: 0 Maxt: 1: rpc error: code = '
    "Unavailable desc = connection refused"
)


def refused(status, kind, text, **headers):
    """An error as the API has it."""
    return status, {"status": "error", "errorType": kind, "error": text}, headers


@dataclass
class Cluster:
    """One of them in front of servers in memory, one per tenant; `trouble` gives the next answers instead."""

    kind: str
    tenants: dict[str, object]
    trouble: tuple | dict | None = None  # (status, body, headers), or what is added to a good answer
    asked: list[dict[str, str]] = field(default_factory=list)  # the headers of each question

    PREFIX = {"mimir": "/prometheus", "thanos": "", "victoriametrics": "/select/0/prometheus"}  # noqa: RUF012
    BUILD = {  # noqa: RUF012
        "mimir": {"application": "Grafana Mimir", "version": "2.14.0"},
        "thanos": {"version": "0.36.1", "goVersion": "go1.22.5"},
        "victoriametrics": {"version": "2.24.0"},
    }

    def __enter__(self):
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                size = int(self.headers.get("Content-Length", 0))
                form = {key: one for key, (one, *_) in parse_qs(self.rfile.read(size).decode()).items()}
                status, body, headers = cluster.answer(self.path, form, self.headers)
                content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST  # noqa: N815 - as the base class wants it

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self):
        """Where it is asked."""
        return f"http://127.0.0.1:{self._server.server_port}{self.PREFIX[self.kind]}"

    def answer(self, path, form, headers):
        """Status, body and headers."""
        self.asked.append(dict(headers))
        if not path.startswith(f"{self.PREFIX[self.kind]}/api/v1/"):
            return 404, "404 page not found\n", {}
        tenants = [name for name in headers.get("X-Scope-OrgID", "").split("|") if name]
        if self.kind == "mimir" and not tenants:
            return 401, "no org id\n", {}
        if path.endswith("buildinfo"):
            return 200, {"status": "success", "data": self.BUILD[self.kind]}, {}
        if isinstance(self.trouble, tuple):
            return self.trouble
        if self.kind != "mimir":
            tenants = list(self.tenants)
        result = [
            {**one, "metric": {**one["metric"], **({"__tenant_id__": tenant} if len(tenants) > 1 else {})}}
            for tenant in tenants
            if tenant in self.tenants
            for one in self._result(self.tenants[tenant], path, form)
        ]
        kind = "matrix" if path.endswith("query_range") or form["query"].endswith("s]") else "vector"
        document = {"status": "success", "data": {"resultType": kind, "result": result}}
        return 200, document | (self.trouble or {}), {}

    def _result(self, server, path, form):
        def whole(name):
            return int(float(form[name]))

        if path.endswith("query_range"):
            asked = RangeQuery(form["query"], start=whole("start"), end=whole("end"), step=whole("step"))
            assert (asked.end - asked.start) // asked.step < 11_000
        else:
            asked = Query(form["query"], whole("time"))
        many = isinstance(asked, RangeQuery) or form["query"].endswith("s]")
        for one in server(asked).series:
            points = [
                [time / 1000, f"{value:.17g}"] for time, value in zip(one.times, one.values, strict=True)
            ]
            yield {"metric": dict(one.labels), **({"values": points} if many else {"value": points[-1]})}
