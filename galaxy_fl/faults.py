"""Crash tests: a process that kills itself at a named point. A facility of the tests; nothing else sets the variable.

`GALAXY_FAULT_POINT=after-intent` kills the process (SIGKILL: no handler runs, nothing is flushed) when it first passes
that point, `after-intent:3` when it passes it for the third time.
"""

from __future__ import annotations

import os
import signal

from galaxy_fl.exceptions import ConfigurationError

__all__ = ["FAULT_VARIABLE", "fault_point"]

FAULT_VARIABLE = "GALAXY_FAULT_POINT"


def _wanted(setting: str) -> tuple[str, int]:
    name, colon, passing = setting.partition(":")
    if colon and not (passing.isdecimal() and int(passing) > 0):
        raise ConfigurationError(
            f"{FAULT_VARIABLE} is {setting!r}, expected a point's name, or name:N for its N-th passing"
        )
    return name, int(passing) if colon else 1


_name, _passings_left = _wanted(os.environ.get(FAULT_VARIABLE, ""))


def fault_point(name: str) -> None:
    """Ends the process here if GALAXY_FAULT_POINT says so."""
    global _passings_left
    if name == _name:
        _passings_left -= 1
        if _passings_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
