"""Sections of the threads of jobs, so that a program can end while they wait.

Threads that wait may be left behind: they are ended with the program. One that reads samples or draws is in the midst
of C++, where being ended so aborts the whole program instead.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from galaxy_fl.worker.worker import Worker

__all__ = ["StoppedError", "Work"]

LAST_SAMPLE = 10.0
"""Seconds that a thread has to come to an end in; it may be in a user's data set, which can't be hurried."""


class StoppedError(Exception):
    """The program ends; there is nothing more to do."""


class Work:
    """The workers of all jobs, and the sections of their threads that have to be left before the program may end."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._stopped = False
        self._workers: set[Worker] = set()

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
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """A new worker, which does not outlive the work.

        Raises:
            StoppedError, TrainingError: there can't be one.
        """
        with self.section():
            worker = Worker()
            self._workers.add(worker)
        try:
            with worker:
                yield worker
        finally:
            self._workers.discard(worker)

    def stop(self) -> None:
        """Ends the workers, and waits until no thread is in a section."""
        with self._changed:
            self._stopped = True
            for worker in list(self._workers):
                worker.close()
            self._changed.wait_for(lambda: self._inside == 0, LAST_SAMPLE)
