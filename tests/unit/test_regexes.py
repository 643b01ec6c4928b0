"""Patterns of RE2 in Python's dialect: equal where they are accepted, refused where they cannot be."""

from __future__ import annotations

import pytest

from slo_budget_tracker.regexes import compiled, escaped, translate


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (r"\d+", "12", True),
        (r"\d+", "١٢", False),
        (r"\w+", "é", False),
        (r"\s", "\v", False),
        (r"[[:space:]]", "\v", True),
        (r"\D", "é", True),
        (r"[^\d]", "5", False),
        (r"[\D5]", "5", True),
        (r"[[:^alpha:]]", "1", True),
        (r"a$", "a\n", False),
        (r"^a|b$", "b", True),
        (r"a{,3}", "a{,3}", True),
        (r"a{2,3}", "aaaa", False),
        (r"a{2}b{1,}", "aabbb", True),
        (r"(?i)Skill", "sKİll".replace("İ", "i"), True),
        (r"(?i)k", "\u212a", True),
        (r"(?i)s", "\u017f", True),
        (r"(?i)i", "İ", False),
        (r"(?i)[a-c]+", "AbC", True),
        (r"(?i)[^a-c]", "B", False),
        (r"(?i:a)B", "Ab", False),
        (r"a(?i)b|c", "aC", False),
        (r"a(?i)b|c", "C", True),
        (r"(?i-s:a)", "A", True),
        (r"(?-s:.)", "\n", False),
        (r".", "\n", True),
        (r"(?P<n>a)(?<m>b)", "ab", True),
        (r"[]a]+", "]a", True),
        (r"[a-]+", "a-", True),
        (r"[[&&~~]+", "[&~", True),
        (r"\x41\x{1F600}\n", "A😀\n", True),
        (r"\.\-\/", ".-/", True),
        (r"x\b.*", "x-y", True),
        (r"é\b.*", "é-y", False),
        (r"", "", True),
        (r"a||b", "", True),
        (r"(a|b)*?c", "abc", True),
        (r"(/[^/]+){1,1}", "/a", True),
    ],
)
def test_patterns_match_as_in_re2(pattern, text, matches):
    """Each trap between the two dialects once."""
    assert matches is (compiled(pattern).fullmatch(text) is not None)


@pytest.mark.parametrize(
    "pattern",
    [
        "a++", "a**", "a{2}{3}", "*a", "(", ")", "a)", "[a", "[", "[b-a]", "\\", "\\1", r"\pL", r"\p{Greek}", r"\Qa\E", r"\C",
        "(?=a)", "(?!a)", "(?<=a)", "(?>a)", "(?#x)", "(?P=n)", "(?m)a", "(?U)a", "(?L)a", "a{1001}", "a{3,2}", "(a+)+", "(a*b?)*",
        "((a|b)+c)*", "(.*,){2,}", "(?i)é", r"\x{110000}", "[[:foo:]]", "(?i)[\u03b1-\u03c9]", r"\é", "(" * 102 + ")" * 102,
    ],
)  # fmt: skip
def test_patterns_without_an_equal_are_refused(pattern):
    """Look-around, back-references, classes of Unicode, possessive and nested repetitions have no safe equal."""
    with pytest.raises(ValueError, match=r"regular expression|\(\?i\)"):
        translate(pattern)


def test_escaped_text_matches_itself():
    """Every character that means something is taken literally."""
    text = "".join(map(chr, range(32, 127))) + "é\n"
    assert compiled(escaped(text)).fullmatch(text) is not None
