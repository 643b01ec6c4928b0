"""Is a latency's threshold a bound of the buckets, classic or native, and what would be?"""

from __future__ import annotations

from decimal import Decimal

import pytest

from slo_budget_tracker.answers import Answer, Series
from slo_budget_tracker.doctor import Doctor
from slo_budget_tracker.histograms import cumulative
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specs import LatencySli
from slo_budget_tracker.thresholds import Finding, examine
from tests.unit.serving import availability
from tests.unit.test_doctor import vector
from tests.unit.test_histograms import exponential, sample

AT = 1_000_000
HALF = exponential(3, {-8: 5})


def latency(threshold, form="auto"):
    """A latency of requests."""
    return LatencySli(histogram=parse_selector('took{job="a"}'), threshold=Decimal(threshold), type=form)


def asking(*bounds, native=()):
    """A server that has these classic buckets, and these native histograms."""

    def ask(query):
        if "_bucket" in query.expression:
            return Answer(tuple(Series({"le": bound}, [AT], [1.0]) for bound in bounds))
        found = (one for histogram in native for one in cumulative([histogram], query.bounds))
        return Answer(tuple(Series({"le": one.name}, [AT], one.counts) for one in found))

    return ask


@pytest.mark.parametrize(
    ("sli", "ask", "expected"),
    [
        pytest.param(latency("0.3"), asking("0.3", "1", "+Inf", "odd"), Finding("classic"), id="a classic bucket"),
        pytest.param(
            latency("0.3"), asking("0.3", "+Inf", native=[HALF]),
            Finding("classic", "note", "native histograms are there too: the classic buckets are counted as long as they last"),
            id="both",
        ),
        pytest.param(
            latency("0.5"), asking("0.3", "+Inf", native=[HALF]),
            Finding("native", "note", "native histograms, 0.5s is a border of their buckets"), id="a native border",
        ),
        pytest.param(
            latency("0.3"), asking(native=[HALF, exponential(0, {-1: 3})]),
            Finding("native", "warning", "0.3s lies inside a native bucket, 0.25s to 0.5s (schema 0): requests in there are"
                    " divided in proportion; exact at 0.25s and 0.5s"), id="inside, the coarsest is told",
        ),
        pytest.param(
            latency("0.4"), asking(native=[sample((0.1, 0.3, 1), (0.3, 0.7, 1))]),
            Finding("native", "warning", "0.4s lies inside a native bucket, 0.3s to 0.7s (custom borders): requests in there"
                    " are divided in proportion; exact at 0.3s and 0.7s"), id="inside a custom one",
        ),
        pytest.param(
            latency("0.4", "classic"), asking("0.3", "0.5", "+Inf", native=[HALF]),
            Finding(None, "error", "no bucket at 0.4s, the nearest are 0.3s and 0.5s"), id="classic only",
        ),
        pytest.param(
            latency("0.4", "classic"), asking(), Finding(None, "error", 'no buckets of took{job="a"}'), id="no classic",
        ),
        pytest.param(
            latency("0.3", "native"), asking("0.3", "+Inf"),
            Finding(None, "error", 'no native histogram took{job="a"}; without `type: native` classic buckets are counted'),
            id="no native",
        ),
        pytest.param(
            latency("0.3"), asking(), Finding(None, "error", 'no buckets of took{job="a"}, classic or native'), id="none",
        ),
    ],
)  # fmt: skip
def test_what_is_said_of_a_threshold(sli, ask, expected):
    """Which form is counted, and the nearest exact thresholds by the present resolution."""
    assert expected == examine(sli, ask, AT)


def test_the_doctor_looks_at_native_events():
    """Series, samples, falls and failures of a native histogram; a threshold that nothing keeps is an error."""
    answers = {
        "count by (le)": Answer(()),
        "histogram_count": vector(24_000),
        "histogram_fraction": vector(0),
        "count_over_time": vector(480),
        "offset": vector(4),
        "count(": vector(8),
    }

    def ask(query):
        for text, answer in answers.items():
            if text in query.expression:
                return answer
        return asking(native=[HALF])(query)

    found = Doctor(ask, AT, 60, lambda: 0.0).examine(availability(sli=latency("0.5", "native")))
    assert [
        ("note", "bucket", "native histograms, 0.5s is a border of their buckets"),
        ("note", "series", "8 series, 8 samples a minute"),
        ("error", "ratio", "all of 24000 events of a day were bad"),
    ] == [(one.level, one.check, one.sentence) for one in found if one.check in {"bucket", "series", "ratio"}]
