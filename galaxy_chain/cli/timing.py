"""What it is too early for ends with an exit code of its own, so that a script can try again later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from galaxy_chain.exceptions import ErrorName, LedgerRefusedError
from galaxy_fl.exceptions import RoundMovedOnError

__all__ = ["too_early"]

_EARLY: frozenset[ErrorName] = frozenset(
    {"WindowOpen", "DemandsOpen", "BondLate", "JobNotIdle", "JobNotSettled", "TooManyUnsettled", "NotBuiltUpon"}
)


@contextmanager
def too_early() -> Iterator[None]:
    """Raise `RoundMovedOnError` where the ledger refuses a call only for now."""
    try:
        yield
    except LedgerRefusedError as error:
        if error.name not in _EARLY:
            raise
        raise RoundMovedOnError(str(error)) from error
