"""What became of attempts, by events as a ledger makes them; each event is taken by a history first."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from galaxy_chain.dashboard.timeline import Timeline
from galaxy_chain.ledger import events
from tests.galaxy_chain.following.test_history import FINDER, OTHER, SERVER, TERMS, Chain


class Told(Chain):
    """A chain of events that is told to a timeline, too, with a transaction of its own for each event."""

    def __init__(self, **more):
        self.timeline = Timeline()
        self._numbers = itertools.count(1)
        self.fixed = None
        super().__init__(**more)

    def apply(self, name, **arguments):
        transaction = self.fixed or next(self._numbers).to_bytes(32)
        event = getattr(events, name)(block=5, block_hash=b"", log_index=0, transaction=transaction, job=1, **arguments)
        self.history.apply(event)
        self.timeline.apply(event)
        self.last = transaction

    def phases(self, round):
        return [
            each.ended.how if each.ended else "committed" if each.committed else "collecting"
            for each in self.timeline.attempts(round)
        ]


@pytest.fixture
def chain():
    return Told(terms=replace(TERMS, max_unsettled=3))


def test_rounds_are_committed_and_settled(chain):
    first = chain.round(0, 1)
    chain.round(0, 1, 2)
    assert (chain.phases(1), chain.phases(2), chain.phases(3)) == (["committed"], ["committed"], ["collecting"])
    chain.settle(first)
    (tried,) = chain.timeline.attempts(1)
    assert (tried.ended.how, tried.ended.transaction) == ("settled", chain.last)
    assert [(each.first, each.count) for each in tried.handed_in] == [(0, 2)]
    assert chain.timeline.rounds == 3


def test_the_last_round_opens_no_other(chain):
    for _ in range(3):
        chain.round(0, 1)
    assert chain.timeline.rounds == 3
    assert chain.history.finished


def test_a_reverted_commit_takes_all_after_it_along_and_its_entries_count_again(chain):
    first = chain.round(0, 1)
    chain.round(0, 1)
    chain.submit(2)
    chain.slash(first)
    chain.reverted(first)
    reverting = chain.last
    assert [chain.phases(n) for n in (1, 2, 3)] == [["reverted", "collecting"], ["reverted"], ["reverted"]]
    for number in (1, 2, 3):
        ended = chain.timeline.attempts(number)[0].ended
        assert (ended.transaction, ended.round) == (reverting, 1)
    again = chain.timeline.attempts(1)[1]
    assert (again.number, again.origin) == (chain.history.attempt, 1)
    assert sum(each.count for each in chain.timeline.entries_of(again)) == 2
    chain.commit(server=OTHER, share=0)
    assert chain.phases(1) == ["reverted", "committed"]
    assert chain.phases(2) == ["reverted", "collecting"]
    punished = chain.timeline.punished[first.word]
    assert (punished.how, punished.event.finder, punished.event.server) == ("challenged", FINDER, SERVER)


def test_a_superseded_commit_is_set_aside_and_may_be_punished_later(chain):
    first = chain.round(0, 1)
    chain.superseded(first)
    assert chain.phases(1) == ["superseded", "collecting"]
    assert chain.timeline.attempts(1)[0].ended.sender == OTHER
    chain.slash(first)
    assert chain.timeline.punished[first.word].event.finder == FINDER
    assert chain.phases(1) == ["superseded", "collecting"]


def test_a_round_that_is_opened_again_has_another_attempt(chain):
    chain.submit(0, 1)
    chain.apply("RoundReopened", attempt=1, sender=OTHER, round=1, time=chain.now)
    assert chain.phases(1) == ["reopened", "collecting"]
    chain.submit(1, 2)
    chain.now += 1_000
    chain.commit()
    assert chain.phases(1) == ["reopened", "committed"]
    assert chain.timeline.attempts(1)[1].origin == 2


def test_demands_have_outcomes_and_one_that_expires_punishes(chain):
    commit = chain.round(0, 1)
    chain.demand(commit, 0)
    chain.demand(commit, 1)
    (tried,) = chain.timeline.attempts(1)
    assert len(tried.open) == 2
    chain.answer(commit, 0)
    answering = chain.last
    chain.fixed = b"\7" * 32  # in one transaction
    chain.expire(commit, 1, deposit=20)
    chain.slash(commit)
    chain.reverted(commit)
    assert [(each.outcome, each.by) for each in tried.demands] == [("answered", answering), ("expired", b"\7" * 32)]
    assert tried.open == {}
    assert chain.timeline.punished[commit.word].how == "expired"


def test_a_cancelled_job_ends_with_the_round_that_runs(chain):
    chain.round(0, 1)
    chain.submit(0, 1)
    chain.apply("JobCancelled", sender=OTHER, last_round=2, time=chain.now)
    chain.commit()
    assert chain.timeline.rounds == 2
    assert chain.timeline.cancelled.last_round == 2


def test_rounds_that_something_has_happened_to_are_named_once(chain):
    chain.timeline.changed = set()
    chain.submit(0)
    assert chain.timeline.changed == {1}
    chain.timeline.changed = set()
    chain.submit(1)
    chain.commit()
    assert chain.timeline.changed == {1, 2}
