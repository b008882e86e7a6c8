"""Demands, answers, and what they come to."""

from __future__ import annotations

from galaxy_chain.following.history.commit import Commit, OpenDemand
from galaxy_chain.following.history.facts import Facts
from galaxy_chain.ledger.events import BondSlashed, ChunkAnswered, ChunkDemanded, DemandExpired
from galaxy_chain.ledger.openings import Opening, chunk_bytes
from galaxy_fl.vectors.chunk_tree import depth

__all__ = ["Disputes"]

_FINDERS_PART = 4
"""The finder of a wrong commit has this part of the bond, rounded down."""


class Disputes(Facts):
    """What becomes of commits that are doubted."""

    def _on_chunk_demanded(self, event: ChunkDemanded) -> None:
        commit = self._known(event)
        if not self._can_be_challenged(commit):
            raise self._contradiction(event, f"the record of round {event.round} is void or settled")
        waiting = self.demands.setdefault(event.word, {})
        if (event.node, event.index) in waiting:
            raise self._contradiction(event, f"{_chunk(event)} is demanded already")
        server = commit.record.server
        deposits = 1 + self.account(server).demands
        self._same(event, "deposit", event.deposit, deposits * self.terms.demand_deposit)
        self.demanded += 1
        waiting[event.node, event.index] = OpenDemand(
            event.demander, event.node, event.index, event.answer_by, deposits, event.announced, self.demanded
        )
        self._change(server, demands=deposits)
        self._credit(event.demander, event.excess)

    def _on_chunk_answered(self, event: ChunkAnswered) -> None:
        commit = self._known(event)
        if not self._can_be_challenged(commit):
            raise self._contradiction(event, f"the record of round {event.round} is void or settled")
        if event.paid not in (commit.record.server, event.sender):
            raise self._contradiction(event, f"{event.paid} has neither committed nor answered")
        self._end_demand(event, commit, event.paid)
        one = chunk_bytes(event.node, self.terms.chunk_parameters)
        # A model may have several lanes; how many, only its rule says, and the rest is the path.
        rest = len(event.chunk) - 32 * depth(self.terms.parameters, self.terms.chunk_parameters)
        several = event.node == 0 and rest > 0 and rest % one == 0
        try:
            opening = Opening.unpack(event.chunk, rest if several else one)
        except ValueError as error:
            raise self._contradiction(event, str(error)) from error
        self.answers.setdefault(event.word, {})[event.node, event.index] = opening

    def _on_demand_expired(self, event: DemandExpired) -> None:
        demand = self._end_demand(event, self._known(event), event.demander)
        self._same(event, "demander", event.demander, demand.demander)
        self.expired.setdefault(event.word, set()).add((event.node, event.index))

    def _on_bond_slashed(self, event: BondSlashed) -> None:
        commit = self._known(event)
        self._same(event, "server", event.server, commit.record.server)
        self._same(event, "amount", event.amount, self.account(event.server).bond)
        if event.reward not in (0, event.amount // _FINDERS_PART):
            raise self._contradiction(event, f"the finder has {event.reward} of a bond of {event.amount} wei")
        self._change(event.server, bond=0, barred=True)
        self._credit(event.finder, event.reward)
        self.superseded.discard(event.word)

    def _known(self, event: ChunkDemanded | ChunkAnswered | DemandExpired | BondSlashed) -> Commit:
        """The commit with the word that an event names."""
        round_ = None if isinstance(event, BondSlashed) else event.round
        standing = None if round_ is None else self.commits.get(round_)
        if standing is not None and standing.word == event.word:
            return standing
        for commit in (*self.void.values(), *self.commits.values()):
            if commit.word == event.word and round_ in (None, commit.record.round):
                return commit
        raise self._contradiction(event, f"there is no record {event.word.hex()}")

    def _can_be_challenged(self, commit: Commit) -> bool:
        if commit.word in self.superseded:
            return True
        return commit.record.round > self.settled and self.commits.get(commit.record.round) is commit

    def _end_demand(self, event: ChunkAnswered | DemandExpired, commit: Commit, paid: str) -> OpenDemand:
        """Ends the demand that an event names, its deposit going to somebody."""
        waiting = self.demands.get(event.word, {})
        demand = waiting.pop((event.node, event.index), None)
        if demand is None:
            raise self._contradiction(event, f"{_chunk(event)} is not demanded")
        self._same(event, "deposit", event.deposit, demand.deposits * self.terms.demand_deposit)
        if not waiting:
            del self.demands[event.word]
        self._change(commit.record.server, demands=self.account(commit.record.server).demands - 1)
        self._credit(paid, event.deposit)
        return demand


def _chunk(event: ChunkDemanded | ChunkAnswered | DemandExpired) -> str:
    return f"chunk {event.index} of node {event.node} of round {event.round}"
