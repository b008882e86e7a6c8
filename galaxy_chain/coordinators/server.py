"""A server of a ledger's job: aggregates and commits, keeps the job going, and answers for what it committed."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from galaxy_chain.coordinators.answering import Answering
from galaxy_chain.coordinators.base import LedgerCoordinator, Patience
from galaxy_chain.coordinators.keep import Keep
from galaxy_chain.coordinators.payout import Payout
from galaxy_chain.coordinators.summing_up import NO_TREE, SummingUp, Tree
from galaxy_chain.coordinators.tending import Tending
from galaxy_chain.exceptions import ErrorName, KeyMissingError, LedgerRefusedError
from galaxy_chain.following import turns
from galaxy_chain.following.claims import earnings
from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.jobs.terms import Limits, Role
from galaxy_chain.lane.inbox import Inbox, inbox_of
from galaxy_chain.lane.relay import Relay, RelaySettings
from galaxy_chain.ledger.announcing import announce_commit
from galaxy_chain.ledger.contract import ContractCall, LedgerContract
from galaxy_chain.ledger.excluded import pack_excluded
from galaxy_chain.ledger.records import round_reward
from galaxy_chain.ledger.signing import Domain
from galaxy_chain.ledger.structs import ZERO_ADDRESS, Model, Status
from galaxy_chain.ledger.submissions import Entry
from galaxy_chain.seal.owner import KeyKeeper
from galaxy_chain.transactions.manager import Receipt
from galaxy_chain.verify.early import Early
from galaxy_chain.verify.node_vectors import manifest_id
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.aggregation.sum_tree import pack_nodes
from galaxy_fl.content import ContentId, Finished, Store
from galaxy_fl.content.gathering import gather
from galaxy_fl.exceptions import (
    ConfigurationError,
    ContentAlteredError,
    ContentError,
    ContentMissingError,
    RoundMovedOnError,
    VectorError,
)
from galaxy_fl.faults import fault_point
from galaxy_fl.rounds.aggregating import aggregate_round
from galaxy_fl.rounds.coordinator import Committed, Phase, Round, Submitted

__all__ = ["LedgerServerCoordinator"]

LOG = logging.getLogger(__name__)

LONGEST_PAUSE = 60.0
"""Seconds until a server tries again what has failed again and again."""


class LedgerServerCoordinator(LedgerCoordinator):
    """A server of a ledger's job. Answers demands for what it committed by itself: `answering.start()` has a thread do
    that beside everything else; without it the server answers whenever it looks at the chain.

    Args:
        takeover: Serve although the job names another server: commit what that one has left undone when its time is up,
            and stay until its last commit can't be taken back. Such a commit is announced, because it earns its share
            only so.
        keep: Which rounds' contents stay pinned. After each commit the others are let go, as far as they can't be
            challenged any more; what the job starts from stays, because other jobs may start from it.
        relay: How it hands in what clients have signed and left in the inbox; None: it does not.
        inbox: Where they leave it; None for the store's.
        leave: Don't stay after the job's end: whoever means that answers for the bond in another way, or gives it up.

    Besides, it keeps the job going: it settles rounds as they can be settled, supersedes a commit whose model can't be
    had, and ends demands on its own void commits, all when it looks at the chain.
    """

    role = "server"
    entered_not: ErrorName | None = "BondTooSmall"

    def __init__(
        self,
        ledger: LedgerContract,
        store: Store,
        job: int,
        patience: Patience = Patience(),
        *,
        takeover: bool = False,
        own: Path | None = None,
        keep: Keep = Keep(),
        limits: Limits = Limits(),
        leave: bool = False,
        relay: RelaySettings | None = None,
        inbox: Inbox | None = None,
    ) -> None:
        super().__init__(ledger, store, job, patience, own, limits)
        self.keep = keep
        self.leave = leave
        self._trouble = ""
        """What failed last, and was said."""
        self._pause = 0.0
        self._entered = False
        self._clock_is_ahead = False
        """Whether the ledger has refused what this machine's clock had let it try."""
        self._tending = Tending(ledger, self.verifier, job, self.address, serves=True)
        self._payout = Payout(ledger, job, self.address)
        self.summing_up = SummingUp(self.verifier)
        self.early = Early(self.verifier, lambda sight, verified: self.summing_up.next_nodes(sight, verified))
        self._tree: tuple[bytes, frozenset[str], Tree] | None = None
        """What was aggregated last, where it has a tree: of which head, and whose updates."""
        self._nodes_let_go: set[bytes] = set()
        """The words of commits whose nodes are not kept any more."""
        self.answering = Answering(
            ledger, Verifier(self.store, self.terms, self.job), job, patience.poll, own, f"{self._name}-{self.role}"
        )
        self._key_keeper: KeyKeeper | None = None
        """Shares the job's keys, where this account is its owner and the job is sealed."""
        if self.keys is not None and self.history.owner == self.address:
            self._key_keeper = KeyKeeper(ledger, job, self.keys.vault)
        self._relay: Relay | None = None
        if relay is not None:
            self._relay = Relay(
                ledger,
                inbox_of(store, Domain(ledger.chain_id, ledger.address)) if inbox is None else inbox,
                self.verifier,
                job,
                relay,
                None if own is None else own / "relayed" / f"{self._name}.json",
                reveals_late=self.job.reveal == "after-close",
            )
        named = self.terms.server
        self._stands_by = takeover and named != self.address
        if named not in (ZERO_ADDRESS, self.address) and not takeover:
            self.close()
            raise ConfigurationError(
                f"job {job} names the server {named}, not {self.address}: use that account, or --takeover to commit "
                f"what it leaves undone for {self.terms.aggregate_seconds} s"
            )

    def begin(self) -> None:
        """Answer demands in a thread of its own."""
        self.answering.start()

    def enter(self) -> None:
        """Brings the account's bond up to what the job asks for."""
        if self.keys is not None and not self._has_keys() and self._key_keeper is None:
            self._register_key(self.keys.vault)
        self._wait_for_keys()  # before anything is at stake
        # In this order: the deposits are counted before the amount is read, so what it has is among them, or not yet.
        self._follower.poll()
        deposits = self.history.deposits.get(self.address, 0)
        account = self.ledger.account_of(self.number, self.address)
        self._accept(Role.SERVER, entered=account.bond > 0)
        if account.bond < self.terms.bond:
            missing = self.terms.bond - account.bond
            # What has been withdrawn, or lost, is deposited again: only the number of a deposit names it alone.
            self.ledger.deposit_bond(self.number, value=missing).transact(f"{self.number} {deposits}")
        self._entered = True

    def round(self) -> Round:
        """Where the job stands now, after what is due to keep it going; answers what is demanded of this server, where
        no thread does that."""
        round = super().round()
        if not self.answering.running:
            self.answering.look(self.history, self._follower.time)
        if self._tending.look(self.history, self._follower.chain_time, bonded=self._entered):
            round = super().round()
        if self._key_keeper is not None and self._key_keeper.look(self.history, self.plain):
            round = super().round()
        if self._relay is not None and self._relay.look(self.history, self._follower.chain_time):
            round = super().round()
        return round

    def _reads_updates(self, history: JobHistory, phase: Phase) -> bool:
        # Of a round that is closed it verifies all itself, at once.
        return phase is Phase.COLLECTING and super()._reads_updates(history, phase)

    def close(self) -> None:
        """Answers nothing more, and lets go what is known of the job's events."""
        self.answering.stop()
        super().close()

    def _phase(self, history: JobHistory) -> Phase:
        phase = super()._phase(history)
        if phase is Phase.CLOSED and self.job.reveal == "after-close" and not self._is_closed_for_all(history):
            return Phase.COLLECTING
        if phase is not Phase.CLOSED or history.account(self.address).barred:
            return phase  # a barred server is told so when it tries
        begins = turns.commit_from(history, self.address)
        return phase if begins is not None and self._now >= begins else Phase.COLLECTING

    @property
    def _now(self) -> int:
        """The time that decides: the machine's clock counts, too, because an idle development chain's own stands still,
        until the ledger has refused what was tried by it. Where clients reveal after the round has closed, a block has
        to say so."""
        if self._clock_is_ahead or self.job.reveal == "after-close":
            return super()._now
        return max(super()._now, self._follower.next_time)

    def bond_locked_until(self) -> int | None:
        """Until when this server's bond answers for what it committed, in seconds of the chain; None for no longer.

        What is not known by then puts it off: open demands, a superseded commit.
        """
        account = self.history.account(self.address)
        if account.bond == 0:
            return None
        free_from = turns.bond_free_from(self.history, self.address)
        if free_from is not None and self._follower.time_at(self.patience.confirmations) >= free_from:
            return None
        return account.locked_until

    def stays_until(self) -> int | None:
        """Until when something of this server's is in the job, as `bond_locked_until`, or it has to be there in case a
        commit is taken back; None for no longer."""
        ends = [self.bond_locked_until(), self._stands_by_until()]
        if self._payout.owed(self.history) != 0:
            ends.append(self._payout.settles_at(self.history))
        return max((end for end in ends if end is not None), default=None)

    def _stands_by_until(self) -> int | None:
        """Until when another's last commit may be taken back, and this server, which stands in for that one, would have
        to commit in its place; in seconds of the chain, None for no longer. Open demands may put it off."""
        history = self.history
        last = history.commits.get(history.last_round)
        confirmed = self._follower.time_at(self.patience.confirmations)
        if not self._stands_by or last is None or turns.settled_through(history, confirmed) >= history.last_round:
            return None
        return last.record.time + self.terms.challenge_seconds

    def stay(self, round: Round) -> Round:
        """Stays until the bond is free and what was earned is out: a block says that the last window is over, no demand
        waits, and the rounds are settled; where it stands in for another server, until that one's last window is over.
        At last lets go what need not stay. Returns as soon as the job continues, because a commit was taken back."""
        while not self.leave and round.over:
            if self.bond_locked_until() is None and self._stands_by_until() is None and self._is_paid():
                self._let_go()
                break
            time.sleep(self.patience.poll)
            round = self.round()
            self._calm()
        return round

    def _is_paid(self) -> bool:
        """Whether what this server has earned is out; gets out what can be."""
        if self._payout.owed(self.history) == 0:
            return True
        if earnings(self.history, self.address).unsettled:  # it is settled as soon as it can be, at each look
            return False
        self._payout.claim(self.history, self._follower.chain_time)
        self._follower.poll()
        if amount := self._payout.withdraw(self.history):
            self.paid(amount)
        self._follower.poll()
        return self._payout.owed(self.history) == 0

    def endures(self, error: Exception) -> bool:
        """Whether the server continues: with money at stake always; without, only where content can't be had, or the
        store can't be used, which others may mend."""
        if not isinstance(error, ContentError) and not self._at_stake():
            return False
        if repr(error) != self._trouble:
            self._trouble = repr(error)
            LOG.warning("job %d: continues, and tries again what failed: %s", self.number, error or self._trouble)
        longest = min(LONGEST_PAUSE, self.terms.aggregate_seconds / 4)  # its turn to commit shall not pass by
        self._pause = max(self.patience.poll, min(longest, 2 * self._pause))
        time.sleep(self._pause)
        return True

    def _at_stake(self) -> bool:
        """Whether this server's bond answers for something; as far as is known, where no node answers."""
        try:
            return self.bond_locked_until() is not None
        except Exception:
            return self._follower.time < self.history.account(self.address).locked_until

    def _calm(self) -> None:
        """What failed before is over."""
        self._trouble, self._pause = "", 0.0

    def updates(self, round: Round) -> Sequence[Submitted]:
        """The submissions of the round, in order."""
        return [Submitted(s.client, s.update.weight) for s in self._expect(round).entries]

    def update(self, round: Round, submitted: Submitted) -> Path:
        """The vector file of an update, its content and its commitment verified; not waited for."""
        submission = next(s for s in self._expect(round).entries if s.client == submitted.client)
        return self.verifier.update(submission, f"the update of {submission.client} in round {round.number}")

    def gather(self, round: Round, updates: Sequence[Submitted]) -> tuple[dict[Submitted, Path], dict[Submitted, str]]:
        """The vector files of the updates, verified, within one deadline for all; and why others can't be used.

        Raises:
            ContentError: the store does not even give what is known to be there, or nothing of the round yet: then it
                may be the store's fault, and nobody is to lose a reward for that. Or more are missing than may be left
                out now: the ledger lets a server leave out any number later, and collect again later still.
        """
        model = self.model(round)
        contents = {e.client: self.verifier.content_id(e.update.content) for e in self._expect(round).entries}
        found, failed = gather(
            updates,
            lambda submitted: self.update(round, submitted),
            self.patience.content,
            is_here=lambda submitted: self.store.has(contents[submitted.client]),
        )
        for _ in found:
            fault_point("during-aggregation")
        if failed:
            for error in failed.values():
                if isinstance(error, KeyMissingError):  # they may be sound
                    raise error
            self._check_store(model)
            doubtful = not found or any(
                not isinstance(error, ContentMissingError | ContentAlteredError) for error in failed.values()
            )
            history = self._expect(round)
            until = history.closes_at + self.terms.aggregate_seconds // 2
            if doubtful and self._follower.chain_time < until:
                raise ContentError(
                    f"round {round.number}: {len(failed)} of {len(updates)} updates can't be had, and it may be this "
                    f"server's store that fails: nobody is excluded for that before half of the job's "
                    f"{self.terms.aggregate_seconds} s to aggregate are over ({next(iter(failed.values()))})"
                )
            self._check_turn(history, len(found), failed)
        usable = {submitted: found[submitted] for submitted in updates if submitted in found}
        return usable, {submitted: str(error) for submitted, error in failed.items()}

    def _check_turn(self, history: JobHistory, usable: int, failed: Mapping[Submitted, Exception]) -> None:
        """Makes sure that the ledger lets the round be committed without the failed ones, or be collected again."""
        now, terms = self._follower.chain_time, self.terms
        if self.enough(usable):
            if len(failed) <= turns.most_excluded(history, now):
                return
            rule = f"the job lets a server leave out {terms.max_excluded} until {turns.exclude_any_from(history)}"
        else:
            begins = turns.reopen_from(history, self.address)
            if begins is None or now >= begins:
                return
            rule = f"the job needs {terms.min_clients}, and is not collected again before {begins}"
        raise ContentError(
            f"round {history.round}: {len(failed)} of {len(history.entries)} updates can't be used, but {rule}: they "
            f"are looked for until then ({next(iter(failed.values()))})"
        )

    def _check_store(self, model: Path) -> None:
        try:
            self.store.probe(self.terms.spec)
            self.verifier.read_model(model)
        except (ContentError, VectorError, OSError) as error:
            self._model = None
            raise ContentError(
                "this server's store does not give the job's document or the round's model, which it had, so nobody is "
                f"excluded: {error}"
            ) from error

    @property
    def wanted(self) -> int:
        """How many updates make a round."""
        return self.terms.min_clients

    def enough(self, usable: int) -> bool:
        """Whether that many make a round."""
        return usable >= self.wanted

    def aggregate(self, round: Round, updates: Mapping[Submitted, Path], next_model: Path) -> None:
        """Writes the vector file of the next model by the job's rule; where the round has a tree of sums, its nodes are
        in the store by then."""
        history, model = self._expect(round), self.model(round)
        self._tree = None
        if not self.summing_up.has_tree(history):
            aggregate_round(self.job, model, updates, next_model)
            return
        by_client = {submitted.client: path for submitted, path in updates.items()}
        tree = self.summing_up.sum_up(history, model, by_client, next_model)
        self._tree = history.head, frozenset(by_client), tree

    def _tree_of(self, round: Round, history: JobHistory, included: Sequence[Entry], next_model: Path) -> Tree:
        """The tree of sums over the included entries; made again where it is not that which was aggregated last."""
        if not self.summing_up.has_tree(history):
            return NO_TREE
        clients = frozenset(entry.client for entry in included)
        if self._tree is not None and self._tree[:2] == (history.head, clients):
            return self._tree[2]
        updates = {entry.client: self._submitted(entry, round.number) for entry in included}
        with tempfile.TemporaryDirectory(prefix=".galaxy-nodes-", dir=next_model.parent) as folder:
            return self.summing_up.sum_up(history, self.model(round), updates, Path(folder) / "next")

    def commit(self, round: Round, next_model: Path, excluded: Mapping[Submitted, str]) -> Committed:
        """Puts the next model, and the nodes of the tree of sums, into the store, then commits it on the ledger."""
        history = self._expect(round)
        fault_point("after-aggregation")
        with ThreadPoolExecutor(1) as beside:  # of a large model each hash takes as long as a transaction
            finished = beside.submit(Finished.of, next_model)
            root = self.verifier.model_root(next_model)
        left_out = {submitted.client for submitted in excluded}
        entries = tuple(history.entries)
        included = [entry for entry in entries if entry.client not in left_out]
        tree = self._tree_of(round, history, included, next_model)
        content = self.store.put(finished.result())
        self.verifier.know(content, root)
        fault_point("after-store-put")
        # All that an audit needs stays here, whoever else goes.
        self.plain.pin(ContentId(self.terms.spec, len(self.job.to_bytes())))
        updates = [self.verifier.content_id(entry.update.content) for entry in included]
        vectors = [self.verifier.model_id(history.model.content), content, *updates]
        self.store.pin(*vectors, *tree.contents, *([] if tree.manifest is None else [tree.manifest]))
        bits = pack_excluded((number for number, entry in enumerate(entries) if entry.client in left_out), len(entries))
        salt = self._announced(history, root)
        call = self.ledger.commit_round(
            self.number,
            round.attempt,
            history.head,
            Model(root, content.digest),
            bits,
            pack_nodes(tree.nodes),
            bytes(32) if tree.manifest is None else tree.manifest.digest,
            salt,
        )
        gas = self._act(call, round.attempt, history.model.root).gas_used
        self._let_go()
        made = self.history.commits.get(round.number)
        if any(salt) and made is not None and made.record.server == self.address and made.record.share == 0:
            LOG.warning(
                "round %d earns no share: its announcement did not count, being as young as the commit, or too old",
                round.number,
            )
        return Committed(root, gas)

    def _announced(self, history: JobHistory, root: bytes) -> bytes:
        """The salt of this commit's announcement; zero where it earns nothing that an announcement could save."""
        reward = round_reward(history.pool, history.allotted, self.terms.rounds, history.round)
        if self.terms.server == self.address or reward * self.terms.server_share == 0:
            return bytes(32)
        return announce_commit(self.ledger, history.head, root)

    def _let_go(self) -> None:
        """Unpins what the policy lets go, and the nodes that nobody can ask about any more: audits make them again."""
        self._follower.poll()  # what the last commit needs stays, whoever else needs it
        history = self.history
        asked = {commit.word for commit in history.challengeable()}
        over = [c for c in (*history.commits.values(), *history.void.values()) if c.nodes and c.word not in asked]
        if new := [commit for commit in over if commit.word not in self._nodes_let_go]:
            self._nodes_let_go.update(commit.word for commit in new)
            kept_nodes = {part for commit in history.challengeable() for part in self._nodes_of(commit)}
            self._unpin({part for commit in new for part in self._nodes_of(commit)} - kept_nodes)
        if self.keep.rounds is None:
            return
        needed = {number: self._needed(commit) for number, commit in history.commits.items()}
        # What a void commit of its own can still be asked for stays, too.
        owed = [self._needed(c) for c in history.challengeable() if c.word in history.superseded]
        kept = {self.verifier.model_id(history.initial.content)}.union(*owed)
        self._unpin(self.keep.let_go(needed, history.settled) - kept)

    def _unpin(self, gone: Collection[ContentId]) -> None:
        pinned = self.store.pins()
        self.store.unpin(*(content for content in gone if content.cid in pinned))

    def _nodes_of(self, commit: Commit) -> list[ContentId]:
        """The vectors of a commit's nodes, and the list of them; none where the list is not here."""
        if not commit.nodes or not self.store.has(manifest_id(commit)):
            return []
        try:
            return [*self.verifier.nodes.contents(commit), manifest_id(commit)]
        except ContentError:
            return []

    def _needed(self, commit: Commit) -> set[ContentId]:
        """All that an audit of a commit needs, and whoever commits its round again."""
        models = (commit.previous.content, commit.record.next.content)
        updates = {self.verifier.content_id(entry.update.content) for entry in commit.entries}
        return updates.union(map(self.verifier.model_id, models))

    def reopen(self, round: Round, excluded: Mapping[Submitted, str]) -> None:
        """Has the ledger collect again; it names nobody."""
        history = self._expect(round)
        call = self.ledger.reopen_round(self.number, round.attempt, history.head)
        self._act(call, round.attempt, history.model.root)

    def model_after(self, rounds: int) -> Path:
        """The vector file of the model after so many rounds, verified; recomputed where it can't be had."""
        return self._patiently(lambda: self.verifier.model_after(self.history, rounds))

    def check_may_end(self) -> None:
        """Makes sure that this server's account is the job's owner, whom alone the ledger lets end it early."""
        if not self.origin.own:
            raise ConfigurationError(
                f"job {self.number} can be ended early by its owner {self.origin.name} alone, and this server is "
                f"{self.address}: leave out --stop-when and --patience (stop_when, patience); its owner can run "
                f"`galaxy-chain job cancel {self.number}` whenever the job has gone far enough"
            )

    def end(self) -> int:
        """Has the ledger end the job with the round that is under way, in which its clients may have trained already:
        it is committed and paid as any other."""
        self._follower.poll()
        history = self.history
        if history.cancelled or history.status is not Status.RUNNING or history.round >= history.last_round:
            return history.last_round
        try:
            self.ledger.cancel_job(self.number).transact(f"{self.number} early")
        except LedgerRefusedError as error:
            if error.name not in ("AlreadyCancelled", "JobNotRunning"):
                raise
        self._follower.poll()
        return self.history.last_round

    def _act(self, call: ContractCall, attempt: int, on: bytes) -> Receipt:
        try:
            receipt = super()._act(call, attempt, on)
        except RoundMovedOnError:
            begins = turns.commit_from(self.history, self.address)
            # Otherwise it would aggregate again and again until a block says what the clock has said before.
            self._clock_is_ahead |= begins is not None and self._follower.chain_time < begins
            raise
        self._calm()
        return receipt

    def _enter_again(self) -> None:
        self.enter()
