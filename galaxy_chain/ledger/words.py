"""Values as the 32-byte words of the contract ABI.

Written out here because a history hashes tens of thousands of them, and eth_abi takes a hundred times as long.
"""

from __future__ import annotations

from functools import lru_cache

from eth_utils.address import to_checksum_address

from galaxy_fl.keccak import keccak

__all__ = ["ZERO_WORD", "address_bytes", "checksum_address", "key_address", "word"]

ZERO_WORD = bytes(32)


def address_bytes(address: str) -> bytes:
    """The 20 bytes of an address."""
    return bytes.fromhex(address[2:])


@lru_cache(2**12)  # a job has far fewer addresses than events and entries
def checksum_address(address: bytes | str) -> str:
    """An address as it is written, with the checksum of EIP-55, of its 20 bytes or any hexadecimal spelling."""
    return to_checksum_address(address)


def key_address(public: bytes) -> bytes:
    """The 20 bytes of the address of a public key, which is uncompressed, 65 bytes."""
    return keccak(public[1:])[-20:]


def word(value: int | str) -> bytes:
    """A number or an address as 32 bytes, big-endian."""
    return address_bytes(value).rjust(32, b"\0") if isinstance(value, str) else value.to_bytes(32)
