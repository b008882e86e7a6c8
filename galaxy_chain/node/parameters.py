"""JSON-RPC parameters as Python values; whatever is malformed is an `InvalidParameters` that shows it."""

from __future__ import annotations

import re
from typing import Any

from eth_typing import Address

from galaxy_chain.node.errors import InvalidParameters

__all__ = ["address", "data", "hash32", "integer", "mapping", "optional_quantity", "quantity"]

_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})*")


def quantity(value: Any) -> int:
    """A hex quantity such as "0x1f", at most 256 bits."""
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise InvalidParameters(f"expected a hex quantity such as 0x1f, got {value!r:.80}")
    return int(value, 16)


def optional_quantity(value: Any) -> int | None:
    """As `quantity`, or None for null."""
    return None if value is None else quantity(value)


def integer(value: Any) -> int:
    """A JSON integer that isn't negative, or a hex quantity: development tools send seconds either way."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return quantity(value)


def data(value: Any, length: int | None = None) -> bytes:
    """Hex bytes such as "0xbeef"; of exactly `length` bytes if that is given."""
    if not isinstance(value, str) or not _DATA.fullmatch(value):
        raise InvalidParameters(f"expected hex bytes such as 0xbeef, got {value!r:.80}")
    raw = bytes.fromhex(value[2:])
    if length is not None and len(raw) != length:
        raise InvalidParameters(f"expected {length} bytes of hex, got {len(raw)}: {value!r:.80}")
    return raw


def address(value: Any) -> Address:
    """An address: 20 bytes."""
    return Address(data(value, 20))


def hash32(value: Any) -> str:
    """A hash: 32 bytes, as the lower-case hex by which the node's indexes know it."""
    return "0x" + data(value, 32).hex()


def mapping(value: Any) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise InvalidParameters(f"expected an object, got {value!r:.80}")
    return value
