"""Quantities and blocks, in what nodes answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

__all__ = ["Block", "number", "quantity", "read_block"]


@dataclass(frozen=True)
class Block:
    """A block's header, as far as it is used here; `time` in seconds, `base_fee` in wei, None before EIP-1559."""

    number: int
    identity: str
    parent: str
    time: int
    base_fee: int | None
    bloom: int = 0
    """The bloom filter of its logs, 2,048 bits; 0 where the node gives none."""
    gas_limit: int | None = None
    """None where the node gives none."""


_HASH = re.compile(r"0x[0-9a-fA-F]{64}")


def _hash(value: Any) -> str:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ValueError(f"{value!r:.80} is not a hash")
    return value.lower()


_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")


def quantity(value: Any) -> int | None:
    """A quantity of at most 256 bits; no sign, no more digits than any number of a chain has."""
    return int(value, 16) if isinstance(value, str) and _QUANTITY.fullmatch(value) else None


def number(value: Any) -> int:
    """The number of a block or a log, or a time: a quantity below 2**63.

    Raises:
        ValueError: it is none.
    """
    found = quantity(value)
    if found is None or found >= 2**63:
        raise ValueError(f"{value!r:.80} is not a number")
    return found


_BLOOM = re.compile(r"0x[0-9a-fA-F]{0,512}")


def _bloom(value: Any) -> int:
    if value is not None and (not isinstance(value, str) or not _BLOOM.fullmatch(value)):
        raise ValueError(f"{value!r:.80} is not a bloom filter")
    return int(value or "0x0", 16) if value != "0x" else 0


def read_block(header: dict[str, Any]) -> Block:
    """A block's header in what a node answers.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: it is malformed.
    """
    base_fee, gas_limit = header.get("baseFeePerGas"), header.get("gasLimit")
    return Block(
        number(header["number"]),
        _hash(header["hash"]),
        _hash(header["parentHash"]),
        number(header["timestamp"]),
        None if base_fee is None else number(base_fee),
        _bloom(header.get("logsBloom")),
        None if gas_limit is None else number(gas_limit),
    )
