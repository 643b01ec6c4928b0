"""Old history in few requests: the events of a step without any memory, as one expression per slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.histograms import ALL, LE, identity
from slo_budget_tracker.selectors import Selector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slo_budget_tracker.feeds import Histogram, RawFeed, Slot

DAY = "1d"
HOUR = "1h"  # how far back the last count of a native histogram is looked for: each is computed
FINE = 10  # of them in a step


class Form(NamedTuple):
    """A counter in PromQL: its last value in a step, the one before, and the highest."""

    now: str
    before: str
    highest: str


def fill_expression(feed: RawFeed, slot: Slot, step: int, *, native: bool = True) -> str:
    """Events of one slot in the last `step` seconds without any memory: old history in few requests.

    Of each series: the difference to its last value within a day; after a fall, what came before the fall and
    the new value; of a new series everything, where its target was up before under the same labels or its
    process has only just started; else nothing. Where it differs from raw samples it counts less.
    `step` is best at about 10 scrapes. `native` says whether there are native histograms at all.
    """
    selectors = list(dict.fromkeys(selector for member, selector in feed.members if member == slot))
    if feed.gauge:
        each = " or ".join(_sampled(selector, step, failed=slot.role == "bad") for selector in selectors)
    elif feed.histogram is not None and feed.histogram.native and native:
        each = _of_histogram(feed.histogram, selectors, step, feed.replica_label)
    else:
        forms = (_fill_form(one, _counter(one, step), step, feed.replica_label) for one in selectors)
        each = " or ".join(f"({form})" for form in forms)
    if feed.replica_label is not None:
        each = f"max without ({feed.replica_label}) ({each})"
    by = feed.group_labels(slot.slo)
    return f"sum by ({', '.join(by)}) ({each})" if by else f"sum({each})"


def presence(feed: RawFeed, seconds: int) -> tuple[str, ...]:
    """What tells whether there were native histograms in the last `seconds`; nothing where that is sure."""
    if feed.histogram is None or not (feed.histogram.classic and feed.histogram.native):
        return ()
    selectors = dict.fromkeys(_base(feed.histogram, selector) for _, selector in feed.members)
    return tuple(f"count(count_over_time({one}[{seconds}s]))" for one in selectors)


def _of_histogram(
    histogram: Histogram, selectors: Sequence[Selector], step: int, replica_label: str | None
) -> str:
    """Classic buckets where they are, native histograms elsewhere; none is new where the other one was."""
    base = _base(histogram, selectors[0])
    was_there = [f"count_over_time({base}[{DAY}] offset {step}s)"]
    classic = ""
    if histogram.classic:
        was_there += [f"count_over_time({one}[{DAY}] offset {step}s)" for one in selectors]
        forms = (_fill_form(one, _counter(one, step), step, replica_label, was_there) for one in selectors)
        classic = " or ".join(f"({form})" for form in forms)
    form = _native(base, selectors[0], step)
    native = _fill_form(base, form, step, replica_label, was_there)
    return f"sum without ({LE}) ({classic}) or ({native})" if classic else f"({native})"


def _sampled(selector: Selector, step: int, *, failed: bool) -> str:
    """The samples of a step, or those that are 0; its left edge is left out (Prometheus 2)."""
    span = f"{selector}[{step * 1000 - 1}ms]"
    return f"(count_over_time({span}) - sum_over_time({span}))" if failed else f"(count_over_time({span}))"


def _fill_form(
    selector: Selector, form: Form, step: int, replica_label: str | None, was_there: Sequence[str] = ()
) -> str:
    now, before, highest = form
    target = tuple(m for m in selector.matchers if m.label in ("job", "instance"))
    scraped = f"last_over_time({Selector('up', target)}[{step}s])"
    alike = scraped if replica_label is None else f"count without ({replica_label}) ({scraped})"
    # All labels of `up` must have been there before: a label added to a running target renames its series,
    # and their counters do not begin at 0. While both names are in the step, nobody can tell them apart.
    known = f"(max_over_time({Selector('up', target)}[{DAY}] offset {step}s) == 1) and {scraped}"
    renamed = f"count by (job, instance) ({alike}) > 1"
    started = f"last_over_time({Selector('process_start_time_seconds', target)}[{step}s])"
    old = "".join(f" unless ignoring ({LE}) ({one})" for one in was_there)
    return (
        f"({now} - {before} >= 0)"
        f" or ({now} + clamp_min({highest} - {before}, 0))"
        f" or ({now} and on (job, instance) ({known}) unless on (job, instance) ({renamed}){old})"
        f" or ({now} and on (job, instance) ({started} >= time() - {step * 6 // 5}))"
        f" or ({now} * 0)"
    )


def _counter(selector: Selector, step: int) -> Form:
    return Form(
        f"last_over_time({selector}[{step}s])",
        f"last_over_time({selector}[{DAY}] offset {step}s)",
        f"max_over_time({selector}[{step}s])",
    )


def _base(histogram: Histogram, bucket: Selector) -> Selector:
    return Selector(histogram.base, tuple(m for m in bucket.matchers if m.label != LE))


def _native(base: Selector, bucket: Selector, step: int) -> Form:
    """The counts of native histograms at the bound of a classic bucket.

    Numbers first, then what they were when: Prometheus 2.42 takes last_over_time() of a histogram for 0.
    """
    bound = identity(next(m.value for m in bucket.matchers if m.label == LE))
    whole = f"histogram_count({base})"
    at_bound = f"round(histogram_fraction(-Inf, {bound}, {base}) * {whole})"
    value = whole if bound == ALL else f"({at_bound} >= 0 or {whole} * 0)"  # 0/0 where nothing was observed
    fine = max(step // FINE, 1)
    return Form(
        f"last_over_time({value}[{step}s:{fine}s])",
        f"last_over_time({value}[{HOUR}:{fine}s] offset {step}s)",
        f"max_over_time({value}[{step}s:{fine}s])",
    )
