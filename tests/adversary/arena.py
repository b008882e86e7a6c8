"""Servers that lie, the loop they run in, and what the ledger says when it is over."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from galaxy_chain.coordinators import LedgerServerCoordinator
from galaxy_chain.ledger.events import BondSlashed, Event
from galaxy_chain.ledger.excluded import pack_excluded
from galaxy_chain.ledger.structs import Model
from galaxy_chain.transactions.manager import Receipt
from galaxy_chain.verify.watchtower import Finding, Watchtower
from galaxy_fl.content import LocalStore
from galaxy_fl.rounds.coordinator import Committed, Round, Submitted
from galaxy_fl.rounds.server import ServerReport, run_server
from galaxy_fl.vectors import tree_root
from tests.galaxy_chain.federation import PATIENCE, Federation, made_up

Kind = TypeVar("Kind", bound=Event)

__all__ = [
    "ANSWER",
    "BOND",
    "WRONG",
    "LeavesOneOut",
    "OffByOne",
    "OtherContent",
    "TakesOneTwice",
    "commit_model",
    "events",
    "fine_job",
    "finish",
    "found",
    "honest_root",
    "looks",
    "private",
    "punished",
    "rival",
    "serve_round",
    "server",
    "stranger",
    "tower",
]

BOND = 10**18
ANSWER = 2_000
"""Seconds to answer in a job of many chunks: a search through five levels has to fit into half of a day."""
WRONG = 77
"""The parameter that a server has wrong."""


class OffByOne(LedgerServerCoordinator):
    """Commits an aggregate of which one parameter is one too much."""

    wrong = WRONG

    def commit(self, round: Round, next_model: Path, excluded: Mapping[Submitted, str]) -> Committed:
        vector = np.fromfile(next_model, "<i4")
        vector[self.wrong] += 1
        next_model.write_bytes(vector.tobytes())
        return super().commit(round, next_model, excluded)


class LeavesOneOut(LedgerServerCoordinator):
    """Does as if the first update were not there."""

    def updates(self, round: Round) -> Sequence[Submitted]:
        return super().updates(round)[1:]


class TakesOneTwice(LedgerServerCoordinator):
    """Counts the first update twice, at the cost of the last one."""

    def update(self, round: Round, submitted: Submitted) -> Path:
        first, *_, last = self.updates(round)
        return super().update(round, first if submitted == last else submitted)


class OtherContent(LedgerServerCoordinator):
    """Commits the right root, and names another vector as its content."""

    def commit(self, round: Round, next_model: Path, excluded: Mapping[Submitted, str]) -> Committed:
        self._expect(round)
        root = tree_root(np.fromfile(next_model, "<i4"), self.terms.chunk_parameters)
        other = self.store.put(made_up(4711).data)
        return Committed(root, commit_model(self, root, other.digest).gas_used)


class _Enough(BaseException):
    """Ends a loop that would wait for the next round."""


def server(
    federation: Federation,
    kind: type[LedgerServerCoordinator] = LedgerServerCoordinator,
    account: str | None = None,
    store: LocalStore | None = None,
) -> LedgerServerCoordinator:
    """A server of that kind; takes over where the job names another."""
    ledger = federation.ledger(account or federation.server)
    return kind(ledger, store or federation.store, federation.job, PATIENCE, takeover=True)


def commit_model(
    serving: LedgerServerCoordinator, root: bytes, content: bytes, excluded: Sequence[int] = (), salt: bytes = bytes(32)
) -> Receipt:
    """Commits whatever it is told, leaving out the entries with these numbers."""
    history, ledger = serving.history, serving.ledger
    bits = pack_excluded(excluded, len(history.entries))
    return ledger.commit_round(
        serving.number, history.attempt, history.head, Model(root, content), bits, salt=salt
    ).transact()


def serve_round(serving: LedgerServerCoordinator) -> None:
    """One round by the loop that every server runs in."""

    def stop(report: ServerReport) -> None:
        raise _Enough

    with suppress(_Enough):
        run_server(serving, stop)


def rival(federation: Federation) -> str:
    """The account of another server."""
    return federation.node.accounts[5]


def tower(federation: Federation) -> Watchtower:
    """A watchtower with an account and a store cache of its own, which waits for nothing."""
    store = LocalStore(federation.store.root)
    return Watchtower(federation.ledger(federation.node.accounts[6]), store, federation.job, grace=0)


def stranger(federation: Federation) -> str:
    """An account that has nothing to do with the job."""
    return federation.node.accounts[7]


def private(federation: Federation, folder: Path) -> LocalStore:
    """A server's own copy of the store: what it puts there, nobody else sees."""
    shutil.copytree(federation.store.root, folder / "private")
    return LocalStore(folder / "private")


def fine_job(federation: Federation, **terms: Any) -> int:
    """A job whose model has 19 chunks, in a tree of five levels."""
    terms = {"answer_seconds": ANSWER} | terms
    content = federation.store.put(federation.initial.data)
    ledger = federation.ledger(federation.owner)
    model = Model(tree_root(federation.initial, 8), content.digest)
    ledger.register_job(federation.terms(**{"chunk_parameters": 8, "answer_seconds": 2_000} | terms), model).transact()
    number: int = ledger.jobs()
    return number


def honest_root(federation: Federation, *excluded: int) -> bytes:
    """The root of what the round should make, computed apart from the code under test."""
    looking = server(federation, account=federation.owner)
    left_out = [federation.clients[index] for index in excluded]
    reasons = {s: "" for s in looking.updates(looking.round()) if s.client in left_out}
    return tree_root(federation.aggregate(looking, reasons), looking.job.lanes * looking.terms.chunk_parameters)


def looks(watching: Watchtower) -> list[str]:
    """The verdicts of one look."""
    return [finding.verdict for finding in watching.look()]


def events(federation: Federation, kind: type[Kind]) -> list[Kind]:
    """The job's events of one kind."""
    ledger = federation.ledger()
    latest = federation.rpc.block("latest").number
    return ledger.events(kind, ledger.first_block, latest, job=federation.job)


def punished(federation: Federation, finder: str, round: int = 1, account: str | None = None) -> None:
    """The ledger has taken the bond, barred the server, and gone back to the round with its updates."""
    account, ledger = account or federation.server, federation.ledger()
    at_stake = ledger.account_of(federation.job, account)
    assert (at_stake.bond, at_stake.barred) == (0, True)
    (slashed,) = events(federation, BondSlashed)
    assert (slashed.server, slashed.amount) == (account, BOND)
    assert (slashed.finder, slashed.reward) == (finder, BOND // 4)
    state = ledger.job_of(federation.job).state
    assert (state.round, state.updates > 0) == (round, True)
    assert state.origin < state.attempt


def finish(federation: Federation, honest: bytes) -> None:
    """Another server commits what is right."""
    serve_round(server(federation, account=rival(federation)))
    assert federation.ledger().job_of(federation.job).root == honest
    assert looks(tower(federation))[-1] == "right"
    at_stake = federation.ledger().account_of(federation.job, rival(federation))
    assert (at_stake.bond, at_stake.barred) == (BOND, False)


def found(findings: list[Finding]) -> list[tuple[str, int | None]]:
    """Verdicts and chunks."""
    return [(finding.verdict, finding.chunk) for finding in findings]
