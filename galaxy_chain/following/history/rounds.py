"""Clients, their entries, and rounds: committed, collected again, taken back."""

from __future__ import annotations

from galaxy_chain.exceptions import AuditError
from galaxy_chain.following.history.commit import Commit, Reopening, Superseding
from galaxy_chain.following.history.facts import Facts, shown
from galaxy_chain.ledger.events import (
    ClientAdmitted,
    ClientExpelled,
    ClientJoined,
    KeyRegistered,
    KeyShared,
    RoundCommitted,
    RoundReopened,
    RoundReverted,
    RoundSuperseded,
    UpdatesSubmitted,
)
from galaxy_chain.ledger.records import round_reward
from galaxy_chain.ledger.structs import NEVER, Record, Status
from galaxy_chain.ledger.submissions import Entries, cut, unpack_entries
from galaxy_fl.aggregation.sum_tree import Node, nodes_hash, unpack_nodes
from galaxy_fl.exceptions import AggregationError

__all__ = ["Rounds"]

_MOST_REOPENINGS = 10
"""What the ledger counts to."""


class Rounds(Facts):
    """What becomes of rounds."""

    # Clients and their entries

    def _on_client_admitted(self, event: ClientAdmitted) -> None:
        self.admitted.add(event.client)

    def _on_client_expelled(self, event: ClientExpelled) -> None:
        self.expelled.add(event.client)

    def _on_client_joined(self, event: ClientJoined) -> None:
        if event.client in self.clients:
            raise self._contradiction(event, f"{event.client} has joined before")
        self.clients[event.client] = event.samples
        if any(event.key):
            self._has_key(event.client, event.key)

    def _on_key_registered(self, event: KeyRegistered) -> None:
        self._has_key(event.account, event.key)

    def _has_key(self, account: str, key: bytes) -> None:
        self.first_with.setdefault(key, account)
        self.keys[account] = (*self.keys.get(account, ()), key)

    def _on_key_shared(self, event: KeyShared) -> None:
        self.epochs[event.digest] = (*self.epochs.get(event.digest, ()), event.wraps)

    def _on_updates_submitted(self, event: UpdatesSubmitted) -> None:
        self._same(event, "attempt", event.attempt, self.attempt)
        self._same(event, "first", event.first, len(self.entries))
        if self.origin != self.attempt:
            raise self._contradiction(event, "after a rollback the entries of the round are complete")
        before = len(self.entries)
        try:
            entries = unpack_entries(event.entries)
        except ValueError as error:
            raise self._contradiction(event, str(error)) from error
        for block in cut(entries, self.terms.fan_in):
            self.entries.append(block)
        self.blocks, self.shut = self.entries.open_blocks, self.entries.shut
        for entry in entries:
            client, weight, declared = entry.client, entry.update.weight, self.clients.get(entry.client, 0)
            if client in self._handed_in:
                raise self._contradiction(event, f"{client} has an entry in this attempt")
            if client in self.expelled:
                raise self._contradiction(event, f"{client} was expelled")
            if not 1 <= weight <= declared:
                raise self._contradiction(event, f"{client} hands in a weight of {weight}, but declared {declared}")
            self._handed_in.add(client)
        terms, count = self.terms, len(self.entries)
        if count > terms.max_clients:
            raise self._contradiction(event, f"{count} entries are in, but the job takes {terms.max_clients}")
        if (count < terms.min_clients) != (event.closes_at == NEVER):
            raise self._contradiction(event, f"collecting ends at {event.closes_at} with {count} entries")
        if terms.min_clients <= before and count < terms.max_clients:
            self._same(event, "closes_at", event.closes_at, self.closes_at)
        self.closes_at = event.closes_at
        self.built = self.built or count >= terms.min_clients

    # Rounds

    def _on_round_committed(self, event: RoundCommitted) -> None:
        record: Record = event.record
        self._expect_attempt(event, record.round)
        if record.head != self.head:
            raise AuditError(
                f"round {record.round}: the commit names the head {record.head.hex()}, but the entries of attempt "
                f"{self.origin} lead to {self.head.hex()}"
            )
        if self.finished or self.status is not Status.RUNNING:
            raise self._contradiction(event, "the job takes no more commits")
        if record.round - 1 - self.settled >= self.terms.max_unsettled:
            raise self._contradiction(event, f"the rounds after {self.settled} are not settled")
        expected = {
            "attempt": self.origin,
            "updates": len(self.entries),
            "previous_root": self.model.root,
            "reward": round_reward(self.pool, self.allotted, self.terms.rounds, record.round),
            "allotted_before": self.allotted,
            "server": event.server,
        }
        for name, value in expected.items():
            if getattr(record, name) != value:
                raise self._contradiction(
                    event, f"the record's {name} is {shown(getattr(record, name))}, expected {shown(value)}"
                )
        if record.share != self.terms.server_share and (record.share or record.server == self.terms.server):
            raise self._contradiction(event, f"the record's share is {record.share}")
        if self.keeps_model and record.next.root != self.model.root:
            raise self._contradiction(event, "the rule keeps the model, but the root is another")
        if record.time < self.closes_at:
            raise self._contradiction(event, f"it came at {record.time}, but collecting ends at {self.closes_at}")
        blocks, nodes = tuple(self.entries.blocks), self._nodes(event)
        commit = Commit(
            event.attempt, record, self.model, blocks, event.block, event.transaction, nodes, event.nodes_content
        )
        try:
            left = record.updates - len(commit.left_out)
        except ValueError as error:
            raise self._contradiction(event, str(error)) from error
        if left < max(1, self.terms.min_clients):
            raise self._contradiction(event, f"{left} updates are included, expected {self.terms.min_clients} at least")
        self._lock(event, record.server, record.time)
        self.commits[record.round] = commit
        self.allotted += record.reward
        self.highest = max(self.highest, record.round)
        self.reopenings_before, self.reopenings = self.reopenings, 0
        self.built, self.active_at = False, record.time
        self._open(record.round + 1, record.next)

    def _nodes(self, event: RoundCommitted) -> tuple[Node, ...]:
        """The nodes that a commit names, which are as many as its entries ask for, and bound by its record."""
        entries, fan_in = len(self.entries), self.terms.fan_in
        try:
            nodes = unpack_nodes(event.nodes)
            if not self.is_sum and nodes:
                raise self._contradiction(event, f"there are {len(nodes)} nodes, but the job's rule is not a sum")
            bound = nodes_hash(nodes, entries, fan_in) if self.is_sum else bytes(32)
        except AggregationError as error:
            raise self._contradiction(event, str(error)) from error
        self._same(event, "record's nodes_hash", event.record.nodes_hash, bound)
        return nodes

    def _on_round_reopened(self, event: RoundReopened) -> None:
        self._expect_attempt(event, event.round)
        self._lock(event, event.sender, event.time)
        self.reopened.append(Reopening(event.attempt, event.round, event.sender, tuple(self.entries)))
        self.reopenings = min(self.reopenings + 1, _MOST_REOPENINGS)
        self._open(event.round, self.model)

    def _on_round_reverted(self, event: RoundReverted) -> None:
        self._roll_back(event)

    def _on_round_superseded(self, event: RoundSuperseded) -> None:
        round_: int = event.round
        if round_ != self.round - 1 or round_ >= self.last_round or self.built:
            raise self._contradiction(event, f"round {round_} can't be superseded")
        commit = self._roll_back(event)
        if event.server != commit.record.server or event.sender == event.server:
            raise self._contradiction(event, f"{commit.record.server} committed it, and can't do this")
        self.reopenings = self.reopenings_before
        self.superseded.add(commit.word)
        self.supersedings.append(Superseding(commit, event.sender, event.time))
        self._change(event.server, late=True, late_round=round_)
        self._lock(event, event.sender, event.time)

    def _roll_back(self, event: RoundReverted | RoundSuperseded) -> Commit:
        commit = self.commits.get(event.round)
        if commit is None or commit.word != event.word:
            raise self._contradiction(
                event, f"the record {event.word.hex()} of round {event.round} is none that stands"
            )
        if event.round <= self.settled:
            raise self._contradiction(event, f"round {event.round} is settled")
        self._same(event, "attempt", event.attempt, self.attempt + 1)
        for number in sorted(number for number in self.commits if number >= event.round):
            gone = self.commits.pop(number)
            self.void[gone.word] = gone
        record = commit.record
        self.round, self.attempt, self.origin, self.model = record.round, event.attempt, record.attempt, commit.previous
        self.entries = Entries(self._start(record.attempt, commit.previous), commit.blocks)
        self._handed_in = {entry.client for entry in self.entries}
        self.allotted = record.allotted_before
        self.closes_at = self.active_at = event.time
        self.built, self.reopenings = True, 0
        return commit

    def _expect_attempt(self, event: RoundCommitted | RoundReopened, round: int) -> None:
        if (round, event.attempt) != (self.round, self.attempt):
            raise AuditError(
                f"{event.name} in block {event.block} is of round {round}, attempt {event.attempt}, but the "
                f"events before it lead to round {self.round}, attempt {self.attempt}"
            )
