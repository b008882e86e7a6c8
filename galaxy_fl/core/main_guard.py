"""Files that define a model often submit it, too, or train it: a worker that loads the model must not do that again."""

from __future__ import annotations

import sys

from galaxy_fl.exceptions.fl_expection import PFLException
from galaxy_fl.training import forkserver

__all__ = ["expect_program"]


def expect_program() -> None:
    """Makes sure that this is somebody's program, and not a worker that loads a model's source.

    Raises:
        PFLException: it is a worker.
    """
    if forkserver.PRELOAD in sys.modules:  # only the fork server imports it, and workers are forked from that
        raise PFLException(
            "the file of the model does more than define it, and a worker has just loaded it: put what submits or "
            'trains a job under `if __name__ == "__main__":`'
        )
