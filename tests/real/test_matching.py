"""Selectors match in Python what they match in a real Prometheus."""

from __future__ import annotations

import pytest

from slo_budget_tracker.selectors import Matcher, Selector, parse_selector
from tests.servers import PrometheusServer, load_openmetrics

pytestmark = pytest.mark.prometheus

AT = 1_772_150_400
VALUES = [
    "", "a", "b", "c", "A", "B", "k", "K", "\u212a", "s", "S", "\u017f", "i", "\u0130", "\u0131", "1", "\u0661", "_", "-", " ",
    "\t", "\x0b", "\x0c", "é", "é-y", "x-y", "5", "500", "503", "5xx", "a.b", "a\\b", 'a"b', "ab", "aab", "abc", "aaaa", "a{,3}",
    "a{2", "[", "]", "]a", "a-", "&~", "^", "$", "(", "/api/v1", "/api/v1/x", "AbC", "\u200b", "😀", "A😀", "[:alpha:]", "ba", "zzz",
]  # fmt: skip
PATTERNS = [
    "", ".", ".*", ".+", "5..", "5.*|", "a|b|", "a||b", r"\d", r"\D", r"\w+", r"\W", r"\s", r"\S+", "[[:space:]]", "[[:^alpha:]]+",
    "[[:punct:]]+", "[[:word:]]", "[^[:alnum:]]", r"[\d_]", r"[^\d]", r"[\Da]", "[a-c]+", "[^a-c]", "[]a]+", "[a-]+", "[-a]+", r"[\[&~]+",
    "[^]]", "^a$", "^a|b$", "a^b", r"\Aa\z", r"x\b.*", r"é\b.*", r".*\B.*", "a{2}", "a{,3}", "a{2", "a{2,}b", "a{1,3}?", "(a|b)+", "(ab?)*?c",
    "(?i)k", "(?i)s", "(?i)i", "(?i)[a-c]+", "(?i)[^a-c]", "(?i)[^k]", "(?i:a)B", "a(?i)b|C", "(?i-s:A)B?", "(?P<n>a)b", "(?i)[[:upper:]]", r"\x41",
    r"\x{1F600}", r"\.", r"a\.b", r"a\\b", 'a"b', r"\/api\/.*", "/api/[^/]+", "/api/.*", r"\^|\$|\(", r"\a|\f|\v", "é.*", "[é]", "[^é]", r"[\x41-\x43]",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Prometheus with one series for each value."""
    folder = tmp_path_factory.mktemp("matching")
    quoted = [value.replace("\\", "\\\\").replace('"', '\\"') for value in VALUES]
    lines = [f'm{{at="{at}",v="{value}"}} 1 {AT}\n' for at, value in enumerate(quoted)]
    (folder / "history.om").write_text("# TYPE m gauge\n" + "".join(lines) + "# EOF\n")
    server = PrometheusServer(folder / "prometheus")
    load_openmetrics(folder / "history.om", server.data)
    with server:
        yield server


@pytest.mark.parametrize("operator", ["=~", "!~"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_matches_the_same_values(server, pattern, operator):
    """RE2 and its translation choose the same series, with and without the label."""
    selector = parse_selector(str(Selector("m", (Matcher("v", operator, pattern),))))
    asked = {labels.get("v", "") for labels, _ in server.ask(str(selector), AT)}
    matched = {value for value in VALUES if selector.matches({"v": value} if value else {})}
    assert asked == matched
