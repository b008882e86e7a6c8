"""Participants of one process that share a follower: each sees the job by a view that stays until it looks again."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace

import pytest

from galaxy_chain.exceptions import RpcError
from galaxy_chain.following import shared as shared_module
from galaxy_chain.following import turns
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.following.shared import SharedFollower
from galaxy_chain.following.view import JobView
from galaxy_fl.patience import Backoff
from tests.galaxy_chain.federation import Federation


def fresh(federation: Federation):
    return JobFollower(federation.ledger(), federation.job).history


@pytest.fixture
def shared(federation):
    with closing(SharedFollower(JobFollower(federation.ledger(), federation.job), Backoff(0.0, 1.0))) as one:
        yield one


def test_a_view_changes_only_when_it_polls(federation, shared):
    one, other = shared.view(), shared.view()
    before, number, time = other.history, other.number, other.time
    federation.submit(0)
    assert one.poll() is True
    assert one.poll() is False
    assert one.history == fresh(federation)
    assert (other.history, other.number, other.time) == (before, number, time)
    assert len(before.entries) == len(before.clients) == 0
    assert other.poll() is True
    assert other.history is one.history
    assert other.number == one.number == federation.rpc.number("eth_blockNumber")


def test_a_view_stays_while_a_whole_round_passes(federation, shared):
    one, other = shared.view(), shared.view()
    federation.submit(0, 1)
    one.poll()
    then = one.history
    same = fresh(federation)
    federation.submit(2)
    federation.commit()
    other.poll()
    assert other.history == fresh(federation)
    assert then == same
    assert then.state != other.history.state


def test_what_is_reorganised_out_is_gone_from_the_next_look(federation, shared):
    view = shared.view()
    snapshot = federation.rpc.request("evm_snapshot")
    federation.submit(0)
    view.poll()
    assert len(view.history.entries) == 1
    federation.rpc.request("evm_revert", snapshot)
    for _ in range(5):
        federation.rpc.request("evm_mine")
    assert view.poll() is True
    assert len(view.history.entries) == 0
    assert view.history == fresh(federation)


class Held(JobFollower):
    """A follower whose looks wait to be let go, and fail with what is set."""

    looks = 0
    error: Exception | None = None

    def __init__(self, *arguments) -> None:
        self.begun, self.let = threading.Event(), threading.Event()
        super().__init__(*arguments)

    def poll(self) -> bool:
        self.looks += 1
        if self.looks > 1:  # the first is that of its beginning
            self.begun.set()
            assert self.let.wait(60)
            if self.error is not None:
                raise self.error
        return super().poll()


@pytest.fixture
def held(federation):
    with closing(Held(federation.ledger(), federation.job)) as one:
        yield one


def ten_poll_during_a_look(held: Held, federation: Federation, monkeypatch) -> list[JobView | BaseException]:
    """What ten views are after polls that begin, all of them, while a look is under way that saw less; or what they
    raise."""
    clock: list[float] = []

    def now() -> float:
        clock.append(time.monotonic())
        return clock[-1]

    monkeypatch.setattr(shared_module, "time", SimpleNamespace(monotonic=now, sleep=time.sleep))
    shared = SharedFollower(held, Backoff(0.0, 1.0))
    with ThreadPoolExecutor(11) as threads:
        first = threads.submit(shared.view().poll)
        assert held.begun.wait(60)
        seen, views = len(clock), [shared.view() for _ in range(10)]
        polls = [threads.submit(view.poll) for view in views]
        while len(clock) < seen + 10:  # each has looked at the clock, and waits
            time.sleep(0.01)
        federation.submit(0)
        held.let.set()
        assert first.exception() is held.error
        return [poll.exception() or view for poll, view in zip(polls, views, strict=True)]


def test_one_looks_for_all_who_wait(federation, held, monkeypatch):
    for view in ten_poll_during_a_look(held, federation, monkeypatch):
        assert view.history == fresh(federation)
    assert held.looks == 1 + 1 + 1


def test_a_look_that_fails_fails_for_all_who_wait(federation, held, monkeypatch):
    held.error = RpcError("no node answers")
    assert ten_poll_during_a_look(held, federation, monkeypatch) == [held.error] * 10
    assert held.looks == 1 + 1 + 1


def test_after_a_failure_the_next_look_sees_all(federation, held):
    held.let.set()
    held.error = RpcError("no node answers")
    view = SharedFollower(held, Backoff(0.0, 1.0)).view()
    with pytest.raises(RpcError):
        view.poll()
    federation.submit(0)
    held.error = None
    assert view.poll() is True
    assert view.history == fresh(federation)


def test_a_node_that_was_slow_once_keeps_nobody_from_looking_for_long(federation, monkeypatch):
    now, slept = [0.0], list[float]()

    class Slow(JobFollower):
        def poll(self) -> bool:
            now[0] += 300.0
            return super().poll()

    def sleep(seconds: float) -> None:
        now[0] += seconds
        slept.append(seconds)

    held = Slow(federation.ledger(), federation.job)
    monkeypatch.setattr(shared_module, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    with closing(SharedFollower(held, Backoff(0.02, 1.0))) as shared:
        view = shared.view()
        for _ in range(3):
            view.poll()
            now[0] += 0.1
    assert max(slept) <= 10.0


def test_whoever_waits_is_shown_what_has_woken_it_without_a_look_of_its_own(federation, shared):
    view, other = shared.view(), shared.view()
    before = other.history
    other.pause(0.01)
    assert other.history is before  # nothing has happened
    with ThreadPoolExecutor(1) as threads:
        paused = threads.submit(view.pause, 600.0)
        federation.client(0)  # which is nothing to anybody
        federation.submit(0, 1)
        federation.travel(200)  # now the round is closed
        assert paused.result()
    assert len(view.history.entries) == 2
    assert other.history is not view.history


def test_who_has_waited_in_vain_does_without_a_look_of_its_own_unless_there_was_none(federation):
    held = Held(federation.ledger(), federation.job)
    held.let.set()
    with closing(SharedFollower(held, Backoff(0.01, 0.02))) as shared:
        view = shared.view()
        before = held.looks
        assert view.pause(1.0) or held.looks == before
        held.error = RpcError("the node is away")
        with pytest.raises(RpcError):
            shared.look()
        assert not view.pause(0.5)


def test_a_look_that_has_not_ended_has_shown_nothing(federation):
    held = Held(federation.ledger(), federation.job)
    with closing(SharedFollower(held, Backoff(0.01, 0.02))) as shared:
        view = shared.view()
        with ThreadPoolExecutor(1) as threads:
            paused = threads.submit(view.pause, 1.0)
            assert held.begun.wait(60)
            try:
                assert not paused.result()
            finally:
                held.let.set()


def test_whoever_waits_is_woken_when_a_round_can_be_settled(federation, shared):
    for seed in (1, 2):
        federation.submit(0, 1, seed=seed)
        federation.travel(200)
        federation.commit()
    view = shared.view()
    view.poll()
    assert view.history.finished
    with ThreadPoolExecutor(1) as threads:
        paused = threads.submit(view.pause, 600.0)
        federation.travel(federation.terms().challenge_seconds)
        assert paused.result()
    assert turns.settleable(view.history, view.chain_time)
