"""What is told to browsers as it happens: server-sent events, numbered, so that who comes back gets what it has missed.

All browsers share one hub. It keeps the last events in memory, and no more for each browser than so many that wait:
whoever reads more slowly than that is told to fetch everything again.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from galaxy_chain.dashboard.schema import Update
from galaxy_fl.content.problems import Refused

__all__ = ["HEARTBEAT_SECONDS", "Hub", "Stream"]

HEARTBEAT_SECONDS = 15.0
REMEMBERED = 2_000
"""Events that are kept for those who come back."""
MOST_WAITING = 200
"""Events that wait for one browser."""
MOST_STREAMS = 100
_LOOK_SECONDS = 0.5
"""How long an ending server may go unseen by a stream that waits."""
_RETRY_MILLISECONDS = 2_000


@dataclass(frozen=True)
class _Event:
    number: int
    name: str
    update: Update


@dataclass(eq=False)
class Stream:
    """What one browser is told."""

    job: int | None
    loop: asyncio.AbstractEventLoop
    begin: int = 0
    """The number of the last event before its first; 0 where it has to fetch everything again."""
    waiting: deque[_Event] = field(default_factory=deque)
    lost: bool = False
    """Whether more has happened than waits."""
    awake: asyncio.Event = field(default_factory=asyncio.Event)

    def wants(self, event: _Event) -> bool:
        """Whether it is told of an event."""
        return self.job is None or event.update.job in (None, self.job)


class Hub:
    """Tells browsers what happens. `tell` may be called by any thread.

    Args:
        heartbeat: Seconds without an event after which a comment is sent, so that both ends see whether the other is
            there.
    """

    def __init__(self, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        self.closing = False
        """Set, by a signal handler, too, when the server ends; streams end within half a second."""
        self._heartbeat = heartbeat
        self._lock = threading.Lock()
        self._boot = secrets.token_hex(4)
        """Tells the numbers of this process from those of another."""
        self._last = 0
        self._events: deque[_Event] = deque(maxlen=REMEMBERED)
        self._streams: set[Stream] = set()

    @property
    def streams(self) -> int:
        """How many browsers listen."""
        return len(self._streams)

    def tell(self, name: str, update: Update | None = None) -> None:
        """Tell all browsers that listen, and those that come back soon."""
        with self._lock:
            self._last += 1
            event = _Event(self._last, name, Update() if update is None else update)
            self._events.append(event)
            for stream in self._streams:
                if stream.wants(event):
                    self._give(stream, event)

    def _give(self, stream: Stream, event: _Event) -> None:
        if len(stream.waiting) >= MOST_WAITING:
            stream.waiting.clear()
            stream.lost = True
        if not stream.lost:
            stream.waiting.append(event)
        try:
            stream.loop.call_soon_threadsafe(stream.awake.set)
        except RuntimeError:  # its loop has ended, and so does the stream
            stream.waiting.clear()

    def listen(self, job: int | None, last: str | None) -> Stream:
        """A browser that listens, to one job or to all; `end` it.

        Args:
            last: The id of the event that it has seen last.

        Raises:
            Refused: too many listen.
        """
        stream = Stream(job, asyncio.get_running_loop())
        with self._lock:
            if len(self._streams) >= MOST_STREAMS:
                raise Refused(
                    503, "busy", f"{MOST_STREAMS} browsers listen already: close some pages", {"Retry-After": "10"}
                )
            stream.begin = self._last
            if last is not None:
                missed = self._missed(last)
                stream.lost = missed is None
                for event in missed or ():
                    if stream.wants(event) and not stream.lost:
                        stream.waiting.append(event)
                        stream.lost = len(stream.waiting) > MOST_WAITING
                if stream.lost:
                    stream.waiting.clear()
                stream.begin = 0 if stream.lost else self._last - len(missed or ())
            self._streams.add(stream)
        return stream

    def _missed(self, last: str) -> list[_Event] | None:
        """The events after one; None where that can't be said."""
        boot, _, number = last.partition("-")
        if boot != self._boot or not number.isascii() or not number.isdecimal() or len(number) > 18:
            return None
        first = self._events[0].number if self._events else self._last + 1
        seen = int(number)
        if not first - 1 <= seen <= self._last:
            return None
        return [event for event in self._events if event.number > seen]

    def end(self, stream: Stream) -> None:
        """Tell a browser no more."""
        with self._lock:
            self._streams.discard(stream)

    async def lines(self, stream: Stream, clock: Callable[[], float] = time.monotonic) -> AsyncIterator[bytes]:
        """What is sent to a browser, until the server ends."""
        try:
            yield b"retry: %d\n\n" % _RETRY_MILLISECONDS + self._packed("hello", Update(), stream.begin)
            spoken = clock()
            while not self.closing:
                stream.awake.clear()
                with self._lock:
                    lost, events = stream.lost, list(stream.waiting)
                    stream.lost = False
                    stream.waiting.clear()
                    last = self._last
                if lost:
                    yield self._packed("reload", Update(), last)
                    spoken = clock()
                for event in () if lost else events:
                    yield self._packed(event.name, event.update, event.number)
                    spoken = clock()
                if clock() - spoken >= self._heartbeat:
                    yield b": here\n\n"
                    spoken = clock()
                if not (lost or events):
                    try:
                        async with asyncio.timeout(min(_LOOK_SECONDS, self._heartbeat)):
                            await stream.awake.wait()
                    except TimeoutError:
                        pass
        finally:
            self.end(stream)

    def _packed(self, name: str, update: Update, number: int) -> bytes:
        data = update.model_dump_json(exclude_none=True)
        return f"id: {self._boot}-{number}\nevent: {name}\ndata: {data}\n\n".encode()
