"""Ctrl-C, heard wherever it meets Python."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["interrupts_are_heard"]


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
            threading.Timer(0.05, signal.raise_signal, [signal.SIGINT]).start()
        else:
            hook(unraisable)

    sys.unraisablehook = heard
    try:
        yield
    finally:
        sys.unraisablehook = hook
