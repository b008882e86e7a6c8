"""PFL's exception, under the name that PFL's users import."""

from __future__ import annotations

from galaxy_fl.exceptions import GalaxyError

__all__ = ["PFLException"]


class PFLException(GalaxyError):
    """A job was described wrongly. `str()` gives the `repr()` of what it was raised with, as in PFL."""

    exit_code = 14

    def __init__(self, value: object) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return repr(self.value)
