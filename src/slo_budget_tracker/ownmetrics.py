"""Own metrics: what the daemon says about itself, `slo_budget_tracker_*`, as lines of an exposition."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from slo_budget_tracker.exposition import (
    Family,
    block,
    braced,
    foreign,
    label,
    labels,
    sample,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slo_budget_tracker.figures import OwnFigures


def own_lines(own: OwnFigures) -> Iterator[str]:
    """The daemon's own metrics."""
    yield _one("build_info", "gauge", "The daemon's version; always 1.", {(("version", own.version),): 1})
    yield _one(
        "datasource_info",
        "gauge",
        "What answers under each datasource; always 1.",
        {(("datasource", name), ("flavor", flavor)): 1 for name, flavor in own.prometheus_flavors.items()},
    )
    yield _one("slos", "gauge", "SLOs being evaluated.", own.slos)
    shard: dict[tuple[tuple[str, str], ...], float] = {}
    if own.shard is not None:
        shard[("of", str(own.shard[1])), ("shard", str(own.shard[0]))] = 1
    yield _one("shard_info", "gauge", "Which of how many shards this daemon is; always 1.", shard)
    yield _one(
        "shard_slos_waiting",
        "gauge",
        "SLOs of this shard that another one still evaluates.",
        own.shard_waiting,
    )
    yield _one("ticks_total", "counter", "Ticks of all SLOs by final outcome.", _by("outcome", own.ticks))
    yield _durations(own)
    yield _one(
        "last_tick_timestamp_seconds",
        "gauge",
        "When the last tick was committed, wall clock.",
        own.last_tick_at,
    )
    yield _one("ticks_missed_total", "counter", "Ticks that were not evaluated in time.", own.ticks_missed)
    yield _one(
        "ticks_revised_total", "counter", "Ticks of all SLOs that late data corrected.", own.ticks_revised
    )
    yield _one(
        "prometheus_requests_total",
        "counter",
        "Requests to Prometheus by outcome.",
        {(("datasource", where), ("outcome", word)): n for (where, word), n in own.requests.items()},
    )
    yield _one(
        "samples_read_total",
        "counter",
        "Samples in Prometheus' answers.",
        _by("datasource", own.samples_read),
    )
    yield from _servers(own)
    yield _one(
        "series_remembered",
        "gauge",
        "Series with a remembered last sample; those that are gone are remembered for a day.",
        own.series_remembered,
    )
    yield _one(
        "counting_doubts_total",
        "counter",
        "Increases left out because they may be no events.",
        _by("kind", own.doubts),
    )
    yield _one(
        "values_clamped_total",
        "counter",
        "Ticks in which good or bad exceeded the total and was cut to it.",
        _by("slo", own.clamped),
    )
    yield _one(
        "groups_limited_total",
        "counter",
        "Ticks without groups because there were more than max_groups.",
        _by("slo", own.groups_limited),
    )
    yield _one("backfill_pending_ticks", "gauge", "Ticks still to be fetched.", own.backfill_pending)
    yield _one("outbox_pending", "gauge", "Events not yet delivered.", own.outbox_pending)
    yield _one(
        "outbox_oldest_timestamp_seconds",
        "gauge",
        "When the oldest undelivered event arose.",
        own.outbox_oldest_at,
    )
    yield _one(
        "deliveries_total",
        "counter",
        "Deliveries to the audit stream by outcome.",
        _by("outcome", own.deliveries),
    )
    yield _one("receipts_lost_total", "counter", "Events the audit stream no longer has.", own.receipts_lost)
    yield _one(
        "receipt_mismatches_total",
        "counter",
        "Events that the audit stream shows otherwise than it confirmed them.",
        own.receipt_mismatches,
    )
    yield _one(
        "audit_target_ok",
        "gauge",
        "Whether the audit stream did what it should when last asked.",
        own.audit_target_ok,
    )
    yield _one("quarantined", "gauge", "Events the audit stream refuses for good.", own.quarantined)
    yield _one("store_errors_total", "counter", "Failed reads and writes of the ledger.", own.store_errors)
    yield _one("leader", "gauge", "Whether this daemon leads: evaluates and sends events.", own.leader)
    yield _one("lease_term", "gauge", "How often the lease of the ledger was taken.", own.lease_term)
    yield _one("clock_jumps_total", "counter", "Jumps of the wall clock.", _by("direction", own.clock_jumps))
    yield _one(
        "config_last_reload_successful",
        "gauge",
        "Whether the last load of the files succeeded.",
        own.reload_successful,
    )
    yield _one(
        "config_last_reload_success_timestamp_seconds", "gauge", "When files were last loaded.", own.reload_at
    )
    yield from _web(own)
    yield _one(
        "log_lines_dropped_total", "counter", "Log lines that nobody took in time.", own.log_lines_dropped
    )
    yield _one("ledger_size_bytes", "gauge", "Size of the ledger on disk.", own.ledger_bytes)
    yield _one("ledger_rows", "gauge", "Rows of counts in the ledger.", own.ledger_rows)
    yield _one(
        "store_info",
        "gauge",
        "The database library under the ledger; always 1.",
        {(("engine", own.store_engine), ("version", own.store_version)): 1} if own.store_engine else {},
    )
    yield from map(foreign, own.process)


def _servers(own: OwnFigures) -> Iterator[str]:
    """How each datasource is, seen from here; absent until it was asked."""
    for name, sentence, values in (
        ("up", "Whether the last request was answered at all.", own.prometheus_up),
        ("auth_ok", "Whether the credentials were accepted.", own.prometheus_auth_ok),
        ("clock_skew_seconds", "The server's clock minus ours, by its Date header.", own.clock_skew),
        (
            "history_seconds",
            "How far back the server's history reaches, up to the longest SLO window.",
            own.upstream_history,
        ),
        (
            "certificate_expiry_timestamp_seconds",
            "When the server's certificate expires.",
            own.certificate_expires_at,
        ),
    ):
        yield _one(f"prometheus_{name}", "gauge", sentence, _by("datasource", values))


def _web(own: OwnFigures) -> Iterator[str]:
    """How what listens is protected; absent where there is nothing to load."""
    yield _one(
        "web_config_last_load_successful",
        "gauge",
        "Whether certificates and web configuration file could be used when they last changed.",
        own.web_config_ok,
    )
    yield _one(
        "web_config_failures_total",
        "counter",
        "Changes of certificates or web configuration file that were refused.",
        own.web_config_failures,
    )
    yield _one(
        "web_certificate_expiry_timestamp_seconds",
        "gauge",
        "When the certificate that is shown to clients expires.",
        own.web_certificate_expires_at,
    )
    yield _one(
        "web_refused_total",
        "counter",
        "Connections and requests that were not let in.",
        _by("reason", own.web_refused),
    )


def _by(name: str, counts: Mapping[str, float]) -> dict[tuple[tuple[str, str], ...], float]:
    """Counts by one label's values, keyed by label pairs."""
    return {((name, value),): count for value, count in counts.items()}


def _one(
    name: str, kind: str, sentence: str, values: Mapping[tuple[tuple[str, str], ...], float] | float | None
) -> str:
    """One of the daemon's families, with one value or with one per label set."""
    name = f"slo_budget_tracker_{name}"
    by_labels = {(): values} if values is None or isinstance(values, int | float) else values
    return block(
        Family(name, kind, sentence),
        (sample(name, braced(labels(dict(pairs))), value) for pairs, value in sorted(by_labels.items())),
    )


def _durations(own: OwnFigures) -> str:
    """The histogram of tick durations."""
    family = Family(
        "slo_budget_tracker_tick_duration_seconds", "histogram", "Seconds from a tick's start to its commit."
    )
    durations = own.tick_durations
    bounds = [*map(str, durations.bounds), "+Inf"]
    counts = list(accumulate(durations.counts))
    buckets = [
        sample(f"{family.name}_bucket", braced([label("le", bound)]), count)
        for bound, count in zip(bounds, counts, strict=True)
    ]
    count_and_sum = [
        sample(f"{family.name}_count", "", counts[-1]),
        sample(f"{family.name}_sum", "", durations.sum),
    ]
    return block(family, [*buckets, *count_and_sum])
