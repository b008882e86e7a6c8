"""Sections of the threads of jobs, so that a program can end while they wait.

Threads that wait may be left behind: they are ended with the program. One that reads samples or draws is in the midst
of C++, where being ended so aborts the whole program instead.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from galaxy_fl.exceptions import TrainingError
from galaxy_fl.worker.pool import PoolSession, WorkerPool

__all__ = ["StoppedError", "Work"]

LAST_SAMPLE = 10.0
"""Seconds that a thread has to come to an end in; it may be in a user's data set, which can't be hurried."""


class StoppedError(Exception):
    """The program ends; there is nothing more to do."""


class Work:
    """The workers of all jobs, and the sections of their threads that have to be left before the program may end.

    All participants of a program share one, so that its processes are as few as its processors, however many clients
    it hosts.

    Args:
        workers: As those of `WorkerPool`.

    Attributes:
        pool: The workers.

    Raises:
        ConfigurationError: it is not a number of workers.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.pool = WorkerPool(workers)
        self._changed = threading.Condition()
        self._inside = 0
        self._stopped = False
        self._scratch: Path | None = None
        self._remove: Callable[[], object] = lambda: None

    @contextmanager
    def section(self) -> Iterator[None]:
        """Keep the program from ending until the section is left; may be entered again within itself.

        Raises:
            StoppedError: the program ends already.
        """
        with self._changed:
            if self._stopped:
                raise StoppedError("the program ends")
            self._inside += 1
        try:
            yield
        except TrainingError as error:
            if self._stopped:  # its worker was closed under it
                raise StoppedError("the program ends") from error
            raise
        finally:
            with self._changed:
                self._inside -= 1
                if self._stopped:
                    self._changed.notify_all()

    def session(self) -> PoolSession:
        """Return a client's session with the workers, none of which outlives the work."""
        return self.pool.session()

    def scratch(self) -> Path:
        """Return a folder for what no client keeps, one for all: to make one costs as much as to make a file."""
        with self._changed:
            if self._scratch is None:
                self._scratch = Path(tempfile.mkdtemp(prefix="galaxy-clients-"))
                # Not a TemporaryDirectory: it would warn of work that nobody has stopped.
                self._remove = weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
            return self._scratch

    def stop(self) -> None:
        """Ends the workers, and waits until no thread is in a section."""
        with self._changed:
            self._stopped = True
        self.pool.close()
        with self._changed:
            self._changed.wait_for(lambda: self._inside == 0, LAST_SAMPLE)
        self._remove()
