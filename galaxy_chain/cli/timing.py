"""What the time has not come for ends with a code of its own, so that a script can try again later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["too_early"]

_EARLY = frozenset(
    {"WindowOpen", "DemandsOpen", "BondLate", "JobNotIdle", "JobNotSettled", "TooManyUnsettled", "NotBuiltUpon"}
)


@contextmanager
def too_early() -> Iterator[None]:
    """Raises `RoundMovedOnError` where the ledger refuses a call only for now."""
    from galaxy_chain.exceptions import LedgerRefusedError
    from galaxy_fl.exceptions import RoundMovedOnError

    try:
        yield
    except LedgerRefusedError as error:
        if error.name not in _EARLY:
            raise
        raise RoundMovedOnError(str(error)) from error
