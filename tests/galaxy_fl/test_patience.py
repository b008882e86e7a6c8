"""Pauses, and when patience ends: on a clock that stands still but for pauses."""

from __future__ import annotations

import pytest

from galaxy_fl.patience import Backoff, Clock, Waiting, poll, retry


class StandingClock:
    """A clock that only pauses move."""

    def __init__(self, chance: float = 0.0) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self.clock = Clock(lambda: self.now, self._sleep, lambda: chance)

    def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def failing(times: int, error: Exception):
    """Returns what fails so many times and then returns how often it was called."""
    calls = 0

    def act() -> int:
        nonlocal calls
        calls += 1
        if calls <= times:
            raise error
        return calls

    return act


@pytest.mark.parametrize(
    ("backoff", "pauses"),
    [
        (Backoff(1, 10), [1, 2, 4, 8, 10, 10]),
        (Backoff(1, 10, factor=3), [1, 3, 9, 10, 10, 10]),
        (Backoff(0.25, 0.25), [0.25] * 6),
        (Backoff(5, 2), [2] * 6),
        (Backoff(0, 3), [0] * 6),
    ],
)
def test_pauses_grow_up_to_the_longest(backoff, pauses):
    assert [backoff.after(attempts) for attempts in range(1, 7)] == pauses
    assert backoff.after(10**9) == pauses[-1]


@pytest.mark.parametrize(
    ("jitter", "chance", "pause"), [(0, 0.5, 4), (0.5, 0, 2), (0.5, 0.5, 3), (1, 0, 0), (1, 0.75, 3)]
)
def test_the_part_of_a_pause_that_is_drawn(jitter, chance, pause):
    assert Backoff(4, 9, jitter=jitter).after(1, lambda: chance) == pause


def test_what_fails_is_tried_again_until_it_works():
    time = StandingClock()
    assert retry(failing(3, OSError()), OSError, Waiting(60, Backoff(1, 10), time.clock)) == 4
    assert time.pauses == [1, 2, 4]


def test_the_last_attempt_comes_when_the_time_is_over():
    time = StandingClock()
    act = failing(99, OSError("away"))
    with pytest.raises(OSError, match="away"):
        retry(act, OSError, Waiting(10, Backoff(1, 60), time.clock))
    assert time.pauses == [1, 2, 4, 3]
    act = failing(4, OSError("away"))
    assert retry(act, OSError, Waiting(10, Backoff(1, 60), StandingClock().clock)) == 5


def test_without_patience_there_is_one_attempt():
    time = StandingClock()
    with pytest.raises(OSError, match="away"):
        retry(failing(1, OSError("away")), OSError, Waiting(0, Backoff(1, 60), time.clock))
    assert time.pauses == []


def test_another_error_is_raised_at_once():
    time = StandingClock()
    waiting = Waiting(60, Backoff(1, 10), time.clock)
    with pytest.raises(KeyError):
        retry(failing(1, KeyError()), OSError, waiting)
    with pytest.raises(OSError, match="never"):
        retry(failing(1, OSError("never")), OSError, waiting, lambda error: "never" not in str(error))
    assert time.pauses == []


def test_progress_begins_anew():
    time = StandingClock()
    waiting = Waiting(10, Backoff(4, 60), time.clock)
    assert waiting.pause()
    assert waiting.pause()
    assert not waiting.pause()
    waiting.progress()
    assert waiting.pause()
    assert time.pauses == [4, 6, 4]


def test_the_slow_time_of_an_attempt_counts():
    time = StandingClock()

    def act():
        time.now += 7
        raise KeyError

    with pytest.raises(KeyError):
        retry(act, KeyError, Waiting(10, Backoff(1, 10), time.clock))
    assert time.pauses == [1]


def test_a_look_is_repeated_until_it_is_enough_or_the_time_is_over():
    time = StandingClock()
    seen = iter(range(100))
    assert poll(lambda: next(seen), lambda number: number == 4, Backoff(1, 2), clock=time.clock) == 4
    assert time.pauses == [1, 2, 2, 2]
    assert poll(lambda: next(seen), lambda number: False, Backoff(1, 2), 5, time.clock) == 8


def test_the_real_clock_waits_and_goes_on():
    assert retry(failing(3, OSError()), OSError, Waiting(60, Backoff(0.001, 0.01, jitter=1))) == 4
