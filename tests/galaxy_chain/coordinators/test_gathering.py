"""Things that threads hand in one by one go together, and nobody is left waiting."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from galaxy_chain.coordinators import gathering
from galaxy_chain.coordinators.gathering import MOST, Gathering


class Sending:
    """What is sent, and what comes of it: twice the number, and nothing of an odd one."""

    def __init__(self, expected: int) -> None:
        self.sent: list[list[int]] = []
        self.gathering = Gathering[int, int](self.begin, lambda: expected)

    def begin(self, numbers):
        self.sent.append(list(numbers))
        return lambda: [None if number % 2 else 2 * number for number in numbers]

    def hand_in(self, *numbers, key=None):
        with ThreadPoolExecutor(len(numbers)) as threads:
            return list(threads.map(lambda number: self.gathering.hand_in(key, number), numbers))


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """Nobody gives up waiting for those that are expected, however busy the machine."""
    monkeypatch.setattr(gathering, "GATHER_SECONDS", 60.0)


def test_all_that_are_expected_go_together_and_each_has_its_own_result():
    sending = Sending(5)
    assert sending.hand_in(*range(5)) == [0, None, 4, None, 8]
    (sent,) = sending.sent
    assert sorted(sent) == list(range(5))


def test_once_all_have_gone_nobody_is_waited_for():
    sending = Sending(3)
    sending.hand_in(0, 2, 4)
    assert sending.gathering.hand_in(None, 6) == 12  # one that was lost, say
    assert sending.sent[1:] == [[6]]


def test_those_of_another_key_are_expected_anew():
    sending = Sending(2)
    sending.hand_in(0, 2, key="one")
    sending.hand_in(4, 6, key="other")
    assert [sorted(sent) for sent in sending.sent] == [[0, 2], [4, 6]]


def test_different_keys_never_go_together(monkeypatch):
    monkeypatch.setattr(gathering, "GATHER_SECONDS", 0.01)
    sending = Sending(8)
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda number: sending.gathering.hand_in(number // 4, 2 * number), range(8)))
    assert results == [4 * number for number in range(8)]
    assert all(len({number // 8 for number in sent}) == 1 for sent in sending.sent)


def test_whoever_is_alone_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(gathering, "GATHER_SECONDS", 0.01)
    sending = Sending(100)
    assert sending.gathering.hand_in(None, 2) == 4


def test_a_call_is_bounded():
    sending = Sending(MOST + 10)
    sending.hand_in(*range(0, 2 * (MOST + 10), 2))
    assert [len(sent) for sent in sending.sent] == [MOST, 10]


def test_the_next_are_sent_while_the_first_are_on_their_way():
    second_sent = threading.Event()

    def begin(numbers):
        if 2 in numbers:
            second_sent.set()
        return lambda: [second_sent.wait(60) for _ in numbers]

    each = Gathering[int, bool](begin, lambda: 1)
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda number: each.hand_in(number, number), (1, 2))) == [True, True]


@pytest.mark.parametrize("when", ["sent", "awaited"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_is_heard_by_the_one_who_sent_and_leaves_nobody_waiting(when, error):
    sent = []

    def wait():
        raise error

    def begin(numbers):
        sent.append(numbers)
        if len(sent) > 1:
            return lambda: list(numbers)
        if when == "sent":
            raise error
        return wait

    each = Gathering[int, int](begin, lambda: 1 if sent else 3)

    def hand_in(number):
        try:
            return each.hand_in(None, number)
        except error:
            return "heard"

    with ThreadPoolExecutor(3) as threads:
        assert sorted(threads.map(hand_in, range(3)), key=str) == [None, None, "heard"]
    assert each.hand_in("next", 7) == 7


def test_one_that_is_interrupted_while_it_gathers_leaves_the_others_to_the_next(monkeypatch):
    interrupted = threading.Event()
    plain = threading.Condition.wait_for

    def wait_for(self, predicate, timeout=None):
        if not interrupted.is_set():
            interrupted.set()
            while len(each._waiting) < 3:  # all are in
                self.wait(0.01)
            raise KeyboardInterrupt
        return plain(self, predicate, timeout)

    sending = Sending(2)
    each = sending.gathering
    monkeypatch.setattr(threading.Condition, "wait_for", wait_for)

    def hand_in(number):
        try:
            return each.hand_in(None, number)
        except KeyboardInterrupt:
            return "interrupted"

    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(hand_in, (2, 2, 2)))
    assert sorted(results, key=str) == [4, 4, "interrupted"]


def test_many_threads_that_come_and_go_have_all_their_results(monkeypatch):
    monkeypatch.setattr(gathering, "GATHER_SECONDS", 0.001)
    sending = Sending(16)

    def hand_in(thread):
        for time_ in range(20):
            number = 2 * (20 * thread + time_)
            if time_ % 7 == 0:
                time.sleep(0.001)
            if sending.gathering.hand_in(time_ % 3, number) != 2 * number:
                return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(hand_in, range(16)))
    assert sum(map(len, sending.sent)) == 320
