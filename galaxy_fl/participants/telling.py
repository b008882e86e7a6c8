"""Listeners that are told which client an event is of, where one program hosts several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from galaxy_fl.participants.events import Listener

__all__ = ["TellsClients", "listeners_of"]


@runtime_checkable
class TellsClients(Protocol):
    """A listener that is told which client an event is of, where one program hosts several."""

    def of(self, client: str) -> Listener:
        """Return the listener for one client."""


def listeners_of(listeners: Sequence[Listener], client: str) -> list[Listener]:
    """Return the listeners for one client of a program that hosts several."""
    return [one.of(client) if isinstance(one, TellsClients) else one for one in listeners]
