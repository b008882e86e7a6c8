"""Clients stay for what they have earned, and for nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator
from galaxy_chain.coordinators.payout import Payout
from galaxy_chain.coordinators.settlement import claim_rounds
from galaxy_chain.following import claims
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.ledger.events import BalanceWithdrawn, RewardsClaimed, RoundSettled
from galaxy_fl.exceptions import ContentMissingError
from galaxy_fl.participants.job_client import JobClient
from galaxy_fl.rounds.coordinator import Phase
from galaxy_fl.trust import Trust
from tests.adversary.arena import events
from tests.galaxy_chain.coordinators.test_answering import wait_until
from tests.galaxy_chain.federation import PATIENCE

LONG = 300.0
POOL = 10**18
SHARE = POOL * 8_000 // 10_000 // 3
"""What each of three clients earns in a round, where there is only one."""


class Staying:
    """A client's program in a thread, as `galaxy-chain client` runs it, which comes when the last round is committed."""

    def __init__(self, federation, index, **options):
        ledger = federation.ledger(federation.clients[index])
        self.coordinator = LedgerClientCoordinator(ledger, federation.store, federation.job, PATIENCE, **options)
        self.said: list[dict] = []
        self.end: list[object] = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        client = JobClient(self.coordinator, None, Trust(), output=None, listeners=[self._hear])
        try:
            client.run()
            self.end.append(None)
        except BaseException as error:
            self.end.append(error)
        self.coordinator.close()

    def _hear(self, event, job: str) -> None:
        self.said.append(event.model_dump(mode="json"))

    @property
    def events(self) -> list[str]:
        return [said["event"] for said in self.said]

    def wait(self, event: str) -> None:
        wait_until(lambda: event in self.events or self.end)
        assert event in self.events, self.end


@contextmanager
def staying(federation, index=0, **options) -> Iterator[Staying]:
    one = Staying(federation, index, **options)
    try:
        yield one
    finally:
        one.coordinator.leave = True  # ends one that waits for nothing else


def paying(federation, rounds=1):
    """A job with a pool, of which so many rounds are committed; what is in the last of their records."""
    federation.job = federation.register(rounds=rounds, pool=POOL)
    for number in range(1, rounds + 1):
        federation.submit(0, 1, 2, seed=number)
        federation.commit()
    return federation.serve().history.commits[rounds].record


def test_it_stays_until_what_it_has_earned_is_out(federation):
    record = paying(federation, rounds=2)
    with staying(federation) as client:
        client.wait("staying")
        assert client.said[-1]["until"] == record.time + 86_400
        federation.travel(86_000)
        federation.serve().round()
        assert not client.end
        federation.travel(500)
        client.thread.join(LONG)
    assert client.end == [None]
    assert client.events == ["finished", "staying", "paid"]
    assert client.said[-1]["amount"] == 2 * (POOL // 2 * 8_000 // 10_000 // 3)
    assert [(e.word, e.entries) for e in events(federation, RewardsClaimed)] == [(0, 1), (0, 1)]
    assert [event.account for event in events(federation, BalanceWithdrawn)] == [federation.clients[0]]
    assert federation.serve().history.settled == 2, "the claims have settled the rounds, for no server did"


def test_what_its_server_has_settled_it_claims_alone(federation):
    paying(federation)
    with staying(federation) as client:
        client.wait("staying")
        server = federation.serve()
        federation.travel(86_500)
        server.round()
        client.thread.join(LONG)
    assert client.said[-1] == {"event": "paid", "amount": SHARE}
    assert len(events(federation, RoundSettled)) == 1


def test_it_stays_for_its_pay_though_the_last_model_is_withheld(federation, monkeypatch):
    federation.job = federation.register(rounds=1, pool=POOL)
    federation.submit(0, 1, 2)

    def trains(*arguments):
        federation.commit()
        raise ContentMissingError("the last model")

    monkeypatch.setattr(JobClient, "_rounds", trains)
    with staying(federation) as client:
        client.wait("staying")
        federation.travel(86_500)
        client.thread.join(LONG)
    assert client.said[-1] == {"event": "paid", "amount": SHARE}
    assert [str(end) for end in client.end] == ["the last model"]


def test_one_that_dies_between_claiming_and_withdrawing_goes_on_with_that(federation, monkeypatch):
    paying(federation)
    federation.travel(86_500)

    class Dies(BaseException):
        pass

    def dies(*arguments):
        raise Dies

    with monkeypatch.context() as patched:
        patched.setattr(Payout, "withdraw", dies)
        with staying(federation) as client:
            client.thread.join(LONG)
        assert isinstance(client.end[0], Dies)
    with staying(federation) as client:
        client.thread.join(LONG)
    assert client.said[-1] == {"event": "paid", "amount": SHARE}
    assert len(events(federation, RewardsClaimed)) == 1


def test_claims_for_many_take_as_many_transactions_as_they_need(federation, monkeypatch):
    paying(federation)
    federation.travel(86_500)
    monkeypatch.setattr(claims, "MOST_AT_ONCE", 2)
    ledger = federation.ledger(federation.node.accounts[8])
    steps = claim_rounds(ledger, JobFollower(ledger, federation.job), None)
    assert [(step.settled, step.clients) for step in steps] == [(True, 2), (False, 1)]
    assert [event.entries for event in events(federation, RewardsClaimed)] == [3, 4]


def test_without_a_pool_it_ends_with_the_last_round(federation):
    federation.job = federation.register(rounds=1)
    federation.submit(0, 1, 2)
    federation.commit()
    with staying(federation) as client:
        client.thread.join(LONG)
    assert client.end == [None]
    assert client.events == ["finished"]


def test_who_has_earned_nothing_ends_with_the_last_round(federation):
    paying(federation)
    federation.clients[0] = federation.node.accounts[8]
    with staying(federation) as client:
        client.thread.join(LONG)
    assert client.events == ["finished"]


def test_what_is_worth_less_than_its_gas_is_not_stayed_for(federation):
    federation.job = federation.register(rounds=1, pool=1_000)
    federation.submit(0, 1, 2)
    federation.commit()
    with staying(federation) as client:
        client.thread.join(LONG)
    assert client.events == ["finished"]


def test_who_means_it_leaves_and_is_told_from_when_on_it_can_have_the_rest(federation):
    record = paying(federation)
    with staying(federation, leave=True) as client:
        client.thread.join(LONG)
    assert client.end == [None]
    assert client.said[-1] == {"event": "leaving", "role": "client", "until": record.time + 86_400}


def test_who_comes_back_after_the_end_gets_out_what_is_its_own(federation):
    paying(federation)
    federation.travel(86_500)
    with staying(federation) as client:
        client.thread.join(LONG)
    assert client.events[-1] == "paid"
    with staying(federation) as client:
        client.thread.join(LONG)
    assert client.events == ["finished"]


def test_it_goes_on_where_the_last_commit_is_taken_back(federation):
    from galaxy_chain.verify.challenge import challenge
    from tests.galaxy_chain.federation import made_up

    federation.job = federation.register(rounds=1, pool=POOL)
    federation.submit(0, 1, 2)
    federation.commit(made_up(5))
    client = federation.client(0)
    client._inspection.look = lambda: None  # somebody else finds it
    over = client.round()
    assert over.phase is Phase.FINISHED
    server = federation.serve()
    history, ledger = server.history, federation.ledger(federation.node.accounts[7])
    finder = threading.Timer(
        0.2, lambda: challenge(ledger, server.verifier, federation.job, history, history.commits[1], 0, 0)
    )
    finder.start()
    after = client.stay(over)
    finder.join()
    assert (after.number, after.phase) == (1, Phase.CLOSED)
    federation.commit(account=federation.clients[1])
    federation.travel(87_000)
    assert client.stay(client.round()).phase is Phase.FINISHED
    assert [event.amount for event in events(federation, BalanceWithdrawn)] == [SHARE]


@pytest.mark.parametrize("open_demand", [True, False])
def test_a_demand_puts_it_off(federation, open_demand):
    from galaxy_chain.following import turns

    record = paying(federation)
    client = federation.client(2)
    over = client.round()
    assert client.stays_until() == record.time + 86_400
    federation.travel(86_000)
    if open_demand:
        federation.ledger(federation.node.accounts[7]).demand(
            federation.job, record, 0, 1, bytes(32), value=10**16
        ).transact()
    federation.travel(500)
    client.round()
    client._settleable_since = 0.0  # its server has had its time
    client._collect()
    assert (events(federation, BalanceWithdrawn) == []) == open_demand
    if open_demand:
        assert turns.settle_from(client.history) is None
        federation.serve().round()  # answers
        assert client.stay(over).over
        assert [event.amount for event in events(federation, BalanceWithdrawn)] == [SHARE]
