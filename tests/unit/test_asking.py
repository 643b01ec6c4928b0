"""What goes over the wire, seen at the client's HTTP door."""

from urllib.parse import parse_qs

import httpx
import respx

from slo_budget_tracker.prometheus import Prometheus
from slo_budget_tracker.queries import Query
from slo_budget_tracker.settings import PrometheusSettings

EMPTY = {"status": "success", "data": {"resultType": "matrix", "result": []}}


@respx.mock
def test_a_query_is_posted_at_its_instant_with_the_configured_headers():
    """The instant is pinned, tenants' headers go along, and the answer is what the server said."""
    route = respx.post("http://prometheus.test:9090/api/v1/query").mock(httpx.Response(200, json=EMPTY))
    client = Prometheus(
        PrometheusSettings(url="http://prometheus.test:9090", headers={"X-Scope-OrgID": "tenant"})
    )

    answer = client.ask(Query('up{job="x"}[60s]', 1_700_000_000), budget_seconds=2)

    request = route.calls.last.request
    form = parse_qs(request.content.decode())
    assert () == answer.series
    assert (['up{job="x"}[60s]'], ["1700000000"]) == (form["query"], form["time"])
    assert "tenant" == request.headers["X-Scope-OrgID"]
