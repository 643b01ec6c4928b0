"""Presets against the real things: every selector finds series of the real exposition, and only the right ones."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from concurrent import futures

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from slo_budget_tracker import presets
from slo_budget_tracker.errors import SpecError
from slo_budget_tracker.filesets import Source
from slo_budget_tracker.formats.texts import values_text
from slo_budget_tracker.queries import bound_spellings
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specfiles import catalogue_of, understand_texts
from tests.servers import free_port


def sli(**preset):
    """The SLI of an SLO file with a preset."""
    text = values_text([{"slos": [{"name": "a", "target": "99%", "sli": {"preset": preset}}]}])
    return catalogue_of(understand_texts([Source("a.yaml", text)])).slos[0].sli


def samples(exposition):
    """All samples of an exposition as they are written: labels with the name, and the value."""
    found = []
    for line in exposition.splitlines():
        if line and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            one = parse_selector(series)
            found.append(({"__name__": one.metric, **{m.label: m.value for m in one.matchers}}, float(value)))
    return found


def counted(exposition, selectors):
    """The sum over all series that selectors find; None when there are none."""
    found = [
        value
        for labels, value in samples(exposition)
        for selector in selectors
        if labels["__name__"] == selector.metric and selector.matches(labels)
    ]
    return sum(found) if found else None


def fast(exposition, latency):
    """Requests of the histogram in the bucket, and all."""
    metric = latency.histogram.metric
    spellings = bound_spellings(latency.threshold)
    good = [
        value
        for labels, value in samples(exposition)
        if labels["__name__"] == f"{metric}_bucket"
        and labels["le"] in spellings
        and latency.histogram.matches(without(labels))
    ]
    total = [
        value
        for labels, value in samples(exposition)
        if labels["__name__"] == f"{metric}_count" and latency.histogram.matches(without(labels))
    ]
    return sum(good) if good else None, sum(total)


def without(labels):
    """The labels without the name of the series."""
    return {name: value for name, value in labels.items() if name != "__name__"}


def visited(app, *paths):
    """The exposition of an ASGI application after some requests."""

    async def visit():
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            for path in paths:
                await client.get(path)
            return (await client.get("/metrics")).text

    return asyncio.run(visit())


@pytest.mark.filterwarnings("ignore")
def test_fastapi_instrumentator_has_what_the_preset_reads():
    """prometheus-fastapi-instrumentator: two requests, one failed, as counters and as latency; one handler alone."""
    fastapi = pytest.importorskip("fastapi")
    instrumentator = pytest.importorskip("prometheus_fastapi_instrumentator")
    app = fastapi.FastAPI()
    app.get("/ok")(lambda: 1)

    @app.get("/bad")
    def bad():
        raise ValueError

    registry = CollectorRegistry()
    instrumentator.Instrumentator(registry=registry).instrument(app).expose(app)
    exposition = visited(app, "/ok", "/bad")
    requests = sli(name="prometheus-fastapi-instrumentator")
    assert (2, 1) == (counted(exposition, requests.total), counted(exposition, requests.bad))
    one = sli(name="prometheus-fastapi-instrumentator", handler="/ok")
    assert (1, None) == (counted(exposition, one.total), counted(exposition, one.bad))
    assert (2, 2) == fast(exposition, sli(name="prometheus-fastapi-instrumentator", threshold="1s"))


@pytest.mark.filterwarnings("ignore")
def test_starlette_exporter_has_what_the_preset_reads():
    """starlette-exporter: requests of one app by its name, failures by status, the latency of both."""
    exporter = pytest.importorskip("starlette_exporter")

    def bad(_):
        raise ValueError

    app = Starlette(routes=[Route("/ok", lambda _: PlainTextResponse("")), Route("/bad", bad)])
    app.add_middleware(exporter.PrometheusMiddleware, app_name="preset-shop")
    app.add_route("/metrics", exporter.handle_metrics)
    exposition = visited(app, "/ok", "/ok", "/bad")
    requests = sli(name="starlette-exporter", app="preset-shop")
    assert (3, 1) == (counted(exposition, requests.total), counted(exposition, requests.bad))
    other = sli(name="starlette-exporter", app="other")
    assert (None, None) == (counted(exposition, other.total), counted(exposition, other.bad))
    assert (3, 3) == fast(exposition, sli(name="starlette-exporter", app="preset-shop", threshold="10s"))


def test_the_examples_of_prometheus_client_have_what_the_preset_reads():
    """prometheus_client's documentation: my_failures beside request_latency_seconds."""
    registry = CollectorRegistry()
    latency = Histogram("request_latency_seconds", "Description of histogram", registry=registry)
    failures = Counter("my_failures", "Description of counter", registry=registry)
    for seconds in (0.1, 4.7, 0.2):
        latency.observe(seconds)
    failures.inc()
    exposition = generate_latest(registry).decode()
    requests = sli(name="prometheus-client")
    assert (3, 1) == (counted(exposition, requests.total), counted(exposition, requests.bad))
    assert (2, 3) == fast(exposition, sli(name="prometheus-client", threshold="250ms"))


@pytest.mark.filterwarnings("ignore")
def test_grpc_servers_have_what_the_preset_reads():
    """py-grpc-prometheus: three calls, one of them INTERNAL and one the client's own fault."""
    grpc = pytest.importorskip("grpc")
    interceptors = pytest.importorskip("py_grpc_prometheus.prometheus_server_interceptor")
    registry = CollectorRegistry()
    interceptor = interceptors.PromServerInterceptor(enable_handling_time_histogram=True, registry=registry)
    server = grpc.server(futures.ThreadPoolExecutor(2), interceptors=(interceptor,))
    codes = {"Buy": None, "Fail": grpc.StatusCode.INTERNAL, "Wrong": grpc.StatusCode.INVALID_ARGUMENT}

    def handler(code):
        return lambda request, context: request if code is None else context.abort(code, "")

    handlers = {name: grpc.unary_unary_rpc_method_handler(handler(code)) for name, code in codes.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Shop", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        told = []
        for name in codes:
            call = channel.unary_unary(f"/shop.Shop/{name}").future(b"x", wait_for_ready=True)
            told.append(call.code())
    server.stop(0).wait()
    assert [grpc.StatusCode.OK, *list(codes.values())[1:]] == told
    exposition = generate_latest(registry).decode()
    requests = sli(name="grpc", service="shop.Shop")
    assert (3, 1) == (counted(exposition, requests.total), counted(exposition, requests.bad))
    assert (3, 3) == fast(exposition, sli(name="grpc", threshold="10s"))


def binary(name):
    """A server of Debian's, on the path."""
    return shutil.which(name)


def scraped(arguments, url, *, sure=lambda text: True):
    """What a server that is started serves at a URL, once it says what is waited for."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                text = httpx.get(url, timeout=5).text
                if sure(text) or time.monotonic() > end:
                    return text
            except httpx.TransportError:
                assert time.monotonic() < end, f"{arguments[0]} does not answer"
            time.sleep(0.05)
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.exporters
def test_blackbox_exporter_has_what_the_preset_reads(tmp_path):
    """The blackbox exporter of Debian: a probe of a closed port is one series with 0."""
    config = tmp_path / "blackbox.yml"
    config.write_text("modules: {tcp: {prober: tcp, timeout: 1s}}\n")
    port = free_port()
    exposition = scraped(
        [
            binary("prometheus-blackbox-exporter"),
            f"--config.file={config}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        f"http://127.0.0.1:{port}/probe?module=tcp&target=127.0.0.1:1",
    )
    assert 0 == counted(exposition, sli(name="blackbox-exporter").up)


@pytest.mark.exporters
def test_haproxy_has_what_the_preset_reads(tmp_path):
    """HAProxy of Debian: responses of one frontend by class, here one 503 for want of a backend."""
    stats, front = free_port(), free_port()
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        "defaults\n  mode http\n  timeout connect 1s\n  timeout client 5s\n  timeout server 5s\n"
        f"frontend stats\n  bind 127.0.0.1:{stats}\n"
        "  http-request use-service prometheus-exporter if { path /metrics }\n"
        f"frontend shop\n  bind 127.0.0.1:{front}\n"
    )
    server = binary("haproxy")
    asked = []

    def sure(text):
        if not asked:
            asked.append(httpx.get(f"http://127.0.0.1:{front}/", timeout=5).status_code)
            return False
        return counted(text, sli(name="haproxy", frontend="shop").bad) == 1

    exposition = scraped([server, "-db", "-f", str(config)], f"http://127.0.0.1:{stats}/metrics", sure=sure)
    requests = sli(name="haproxy", frontend="shop")
    assert ([503], 1, 1) == (asked, counted(exposition, requests.total), counted(exposition, requests.bad))


@pytest.mark.exporters
def test_nginx_exporter_has_what_the_preset_reads():
    """The nginx exporter of Debian in front of a status page: connections accepted and handled."""
    status = "Active connections: 1 \nserver accepts handled requests\n 8 7 31 \nReading: 0 Writing: 1 Waiting: 0 \n"
    port, page = free_port(), free_port()
    code = (
        "import http.server as h\n"
        "class P(h.BaseHTTPRequestHandler):\n"
        " def do_GET(s):\n"
        f"  b = {status!r}.encode(); s.send_response(200); s.send_header('Content-Length', str(len(b)))\n"
        "  s.end_headers(); s.wfile.write(b)\n"
        f"h.HTTPServer(('127.0.0.1', {page}), P).serve_forever()"
    )
    exporter = binary("prometheus-nginx-exporter")
    nginx = subprocess.Popen(["python3", "-c", code], stderr=subprocess.DEVNULL)
    try:
        scrape = f"-nginx.scrape-uri=http://127.0.0.1:{page}/stub_status"
        exposition = scraped(
            [exporter, f"-web.listen-address=127.0.0.1:{port}", scrape, "-nginx.retries=50"],
            f"http://127.0.0.1:{port}/metrics",
            sure=lambda text: "nginx_connections_accepted" in text,
        )
    finally:
        nginx.terminate()
        nginx.wait(30)
    requests = sli(name="nginx-exporter")
    assert (8, 7) == (counted(exposition, requests.total), counted(exposition, requests.good))


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_is_read(name):
    """Each file of the package is a preset with a title, a page that documents its metrics, and an SLI."""
    preset = presets.preset(name)
    assert preset.title
    assert preset.documentation.startswith("https://")
    assert sli(name=name, job="shop").kind in {"requests", "probe"}
    if preset.latency is not None:
        assert "latency" == sli(name=name, threshold="1s").kind


def test_wrong_presets_are_refused_by_name():
    """An unknown preset, option or threshold is named with those that exist."""

    def refused(**preset):
        with pytest.raises(SpecError) as caught:
            sli(**preset)
        return str(caught.value.faults[0]).partition("sli.preset")[2]

    assert refused(name="starlette-exporte").endswith("did you mean starlette-exporter?")
    assert refused(name="haproxy", threshold="1s").startswith(
        ': the unknown key "threshold", expected one of name, '
    )
    assert refused(app="shop").startswith(
        ": no `name`, expected `name:` and one of blackbox-exporter, coredns,"
    )
