"""Files that define a model often submit it, too, or train it: a worker that loads the model must not do that again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.worker import forkserver

__all__ = ["expect_program", "loading_model"]

_loading = ContextVar("loading", default=False)


def expect_program() -> None:
    """Make sure that this is somebody's program, and not a worker that loads a model's source.

    Raises:
        ConfigurationError: it is a worker, or this program while it submits a job.
    """
    # Only the fork server imports it, and workers are forked from that.
    if _loading.get() or forkserver.PRELOAD in sys.modules:
        raise ConfigurationError(
            "the file of the model does more than define it, and it has just been loaded as participants load it: put "
            'what describes, submits or trains a job under `if __name__ == "__main__":`'
        )


@contextmanager
def loading_model() -> Iterator[None]:
    """Mark that this program itself loads a model's source, as a worker would."""
    token = _loading.set(True)
    try:
        yield
    finally:
        _loading.reset(token)
