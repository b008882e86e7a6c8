"""Filters of eth_getLogs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from galaxy_chain.node import parameters
from galaxy_chain.node.errors import InvalidParameters
from galaxy_chain.node.records import hex_data

__all__ = ["LogFilter"]

_MAX_TOPICS = 4


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which logs are asked for: by address, and by topic at each place; None means any."""

    addresses: frozenset[str] | None
    topics: tuple[frozenset[str] | None, ...]

    @classmethod
    def from_json(cls, request: dict[str, Any]) -> LogFilter:
        """The `address` and `topics` of a filter object, each one value, a list of alternatives, or null."""
        addresses = _alternatives(request.get("address"), 20)
        topics = request.get("topics") or []
        if not isinstance(topics, list) or len(topics) > _MAX_TOPICS:
            raise InvalidParameters(f"expected a list of at most {_MAX_TOPICS} topics, got {topics!r:.80}")
        return cls(addresses, tuple(_alternatives(topic, 32) for topic in topics))

    def matches(self, log: dict[str, Any]) -> bool:
        """Whether a log, as JSON, is asked for. A log with fewer topics than the filter never is."""
        if self.addresses is not None and log["address"] not in self.addresses:
            return False
        if len(self.topics) > len(log["topics"]):
            return False
        return all(wanted is None or topic in wanted for wanted, topic in zip(self.topics, log["topics"], strict=False))


def _alternatives(value: Any, length: int) -> frozenset[str] | None:
    # geth takes an empty list for "any", too
    if value is None or value == []:
        return None
    values = value if isinstance(value, list) else [value]
    if length == 32 and None in values:
        return None
    return frozenset(hex_data(parameters.data(item, length)) for item in values)
