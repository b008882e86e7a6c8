"""A thousand rounds and a thousand clients: pages cost what is on them, and every commit is counted once."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from eth_utils.address import to_checksum_address

from galaxy_chain.dashboard import jobs, rounds
from galaxy_chain.dashboard.events import Hub
from galaxy_chain.dashboard.job import FollowedJob
from galaxy_chain.dashboard.ledger import Source, WatchedLedger
from galaxy_chain.dashboard.measured import Measurements
from galaxy_chain.dashboard.rounds import FEW_TRANSACTIONS
from galaxy_chain.dashboard.tally import Tally
from tests.galaxy_chain.dashboard.test_timeline import Told
from tests.galaxy_chain.following.test_history import OTHER, TERMS, bound, tree

MANY = 1_000


def addresses(count):
    return [to_checksum_address(sha256(b"%d" % number).digest()[:20]) for number in range(count)]


class Long(Told):
    """A job with so many rounds and clients, without a chain beneath it."""

    def __init__(self, rounds, clients):
        terms = replace(TERMS, rounds=rounds, max_unsettled=rounds, max_clients=max(4, clients), fan_in=64)
        super().__init__(terms=terms, pool=10**18, clients=addresses(clients))

    def entry(self, place, weight=7):
        digest = sha256(b"%d %d" % (self.history.attempt, place)).digest()
        made = super().entry(place % 4, weight)
        return replace(made, client=self.clients[place], update=replace(made.update, commitment=digest, content=digest))

    def record(self, **changed):
        """A record whose model is one of two in turn: there are not as many as rounds."""
        number, self.history.round = self.history.round, 1 + self.history.round % 2
        try:
            made = super().record(**changed)
        finally:
            self.history.round = number
        reward = (self.history.pool - self.history.allotted) // (self.terms.rounds - number + 1)
        return replace(made, round=number, reward=reward)

    def play(self, rounds, clients):
        for number in range(rounds):
            first = number % (len(self.clients) - clients + 1)
            self.submit(*range(first, first + clients))
            more = {}
            if clients > 64:
                packed = tree(self)
                more = {"nodes": packed, "nodes_hash": bound(self, packed)}
            self.commit(**more)
        return self


@pytest.fixture
def watched(federation):
    source = Source(
        ledger=federation.ledger(), store=federation.store, store_name="x", home=Path(federation.store.root)
    )  # fmt: skip
    ledger = WatchedLedger(source, Hub())
    yield ledger
    ledger.stop()


def followed(watched, chain):
    job = FollowedJob(
        watched.ledger, 1, Path("unused"), Measurements(1, [], None), watched.judge, watched.hub.tell
    )  # fmt: skip
    job._history, job.timeline = chain.history.snapshot(), chain.timeline
    watched.judge.take(job)
    return job


def test_a_job_that_is_let_go_is_not_judged_by_its_last_look(watched):
    chain = Long(3, 3).play(2, 2)
    old = followed(watched, chain)
    new = followed(watched, chain)
    watched.judge.drop(old)  # late: its number is followed again
    assert len(watched.judge.all(1)) == 2
    watched.judge.drop(new)
    new.stop(0)
    watched.judge.take(new)
    assert watched.judge.all(1) == []


def test_a_thousand_rounds_are_shown_page_by_page(watched, monkeypatch):
    chain = Long(MANY, 6).play(MANY - 1, 2)
    job = followed(watched, chain)
    counted = []
    add = Tally._add
    monkeypatch.setattr(Tally, "_add", lambda self, commit, sign: (counted.append(sign), add(self, commit, sign)))
    asked = []
    monkeypatch.setattr(watched.receipts, "want", lambda job, round, places, lanes=False: asked.extend(places))
    page = rounds.rounds_of(watched, job, None, 50)
    assert [row.round for row in page.rounds] == list(range(MANY - 49, MANY + 1))
    assert (page.total, page.planned) == (MANY, MANY)
    assert len(page.model_dump_json()) < 50 * 2_500
    assert len(asked) <= 50 * (FEW_TRANSACTIONS + 1)
    # Every commit was counted once, and is not counted again for the next page, nor for the participants.
    assert counted == [1] * (MANY - 1)
    assert [row.round for row in rounds.rounds_of(watched, job, 1, 3).rounds] == [1, 2, 3]
    assert rounds.rounds_of(watched, job, MANY + 1, 3).rounds == []
    people = jobs.participants_of(watched, job, 0, 50)
    assert sum(each.rounds for each in people.participants) == 2 * (MANY - 1)
    chain.round(0, 1)
    job._history = chain.history.snapshot()
    jobs.participants_of(watched, job, 0, 50)
    assert counted == [1] * MANY
    # A commit that is taken back counts no longer.
    chain.reverted(chain.history.commits[MANY])
    job._history = chain.history.snapshot()
    people = jobs.participants_of(watched, job, 0, 50)
    assert counted[MANY:] == [-1]
    assert sum(each.rounds for each in people.participants) == 2 * (MANY - 1)
    found = jobs.curves_of(watched, job, 100)
    assert len(found.rounds) <= 100
    assert found.rounds[-1] == MANY - 1
    assert len(jobs.curves_of(watched, job, 2_000).rounds) == MANY - 1


def test_a_thousand_clients_are_shown_page_by_page(watched, monkeypatch):
    chain = Long(3, MANY).play(1, MANY)
    job = followed(watched, chain)
    asked = []
    monkeypatch.setattr(watched.receipts, "want", lambda job, round, places, lanes=False: asked.extend(places))
    page = rounds.entries_of(watched, job, 1, None, 950, 200)
    assert (page.total, [entry.number for entry in page.entries]) == (MANY, list(range(950, MANY)))
    nodes = rounds.nodes_of(watched, job, 1, None, 0, 1_000)
    assert (nodes.levels, nodes.total, len(nodes.nodes)) == ([16, 1], 18, 18)
    assert [entry.node for entry in page.entries[-3:]] == [16] * 3
    people = jobs.participants_of(watched, job, 990, 50)
    assert (people.total, len(people.participants)) == (MANY, 10)
    assert jobs.participants_of(watched, job, MANY, 50).participants == []
    detail = rounds.round_of(watched, job, 1, None)
    assert (detail.entries, detail.nodes) == (MANY, 17)
    # One call brought them in: no transaction was asked for but that and the commit's.
    assert len(set(asked)) == 2


def test_attempts_of_a_round_are_bounded_in_its_row(watched):
    chain = Long(3, 6)
    for _ in range(20):
        chain.submit(0, 1)
        chain.apply("RoundReopened", attempt=chain.history.attempt, sender=OTHER, round=1, time=chain.now)
    job = followed(watched, chain)
    (row,) = rounds.rounds_of(watched, job, None, 10).rounds
    assert (len(row.attempts), row.more, row.phase) == (8, 13, "collecting")
    assert rounds.round_of(watched, job, 1, 1).attempt.phase == "reopened"
    assert rounds.entries_of(watched, job, 1, 1, 0, 10).total == 2
