"""A participant that can't continue tells the others so before it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from galaxy_fl.exceptions import GalaxyError, GivenUpError
from galaxy_fl.participants.work import StoppedError
from galaxy_fl.rounds.coordinator import Coordinator

__all__ = ["giving_up"]


@contextmanager
def giving_up(coordinator: Coordinator) -> Iterator[None]:
    """Tell the job's others when what is inside fails for good.

    Does not where it will be begun again, where the program ends, or where the others have given up themselves.
    """
    try:
        yield
    except (GivenUpError, StoppedError):
        raise
    except Exception as error:
        if not (isinstance(error, GalaxyError) and error.temporary):
            with suppress(GalaxyError, OSError):  # the error itself is what counts
                coordinator.give_up(str(error) or type(error).__name__)
        raise
