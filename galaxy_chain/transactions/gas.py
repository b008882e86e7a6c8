"""Gas that was enough for such calls before: an estimate executes a call a dozen times, to try that out takes one."""

from __future__ import annotations

from galaxy_chain.transactions.journal import Call

__all__ = ["Enough"]

_SELECTOR_BYTES = 4
_MOST_KINDS = 1_000
_LESS = 2
"""A call that is shorter by more than this factor is another thing: it would allow for too much."""


class Enough:
    """What was estimated for a contract's functions. Threads may share it.

    Example:
        >>> from galaxy_chain.transactions.gas import Enough
        >>> from galaxy_chain.transactions.journal import Call
        >>> enough = Enough()
        >>> enough.note(Call("0x00", bytes(104), 0), 50_000)
        >>> enough.of(Call("0x00", bytes(204), 0)), enough.of(Call("0x00", bytes(44), 0))
        (98076, None)
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str | None, bytes], tuple[int, int]] = {}

    def note(self, call: Call, gas: int) -> None:
        """Remember what was estimated for a call."""
        if len(call.data) < _SELECTOR_BYTES:
            return
        if len(self._known) >= _MOST_KINDS:
            self._known = {}
        self._known[self._kind(call)] = gas, len(call.data)

    def of(self, call: Call) -> int | None:
        """Return what is likely to be enough, because it grows with the data at most; None where nothing is known."""
        found = self._known.get(self._kind(call))
        if found is None:
            return None
        gas, length = found
        if _LESS * len(call.data) < length:
            return None
        return max(gas, gas * len(call.data) // length)

    def _kind(self, call: Call) -> tuple[str | None, bytes]:
        return call.to, call.data[:_SELECTOR_BYTES]
