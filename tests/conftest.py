"""What all tests have in common."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# A shell that runs the tests in the background has them ignore interrupts, and so would every program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long drawing values takes says how busy the machine is, and the first draw reads all modules for their constants.
settings.register_profile("galaxy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("galaxy")
