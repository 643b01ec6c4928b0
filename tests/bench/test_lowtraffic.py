"""The low-traffic table, over a short month: guards page less, and still find the outage."""

from __future__ import annotations

from tests.bench.lowtraffic import pages


def test_guards_page_less_and_find_the_outage():
    """D19: with sixty requests an hour, three days: no guard pages more than none does, all find the outage."""
    found = {one.policy: one for one in pages(60, days=3, interval=300)}
    plain = found["workbook"]
    assert all(one.needless <= plain.needless for one in found.values())
    assert 0 == found["both (3, 99%)"].needless
    assert all(one.found_after is not None for one in found.values())
