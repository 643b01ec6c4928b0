"""Moves: an SLO that belongs to another shard now takes along what was counted, its alerts and its events.

At its start a shard lets go of what is no longer its own, and takes what is: in one transaction the counts,
alert states and undelivered events of another shard's ledger become its own, and the claim goes over. What a
running shard has stays its own until it starts again, so shards may be restarted one by one in any order;
what another one still evaluates is waited for. Only where the files say so, too, that it is another shard's
(a composite brings its members together), a running shard lets go of what it is asked for. The ticks between
the old shard's last and the new one's first are filled from history, alerts keep their state meanwhile.

An SLO that is in no file any more and that nobody evaluates is taken by the shard whose it would be, which
then retires it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa
import structlog

from slo_budget_tracker import claims, handovers, leases, tables
from slo_budget_tracker.changes import remembered, to_remember
from slo_budget_tracker.claims import UNSHARDED, Claims
from slo_budget_tracker.composites import members_of
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.handovers import RELEASED
from slo_budget_tracker.ledger import Entry
from slo_budget_tracker.rollcall import DEFINITIONS
from slo_budget_tracker.shards import namespace_of, owner

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from slo_budget_tracker.claims import Claim
    from slo_budget_tracker.ledger import Ledger
    from slo_budget_tracker.shards import Shard
    from slo_budget_tracker.specs import SLO

PAUSE = 10  # looks that are left out after something could not be taken

log = structlog.get_logger()


@dataclass(slots=True)
class Moves:
    """What one shard may evaluate, and how it comes by it.

    Attributes:
        waiting: SLOs that belong here and are still evaluated by another shard, with its number.
        taken: SLOs that were taken over by the last call of `admit`.
    """

    shard: Shard
    ledger: Ledger
    claims: Claims
    namespace: str
    holder: str
    waiting: Mapping[str, int] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    whole: Sequence[SLO] = ()
    _begun: bool = False
    _share: frozenset[str] = frozenset()
    _unsettled: bool = False  # what was admitted last is not evaluated yet
    _pause: int = 0  # looks

    @classmethod
    def of(cls, ledger: Ledger, shard: Shard, *, base: str, holder: str) -> Moves:
        """Those of a shard whose ledger is open."""
        return cls(shard, ledger, Claims(base), shard.namespace(base), holder)

    def admit(self, slos: Sequence[SLO], *, at: int) -> list[SLO]:
        """Of the whole catalogue, what this shard evaluates from the data instant `at` on.

        Raises:
            LedgerError: the database cannot be asked.
        """
        self._unsettled = True
        number, by_name = self.shard.index, {slo.name: slo for slo in slos}
        with self.ledger.transaction() as connection:
            self.claims.make(connection)
            found = self.claims.read(connection)
            asked = self.claims.asked_of(connection, number)
            ledgers = self.claims.ledgers(connection)
        held = {name for name, claim in found.items() if claim.shard == number and not claim.released}
        let_go = {name for name, claim in found.items() if claim.shard == number and claim.released}
        self._share = frozenset(slo.name for slo in self.shard.share(slos))
        mine = set(self._share)
        if self._begun:
            mine |= (held & by_name.keys()) - asked
        elsewhere = (held & by_name.keys()) - mine
        if elsewhere:
            self._release(elsewhere, at=at)
        fresh = mine - found.keys()
        due = (mine | self._gone(found, by_name)) - held
        wanted = {name: claim for name, claim in found.items() if name in due - let_go}
        wanted |= self._of_one_alone(fresh, ledgers)
        pasts = {name: slo.past for name, slo in by_name.items()}
        self.taken = frozenset(
            self._take_all(wanted, ledgers, pasts, at=at) | self._take_back(due & let_go, pasts, at=at)
        )
        with self.ledger.transaction() as connection:
            self.claims.claim(connection, fresh - wanted.keys(), number)
            found = self.claims.read(connection)
            has = {name for name, claim in found.items() if claim.shard == number and not claim.released}
            self.claims.drop(connection, has - by_name.keys(), number)
            self.claims.ask(connection, mine - has, number)
        self.waiting = {name: found[name].shard for name in sorted(mine - has) if name in found}
        self.waiting |= dict.fromkeys(sorted(mine - has - found.keys()), UNSHARDED)
        self._begun = True
        there = has & mine
        return [slo for slo in slos if slo.name in there and there.issuperset(members_of(slo))]

    def _gone(self, found: Iterable[str], known: Collection[str]) -> set[str]:
        """The SLOs that are in no file any more and would be this shard's."""
        return {
            name for name in found if name not in known and owner(name, of=self.shard.of) == self.shard.index
        }

    def settle(self, whole: Sequence[SLO]) -> None:
        """What was admitted of this catalogue is what runs."""
        self.whole, self._unsettled = whole, False

    def due(self) -> bool:
        """Whether something that is waited for can be taken now.

        Raises:
            LedgerError: the database cannot be asked.
        """
        if self._unsettled:
            return True
        with self.ledger.transaction() as connection:
            if self.claims.asked_of(connection, self.shard.index) - self._share:
                return True
            if not self.waiting:
                return False
            if self._pause:
                self._pause -= 1
                return False
            found = self.claims.read(connection)
            waited = [found[name] for name in self.waiting if name in found]
            if any(claim.released or claim.shard == self.shard.index for claim in waited):
                return True
            holders = sorted({self._namespace(number) for number in self.waiting.values()})
            free = [one for one in holders if leases.lock(connection, one)]
            for one in free:
                leases.unlock(connection, one)
        return bool(free)

    def _namespace(self, number: int) -> str:
        return self.claims.base if number == UNSHARDED else namespace_of(self.claims.base, number)

    # --- letting go -----------------------------------------------------------------------------------------

    def _release(self, names: Collection[str], *, at: int) -> None:
        """They belong to others now; their queued events go with them."""
        definitions = remembered(self.ledger.meta.get(DEFINITIONS))
        kept = {name: one for name, one in definitions.items() if name not in names}
        released = remembered(self.ledger.meta.get(RELEASED))
        released |= {name: one for name, one in definitions.items() if name in names}

        def also(connection: Connection) -> None:
            handovers.mark_moved(connection, names)
            self.claims.release(connection, names, self.shard.index)

        meta = {DEFINITIONS: to_remember(kept), RELEASED: to_remember(released)}
        gone = [i.id for i in self.ledger.instances.values() if i.slo in names and i.retired is None]
        self.ledger.commit(Entry(meta=meta, retired=dict.fromkeys(gone, at)), also=also)
        log.info("released to other shards", shard=str(self.shard), slos=len(names))

    def _take_back(self, names: Collection[str], pasts: Mapping[str, int], *, at: int) -> set[str]:
        """What was let go of and nobody took is this shard's as before."""
        if not names:
            return set()

        def also(connection: Connection) -> None:
            handovers.unmark_moved(connection, names)
            self.claims.take(connection, names, was=self.shard.index, shard=self.shard.index)

        of_these = {name: pasts.get(name, 0) for name in names}
        try:
            handovers.adopt(self.ledger, self.ledger.contents, (), of_these, at=at, also=also)
        except LedgerError as error:
            self._put_off(self.shard.index, error)
            return set()
        return set(names)

    def _put_off(self, source: int, error: LedgerError) -> None:
        self._pause = PAUSE
        log.warning("not taken over", shard=str(self.shard), source=source, detail=str(error))

    # --- taking over ----------------------------------------------------------------------------------------

    def _of_one_alone(self, names: Iterable[str], ledgers: Mapping[int, str]) -> dict[str, Claim]:
        """SLOs that a daemon counted which was alone before there were shards."""
        namespace = ledgers.get(UNSHARDED)
        if namespace is None:
            return {}
        with self.ledger.transaction() as connection:
            claims.look_into(connection, namespace)
            query = sa.select(tables.instances.c.slo).where(tables.instances.c.retired.is_(None))
            there = set(connection.execute(query).scalars())
            claims.look_into(connection, self.namespace)
        return {name: claims.Claim(UNSHARDED, released=False) for name in names if name in there}

    def _take_all(
        self, wanted: Mapping[str, Claim], ledgers: Mapping[int, str], pasts: Mapping[str, int], *, at: int
    ) -> set[str]:
        """Take what can be taken, shard by shard; one that cannot be read now is told and waited for."""
        taken: set[str] = set()
        for number in sorted({claim.shard for claim in wanted.values()}):
            theirs = {name: claim for name, claim in wanted.items() if claim.shard == number}
            try:
                if number in ledgers:
                    taken |= self._take_from(number, ledgers[number], theirs, pasts, at=at)
                else:
                    self._take_from_nowhere(number, theirs)
            except LedgerError as error:
                self._put_off(number, error)
        return taken

    def _take_from_nowhere(self, number: int, names: Collection[str]) -> None:
        """What was counted by a shard whose ledger was dropped is lost: its SLOs begin anew.

        Raises:
            LedgerError: it still runs.
        """
        namespace = self._namespace(number)
        told = f"the ledger {namespace} is gone"
        with self.ledger.transaction() as connection:
            stopped = leases.lock(connection, namespace)
        if not stopped:
            raise LedgerError(f"{told}, and its shard still runs: end it")
        try:
            with self.ledger.transaction() as connection:
                self.claims.take(connection, names, was=number, shard=self.shard.index, stopped=True)
        finally:
            with self.ledger.transaction() as connection:
                leases.unlock(connection, namespace)
        log.warning("taken over without counts", shard=str(self.shard), slos=len(names), detail=told)

    def _take_from(
        self, number: int, namespace: str, theirs: Mapping[str, Claim], pasts: Mapping[str, int], *, at: int
    ) -> set[str]:
        with self.ledger.transaction() as connection:
            stopped = leases.lock(connection, namespace)
        try:
            names = {name for name, claim in theirs.items() if claim.released or stopped}
            if not names:
                return set()
            with self.ledger.transaction() as connection:
                if stopped:
                    claims.depose(connection, namespace, own=self.namespace, holder=self.holder)
                contents, rows = handovers.read(connection, namespace, own=self.namespace)

            def also(connection: Connection) -> None:
                handovers.copy_events(connection, namespace, self.namespace, names)
                self.claims.take(connection, names, was=number, shard=self.shard.index, stopped=stopped)
                if stopped:
                    self._still_stopped(connection, namespace)
                    handovers.leave(connection, namespace, contents, names, own=self.namespace, at=at)

            of_these = {name: pasts.get(name, 0) for name in names}
            handovers.adopt(self.ledger, contents, rows, of_these, at=at, also=also)
        finally:
            if stopped:
                with self.ledger.transaction() as connection:
                    leases.unlock(connection, namespace)
        log.info("taken over", shard=str(self.shard), source=number, slos=len(names))
        return names

    def _still_stopped(self, connection: Connection, namespace: str) -> None:
        """The lock is still this session's: with another connection it may have been lost meanwhile.

        Raises:
            LedgerError: the other shard runs again.
        """
        if not leases.lock(connection, namespace):
            raise LedgerError(f"the shard of {namespace} has started again")
        leases.unlock(connection, namespace)  # taken twice, let go once: the outer one is kept
