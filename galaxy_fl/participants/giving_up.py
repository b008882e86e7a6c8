"""A participant that can't continue tells the others so before it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from galaxy_fl.exceptions import GalaxyError, GivenUpError
from galaxy_fl.participants.work import StoppedError
from galaxy_fl.rounds.coordinator import Coordinator

__all__ = ["giving_up"]

UNTOLD = "the job is private, so that only its operator is told what went wrong"


@contextmanager
def giving_up(coordinator: Coordinator, keeps_silent: bool = False) -> Iterator[None]:
    """Tell the job's others when what is inside fails for good.

    Does not where it will be begun again, where the program ends, or where the others have given up themselves. A
    client of a private job keeps silent of why: an error may have been made of its data, by the data set or by a
    model's code.
    """
    try:
        yield
    except (GivenUpError, StoppedError):
        raise
    except Exception as error:
        if not (isinstance(error, GalaxyError) and error.temporary):
            with suppress(GalaxyError, OSError):  # the error itself is what counts
                why = UNTOLD if keeps_silent else str(error) or type(error).__name__
                coordinator.give_up(why)
        raise
