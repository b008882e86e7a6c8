"""Ctrl-C, heard wherever it meets Python."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interrupts_are_heard", "interrupts_wait"]

PAUSE = 0.05
"""Seconds until an interrupt is raised again: what swallowed it is over by then, mostly."""


@contextmanager
def interrupts_are_heard() -> Iterator[None]:
    """Raise an interrupt again that Python has swallowed, as it does in finalizers and in the callbacks of imports.

    Does nothing outside of the main thread, which is the one that interrupts reach.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hook = sys.unraisablehook

    def heard(unraisable: sys.UnraisableHookArgs) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            threading.Thread(target=again, name="interrupt", daemon=True).start()
        else:
            hook(unraisable)

    def again() -> None:
        time.sleep(PAUSE)
        while _is_in(heard.__code__):  # where it would be swallowed for good; on a busy machine that may take a while
            time.sleep(PAUSE)
        signal.raise_signal(signal.SIGINT)

    sys.unraisablehook = heard
    try:
        yield
    finally:
        sys.unraisablehook = hook


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Hold an interrupt back until the block is over, and from what it starts for good. In the main thread only.

    What is made within can so be put where it will be ended, before an interrupt is raised.
    """
    held = []
    # Blocking alone is not enough: another thread would take the signal, and Python raise it here.
    before = signal.signal(signal.SIGINT, lambda *_: held.append(True))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which processes inherit
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)


def _is_in(code: object) -> bool:
    """Whether the main thread is in a function."""
    frame: FrameType | None = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        if frame.f_code is code:
            return True
        frame = frame.f_back
    return False
