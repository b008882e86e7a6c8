"""What each client has done in the rounds that stand, counted once a round however often somebody looks."""

from __future__ import annotations

from collections import Counter

from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.ledger.records import client_amount

__all__ = ["Tally"]


class Tally:
    """Counts by client over the commits that stand. Amounts in wei.

    Attributes:
        rounds: Commits that have the client's update.
        excluded: Commits that left it out.
        worth: What those commits earn it.
        unsettled: As much of that as can still be lost.
        credited: What it was credited with.
    """

    def __init__(self) -> None:
        self.rounds: Counter[str] = Counter()
        self.excluded: Counter[str] = Counter()
        self.worth: Counter[str] = Counter()
        self.unsettled: Counter[str] = Counter()
        self.credited: Counter[str] = Counter()
        self.samples: dict[bytes, int] = {}
        """Of the included updates, by the record's word; of commits that do not stand any more, too."""
        self._settled = 0
        """Rounds up to this one can't be lost any more."""
        self._counted: dict[int, Commit] = {}
        self._claimed: dict[int, set[int]] = {}

    def count(self, history: JobHistory) -> None:
        """Bring it up to a history. Costs what is new."""
        for number, commit in list(self._counted.items()):
            if history.commits.get(number) is not commit:
                self._add(commit, -1)
                del self._counted[number]
        for number, commit in history.commits.items():
            if number not in self._counted:
                self._add(commit, 1)
                self._counted[number] = commit
        for number in range(self._settled + 1, history.settled + 1):
            self._earn(history.commits[number], -1)
        self._settled = history.settled
        for number, claimed in history.claimed.items():
            if len(claimed) != len(self._claimed.get(number, ())):
                self._credit(history, number, claimed)

    def samples_of(self, commit: Commit) -> int:
        """The samples of the updates that a commit includes."""
        if commit.word not in self.samples:
            self.samples[commit.word] = sum(entry.update.weight for entry in commit.included)
        return self.samples[commit.word]

    def _add(self, commit: Commit, sign: int) -> None:
        """Count a commit as one that can still be lost, or take it back."""
        amount, left_out = client_amount(commit.record), commit.left_out
        for number, entry in enumerate(commit.entries):
            if number in left_out:
                self.excluded[entry.client] += sign
            else:
                self.rounds[entry.client] += sign
                self.worth[entry.client] += sign * amount
                self.unsettled[entry.client] += sign * amount

    def _earn(self, commit: Commit, sign: int) -> None:
        if amount := client_amount(commit.record):
            for entry in commit.included:
                self.unsettled[entry.client] += sign * amount

    def _credit(self, history: JobHistory, number: int, claimed: set[int]) -> None:
        """Count what was claimed of a round. Only a reorganisation takes that back, and begins a new tally."""
        commit = history.commits[number]
        amount, entries = client_amount(commit.record), commit.entries
        for place in claimed - self._claimed.get(number, set()):
            self.credited[entries[place].client] += amount
        self._claimed[number] = claimed
