"""The bit map of the entries that a commit left out: bit `i % 8` (the lowest is 0) of byte `i // 8` is entry i."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["excluded_numbers", "pack_excluded"]


def pack_excluded(numbers: Iterable[int], updates: int) -> bytes:
    """The bit map, `ceil(updates / 8)` bytes.

    Args:
        numbers: The numbers of the entries that are left out.
        updates: How many entries there are.

    Raises:
        ValueError: a number is not one of an entry.
    """
    bits = 0
    for number in numbers:
        if not 0 <= number < updates:
            raise ValueError(f"entry {number} can't be excluded: the entries are 0 to {updates - 1}")
        bits |= 1 << number
    return bits.to_bytes((updates + 7) // 8, "little")


def excluded_numbers(excluded: bytes, updates: int) -> frozenset[int]:
    """The numbers of the entries that a bit map leaves out.

    Raises:
        ValueError: the bit map has another length, or a bit beyond the last entry.
    """
    size = (updates + 7) // 8
    if len(excluded) != size:
        raise ValueError(
            f"the bit map of the excluded has {len(excluded)} bytes, expected {size} for {updates} entries"
        )
    bits = int.from_bytes(excluded, "little")
    if bits >> updates:
        raise ValueError(
            f"the bit map of the excluded, {excluded.hex()}, has a bit beyond the last of {updates} entries"
        )
    return frozenset(number for number in range(updates) if bits >> number & 1) if bits else frozenset()
