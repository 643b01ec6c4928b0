"""Passwords: right, wrong, unknown, guessed; what is remembered, and what that costs."""

from __future__ import annotations

import asyncio
from base64 import b64encode

import bcrypt
import pytest

from slo_budget_tracker import guesses, passwords
from slo_budget_tracker.guesses import Verdict, network
from slo_budget_tracker.passwords import Passwords, credentials

USERS = {
    "alice": bcrypt.hashpw(b"let me in", bcrypt.gensalt(4)),
    "bob": bcrypt.hashpw(b"\xff\x00 any bytes", bcrypt.gensalt(4)),
    "carol": bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).replace(b"$2b$", b"$2y$"),
    "żółw": bcrypt.hashpw("hasło".encode(), bcrypt.gensalt(4)),
}


def basic(name, password):
    """An Authorization header."""
    text = [one if isinstance(one, bytes) else one.encode() for one in (name, password)]
    return b"Basic " + b64encode(b":".join(text))


@pytest.fixture
def hashed(monkeypatch):
    """The hashes that bcrypt was asked about."""
    asked = []
    genuine = bcrypt.checkpw

    def checkpw(password, one):
        asked.append(one)
        return genuine(password, one)

    monkeypatch.setattr(passwords.bcrypt, "checkpw", checkpw)
    return asked


def judge(judges, header, *, client="192.0.2.1", now=0.0, users=None):
    """One login."""
    return asyncio.run(judges.judge(users or USERS, header, client=client, now=now))


@pytest.mark.parametrize(
    ("header", "verdict"),
    [
        (None, Verdict.MISSING),
        (b"", Verdict.MISSING),
        (b"Bearer x", Verdict.MISSING),
        (b"Basic", Verdict.MISSING),
        (b"Basic !!!", Verdict.MISSING),
        (b"Basic " + b64encode(b"alice"), Verdict.MISSING),
        (basic("alice", "let me in"), Verdict.RIGHT),
        (b"basic " + b64encode(b"alice:let me in"), Verdict.RIGHT),
        (basic("bob", b"\xff\x00 any bytes"), Verdict.RIGHT),
        (basic("carol", "x" * 72), Verdict.RIGHT),
        (basic("carol", "x" * 100), Verdict.RIGHT),
        (basic("żółw", "hasło"), Verdict.RIGHT),
        (basic("alice", "let me in "), Verdict.WRONG),
        (basic("alice", ""), Verdict.WRONG),
        (basic("Alice", "let me in"), Verdict.WRONG),
        (basic("nobody", "let me in"), Verdict.WRONG),
        (basic("", ""), Verdict.WRONG),
        (basic(b"\xff\xfe", b"x" * 10_000), Verdict.WRONG),
    ],
)
def test_a_login_is_judged(header, verdict):
    """H11: the user and the password as they are, whatever bytes; bcrypt looks at 72 of them."""
    assert verdict == judge(Passwords(), header)


def test_a_right_login_is_remembered_and_a_wrong_one_is_not(hashed):
    """H11: bcrypt is asked once for what is right, each time for what is wrong."""
    one = Passwords()
    for _ in range(5):
        assert Verdict.RIGHT == judge(one, basic("alice", "let me in"))
    for _ in range(3):
        assert Verdict.WRONG == judge(one, basic("alice", "guess"))
    assert [USERS["alice"]] * 4 == hashed


def test_what_is_remembered_is_one_login_only(hashed):
    """H11: no other cut of the same bytes, no other user, no changed hash profits (CVE-2022-46146)."""
    one = Passwords()
    users = {
        "a": bcrypt.hashpw(b"bc", bcrypt.gensalt(4)),
        "ab": bcrypt.hashpw(b"other", bcrypt.gensalt(4)),
    }
    assert Verdict.RIGHT == judge(one, basic("a", "bc"), users=users)
    assert Verdict.WRONG == judge(one, basic("ab", "c"), users=users)
    changed = users | {"a": bcrypt.hashpw(b"new", bcrypt.gensalt(4))}
    assert Verdict.WRONG == judge(one, basic("a", "bc"), users=changed)
    assert Verdict.WRONG == judge(one, basic("a", "bc"), users={"ab": users["ab"]})
    assert 4 == len(hashed)


def test_nothing_remembered_holds_a_password():
    """H14: under a key of the process, not the words."""
    one = Passwords()
    judge(one, basic("alice", "let me in"))
    assert (1, False, False) == (
        len(one._right._marks),
        b"let me in" in b"".join(one._right._marks),
        "let me in" in repr(one),
    )


def test_who_does_not_exist_costs_the_same(hashed):
    """H11: somebody's hash is looked at, the same one each time, and its password opens nothing."""
    one = Passwords()
    for _ in range(3):
        judge(one, basic("nobody", "let me in"))
    assert (3, 1, True) == (len(hashed), len(set(hashed)), hashed[0] in USERS.values())
    drawn = {one._decoy(USERS, f"user {n}".encode()) for n in range(100)}
    assert set(USERS.values()) == drawn
    for name in (f"user {n}" for n in range(20)):
        assert Verdict.RIGHT is not judge(one, basic(name, "let me in"), client=name)


def test_guessing_is_slow():
    """H11: ten wrong passwords at once, then one per three seconds; who is known goes on."""
    one = Passwords()
    assert Verdict.RIGHT == judge(one, basic("alice", "let me in"))
    tried = [judge(one, basic("alice", f"guess {n}")) for n in range(12)]
    assert [Verdict.WRONG] * 10 + [Verdict.LATER] * 2 == tried
    assert Verdict.RIGHT == judge(one, basic("alice", "let me in"))
    assert Verdict.LATER == judge(one, basic("bob", b"\xff\x00 any bytes"))
    assert Verdict.RIGHT == judge(one, basic("bob", b"\xff\x00 any bytes"), client="192.0.2.2")
    tried = [judge(one, basic("alice", f"guess {n}"), now=7.0) for n in range(3)]
    assert [Verdict.WRONG, Verdict.WRONG, Verdict.LATER] == tried


def test_other_addresses_are_not_told_what_is_right():
    """H11: who guessed too often elsewhere is told to wait, with the password that another address has, too."""
    one = Passwords()
    right, elsewhere = basic("alice", "let me in"), "192.0.2.2"
    assert Verdict.RIGHT == judge(one, right)
    tried = [judge(one, basic("alice", f"guess {n}"), client=elsewhere) for n in range(11)]
    assert [Verdict.LATER] * 2 == [tried[-1], judge(one, right, client=elsewhere)]
    assert Verdict.RIGHT == judge(one, right)


def test_a_right_password_is_no_guess():
    """Twenty users behind one address all come in."""
    one = Passwords()
    users = {f"u{n}": bcrypt.hashpw(b"p", bcrypt.gensalt(4)) for n in range(20)}
    assert [Verdict.RIGHT] * 20 == [judge(one, basic(name, "p"), users=users) for name in users]


def test_only_some_wait_for_bcrypt():
    """H11: guesses from many addresses at once are answered with 429, and bcrypt works on one at a time."""

    async def flood(judges):
        return await asyncio.gather(
            *(
                judges.judge(USERS, basic("alice", f"guess {n}"), client=f"192.0.2.{n}", now=0.0)
                for n in range(100)
            )
        )

    found = asyncio.run(flood(Passwords()))
    assert [passwords.MOST_WAITING, 100 - passwords.MOST_WAITING] == [
        found.count(Verdict.WRONG),
        found.count(Verdict.LATER),
    ]


def test_what_is_kept_is_bounded(monkeypatch):
    """H11: neither addresses nor logins grow for ever."""
    monkeypatch.setattr(guesses, "MOST_CLIENTS", 5)
    monkeypatch.setattr(guesses, "MOST_REMEMBERED", 3)
    one = Passwords()
    users = {f"u{n}": bcrypt.hashpw(b"p", bcrypt.gensalt(4)) for n in range(6)}
    for n, name in enumerate(users):
        judge(one, basic(name, "p"), client=f"192.0.2.{n}", users=users)
    assert (5, 3) == (len(one._guesses._clients), len(one._right._marks))


@pytest.mark.parametrize(
    ("client", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
    ],
)
def test_who_counts_as_one_guesser(client, counted):
    """H11: an address, or the network that one customer has."""
    assert counted == network(client)


def test_credentials_are_split_at_the_first_colon():
    """As RFC 7617 has it: a password may contain one."""
    assert (b"a", b"b:c") == credentials(basic("a", "b:c"))
