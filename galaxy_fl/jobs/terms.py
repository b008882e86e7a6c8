"""How a job's rounds are collected."""

from __future__ import annotations

from dataclasses import dataclass

from galaxy_fl.exceptions import ConfigurationError

__all__ = ["Terms"]


@dataclass(frozen=True)
class Terms:
    """How a job's rounds are collected.

    Attributes:
        rounds: Number of rounds, at least 1.
        min_clients: How many updates make a round. Raise it to wait for everybody.
        max_clients: The update with this number closes the round; None for no such number.
        deadline: Seconds that others have, once `min_clients` updates are in; None for the mode's own default. Raise it
            for slow clients.

    Raises:
        ConfigurationError: at construction, for a value out of range.
    """

    rounds: int
    min_clients: int = 1
    max_clients: int | None = None
    deadline: float | None = None

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("rounds", self.rounds, 1, 2**31),
            ("min_clients", self.min_clients, 1, 256),
            ("max_clients", 256 if self.max_clients is None else self.max_clients, self.min_clients, 256),
        ):
            if type(value) is not int or not least <= value <= most:
                raise ConfigurationError(f"{name} is {value!r}, expected a whole number from {least} to {most}")
        deadline = 0 if self.deadline is None else self.deadline
        if type(deadline) not in (int, float) or not 0 <= deadline <= 2**31:
            raise ConfigurationError(f"deadline is {self.deadline!r}, expected seconds from 0 to 2**31")
