"""What all tests have in common."""

from __future__ import annotations

import signal

# A shell that runs the tests in the background has them ignore interrupts, and so would every program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
