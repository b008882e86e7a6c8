"""Values as the 32-byte words of the contract ABI.

Written out here because a history hashes tens of thousands of them, and eth_abi takes a hundred times as long.
"""

from __future__ import annotations

from galaxy_fl.keccak import keccak

__all__ = ["ZERO_WORD", "address_bytes", "key_address", "word"]

ZERO_WORD = bytes(32)


def address_bytes(address: str) -> bytes:
    """The 20 bytes of an address."""
    return bytes.fromhex(address[2:])


def key_address(public: bytes) -> bytes:
    """The 20 bytes of the address of a public key, which is uncompressed, 65 bytes."""
    return keccak(public[1:])[-20:]


def word(value: int | str) -> bytes:
    """A number or an address as 32 bytes, big-endian."""
    return address_bytes(value).rjust(32, b"\0") if isinstance(value, str) else value.to_bytes(32)
