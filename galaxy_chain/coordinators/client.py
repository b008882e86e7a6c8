"""A client of a ledger's job: verifies, submits, reveals, and gets its earnings out."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from galaxy_chain.coordinators.answering import Answering
from galaxy_chain.coordinators.base import LedgerCoordinator, Patience
from galaxy_chain.coordinators.payout import Payout
from galaxy_chain.coordinators.pending import Pending
from galaxy_chain.coordinators.shared_job import SharedJob
from galaxy_chain.coordinators.tending import Tending
from galaxy_chain.exceptions import (
    AlreadySubmittedError,
    ErrorName,
    InsufficientFundsError,
    KeyMissingError,
    LedgerRefusedError,
    NotAdmittedError,
)
from galaxy_chain.following.history import Commit
from galaxy_chain.jobs.terms import Limits, Role
from galaxy_chain.lane.client_lane import JOIN_SECONDS, Lane, SignedLane
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.structs import Client, Update
from galaxy_chain.ledger.submissions import Entry
from galaxy_chain.ledger.words import address_bytes
from galaxy_chain.seal.vault import Vault
from galaxy_chain.shown import ether
from galaxy_chain.verify.how import BRANCH, Verify
from galaxy_chain.verify.inspection import Inspection, Withheld
from galaxy_chain.verify.reports import Reporter
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.content import ContentId, Finished, Store
from galaxy_fl.exceptions import ConfigurationError, ContentError, ContentMissingError, RoundMovedOnError
from galaxy_fl.faults import fault_point
from galaxy_fl.rounds.coordinator import Phase, Previous, Round, vector_of
from galaxy_fl.vectors import Vector, commitment, tree_root

__all__ = ["LedgerClientCoordinator"]

LOG = logging.getLogger(__name__)

NOBODY_RELAYS = (
    "nobody hands in what this client has signed: no relay looks into the inbox, or it leaves this client out; it "
    "continues to try. Ask the server's operator for `galaxy-chain server --relay`, or send this account some ether "
    "and use --lane auto"
)


class LedgerClientCoordinator(LedgerCoordinator):
    """A client of a ledger's job.

    Args:
        verify: How it checks every commit that can be challenged, before it trains; one that is wrong it challenges.
        withheld: What it does where a commit can't be checked because its content is missing.
        lane: How it joins and hands in. What it signs is kept in `own`, so that it never signs two entries for one
            attempt.
        leave: End with the job's last round, though rewards can be had only when its window is over.
        report: The URLs of watchtowers that are told what this client has found and can't pay to bring to the ledger.
        own, shared: As of every participant; what was trained and not handed in is there, too, and updates that are not
            revealed yet where the job reveals after close.
    """

    role = "client"
    entered_not: ErrorName | None = "NotJoined"

    def __init__(
        self,
        ledger: LedgerContract,
        store: Store,
        job: int,
        patience: Patience = Patience(),
        *,
        verify: Verify = BRANCH,
        withheld: Withheld = Withheld.GO_ON,
        lane: Lane = Lane.DIRECT,
        own: Path | None = None,
        limits: Limits = Limits(),
        leave: bool = False,
        report: Sequence[str] = (),
        shared: SharedJob | None = None,
    ) -> None:
        super().__init__(ledger, store, job, patience, own, limits, shared)
        self.kept: Path | None = None if own is None else own / "trained" / self._name
        """Where what this client has trained is kept."""
        self._pending = Pending(None if own is None else own / "pending", self._name)
        if self.job.reveal == "after-close" and own is None:
            raise ConfigurationError(f"job {job} reveals after close: name a folder for what is not revealed yet")
        if lane is not Lane.DIRECT and own is None:
            raise ConfigurationError(f"job {job}: a client that signs needs a folder for what it has signed")
        self._lane: SignedLane | None = None
        if lane is not Lane.DIRECT and own is not None:
            self._lane = SignedLane(lane, ledger, store, job, own / "signed" / self._name, patience.relay, self._key)
        self.challenged: Callable[[Commit, int, int], None] = lambda commit, node, chunk: None
        """Called after a challenge of a commit by a chunk of a node."""
        reporter = Reporter(report, job)
        self._inspection = Inspection(
            ledger,
            self.verifier,
            self._follower,
            super().round,
            verify,
            withheld,
            patience.poll,
            patience.content,
            own,
            self._name,
            lambda commit, node, chunk: self.challenged(commit, node, chunk),
            lambda commit, fault: reporter.report(commit.word, fault.node),
            None if shared is None else shared.checks,
        )
        self._verify = verify
        self._neighbours = {self.address} if shared is None else shared.clients
        """The clients of this process, itself among them."""
        self._neighbours.add(self.address)
        if shared is not None:
            shared.ledgers[self.address] = ledger
        if verify.chunks is None:
            self.early = self._inspection.checks.early() if shared is None else shared.early
        self.leave = leave
        self.answering = Answering(
            ledger,
            Verifier(self.store, self.terms, self.job),
            job,
            patience.poll,
            own,
            f"{self._name}-{self.role}",
            others=True,
            deputies={} if shared is None else shared.ledgers,
            view=None if shared is None else shared.view,
        )
        self._tending = Tending(ledger, self.verifier, job, self.address, serves=False)
        self._payout = Payout(ledger, job, self.address)
        self._settleable_since: float | None = None
        """From when on it settles itself, by this machine's stopwatch; None while its rounds can't be settled."""
        self._withheld_said = b""
        self._begun = self._closed_once = False
        self._samples = 0
        self._sent = 0, 0
        """The attempt that this client has submitted to last, and the block that this was in; or, where it was refused
        because the round has moved on, the newest block that was seen by then."""

    def listen(self, paid: Callable[[int], None], challenged: Callable[[int, str, int, int], None]) -> None:
        """Call `paid` and `challenged` from now on."""
        super().listen(paid, challenged)
        self.challenged = lambda commit, node, chunk: challenged(commit.record.round, commit.record.server, node, chunk)

    def begin(self) -> None:
        """Answer demands in a thread of its own; of the clients of a process one does."""
        self._begun = True
        if self._shared is None:
            self.answering.start()
        else:
            self._shared.answer(self.answering)

    def round(self) -> Round:
        """Where the job stands now; reveals what has to be revealed now."""
        round = self._inspected(super().round())
        if self._shared is None:
            if not self.answering.running:
                self.answering.look(self.history, self._follower.time)
        elif self._begun and not self._closed_once:
            self._shared.answer(self.answering)
        if self._tend():
            round = self._inspected(super().round())
        if self.job.reveal != "after-close":
            return round
        history = self.history
        if self._is_closed_for_all(history):
            for submission in history.entries:
                if submission.client == self.address:
                    self._pending.reveal(self.store, history.origin, submission.update.content)
        return replace(round, draw=self._pending.wasted(history.round, history.model.root, history.attempt))

    def _tend(self) -> bool:
        def look() -> bool:
            return self._tending.look(self.history, self._follower.chain_time, bonded=False)

        return look() if self._shared is None else self._shared.tend(self.history, look)

    def _inspected(self, round: Round) -> Round:
        """The same, or where the job continues although it seemed to be over: its last commits are verified, too."""
        while round.phase in (Phase.SETTLING, Phase.FINISHED, Phase.CANCELLED):
            try:
                self._inspection.look()
                break
            except RoundMovedOnError:
                self._follower.pause(self.patience.poll)
                round = super().round()
            except KeyMissingError as error:
                LOG.warning("job %d: its last commits are not verified: %s", self.number, error)
                break
        return round

    def _wanted(self, entries: Sequence[Entry]) -> frozenset[int]:
        """All, or where it verifies its own branch those in the node of its entry, and of others in this process."""
        fan_in = self.terms.fan_in
        if not self._verify.branch or not self.history.is_sum or len(entries) <= fan_in:
            return super()._wanted(entries)
        own = (number for number, entry in enumerate(entries) if entry.client in self._neighbours)
        nodes = {number // fan_in for number in own}
        return frozenset(number for number in range(len(entries)) if number // fan_in in nodes)

    def _key(self) -> bytes:
        """The public key that this client joins with."""
        return bytes(32) if self.keys is None else self.keys.vault.public

    def model(self, round: Round) -> Path:
        """The round's model, every commit that can be challenged verified. A wrong one is challenged, which moves the
        round on.

        Raises:
            ContentError: it can't be had.
            RoundMovedOnError: the round is over, or a commit was wrong and has been challenged.
        """
        self._wait_for_keys()
        self._expect(round)
        path = self._model_or_what_replaces_it(round)
        self._inspection.look()
        self._expect(round)
        return path

    def _model_or_what_replaces_it(self, round: Round) -> Path:
        """The round's model; waits for one that is withheld until its commit is superseded, or the job has ended
        without it, so that what this client has earned before can be got out."""
        while True:
            try:
                return super().model(round)
            except ContentMissingError as error:
                history = self._expect(round)
                commit = history.commits.get(history.round - 1)
                if commit is None or commit.record.round >= history.last_round:
                    raise
                if self._withheld_said != commit.word:
                    self._withheld_said = commit.word
                    LOG.warning(
                        "round %d is waited for, until its model is there or superseded, or the job has ended: %s",
                        round.number,
                        error,
                    )
                self._follower.pause(self.patience.poll)
                if self.round().over:
                    raise RoundMovedOnError(f"job {self.number} has ended without its round {round.number}") from error
                self._expect(round)

    def enter(self, samples: int) -> None:
        """Joins, if the client has not before."""
        client = self._as_joined()
        if samples > self.terms.max_weight and self.job.weighting != "uniform":
            LOG.warning(
                "job %d: %d samples are more than an update may weigh there: they count as %d",
                self.number,
                samples,
                self.terms.max_weight,
            )
        samples = min(samples, self.terms.max_weight)
        self._accept(Role.CLIENT, entered=client.samples > 0)
        if client.samples == 0:
            if not self.terms.open and not client.admitted:
                raise NotAdmittedError(
                    f"{self.address} is not admitted to job {self.number}: ask its owner, {self.history.owner}, to run "
                    f"`galaxy-chain job admit {self.number} {self.address}`",
                    "NotAdmitted",
                    {"client": self.address},
                )
            if self._lane is None:
                self._join(samples)
            else:
                self._join_signed(self._lane, samples)
        else:
            self._check_samples(client, samples)
        if self.keys is not None and not self._has_keys():
            self._name_key(self.keys.vault)
        self._samples = samples
        self._sent = client.attempt, self._follower.number

    def _as_joined(self) -> Client:
        """What the ledger has of this client. It is not asked about one that no event says to have joined, unless that
        has to be admitted: a thousand clients of a process would ask a thousand times."""
        if self.terms.open and self.address not in self.history.clients:
            return Client(samples=0, attempt=0, digest=0, admitted=False, expelled=False)
        return self.ledger.client_of(self.number, self.address)

    def _check_samples(self, client: Client, samples: int) -> None:
        if client.samples < samples:
            raise ConfigurationError(
                f"{self.address} joined job {self.number} with {client.samples} samples, but the data set now has "
                f"{samples}: use the data it joined with, or another account"
            )

    def _name_key(self, vault: Vault) -> None:
        """Registers this operator's key where the client has joined with another, or with none.

        Raises:
            KeyMissingError: that takes a transaction, and this client sends none, or can't pay for it.
        """
        self._follower.poll()
        known = self.history.keys.get(self.address, ())[-1:]
        if known == (vault.public,):
            return
        try:
            if self._lane is not None and not self._lane.may_pay():
                raise InsufficientFundsError("it sends no transactions (--lane signed)")
            self._register_key(vault)
        except InsufficientFundsError as error:
            raise KeyMissingError(
                f"{self.address} has joined job {self.number} with the key {known[0].hex() if known else 'zero'}, not "
                f"with that of this folder, {vault.public.hex()}, which it would have to register: use the folder "
                f"(--home) that it joined with, or send it some ether ({error})"
            ) from error

    def _join(self, samples: int) -> None:
        """Joins with others of this process, or by an own transaction."""
        if self._shared is not None:
            deadline = max(self._follower.chain_time, int(time.time())) + JOIN_SECONDS
            if self._shared.together.join(self.ledger, samples, self._key(), deadline):
                return
        try:
            self.ledger.join(self.number, samples, self._key()).transact(f"{self.number}")
        except LedgerRefusedError as error:
            if error.name != "AlreadyJoined":  # by another process of this account, or by a relay, a moment ago
                raise
            self._check_samples(self.ledger.client_of(self.number, self.address), samples)

    def _join_signed(self, lane: SignedLane, samples: int) -> None:
        """Joins by signature; by an own transaction where nobody hands that in and this client can pay. Returns, too,
        once the job is over."""
        now = max(self._follower.chain_time, int(time.time()))
        handing_in, signed_until = lane.joining(samples, now), now + JOIN_SECONDS // 2
        while not super().round().over and self.address not in self.history.clients:
            now = max(self._follower.chain_time, int(time.time()))
            if now >= signed_until:
                handing_in, signed_until = lane.joining(samples, now), now + JOIN_SECONDS // 2
            handing_in.look()
            if handing_in.is_overdue():
                if lane.may_pay():
                    try:
                        self._join(samples)
                        return
                    except InsufficientFundsError as error:
                        lane.could_not_pay(error)
                else:
                    lane.say(NOBODY_RELAYS)
            self._follower.pause(self.patience.poll, lambda history: self.address in history.clients)

    def previous(self, round: Round) -> Previous:
        """What this client handed in last, and the others in the round before, as far as it is available."""
        history = self._expect(round)
        mine = [
            (number, submission)
            for number, commit in sorted(history.commits.items())
            for submission in commit.entries
            if submission.client == self.address
        ]
        own = self._submitted(mine[-1][1], mine[-1][0]) if mine else None
        peers = []
        if history.round > 1:
            for submission in history.commits[history.round - 1].included:
                if submission.client != self.address:
                    with suppress(ContentError):
                        peers.append(self._submitted(submission, history.round - 1))
        return Previous(own, peers)

    def wants_update(self, round: Round) -> bool:
        """Whether the round collects without an update of this client's: there was none yet, or a reorganisation has
        taken it away."""
        if round.phase is not Phase.COLLECTING:
            return False
        if self.history.has_entry(self.address):
            return False
        attempt, block = self._sent
        return round.attempt != attempt or self._follower.number > block

    def _is_news(self, round: Round, seen: Round) -> bool:
        # What was sent since may be reorganised away before it is seen: then the round looks as it did before.
        lost = self._sent[0] == round.attempt and self.wants_update(round)
        return lost or super()._is_news(round, seen)

    def submit(self, round: Round, update: Vector | Finished, weight: int) -> int:
        """Puts the update into the store, then commits to it on the ledger."""
        promised = self._promise(round, update, weight)
        model = self.history.model.root
        if self._lane is None:
            return self._submit(round, model, promised)
        return self._submit_signed(self._lane, round, model, promised)

    def _promise(
        self, round: Round, update: Vector | Finished, weight: int, put: Callable[[Vector], ContentId] | None = None
    ) -> Update:
        """Puts the update into the store, or has `put` see to that, and returns what commits to it."""
        self._expect(round)
        fault_point("after-kept")
        vector = vector_of(update, self.terms.parameters)
        root = tree_root(vector, self.terms.chunk_parameters)
        history = self.history
        if not self._has_keys():
            raise RoundMovedOnError(f"job {self.number} has another key since, which is not here yet")
        # Rounds that are not settled may be collected again, and what was public by then must not be handed in.
        final = [
            commit.attempt
            for number, commit in history.commits.items()
            if number <= history.settled and commit.block <= self._follower.final
        ]
        if self._lane is not None:
            self._lane.forget(max(final, default=0))
        if put is not None:
            content = put(vector)
        elif self.job.reveal == "after-close":
            self._pending.forget(max(final, default=0))
            content = self._pending.keep(history.round, history.model.root, round.attempt, vector, self.store)
        else:
            content = self.store.put(update if isinstance(update, Finished) else vector.data)
        self.verifier.know(content, root)
        fault_point("after-store-put")
        weight = min(weight, self.terms.max_weight)
        return Update(commitment(root, address_bytes(self.address)), content.digest, weight)

    def _submit(self, round: Round, model: bytes, update: Update) -> int:
        """Submits with others of this process, or by an own transaction."""
        if self._shared is not None:
            sent = self._shared.together.submit(self.ledger, round.attempt, model, update)
            if sent is not None:
                self.transaction = sent.transaction
                self._sent = round.attempt, sent.block
                return sent.gas_used
        try:
            receipt = self._act(
                self.ledger.submit_update(self.number, round.attempt, model, update), round.attempt, model
            )
        except RoundMovedOnError:
            self._sent = round.attempt, self._follower.number  # the same block would be told the same
            raise
        except AlreadySubmittedError as error:
            # The attempt's number may have come again, on another model: then look what the job is at.
            self._follower.poll()
            if (self.history.attempt, self.history.model.root) == (round.attempt, model):
                raise
            raise RoundMovedOnError(f"the round has moved on: {error}") from error
        self._sent = round.attempt, receipt.block
        return receipt.gas_used

    def _submit_signed(self, lane: SignedLane, round: Round, model: bytes, update: Update) -> int:
        """Hands in a signature until it is in; the same entry by an own transaction where nobody hands that in and this
        client can pay: the ledger takes it once, whoever is first.

        Returns:
            What it has cost this client, in gas.
        """
        signed = lane.signed(round.attempt, model, update)
        handing_in = lane.handing_in(round.attempt, signed)
        while True:
            now = self.round()
            moved_on = (self.history.attempt, self.history.model.root) != (round.attempt, model)
            if self._is_committed(round.attempt, model) if moved_on else self.history.has_entry(self.address):
                self._sent = round.attempt, self._follower.number
                self.transaction = None
                return 0
            if moved_on:
                raise RoundMovedOnError(f"the round has moved on: it is at attempt {self.history.attempt}")
            if now.phase is not Phase.COLLECTING:
                self._sent = round.attempt, self._follower.number
                lane.say(f"the update to attempt {round.attempt} was signed, and nobody has handed it in in time")
                raise RoundMovedOnError(f"the round has moved on: attempt {round.attempt} takes no more updates")
            if self.address not in self.history.clients:  # a reorganisation has taken that away
                self._enter_again()
            handing_in.look()
            if handing_in.is_overdue(self.history):
                if lane.may_pay():
                    try:
                        return self._submit(round, model, signed.update)
                    except InsufficientFundsError as error:
                        lane.could_not_pay(error)
                else:
                    lane.say(NOBODY_RELAYS)
            self._follower.pause(self.patience.poll, lambda history: history.has_entry(self.address))

    def _is_committed(self, attempt: int, model: bytes) -> bool:
        """Whether an attempt on that model, which had an entry of this client's, was committed since it was looked at
        last."""
        return any(
            (commit.record.attempt, commit.record.previous_root) == (attempt, model)
            and self.address in commit.number_of
            for commit in self.history.commits.values()
        )

    def retire(self, reason: str) -> None:
        """Say nothing: on a ledger nobody waits for a client by name."""

    def has_taken_part(self) -> bool:
        """Whether this client has an update in a round of the job that was committed."""
        commits = self.history.commits.values()
        return any(entry.client == self.address for commit in commits for entry in commit.entries)

    def first_open(self, round: Round) -> int:
        """The first round whose commit may be taken back."""
        return min(self.history.settled + 1, round.number)

    def is_settled(self) -> bool:
        """Whether the job's last round is settled, so that nothing takes it back."""
        return self.history.finished and self.history.settled >= self.history.last_round

    def stays_until(self) -> int | None:
        """Until when something that this client has earned can't be got out, in seconds of the chain; None where there
        is nothing to be got out."""
        return None if self._payout.owed(self.history) == 0 else self._payout.settles_at(self.history)

    def stay(self, round: Round) -> Round:
        """Stays after the job's end until what this client has earned is out: claims it once all of it can be settled,
        and withdraws. Returns as soon as the job continues, because a commit was taken back."""
        while not self.leave and round.over and (owed := self._payout.owed(self.history)):
            try:
                if self._collect():
                    break
            except InsufficientFundsError as error:
                if self._lane is None:
                    raise
                LOG.warning(
                    "job %d: %s is this client's, but it has no ether to get that out: send %s some, and then run "
                    "`galaxy-chain claim %d` and `galaxy-chain withdraw %d` (%s)",
                    *(self.number, ether(owed), self.address, self.number, self.number, error),
                )
                break
            self._fresh = self._follower.pause(self.patience.poll, self._payout.can_be_withdrawn)
            round = self.round()
        return round

    def _collect(self) -> bool:
        """Gets out what can be got out by now, and tells whether that was all."""
        if not self._payout.can_be_withdrawn(self.history) and not self._have_credited():
            return False
        amount = 0 if self._shared is None else self._shared.together.withdraw(self.ledger)
        if amount := amount or self._payout.withdraw(self.history):
            self.paid(amount)
        self._follower.poll()
        return self._payout.owed(self.history) == 0

    def _have_credited(self) -> bool:
        """Has the ledger credit what this client, and others of its process, have earned, once all of it can be
        settled; returns whether that is done."""
        now = self._follower.chain_time
        if not self._payout.can_be_claimed(self.history, now):
            self._settleable_since = None
            return False
        begun = time.monotonic()
        if self._settleable_since is None:
            # Its server is about to settle, which costs nothing here; and not all clients shall do so at once.
            self._settleable_since = begun + self.patience.poll * random.uniform(2, 6)
        if begun < self._settleable_since and not self._payout.is_settled(self.history):
            return False
        if self._shared is None:
            self._payout.claim(self.history, now)
        else:
            clients = self._shared.clients
            self._shared.tend(self.history, lambda: self._payout.claim(self.history, now, clients))
        self._follower.poll()
        # If not, another client of this process is about to have the rest credited.
        return self._payout.can_be_withdrawn(self.history)

    def close(self) -> None:
        """Answers nothing more, and lets go what is known of the job's events."""
        if self._shared is None:
            self.answering.stop()
        elif not self._closed_once:
            self._closed_once = True
            self._shared.answer_no_more(self.answering)
            self._shared.leave()
        super().close()

    def _enter_again(self) -> None:
        self.enter(self._samples)
