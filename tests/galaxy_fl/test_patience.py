"""Pauses, and when patience ends: on a clock that stands still but for pauses."""

from __future__ import annotations

import threading
import time

import pytest

from galaxy_fl.patience import Backoff, Clock, Lookout, Recent, Waiting, poll, retry


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


class Thing:
    """What threads look at: a number that they count their looks at."""

    def __init__(self) -> None:
        self.now = 0
        self.looks = 0
        self._lock = threading.Lock()

    def look(self) -> int:
        with self._lock:
            self.looks += 1
        return self.now


def test_many_threads_look_as_one_and_none_misses_a_change():
    thing = Thing()
    lookout = Lookout(thing.look, Backoff(0.001, 0.001))
    steps, crowd = 20, 40
    reached = [0] * crowd

    def follow(number):
        while reached[number] < steps:
            reached[number] = lookout.wait(lambda now, seen=reached[number]: now > seen)

    threads = [threading.Thread(target=follow, args=(number,), daemon=True) for number in range(crowd)]
    for thread in threads:
        thread.start()
    for step in range(1, steps + 1):
        thing.now = step
        while min(reached) < step:  # which would last for ever if one were missed
            time.sleep(0.0005)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    before, began = thing.looks, time.monotonic()
    waiting = [
        threading.Thread(target=lookout.wait, args=(lambda now: now > steps,), daemon=True) for _ in range(crowd)
    ]
    for thread in waiting:
        thread.start()
    time.sleep(0.2)
    # Each looks once or twice at first, and then one of them every millisecond, not all of them.
    looks, milliseconds = thing.looks - before, 1000 * (time.monotonic() - began)
    assert looks <= 2 * crowd + milliseconds + 1
    thing.now = steps + 1
    for thread in waiting:
        thread.join(60)
        assert not thread.is_alive()


def test_an_error_of_a_look_reaches_all_who_wait():
    thing, told = Thing(), []

    def look():
        if thing.now:
            raise ValueError("it is gone")
        return thing.look()

    def follow():
        try:
            lookout.wait(lambda now: now > 5)
        except ValueError as error:
            told.append(str(error))

    lookout = Lookout(look, Backoff(0.001, 0.001))
    threads = [threading.Thread(target=follow, daemon=True) for _ in range(5)]
    for thread in threads:
        thread.start()
    while thing.looks < 5:
        time.sleep(0.001)
    thing.now = 1
    for thread in threads:
        thread.join(60)
    assert told == ["it is gone"] * 5


def test_what_was_seen_or_raised_is_kept_for_a_moment():
    standing, thing = StandingClock(), Thing()
    recent = Recent(thing.look, 2.0, standing.clock)
    assert (recent(), recent(), thing.looks) == (0, 0, 1)
    thing.now = 7
    standing.now = 1.9
    assert recent() == 0
    standing.now = 2.0
    assert (recent(), thing.looks) == (7, 2)
    act = failing(1, ValueError("away"))
    failed = Recent(act, 2.0, standing.clock)
    for _ in range(2):
        with pytest.raises(ValueError, match="away"):
            failed()
    standing.now = 4.0
    assert failed() == 2


@pytest.mark.parametrize("factor", [1.01, 2.0, 1000.0])
def test_a_pause_is_the_longest_after_any_number_of_attempts_that_is_large(factor):
    assert Backoff(0.01, 1.0, factor).after(1_000_000) == 1.0
