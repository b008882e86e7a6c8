"""Verifying a round's updates while they come in, so that little is left to do once the last one is there.

Nothing depends on it: what is found is remembered by what it was found of, so a reorganisation, an exclusion or a late
update makes it useless at worst, never wrong. Whoever needs what was not done in time does it, and meets its errors.
"""

from __future__ import annotations

import heapq
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from galaxy_chain.ledger.structs import Model
from galaxy_chain.ledger.submissions import Entry
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.content.finished import LARGE
from galaxy_fl.exceptions import ContentAlteredError
from galaxy_fl.patience import Backoff

__all__ = ["Early", "Sight", "Task"]

LOG = logging.getLogger(__name__)

AT_ONCE = 4
"""Threads of a process that do this: some wait for a network."""
SETTLES, LARGE_SETTLES = 2.1, 0.05
"""Seconds until a store remembers that it has hashed a file, or a large one, for which it looks at the file system's
clock: looked at earlier, it would be hashed again."""
PAUSES = Backoff(1.0, 60.0)
"""Between two tries to get content that is not there."""
MOST_TRIES = 3
"""Of content that is something else than it should be: no client has others hash for ever."""
LAST_LOOK = 5.0
"""Seconds that a thread has to end what it is about."""


@dataclass(frozen=True)
class Sight:
    """What is known of a round that is not committed yet.

    Attributes:
        head: Of the entries: it binds job, attempt, model and entries.
        round: The round's number.
        model: The one that it began with.
        entries: All that are in, in order.
        wanted: The numbers of those that are to be verified.
        closed: Whether no more come in, unless the chain is reorganised.
    """

    head: bytes
    round: int
    model: Model
    entries: tuple[Entry, ...]
    wanted: frozenset[int]
    closed: bool


Task = tuple[Hashable, Callable[[], None]]
"""Something that can be done, and what tells it from others."""
Then = Callable[[Sight, Sequence[bool]], Iterable[Task]]
"""Tells what can be done with the entries of a sight, of each of which is said whether it was verified. Whoever reads
an update's file then has the store make sure of it once more: much time may have passed."""


class Early:
    """Verifies updates of one job, in threads that end when there is nothing to do.

    It belongs to whoever has a verifier, not to one client: several that want the same may have it look, and each thing
    is done once.

    Args:
        verifier: Of the job; it remembers what was verified.
        then: What to do with updates that are.
        nice: By how much others on this machine go first, as `nice` has it: a server for whose commit all wait.
        clock: Seconds; as `time.monotonic`.
    """

    def __init__(
        self, verifier: Verifier, then: Then, nice: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settles = LARGE_SETTLES if 4 * verifier.terms.parameters >= LARGE else SETTLES
        """Seconds from when an update is seen in a round that is not closed until it is looked at."""
        self._verifier = verifier
        self._then = then
        self._nice = nice
        self._clock = clock
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._stopped = False
        self._sight: Sight | None = None
        self._queue: list[tuple[float, int]] = []
        """When which entry of the sight is to be verified: a heap."""
        self._begun: set[Hashable] = set()
        """What is in work, done or given up."""
        self._verified: set[Entry] = set()
        """Those whose updates are."""
        self._numbers: dict[Entry, int] = {}
        """Of the sight's entries."""
        self._right: list[bool] = []
        """Of each of them, whether it is verified."""
        self._due: dict[Hashable, float] = {}
        """When what was seen, or has failed, is tried."""
        self._failed: set[Hashable] = set()
        """What has failed and is tried again, but for entries."""
        self._tries: Counter[Hashable] = Counter()
        """How often something has failed."""
        self._idle_until = float("-inf")
        """Until when there is nothing to do unless something new is seen."""

    def look(self, head: bytes, closed: bool, see: Callable[[], Sight]) -> None:
        """Have all done that can be done now, and return at once.

        What is in work for another sight ends; what is not begun is forgotten unless it is in this one, too.

        Args:
            head, closed: Of the sight.
            see: Returns it; called where it is another than the last.
        """
        with self._lock:
            if self._sight is None or (self._sight.head, self._sight.closed) != (head, closed):
                self._see(see())
            self._start()

    def stop(self) -> None:
        """Do nothing more; what is in work is not waited for longer than a moment."""
        with self._lock:
            self._stopped = True
        until = time.monotonic() + LAST_LOOK
        for thread in list(self._threads):
            thread.join(max(0.0, until - time.monotonic()))

    def _see(self, sight: Sight) -> None:
        known, now = self._sight, self._clock()
        if known is None or (known.round, known.model) != (sight.round, sight.model):
            self._begun, self._verified, self._due, self._tries, self._failed = set(), set(), {}, Counter(), set()
        self._sight, self._queue, self._idle_until = sight, [], float("-inf")
        self._numbers = {entry: number for number, entry in enumerate(sight.entries)}
        self._right = [entry in self._verified for entry in sight.entries]
        for number in sorted(sight.wanted):
            entry = sight.entries[number]
            if entry in self._begun:
                continue
            if self._verifier.has_verified(entry):  # a client of this process has made it
                self._begun.add(entry)
                self._verified.add(entry)
                self._right[number] = True
            else:
                due = self._due.setdefault(entry, now + self.settles)
                self._queue.append((now if sight.closed and not self._tries[entry] else due, number))
        heapq.heapify(self._queue)

    def _start(self) -> None:
        while len(self._threads) < AT_ONCE and _places.acquire(blocking=False):
            if (task := self._next()) is None:
                _places.release()
                return
            name = f"early verification {self._verifier.document.name}"
            thread = threading.Thread(target=self._run, args=(task,), name=name, daemon=True)
            self._threads.add(thread)
            thread.start()

    def _run(self, first: Task) -> None:
        if self._nice:
            with suppress(OSError):  # of this thread alone, as Linux has it
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)
        task: Task | None = first
        while task is not None:
            key, work = task
            error: Exception | None = None
            try:
                work()
            except Exception as raised:  # whoever needs it meets it again, and says so
                LOG.debug("%s can't be verified early: %s", self._verifier.document.name, raised)
                error = raised
            with self._lock:
                if error is not None:
                    self._fail(key, error)
                self._idle_until = float("-inf")  # what is done may be what something else needs
                task = self._next()
                if task is None:
                    self._threads.discard(threading.current_thread())
                    _places.release()

    def _next(self) -> Task | None:
        """What to do next; None for nothing."""
        now = self._clock()
        if self._sight is None or self._stopped or now < self._idle_until:
            return None
        if (task := self._found(self._sight, now)) is None:
            later = [due for key in self._failed if (due := self._due[key]) > now]
            self._idle_until = min([*later, *(due for due, _ in self._queue[:1])], default=float("inf"))
        else:
            self._begun.add(task[0])
        return task

    def _found(self, sight: Sight, now: float) -> Task | None:
        while self._queue and self._queue[0][0] <= now:
            entry = sight.entries[heapq.heappop(self._queue)[1]]
            if entry not in self._begun:
                return entry, partial(self._verify, entry, sight.round)
        for key, work in self._then(sight, self._right):
            if key not in self._begun and self._due.get(key, now) <= now:
                self._failed.discard(key)
                return key, work
        return None

    def _verify(self, entry: Entry, round: int) -> None:
        self._verifier.update(entry, f"the update of {entry.client} in round {round}")
        with self._lock:
            self._verified.add(entry)
            if (number := self._numbers.get(entry)) is not None:
                self._right[number] = True

    def _fail(self, key: Hashable, error: Exception) -> None:
        self._tries[key] += 1
        self._due[key] = due = self._clock() + PAUSES.after(self._tries[key])
        if isinstance(error, ContentAlteredError) and self._tries[key] >= MOST_TRIES:
            return
        self._begun.discard(key)
        if not isinstance(key, Entry):
            self._failed.add(key)
        elif (number := self._numbers.get(key)) is not None:
            heapq.heappush(self._queue, (due, number))


_places = threading.BoundedSemaphore(AT_ONCE)
"""Of the process: a client in each of a thousand coordinators shall not have threads of its own."""
