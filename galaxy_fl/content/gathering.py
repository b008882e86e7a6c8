"""Getting the content of many at once, with one deadline for all of it: who is silent keeps nobody else waiting."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TypeVar

from galaxy_fl.exceptions import ContentAlteredError, ContentError
from galaxy_fl.patience import REAL, Backoff, Clock, Waiting

__all__ = ["for_each", "gather", "soon"]

AT_ONCE = 16
"""Contents at a time: each may wait for a disk or a network."""
MOST_HASHED = 4
"""Contents at a time that are on this machine, where it has so many processors."""

Wanted = TypeVar("Wanted")


def soon(seconds: float) -> Backoff:
    """Pauses between two tries to get content that is expected within so many seconds."""
    pause = min(0.2, seconds / 10)
    return Backoff(pause, pause)


def for_each(do: Callable[[Wanted], object], wanted: Sequence[Wanted]) -> None:
    """Does something with each, several at a time.

    Raises:
        Exception: what `do` raised for one; with the others it was done, or not.
    """
    if len(wanted) < 2:
        for one in wanted:
            do(one)
        return
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for _ in threads.map(do, wanted):
            pass


def gather(
    wanted: Sequence[Wanted],
    get: Callable[[Wanted], Path],
    seconds: float,
    clock: Clock = REAL,
    is_here: Callable[[Wanted], bool] = lambda one: False,
) -> tuple[dict[Wanted, Path], dict[Wanted, ContentError]]:
    """Gets what is wanted, and tries again what is not there until so many seconds are over.

    Args:
        wanted: Each is tried once at least.
        get: Returns the file of one. Called from several threads.
        seconds: For all of it together; a try that has begun is waited for.
        is_here: Whether one's content is on this machine: there is nothing to wait for then, and more threads than
            processors are in each other's way.

    Returns:
        The files, and why others can't be had.

    Raises:
        Exception: what `get` raises besides a ContentError.
    """
    found: dict[Wanted, Path] = {}
    failed: dict[Wanted, ContentError] = {}

    def attempt(one: Wanted) -> Path | ContentError:
        try:
            return get(one)
        except ContentError as error:
            return error

    waiting = Waiting(seconds, soon(seconds), clock)
    near, far = list[Wanted](), list[Wanted]()
    for one in wanted:
        here = False
        with suppress(ContentError):  # `get` says what is wrong
            here = is_here(one)
        (near if here else far).append(one)
    hashed = min(MOST_HASHED, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(hashed) as few, ThreadPoolExecutor(AT_ONCE) as threads:
        results = zip([*far, *near], chain(threads.map(attempt, far), few.map(attempt, near)), strict=True)
        while True:
            for one, result in results:
                if isinstance(result, Path):
                    found[one] = result
                    failed.pop(one, None)
                else:
                    failed[one] = result
            wanted = [one for one in wanted if one in failed and not isinstance(failed[one], ContentAlteredError)]
            if not wanted or not waiting.pause():
                return found, failed
            results = zip(wanted, threads.map(attempt, wanted), strict=True)
