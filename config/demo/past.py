"""Some days of the shop's history as OpenMetrics text, as scrapes of its pods would have left them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from traffic import BUCKETS, HANDLERS, PODS, Handler, Incident, bucket_shares, crowd, incidents, strength

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

SCRAPE = 30  # seconds
DEPLOY = 13 * 3_600  # seconds between deploys that replace all pods


class Series(NamedTuple):
    """One series: labels, sample times in seconds, values."""

    labels: str
    times: NDArray[np.float64]
    values: NDArray[np.float64]


FAMILIES = {
    "up": "gauge",
    "process_start_time_seconds": "gauge",
    "http_requests": "counter",
    "http_request_duration_seconds": "histogram",
}


def write_history(path: Path, *, start: float, end: float) -> int:
    """Write the file; the number of samples."""
    families: dict[str, list[tuple[str, Series]]] = {name: [] for name in FAMILIES}
    known = incidents(start, end)
    rng = np.random.default_rng(11)
    for generation, born in enumerate(np.arange(start, end, DEPLOY)):
        for pod in range(PODS):
            name = f"shop-{generation:03d}-{pod}"
            for family, sample_name, series in _pod(
                name, born + 4 * pod, min(born + DEPLOY, end), known, rng
            ):
                families[family].append((sample_name, series))
    samples = 0
    with path.open("w") as out:
        for family, kind in FAMILIES.items():
            out.write(f"# TYPE {family} {kind}\n")
            for sample_name, (labels, times, values) in families[family]:
                head = f"{sample_name}{{{labels}}} "
                pairs = zip(values.tolist(), times.tolist(), strict=True)
                out.write("".join([f"{head}{value:.15g} {at:.3f}\n" for value, at in pairs]))
                samples += len(times)
        out.write("# EOF\n")
    return samples


def _pod(
    name: str, born: float, end: float, known: list[Incident], rng: np.random.Generator
) -> Iterator[tuple[str, str, Series]]:
    """Everything one pod left behind: (family, sample name, series)."""
    target = f'job="shop",instance="{name}"'
    times = np.arange(born + rng.uniform(1, SCRAPE), end, SCRAPE)
    spans = np.diff(times, prepend=born)
    yield "up", "up", Series(target, times, np.ones_like(times))
    started = Series(target, times, np.full_like(times, round(born, 2)))
    yield "process_start_time_seconds", "process_start_time_seconds", started
    for handler in HANDLERS:
        failing, slowness = strength(times, known, handler.path)
        expected = handler.per_second / PODS * crowd(times) * spans
        requests = rng.poisson(expected)
        labels = f'{target},handler="{handler.path}"'
        bad = rng.binomial(requests, np.minimum(handler.failing + failing, 1.0))
        refused = rng.binomial(requests - bad, handler.refused)
        for code, events in (("200", requests - bad - refused), ("404", refused), ("503", bad)):
            counted = np.cumsum(events)
            seen = counted > 0  # a label set is born with its first request
            yield (
                "http_requests",
                "http_requests_total",
                Series(f'{labels},code="{code}"', times[seen], counted[seen]),
            )
        if handler.median is not None:
            for sample_name, series in _latency(handler, labels, times, requests, slowness, rng=rng):
                yield "http_request_duration_seconds", sample_name, series


def _latency(
    handler: Handler,
    labels: str,
    times: NDArray[np.float64],
    requests: NDArray[np.int64],
    slowness: NDArray[np.float64],
    *,
    rng: np.random.Generator,
) -> Iterator[tuple[str, Series]]:
    """The classic histogram of one handler."""
    assert handler.median is not None
    counts = np.cumsum(rng.multinomial(requests, bucket_shares(handler.median, slowness)), axis=0)
    cumulative = np.cumsum(counts, axis=1)
    for column, bound in enumerate([*map(str, BUCKETS), "+Inf"]):
        series = Series(f'{labels},le="{bound}"', times, cumulative[:, column])
        yield "http_request_duration_seconds_bucket", series
    yield "http_request_duration_seconds_count", Series(labels, times, cumulative[:, -1])
    yield (
        "http_request_duration_seconds_sum",
        Series(labels, times, cumulative[:, -1] * handler.median * 1.15),
    )
