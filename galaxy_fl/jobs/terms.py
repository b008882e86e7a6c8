"""How a job's rounds are collected."""

from __future__ import annotations

from dataclasses import dataclass

from galaxy_fl.aggregation.sum_tree import DEFAULT_FAN_IN, LARGEST_FAN_IN, SMALLEST_FAN_IN
from galaxy_fl.exceptions import ConfigurationError

__all__ = ["MOST_CLIENTS", "Terms"]

MOST_CLIENTS = 4096
"""Updates that a round may have; of rules that are not sums, fewer."""


@dataclass(frozen=True)
class Terms:
    """How a job's rounds are collected.

    Attributes:
        rounds: Number of rounds, at least 1.
        min_clients: How many updates make a round. Raise it to wait for everybody.
        max_clients: The update with this number closes the round; None for no such number.
        deadline: Seconds that others have, once `min_clients` updates are in; None for the mode's own default. Raise it
            for slow clients.
        fan_in: On a ledger, how many updates a partial sum stands for, and how many partial sums one above them. Lower
            it to make challenges and a client's checks smaller, raise it to make commits smaller.

    Raises:
        ConfigurationError: at construction, for a value out of range.
    """

    rounds: int
    min_clients: int = 1
    max_clients: int | None = None
    deadline: float | None = None
    fan_in: int = DEFAULT_FAN_IN

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("rounds", self.rounds, 1, 2**31),
            ("min_clients", self.min_clients, 1, MOST_CLIENTS),
            (
                "max_clients",
                MOST_CLIENTS if self.max_clients is None else self.max_clients,
                self.min_clients,
                MOST_CLIENTS,
            ),
            ("fan_in", self.fan_in, SMALLEST_FAN_IN, LARGEST_FAN_IN),
        ):
            if type(value) is not int or not least <= value <= most:
                raise ConfigurationError(f"{name} is {value!r}, expected a whole number from {least} to {most}")
        deadline = 0 if self.deadline is None else self.deadline
        if type(deadline) not in (int, float) or not 0 <= deadline <= 2**31:
            raise ConfigurationError(f"deadline is {self.deadline!r}, expected seconds from 0 to 2**31")
