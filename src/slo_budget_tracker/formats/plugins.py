"""Sloth's common SLI plugins, by name and options, as the counters they read.

Each is a ratio of counters whose names the plugin's documentation gives; plugins that ask for anything else
are refused by name. https://github.com/slok/sloth-common-sli-plugins
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slo_budget_tracker.formats import shapes
from slo_budget_tracker.selectors import parse_selector, quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slo_budget_tracker.documents import Node, Scalar
    from slo_budget_tracker.formats.drafts import Draft
    from slo_budget_tracker.selectors import Selector

_PREFIX = "sloth-common/"
_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}


@dataclass(frozen=True, slots=True)
class Plugin:
    """A ratio of two selectors of one metric, or of a bucket and the count of a histogram.

    Attributes:
        total: the counter of all events; of a histogram the base name.
        bad: matchers of the failures, or the name of another counter; nothing for a latency.
        always: matchers of both.
        required: options that must be given; `bucket` is one for latencies.
        options: matchers by the option that gives their value.
        errors_out: the matcher that the option `exclude_errors` adds.
        code: the option that replaces the pattern of bad codes.
    """

    total: str
    bad: str = ""
    always: str = ""
    required: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    errors_out: str = ""
    code: str = ""

    @property
    def latency(self) -> bool:
        """Whether events are told apart by a bucket."""
        return not self.bad


_CODES = 'code=~"(5..|429)"'
_NO_ERRORS = 'code!~"5.."'
_KOOPER = (("controller", "controller="),)
_ISTIO = (("service", "destination_service_name="), ("namespace", "destination_service_namespace="))
PLUGINS: Mapping[str, Plugin] = {
    "coredns/availability": Plugin(
        "coredns_dns_responses_total", 'rcode=~"SERVFAIL"', code="custom_rcode_regex"
    ),
    "coredns/latency": Plugin("coredns_dns_request_duration_seconds", required=("bucket",)),
    "haproxy/frontend/availability": Plugin("haproxy_frontend_http_responses_total", 'code="5xx"'),
    "istio/v1/availability": Plugin(
        "istio_requests_total",
        'response_code=~"(5..|429)"',
        required=("service", "namespace"),
        options=_ISTIO,
    ),
    "istio/v1/latency": Plugin(
        "istio_request_duration_milliseconds",
        required=("bucket", "service", "namespace"),
        options=_ISTIO,
        errors_out=_NO_ERRORS,
    ),
    "kubernetes/apiserver/availability": Plugin("apiserver_request_total", _CODES),
    "kubernetes/apiserver/latency": Plugin(
        "apiserver_request_duration_seconds", always='verb!="WATCH"', required=("bucket",)
    ),
    "kubernetes/kooper/latency": Plugin(
        "kooper_controller_processed_event_duration_seconds",
        required=("bucket", "controller"),
        options=_KOOPER,
    ),
    "kubernetes/kooper/queue-congestion": Plugin(
        "kooper_controller_event_in_queue_duration_seconds",
        required=("bucket", "controller"),
        options=_KOOPER,
    ),
    "kubernetes/nginx-ingress/availability": Plugin(
        "nginx_ingress_controller_requests", 'status=~"(5..|429)"'
    ),
    "prometheus/rules/eval-availability": Plugin(
        "prometheus_rule_evaluations_total", "prometheus_rule_evaluation_failures_total"
    ),
    "slok-go-http-metrics/availability": Plugin(
        "http_request_duration_seconds_count", _CODES, required=("filter",)
    ),
    "slok-go-http-metrics/latency": Plugin(
        "http_request_duration_seconds", required=("bucket", "filter"), errors_out=_NO_ERRORS
    ),
    "traefik/v1/availability": Plugin(
        "traefik_backend_requests_total",
        _CODES,
        required=("backend_regex",),
        options=(("backend_regex", "backend=~"),),
    ),
    "traefik/v1/latency": Plugin(
        "traefik_backend_request_duration_seconds",
        required=("bucket", "backend_regex"),
        options=(("backend_regex", "backend=~"),),
        errors_out=_NO_ERRORS,
    ),
    "traefik/v2/availability": Plugin(
        "traefik_service_requests_total",
        'code=~"(5..)"',
        required=("service_name_regex",),
        options=(("service_name_regex", "service=~"),),
    ),
    "traefik/v2/latency": Plugin(
        "traefik_service_request_duration_seconds",
        required=("bucket", "service_name_regex"),
        options=(("service_name_regex", "service=~"),),
        errors_out=_NO_ERRORS,
    ),
}
_METRIC = re.compile(r"[a-z_]+_total")


def read_plugin(draft: Draft, node: Node) -> Node | None:
    """The native `sli:` of `plugin: {id, options}`; None with a fault where it cannot be told."""
    keys = ("id", "ID", "options")
    found = draft.mapping(node, keys)
    name = draft.text(found.get("id", found.get("ID")))
    if name is None:
        draft.refuse(node, "no `id`", "the name of a plugin")
        return None
    plugin = PLUGINS.get(name.text.removeprefix(_PREFIX)) if name.text.startswith(_PREFIX) else None
    if plugin is None:
        suggestion = "write its query out under `events`"
        draft.refuse(name, f"the plugin {quote(name.text)}, not supported in this version", "", suggestion)
        return None
    known = {*plugin.required, *(key for key, _ in plugin.options), "filter"}
    known |= {"exclude_errors"} if plugin.errors_out else set()
    known |= {plugin.code} if plugin.code else set()
    options = draft.mapping(found.get("options"), sorted(known))
    given = {key: value for key in options if (value := draft.text(options[key])) is not None}
    missing = [key for key in plugin.required if not given.get(key, name).text or key not in given]
    for key in missing:
        draft.refuse(node, f"no option `{key}`", f"`{key}:`", path="options")
    return None if missing else _sli(draft, node, plugin, given)


def _sli(draft: Draft, node: Node, plugin: Plugin, given: Mapping[str, Scalar]) -> Node | None:
    matchers = [
        one for one in (given["filter"].text.strip("{},") if "filter" in given else "", plugin.always) if one
    ]
    matchers += [f"{matcher}{quote(given[key].text)}" for key, matcher in plugin.options if key in given]
    if _wanted(draft, given.get("exclude_errors")):
        matchers.append(plugin.errors_out)
    if plugin.latency:
        buckets = _selector(
            draft, node, f"{plugin.total}_bucket", [*matchers, f"le={quote(given['bucket'].text)}"]
        )
        total = _selector(draft, node, f"{plugin.total}_count", matchers)
        return _ratio(node, buckets, total, good=True)
    if _METRIC.fullmatch(plugin.bad):
        bad = _selector(draft, node, plugin.bad, matchers)
    else:
        code = given.get(plugin.code)
        pattern = plugin.bad if code is None else f"{plugin.bad.partition('=')[0]}=~{quote(code.text)}"
        bad = _selector(draft, node, plugin.total, [*matchers, pattern])
    return _ratio(node, bad, _selector(draft, node, plugin.total, matchers), good=False)


def _ratio(node: Node, part: Selector | None, total: Selector | None, *, good: bool) -> Node | None:
    if part is None or total is None:
        return None
    return shapes.selected(node, part=part, total=total, good=good, places=(node, node))


def _selector(draft: Draft, node: Node, metric: str, matchers: list[str]) -> Selector | None:
    text = f"{metric}{{{','.join(matchers)}}}"
    try:
        return parse_selector(text)
    except ValueError as error:
        draft.refuse(
            node, f"{text}: {error}", 'a filter such as job="shop",env="prod"', path="options.filter"
        )
        return None


def _wanted(draft: Draft, value: Scalar | None) -> bool:
    if value is None:
        return False
    if value.text not in _TRUE | _FALSE:
        draft.refuse(value, quote(value.text), "true or false")
    return value.text in _TRUE
