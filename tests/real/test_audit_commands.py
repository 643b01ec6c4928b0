"""`audit list|verify|retry|export`: beside a running daemon, for people and for scripts."""

from __future__ import annotations

import json
import sys

import pytest
import sqlalchemy as sa

from slo_budget_tracker import tables
from slo_budget_tracker.cli import main
from slo_budget_tracker.cli.audit import State
from slo_budget_tracker.databases import Database
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.outbox import STATES, Outbox
from slo_budget_tracker.payloads import KEYS
from tests.audit_server import (
    NOW,
    FakeAuditStream,
    NearAuditStream,
    delivery_of,
    drained,
    expected,
    ledger_of,
    story,
    wait_for,
)
from tests.servers import free_port


@pytest.fixture
def call(monkeypatch, capsys, tmp_path, url):
    """Run an audit command in this process: exit status, standard output, standard error; never a traceback."""

    def run(command, *arguments, stream=None):
        config = tmp_path / "tracker.yaml"
        audit = f"audit: {{url: '{stream}'}}\n" if stream else ""
        config.write_text(f"ledger: {{url: '{url}'}}\n{audit}")
        arguments = ["slo-budget-tracker", "audit", command, "-c", str(config), *arguments]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return left.value.code or 0, out, err

    monkeypatch.setenv("COLUMNS", "300")
    for name in ("AUDIT_STREAM_URL", "AUDIT_STREAM_TIMEOUT_S"):
        monkeypatch.delenv(name, raising=False)
    return run


@pytest.fixture
def near():
    """The real audit stream, in this process."""
    with NearAuditStream() as server:
        yield server


@pytest.fixture
def delivered(url, near):
    """The ids of three events of two SLOs each that were delivered."""
    with ledger_of(url, slos=("shop", "cart")) as ledger:
        delivery = delivery_of(ledger, near.url).start()
        drained(delivery)
        delivery.stop()
        return [parcel.event_id for parcel in Outbox(ledger.transaction).parcels()]


def quarantine(url, sequence, *, slo="shop"):
    """Put one event aside; its id."""
    with Ledger.open(url) as ledger:
        outbox = Outbox(ledger.transaction)
        (chosen,) = [one for one in outbox.parcels(slo=slo) if one.sequence == sequence]
        outbox.quarantine(chosen.event_id, "status 422: no", at=NOW)
        return chosen.event_id


def requests(ledger):
    """What was left beside the ledger, or in it, and was not taken up."""
    if ledger.path is not None:
        return list(ledger.path.parent.glob("*retry*"))
    fact = tables.facts.c
    with ledger.transaction() as connection:
        return connection.execute(sa.select(fact.key).where(fact.key.startswith("appeal/"))).all()


def leave(ledger, *texts):
    """Leave requests of these very texts."""
    for number, text in enumerate(texts):
        if ledger.path is not None:
            ledger.path.with_name(f"{ledger.path.name}.retry-{number}").write_bytes(text)
            continue
        with ledger.transaction() as connection:
            values = {"key": f"appeal/{number}", "value": text.decode(errors="replace")}
            connection.execute(sa.insert(tables.facts).values(**values))


def test_list_shows_what_became_of_each_event(call, url, delivered):
    """A2: visible for people."""
    aside = quarantine(url, 2)
    status, out, _ = call("list")
    assert (0, "6 events") == (status, out.splitlines()[-1])
    line = next(line for line in out.splitlines() if aside in line)
    assert line.split()[:5] == ["2023-11-14T22:15:20Z", "shop", "2", "slo_recovered", "quarantined"]
    assert "status 422: no" in line
    times = [line.split()[:2] for line in out.splitlines()[1:-1]]
    assert (sorted(times), 6) == (times, len(times))


def test_list_is_narrowed_and_read_by_scripts(call, url, delivered):
    """Filters by SLO and state; JSON."""
    aside = quarantine(url, 2)
    _, out, _ = call("list", "--state", "quarantined", "--output", "json")
    (found,) = json.loads(out)
    assert (aside, "quarantined", "status 422: no") == (
        found["payload"]["id"],
        found["state"],
        found["detail"],
    )
    _, out, _ = call("list", "--slo", "cart", "--state", "delivered", "--state", "pending", "-o", "json")
    assert ["cart"] * 3 == [one["slo"] for one in json.loads(out)]
    assert set(STATES) == set(State)


def test_export_is_the_whole_evidence(call, near, delivered):
    """Each line: the payload as sent, the receipt, the attempts."""
    status, out, _ = call("export")
    lines = [json.loads(line) for line in out.splitlines()]
    assert (0, delivered) == (status, [one["payload"]["id"] for one in lines])
    events = {one["payload"]["id"]: one for one in near.get("/events").json()}
    for line in lines:
        there = events[line["payload"]["id"]]
        assert there["payload"] == line["payload"]
        assert {"event_id": there["event_id"], "hash": there["hash"], "life": 0} == line["receipt"]
        assert (1, "delivered", "2023-11-15T22:13:20Z") == (
            line["attempts"],
            line["state"],
            line["attempted_at"],
        )
        assert set(KEYS) <= set(line["payload"])


def test_verify_says_that_all_is_there(call, near, delivered):
    """Each receipt is compared with the server's event, then its chain."""
    status, out, _ = call("verify", stream=near.url)
    assert 0 == status
    assert ["6 of 6 receipts are what the audit stream shows", "its chain is valid"] == out.splitlines()


@pytest.mark.parametrize("output", ["table", "json"])
def test_verify_finds_what_is_gone(call, near, delivered, output):
    """A11: exit status 1, and what it is."""
    near.restart()
    status, out, _ = call("verify", "--output", output, stream=near.url)
    assert 1 == status
    assert 6 == (json.loads(out)["missing"] if output == "json" else out.count("missing: "))


def test_verify_finds_what_was_altered(call, near, delivered):
    """A12: an event whose content is another, and the chain that shows it."""
    from audit_stream.app import app  # noqa: PLC0415

    event = app.state.store._events[2]
    altered = {**event.payload, "reason": "nothing happened"}
    app.state.store._events[2] = event.model_copy(update={"payload": altered, "hash": "0" * 64})
    status, out, _ = call("verify", stream=near.url)
    assert (1, 1) == (status, out.count("altered: "))
    assert "5 of 6 receipts" in out
    assert "its chain is broken: hash mismatch at event #3" in out


def test_verify_without_an_audit_stream(call, delivered, monkeypatch):
    """H14: exit status 2 without an address, 3 when nobody answers there; no password is shown."""
    status, _, err = call("verify")
    assert (2, "no audit stream is configured, expected audit.url or AUDIT_STREAM_URL\n") == (status, err)
    monkeypatch.setenv("AUDIT_STREAM_URL", f"http://me:S3CR3T@127.0.0.1:{free_port()}")
    status, _, err = call("verify")
    assert (3, False) == (status, "S3CR3T" in err)
    assert err.startswith("the audit stream at http://127.0.0.1:")


def test_receipts_of_a_lost_memory_are_only_counted(call, url, near, delivered):
    """A11: what is older than `audit.resend` keeps its receipt and is no mismatch."""
    with Ledger.open(url) as ledger:
        Outbox(ledger.transaction).forget(since=NOW + 10_000)
    status, out, _ = call("verify", stream=near.url)
    assert (0, "0 of 0 receipts are what the audit stream shows") == (status, out.splitlines()[0])
    assert "6 older receipts are of a memory that the audit stream has lost" in out


def test_retry_beside_a_running_daemon(call, url, near, delivered):
    """A2: the daemon, the only one that writes, takes the request up and sends the event."""
    aside = quarantine(url, 2)
    near.restart()
    with Ledger.open(url) as ledger:
        delivery = delivery_of(ledger, near.url).start()
        wait_for(lambda: len(near.get("/events").json()) == 5)
        status, out, _ = call("retry", aside)
        assert (0, "1 event waits in the queue again") == (
            status,
            out.splitlines()[-1],
        )  # after delivery's log
        drained(delivery)
        delivery.stop()
    assert ("shop", 2, "number 2") == story(near.get("/events").json())[-1]


def test_retry_without_a_daemon_waits_for_it(call, url, near, delivered, monkeypatch):
    """A2: the request is kept beside the ledger until somebody has it open."""
    monkeypatch.setattr(sys.modules["slo_budget_tracker.cli.audit"], "TAKEN_UP_WITHIN", 0.1)
    quarantine(url, 1)
    quarantine(url, 2)
    status, out, _ = call("retry", "--all")
    assert (0, True) == (status, out.startswith("2 events wait for the daemon"))
    near.restart()
    with Ledger.open(url) as ledger:
        assert 1 == len(requests(ledger))
        delivery = delivery_of(ledger, near.url).start()
        wait_for(lambda: len(near.get("/events").json()) == 6)
        delivery.stop()
        assert [] == requests(ledger)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "expected either ids of quarantined events or --all"),
        (("some", "--all"), "expected either ids of quarantined events or --all"),
        (("unknown",), "no quarantined event unknown; `audit list --state quarantined` shows them"),
    ],
    ids=["nothing", "both", "unknown"],
)
def test_retry_of_nothing_is_a_wrong_use(call, delivered, arguments, said):
    """Exit status 2 and one sentence."""
    assert (2, "", f"{said}\n") == call("retry", *arguments)


def test_retry_when_nothing_is_quarantined(call, delivered):
    """No request is left for nothing."""
    assert (0, "no event is quarantined\n", "") == call("retry", "--all")


@pytest.mark.parametrize("answer", [(401, ()), (503, [("Retry-After", "500")])], ids=["hold", "rest"])
def test_retry_goes_at_once(call, url, answer):
    """A8: what somebody has mended is tried now, however long the pause would have been."""
    status, headers = answer
    refused = ("POST", lambda handler, _: handler.answer(status, body=b"no", headers=headers))
    with FakeAuditStream(refused) as server, ledger_of(url) as ledger:
        delivery = delivery_of(ledger, server.url).start()
        wait_for(lambda: delivery.figures().target_ok is False)
        code, out, _ = call("retry", "--all")
        said = "no event is quarantined; the daemon tries now what waits: 3"
        assert (0, said) == (code, out.splitlines()[-1])
        drained(delivery)
        delivery.stop()
        assert expected([1, 2, 3]) == story(server.events)


def test_a_retry_that_cannot_be_carried_out_waits(url, monkeypatch):
    """S3, A8: while the ledger is in trouble the request stays where it is, and delivery lives on."""
    with FakeAuditStream() as server, ledger_of(url) as ledger:
        delivery = delivery_of(ledger, server.url)
        leave(ledger, b"null")
        monkeypatch.setattr(Outbox, "release", lambda *_: (_ for _ in ()).throw(LedgerError("no")))
        assert not delivery._heed()
        assert 1 == len(requests(ledger))


@pytest.mark.parametrize("status", [429, 503])
def test_verify_gives_an_audit_stream_its_rest(call, url, status):
    """A9: a command comes again when it was asked to; where that is too long it says so."""
    with FakeAuditStream() as server:
        with ledger_of(url) as ledger:
            delivery = delivery_of(ledger, server.url).start()
            drained(delivery)
            delivery.stop()

        def rest(seconds):
            server.troubles.append(
                ("GET", lambda handler: handler.answer(status, body=b"", headers=[("Retry-After", seconds)]))
            )

        rest("1")
        code, out, _ = call("verify", stream=server.url)
        assert (0, "3 of 3 receipts are what the audit stream shows") == (code, out.splitlines()[0])
        rest("600")
        code, _, err = call("verify", stream=server.url)
        assert (3, True) == (code, f"status {status}" in err)


def test_requests_that_cannot_be_read_ask_for_nothing(url, near):
    """Whatever lies beside the ledger under such a name, delivery goes on."""
    with ledger_of(url) as ledger:
        leave(ledger, b"\xff{", b'{"a": 1}')
        assert 2 == len(requests(ledger))
        delivery = delivery_of(ledger, near.url).start()
        drained(delivery)
        delivery.stop()
        assert [] == requests(ledger)


@pytest.mark.parametrize("command", ["list", "export", "retry", "verify"])
def test_without_a_ledger(call, url, command):
    """Exit status 3 and one sentence that names its place."""
    arguments = ["--all"] if command == "retry" else []
    status, out, err = call(command, *arguments, stream="http://127.0.0.1:9")
    assert (3, "", 1) == (status, out, err.count("\n"))
    assert str(Database.of(url)) in err
