"""`audit list|verify|retry|export`: the outbox beside a running daemon; nothing here writes to the ledger."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from slo_budget_tracker import appeals
from slo_budget_tracker.auditstream import AuditStream
from slo_budget_tracker.cli import tables
from slo_budget_tracker.cli.app import ConfigOption, app, progress, settings_of
from slo_budget_tracker.cli.commands import Output, OutputOption
from slo_budget_tracker.errors import AuditError, LedgerError, UsageError
from slo_budget_tracker.outbox import STATES, Outbox
from slo_budget_tracker.receipts import compare
from slo_budget_tracker.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from slo_budget_tracker.outbox import Parcel

TAKEN_UP_WITHIN = 6.0  # seconds in which a running daemon takes up what is left for it
MOST_RESTS = 20  # that an audit stream is given during one command
LONGEST_REST = 30.0  # seconds: whoever asks for more is not waited for

audit = typer.Typer(
    help="The events: what became of them at the audit stream, and the proof of it.\n\n"
    "Example: `slo-budget-tracker audit list -c config/slo-budget-tracker.yaml`",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
app.add_typer(audit, name="audit")


class State(StrEnum):
    """What may have become of an event."""

    pending = "pending"
    attempted = "attempted"
    delivered = "delivered"
    quarantined = "quarantined"
    skipped = "skipped"


SloOption = Annotated[
    str | None, typer.Option("--slo", help="Only events of this SLO; * for the daemon's own.")
]
StateOption = Annotated[
    list[State] | None, typer.Option("--state", help="Only events in this state; may be repeated.")
]


@audit.command("list")
def list_events(
    config: ConfigOption = None,
    *,
    slo: SloOption = None,
    state: StateOption = None,
    output: OutputOption = Output.table,
) -> None:
    """List the events and what became of them, oldest first.

    Example: `slo-budget-tracker audit list -c config/slo-budget-tracker.yaml --state quarantined`
    """
    with _outbox(config) as outbox:
        parcels = sorted(outbox.parcels(slo=slo, states=_states(state)), key=_in_time)
    if output is Output.json:
        tables.print_json([_evidence(one) for one in parcels])
        return
    heads = ("at", "SLO", "number", "kind", "state", "attempts", "receipt", "id", "why")
    tables.print_rows(heads, [_row(one) for one in parcels])
    noun = "event" if len(parcels) == 1 else "events"
    typer.echo(f"{len(parcels)} {noun}")


@audit.command()
def verify(config: ConfigOption = None, *, output: OutputOption = Output.table) -> None:
    """Compare every receipt with what the audit stream shows, and ask it about its own chain.

    Exit status 1 when an event is missing there or altered, or when the chain is broken; 3 when it cannot be
    asked. Receipts of a server that has forgotten since, older than `audit.resend`, are only counted.

    Example: `slo-budget-tracker audit verify -c config/slo-budget-tracker.yaml`
    """
    settings = settings_of(config)
    if settings.audit.url is None:
        raise UsageError("no audit stream is configured, expected audit.url or AUDIT_STREAM_URL")
    with _outbox(config) as outbox:
        life, parcels, names = outbox.life(), outbox.parcels(states=("delivered",)), outbox.instances()
    stream = AuditStream(settings.audit.url, timeout=settings.audit.timeout)
    current = [one for one in parcels if one.life == life]
    counts = {"same": 0, "forgotten": 0, "altered": 0}
    wrong: list[tuple[Parcel, str]] = []
    with progress("verifying receipts") as report:
        for number, parcel in enumerate(current, start=1):
            assert parcel.receipt is not None
            shown = _patiently(partial(stream.event, parcel.receipt.server_event_id))
            word = compare(parcel, shown, instances=names).word
            counts[word] += 1
            if word != "same":
                wrong.append((parcel, "missing" if word == "forgotten" else word))
            if report is not None:
                report(number, len(current))
    chain = _patiently(stream.verify)
    stream.close()
    valid = isinstance(chain, dict) and chain.get("valid") is True
    document = {
        "receipts": len(current),
        "same": counts["same"],
        "missing": counts["forgotten"],
        "altered": counts["altered"],
        "of_earlier_lives": len(parcels) - len(current),
        "chain": chain,
        "wrong": [{"id": one.event_id, "slo": one.slo, "what": what} for one, what in wrong],
    }
    if output is Output.json:
        tables.print_json(document)
    else:
        _tell(document, wrong, valid=valid)
    if wrong or not valid:
        raise typer.Exit(1)


@audit.command()
def retry(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of quarantined events.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All quarantined events.")] = False,
    config: ConfigOption = None,
) -> None:
    """Send quarantined events once more; the daemon that has the ledger open takes it up within seconds.

    It does not wait out a pause: what somebody has mended is tried at once, with `--all` also where nothing
    is quarantined and events only wait.

    Example: `slo-budget-tracker audit retry -c config/slo-budget-tracker.yaml --all`
    """
    if bool(ids) == everything:
        raise UsageError("expected either ids of quarantined events or --all")
    with _outbox(config) as outbox:
        aside = {one.event_id for one in outbox.parcels(states=("quarantined",))}
        pending = outbox.waiting().pending
    unknown = [one for one in ids or () if one not in aside]
    if unknown:
        raise UsageError(f"no quarantined event {unknown[0]}; `audit list --state quarantined` shows them")
    wanted = sorted(set(ids or ())) or sorted(aside)
    if not wanted:
        _wake(config, pending)
        return
    waits = _left(config, wanted)
    noun = "event waits" if len(wanted) == 1 else "events wait"
    if _taken_up(waits):
        typer.echo(f"{len(wanted)} {noun} in the queue again")
    else:
        typer.echo(f"{len(wanted)} {noun} for the daemon: it takes them up when it runs with an audit.url")


def _wake(config: Path | None, pending: int) -> None:
    """Nothing is quarantined: what waits is tried now."""
    if pending and _taken_up(_left(config, [])):
        typer.echo(f"no event is quarantined; the daemon tries now what waits: {pending}")
    else:
        typer.echo("no event is quarantined")


@audit.command()
def export(config: ConfigOption = None, *, slo: SloOption = None, state: StateOption = None) -> None:
    """Write the whole evidence as JSON lines: the event as it was sent, its receipt, its attempts.

    Example: `slo-budget-tracker audit export -c config/slo-budget-tracker.yaml > evidence.jsonl`
    """
    with _outbox(config) as outbox:
        parcels = outbox.parcels(slo=slo, states=_states(state))
    for parcel in parcels:
        sys.stdout.write(orjson.dumps(_evidence(parcel)).decode() + "\n")


@contextmanager
def _outbox(config: Path | None) -> Iterator[Outbox]:
    """The outbox, to read; the ledger's counts are left alone."""
    store = open_store(settings_of(config).ledger.database, read_only=True)
    try:
        yield Outbox(store.begin)
    finally:
        store.close()


def _left(config: Path | None, wanted: Sequence[str]) -> Callable[[], bool]:
    """Leave the request for the daemon; returns how to see whether it still waits."""
    database = settings_of(config).ledger.database
    if database.path is not None:
        return appeals.leave(database.path, wanted).exists
    if not database.in_postgresql:
        raise LedgerError("a ledger in memory is nobody else's business")
    key = appeals.leave_in(database, wanted)

    def waits() -> bool:
        with _outbox(config) as outbox:
            return outbox.fact(key) is not None

    return waits


def _states(chosen: Sequence[State] | None) -> Sequence[str]:
    return [str(one) for one in chosen] if chosen else STATES


def _taken_up(waits: Callable[[], bool]) -> bool:
    """Whether the daemon takes a request up while somebody waits for it."""
    ends = time.monotonic() + TAKEN_UP_WITHIN
    while waits():
        if time.monotonic() > ends:
            return False
        time.sleep(0.1)
    return True


def _patiently(ask: Callable[[], Any]) -> Any:
    """What the audit stream answers, after the rests that it asks for."""
    for _ in range(MOST_RESTS):
        try:
            return ask()
        except AuditError as error:
            if error.reason != "later" or (error.wait or 0) > LONGEST_REST:
                raise
            time.sleep(error.wait or 1.0)
    return ask()


def _evidence(parcel: Parcel) -> dict[str, Any]:
    receipt = parcel.receipt
    return {
        "slo": parcel.slo,
        "sequence": parcel.sequence,
        "kind": parcel.kind,
        "state": parcel.state,
        "attempts": parcel.attempts,
        "attempted_at": _time(parcel.attempted_at),
        "settled_at": _time(parcel.settled_at),
        "receipt": None
        if receipt is None
        else {"event_id": receipt.server_event_id, "hash": receipt.server_hash, "life": parcel.life},
        "detail": parcel.detail,
        "payload": _payload(parcel.text),
    }


def _payload(text: str) -> Any:
    """What was sent; as text where it is no JSON."""
    try:
        return orjson.loads(text)
    except ValueError:
        return text


def _in_time(parcel: Parcel) -> tuple[int, str, int]:
    return parcel.created, parcel.slo, parcel.sequence


def _row(parcel: Parcel) -> tuple[str, ...]:
    receipt = "" if parcel.receipt is None else str(parcel.receipt.server_event_id)
    return (
        tables.iso(parcel.created),
        parcel.slo,
        str(parcel.sequence),
        parcel.kind,
        parcel.state,
        str(parcel.attempts),
        receipt,
        parcel.event_id,
        parcel.detail or "",
    )


def _tell(document: dict[str, Any], wrong: Sequence[tuple[Parcel, str]], *, valid: bool) -> None:
    for parcel, what in wrong:
        number = parcel.receipt.server_event_id if parcel.receipt else 0
        typer.echo(f"{what}: {parcel.slo} {parcel.kind} {parcel.event_id} (number {number} there)")
    same, older = document["same"], document["of_earlier_lives"]
    typer.echo(f"{same} of {document['receipts']} receipts are what the audit stream shows")
    if older:
        typer.echo(f"{older} older receipts are of a memory that the audit stream has lost")
    said = document["chain"]
    reason = said.get("reason") if isinstance(said, dict) else None
    typer.echo("its chain is valid" if valid else f"its chain is broken: {reason}")


def _time(at: int | None) -> str | None:
    return None if at is None else tables.iso(at)
