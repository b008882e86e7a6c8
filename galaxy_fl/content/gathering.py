"""Getting the content of many at once, with one deadline for all of it: who is silent keeps nobody else waiting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from galaxy_fl.exceptions import ContentAlteredError, ContentError
from galaxy_fl.patience import REAL, Backoff, Clock, Waiting

__all__ = ["gather", "soon"]

AT_ONCE = 16
"""Contents asked for at a time."""

Wanted = TypeVar("Wanted")


def soon(seconds: float) -> Backoff:
    """Pauses between two tries to get content that is expected within so many seconds."""
    pause = min(0.2, seconds / 10)
    return Backoff(pause, pause)


def gather(
    wanted: Sequence[Wanted], get: Callable[[Wanted], Path], seconds: float, clock: Clock = REAL
) -> tuple[dict[Wanted, Path], dict[Wanted, ContentError]]:
    """Gets what is wanted, and tries again what is not there until so many seconds are over.

    Args:
        wanted: Each is tried once at least.
        get: Returns the file of one. Called from several threads.
        seconds: For all of it together; a try that has begun is waited for.

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
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="gathering") as threads:
        while True:
            for one, result in zip(wanted, threads.map(attempt, wanted), strict=True):
                if isinstance(result, Path):
                    found[one] = result
                    failed.pop(one, None)
                else:
                    failed[one] = result
            wanted = [one for one in wanted if one in failed and not isinstance(failed[one], ContentAlteredError)]
            if not wanted or not waiting.pause():
                return found, failed
