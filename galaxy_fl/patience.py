"""Patience: how long to pause before something is tried or looked at again, and when that has gone on for too long."""

from __future__ import annotations

import operator
import random as chance
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Generic, NoReturn, TypeVar

from galaxy_fl.floor import FLOOR

__all__ = ["REAL", "Backoff", "Clock", "Lookout", "Recent", "Waiting", "poll", "retry"]

Result = TypeVar("Result")
Error = TypeVar("Error", bound=Exception)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that grow. Seconds.

    Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    first: float
    """The bound of the first pause."""
    longest: float
    """The bound of any pause. Raise it where each attempt is dear."""
    factor: float = 2.0
    """By which the bound grows each time; 1 for pauses that are all the same."""
    jitter: float = 0.0
    """The part of a pause that is drawn at random, from 0 to 1: raise it where many would come back at once."""

    def after(self, attempts: int, random: Callable[[], float] = chance.random) -> float:
        """The pause after so many attempts in a row (at least 1).

        Args:
            random: Returns numbers of [0, 1).
        """
        try:
            bound = min(self.longest, self.first * float(self.factor) ** (attempts - 1))
        except OverflowError:
            bound = self.longest if self.first else 0.0
        return bound * (1 - self.jitter + self.jitter * random()) if self.jitter else bound


@dataclass(frozen=True, slots=True)
class Clock:
    """What time is for those who wait; a test has its own."""

    now: Callable[[], float] = time.monotonic
    """Seconds that never go back."""
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = chance.random
    """Returns numbers of [0, 1)."""


REAL = Clock()


class Waiting:
    """One stretch of waiting: it is over once nothing has gone well for `seconds`.

    Args:
        seconds: How long; infinity for ever, and with 0 only the first attempt is made.
        backoff: The pauses.
    """

    def __init__(self, seconds: float, backoff: Backoff, clock: Clock = REAL) -> None:
        self._seconds = seconds
        self._backoff = backoff
        self._clock = clock
        self.progress()

    def progress(self) -> None:
        """Begins anew, because something went well."""
        self._until = self._clock.now() + self._seconds
        self._attempts = 0

    def pause(self) -> bool:
        """Pauses before the next attempt, the last of which comes when the time is over; False if it is over."""
        left = self._until - self._clock.now()
        if left <= 0:
            return False
        self._attempts += 1
        FLOOR.leave()
        self._clock.sleep(min(left, self._backoff.after(self._attempts, self._clock.random)))
        return True


def retry(
    act: Callable[[], Result],
    error: type[Error],
    waiting: Waiting,
    passes: Callable[[Error], bool] = lambda error: True,
) -> Result:
    """Returns what `act` returns, called again while it raises an `error` that `passes`; it has to be idempotent.

    Raises:
        Exception: what `act` raises when the waiting is over, and at once whatever else it raises.
    """
    while True:
        try:
            return act()
        except error as raised:
            if not passes(raised) or not waiting.pause():
                raise


def poll(
    look: Callable[[], Result],
    enough: Callable[[Result], bool],
    backoff: Backoff,
    seconds: float = inf,
    clock: Clock = REAL,
) -> Result:
    """Returns what `look` sees once that is `enough`, or the last that it saw when the time is over."""
    waiting = Waiting(seconds, backoff, clock)
    while not enough(seen := look()) and waiting.pause():
        pass
    return seen


class Lookout(Generic[Result]):
    """Lets any number of threads wait for changes of one thing, of which one looks and the others sleep.

    Args:
        look: Says how the thing is now; called in any of the threads. What it returns is compared by value.
        backoff: The pauses of the one who looks.
    """

    def __init__(self, look: Callable[[], Result], backoff: Backoff, clock: Clock = REAL) -> None:
        self._look = look
        self._backoff = backoff
        self._clock = clock
        self._changed = threading.Condition()
        self._looks = False
        """Whether a thread looks for all."""
        self._first: Result | None = None
        """What that thread began with."""
        self._changes = 0

    def wait(self, enough: Callable[[Result], bool]) -> Result:
        """Wait until how the thing is now is `enough`, and return that.

        Raises:
            Exception: what `look` raises.
        """
        again = False
        while True:
            with self._changed:
                changes = self._changes
            if enough(seen := self._look()):  # its own look, as another's may be older than what this thread knows
                return seen
            with self._changed:
                if self._looks:
                    # Whoever looks may have begun with something newer, and would then wait for what comes after that.
                    again = not again and self._first != seen
                    while not again and self._changes == changes:
                        self._changed.wait()
                    continue
                self._looks, self._first = True, seen
            try:
                poll(self._look, partial(operator.ne, seen), self._backoff, clock=self._clock)
            finally:
                with self._changed:
                    self._looks = False
                    self._changes += 1
                    self._changed.notify_all()


class Recent(Generic[Result]):
    """What a look saw, or raised, kept for a moment, for all who would look meanwhile.

    Args:
        look: Called by one thread at a time.
        seconds: How long it is kept.
    """

    def __init__(self, look: Callable[[], Result], seconds: float, clock: Clock = REAL) -> None:
        self._look = look
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._until = -inf
        self._found: Callable[[], Result]

    def __call__(self) -> Result:
        """Return what was seen, or raise what was raised."""
        with self._lock:
            if self._clock.now() >= self._until:
                self._found = self._looked()
                self._until = self._clock.now() + self._seconds
            found = self._found
        return found()

    def _looked(self) -> Callable[[], Result]:
        try:
            seen = self._look()
        except Exception as error:
            return partial(_raise, error)
        return lambda: seen


def _raise(error: Exception) -> NoReturn:
    raise error
