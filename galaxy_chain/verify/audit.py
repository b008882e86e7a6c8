"""Recomputes a job from its events and its content alone. Needs neither a key nor a server.

Whatever the ledger says about big things is checked to the bit: the hash chain of every attempt, the record of every
commit, the content and the commitment of every update, every partial sum and every aggregate, and what everybody has
earned. The ledger has checked the signatures of entries that others have handed in; what they have done shows in the
hash chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from galaxy_chain.exceptions import AuditError, ContentMismatchError
from galaxy_chain.following.claims import claims
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.jobs.check import check_job
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.records import client_amount, server_amount
from galaxy_chain.ledger.structs import Account
from galaxy_chain.ledger.submissions import Entry
from galaxy_chain.seal.store import contents_of
from galaxy_chain.verify.checks import Checks
from galaxy_chain.verify.faults import Fault, Kind
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.content import Store
from galaxy_fl.exceptions import ContentAlteredError, ContentMissingError
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.tables import table

if TYPE_CHECKING:
    from galaxy_chain.verify.verdicts import Verdicts

__all__ = [
    "AuditedAttempt",
    "AuditedMoney",
    "AuditedRound",
    "AuditedServer",
    "Auditor",
    "WrongAggregateError",
]


AT_ONCE = 16
"""Requests at the same time, which go as one batch where the node takes batches."""


@dataclass(frozen=True)
class AuditedRound:
    """A round that was found right; amounts in wei."""

    round: int
    updates: int
    excluded: tuple[str, ...]
    server: str
    root: bytes
    """Root of the chunk tree of the model that the round made."""
    settled: bool
    """Whether it can't be reverted any more, and what it earned is everybody's own."""
    reward: int
    server_amount: int
    client_amount: int
    """What each included client earns."""
    objections: tuple[str, ...]
    """What is to be said against the commit though its arithmetic is right. The ledger punishes none of it."""


@dataclass(frozen=True)
class AuditedAttempt:
    """An attempt that was given up, or its commit superseded: the ledger asks for no proof that it had to be."""

    round: int
    attempt: int
    sender: str
    """Who had the round collected again, or superseded the commit."""
    objections: tuple[str, ...]
    updates: int | None = None
    """How many updates an attempt had that was given up."""
    server: str | None = None
    """Who had committed, where the commit was superseded."""


@dataclass(frozen=True)
class AuditedServer:
    """An account whose commit was proved wrong (barred) or superseded without a later one that has settled (late)."""

    server: str
    barred: bool
    late: bool


@dataclass(frozen=True)
class AuditedMoney:
    """Where a job's pool is, in wei.

    Attributes:
        pool: What was paid in.
        allotted: The rewards of all rounds that stand.
        settled: What the settled rounds allot.
        credited: What of that was credited to servers and clients.
        claimable: What clients can claim.
        dust: What was rounded off, and stays in the ledger.
        unsettled: What is lost to those who earned it if its round is reverted.
    """

    pool: int
    allotted: int
    settled: int
    credited: int
    claimable: int
    dust: int
    unsettled: int

    def _repr_html_(self) -> str:
        return table(("what", "wei"), vars(self).items())


class WrongAggregateError(AuditError):
    """A commit that one transaction can prove wrong.

    Attributes:
        commit: The wrong one.
        node: The number of a node that it has wrong; 0 for the step to the next model.
        chunk: The index of a chunk of it that is wrong.
    """

    def __init__(self, message: str, commit: Commit, node: int, chunk: int) -> None:
        super().__init__(message)
        self.commit = commit
        self.node = node
        self.chunk = chunk


@contextmanager
def _lies() -> Iterator[None]:
    """Content that is not what the ledger says of it is a lie on the ledger, not a fault of the store."""
    try:
        yield
    except ContentMismatchError as error:
        raise AuditError(str(error)) from error


class Auditor:
    """Audits one job.

    Args:
        ledger: May be without transactions.
        store: Where the content is.
        job: The job's number.
        home: Where the keys of a sealed job are, and what is opened with them is kept.
        follower: Of the job, where there is one already.

    Raises:
        AuditError: the events contradict each other.
        ConfigurationError: the job is sealed, and there is no such folder.
        JobMismatchError, JobDocumentError, ContentError: the job itself is not what it says.
    """

    def __init__(
        self,
        ledger: LedgerContract,
        store: Store,
        job: int,
        home: Path | None = None,
        follower: JobFollower | None = None,
    ) -> None:
        self.ledger = ledger
        self.store = store
        self.job = job
        self._follower = JobFollower(ledger, job) if follower is None else follower
        self.history: JobHistory = self._follower.history
        self.document: JobDocument = check_job(ledger, store, job, self.history.terms)
        contents = contents_of(store, self.document, job, home, lambda: self.history)
        self.verifier = Verifier(contents, self.history.terms, self.document)
        self.checks = Checks(self.verifier)

    def __repr__(self) -> str:
        return f"Auditor(job={self.job}, rounds={len(self.history.commits)})"

    def rounds(self) -> Iterator[AuditedRound]:
        """Audits what is committed, round by round, and at the end the contract's own state.

        Raises:
            AuditError: the first lie: names the round and what is wrong in it.
            ContentMissingError: content that an audit needs is unavailable everywhere.
            ContentAlteredError: content that a store holds is not what its id says.
        """
        commits = [commit for _, commit in sorted(self.history.commits.items())]
        with ThreadPoolExecutor(1, thread_name_prefix="auditing") as ahead:
            # A large model is hashed by one thread: the next one while a round is computed. What fails does so again.
            for commit, following in zip_longest([None, *commits], commits):
                if following is not None:
                    ahead.submit(self._foresee, following)
                if commit is None:
                    self.check_initial_model()
                else:
                    yield self.audited(commit)
        self.check_state()

    def follow(self) -> None:
        """Take in what has happened since.

        Raises:
            AuditError: the events contradict each other.
        """
        self._follower.poll()
        self.history = self._follower.history

    def _foresee(self, commit: Commit) -> None:
        """Verify the model of a commit, where it is on this machine: no network keeps an audit from telling a lie."""
        model = commit.record.next
        if self.verifier.store.has(self.verifier.model_id(model.content)):
            self.verifier.model(model, f"the model after round {commit.record.round}")

    def check_initial_model(self) -> None:
        """Make sure that the model that the job begins with is what the ledger says of it.

        Raises:
            GalaxyError: as `rounds`.
        """
        with _lies():
            self.verifier.model(self.history.initial, "the initial model")

    def audited(self, commit: Commit) -> AuditedRound:
        """Audit one commit that stands.

        Raises:
            GalaxyError: as `rounds`.
        """
        self.check(commit)
        record = commit.record
        return AuditedRound(
            record.round,
            len(commit.included),
            tuple(entry.client for entry in commit.excluded),
            record.server,
            record.next.root,
            record.round <= self.history.settled,
            record.reward,
            server_amount(record),
            client_amount(record),
            tuple(self.objections(commit)),
        )

    def check(self, commit: Commit) -> None:
        """Recompute one commit, whether it stands or was taken back.

        Raises:
            GalaxyError: as `rounds`.
        """
        if self.history.commits.get(commit.record.round) == commit:
            self._record(commit)
        with _lies():
            self._aggregate(commit)

    def objections(self, commit: Commit) -> Iterator[str]:
        """What is to be said against a commit though its arithmetic is right."""
        yield from self._unannounced(commit)
        yield from self._excluded(commit.excluded)

    def verdicts(self) -> Verdicts:
        """What is found of every commit that stands: right, wrong, with both values, or not to be checked.

        An audit by `rounds` ends on the first lie; this does not, and a notebook shows it as a table.
        """
        from galaxy_chain.verify.verdicts import Verdicts, verdicts_on  # which is about audits

        return Verdicts(verdicts_on(self))

    def reopenings(self) -> Iterator[AuditedAttempt]:
        """The attempts that were given up, in order, by what is available of them now."""
        least = self.history.terms.min_clients
        for reopening in self.history.reopened:
            usable = sum(self._usable(entry) for entry in reopening.entries)
            objection = f"{usable} of {len(reopening.entries)} updates are there and right, and {least} make a round"
            objections = (objection,) if usable >= least else ()
            updates = len(reopening.entries)
            yield AuditedAttempt(reopening.round, reopening.attempt, reopening.sender, objections, updates=updates)

    def supersedings(self) -> Iterator[AuditedAttempt]:
        """The commits that were superseded, in order; one whose model is there and right need not have been."""
        history = self.history
        for superseding in history.supersedings:
            commit, objections = superseding.commit, list[str]()
            try:
                self.verifier.model(commit.record.next, f"the model after round {commit.record.round}")
                faults = list(self.checks.everything(history, commit))
                if not faults:
                    objections.append("its model is there and right")
                elif any(fault.kind is Kind.PROVED for fault in faults):
                    objections.append("it was wrong" + ("" if commit.word in history.superseded else ", and punished"))
            except (ContentMissingError, ContentAlteredError):
                pass
            record, sender = commit.record, superseding.sender
            yield AuditedAttempt(record.round, commit.attempt, sender, tuple(objections), server=record.server)

    def servers(self) -> Iterator[AuditedServer]:
        """The accounts that are barred or late."""
        for address, account in sorted(self.history.accounts.items()):
            if account.barred or account.late:
                yield AuditedServer(address, account.barred, account.late)

    def money(self) -> AuditedMoney:
        """Where the pool is.

        Raises:
            AuditError: the standing records allot another sum than the ledger says.
        """
        history = self.history
        rewards = sum(commit.record.reward for commit in history.commits.values())
        if rewards != history.allotted or rewards > history.pool:
            raise AuditError(
                f"job {self.job}: the rewards of the rounds that stand are {rewards} wei, but {history.allotted} wei "
                f"of {history.pool} wei are allotted"
            )
        settled = [commit.record for number, commit in history.commits.items() if number <= history.settled]
        allotted = sum(record.reward for record in settled)
        claimable = sum(claim.total for claim in claims(history))
        credited = sum(
            server_amount(record) + client_amount(record) * len(history.claimed.get(record.round, ()))
            for record in settled
        )
        dust = allotted - credited - claimable
        return AuditedMoney(
            history.pool, history.allotted, allotted, credited, claimable, dust, history.allotted - allotted
        )

    def _unannounced(self, commit: Commit) -> Iterator[str]:
        record = commit.record
        if record.reward and record.share != self.history.terms.server_share:
            yield f"{record.server} has not announced it, and so earns nothing with it: it may have copied it"

    def _excluded(self, excluded: Iterable[Entry]) -> Iterator[str]:
        """Who was excluded for no reason that can be seen now. Content may have come later than it was needed."""
        for entry in excluded:
            if self._usable(entry):
                yield f"{entry.client} was excluded, though its update is there and right"

    def _usable(self, entry: Entry) -> bool:
        try:
            self.verifier.update(entry, f"the update of {entry.client}")
        except (ContentMissingError, ContentAlteredError):
            return False
        return True

    def check_state(self) -> None:
        """Take in what has happened since, and make sure that the contract's own state is where the events lead; new
        ones may come between the two looks.

        Raises:
            AuditError: it is not.
        """
        for _ in range(10):
            self.follow()
            history = self.history
            stored = self.ledger.job_of(self.job)
            accounts = self._accounts(history.accounts)
            found = (stored.state, stored.root, stored.head, stored.pool, stored.allotted, accounts)
            rebuilt = (
                history.state,
                history.model.root,
                history.head,
                history.pool,
                history.allotted,
                history.accounts,
            )
            if found == rebuilt:
                break
        else:
            names = ("state", "root", "head", "pool", "allotted", "accounts")
            differ = [name for name, left, right in zip(names, found, rebuilt, strict=True) if left != right]
            left, right = (dict(zip(names, each, strict=True)) for each in (found, rebuilt))
            raise AuditError(
                f"job {self.job}: the ledger's {differ[0]} is {left[differ[0]]}, its events lead to {right[differ[0]]}"
            )
        if stored.terms != history.terms:
            raise AuditError(f"job {self.job}: the ledger's terms are not those of its registration")
        for commit in history.void.values():
            if self.ledger.mark_of(self.job, commit.word).superseded != (commit.word in history.superseded):
                raise AuditError(
                    f"round {commit.record.round}: the ledger and its events differ in whether the commit of attempt "
                    f"{commit.attempt} was superseded"
                )
        for number in range(1, history.settled + 1):
            claimed = self._claimed(number, history.commits[number].record.updates)
            if claimed != history.claimed.get(number, set()):
                raise AuditError(
                    f"round {number}: the ledger has credited the entries {sorted(claimed)}, its events say "
                    f"{sorted(history.claimed.get(number, set()))}"
                )

    def _accounts(self, addresses: Iterable[str]) -> dict[str, Account]:
        """What the ledger says that each address has in the job."""
        known = list(addresses)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="accounts") as threads:
            found = threads.map(partial(self.ledger.account_of, self.job), known)
            return dict(zip(known, found, strict=True))

    def _claimed(self, round: int, updates: int) -> frozenset[int]:
        """The numbers of a settled round's entries, of so many, that the ledger has credited."""
        words = [self.ledger.claimed_of(self.job, round, place) for place in range((updates + 255) // 256)]
        return frozenset(number for number in range(updates) if words[number // 256] >> number % 256 & 1)

    def _record(self, commit: Commit) -> None:
        kept = self.ledger.record_of(self.job, commit.record.round)
        if kept != commit.word:
            raise AuditError(
                f"round {commit.record.round}: the ledger keeps the record {kept.hex()}, its events make "
                f"{commit.word.hex()}"
            )

    def _aggregate(self, commit: Commit) -> None:
        number, size = commit.record.round, self.verifier.model_chunk
        self.verifier.model(commit.record.next, f"the model after round {number}")
        if commit.nodes:
            self._tree(commit)
            return
        wrong = self.verifier.wrong_parameter(self.history, commit)
        if wrong is not None:
            index, theirs, ours = wrong
            parameter, lane = divmod(index, self.verifier.rule.lanes)
            which = f"moment {lane} of parameter {parameter}" if lane else f"parameter {parameter}"
            raise WrongAggregateError(
                f"round {number}: {which} (chunk {index // size}) of the committed model is {theirs}, but "
                f"its updates make {ours}",
                commit,
                0,
                index // size,
            )

    def _tree(self, commit: Commit) -> None:
        """Audits every node of a commit, and the step from the root to the next model."""
        lacking: Fault | None = None
        for fault in self.checks.everything(self.history, commit):
            what = f"round {commit.record.round}: {fault.reason}"
            if fault.kind is Kind.PROVED:
                raise WrongAggregateError(what, commit, fault.node, fault.chunk)
            if fault.kind is not Kind.MISSING:
                raise AuditError(f"{what} (node {fault.node}, chunk {fault.chunk}): `galaxy-chain watch` demands it")
            lacking = lacking or fault
        if lacking is not None:
            raise ContentMissingError(lacking.reason)
