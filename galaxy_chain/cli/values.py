"""Amounts and addresses as they are given on the command line."""

from __future__ import annotations

from eth_utils.address import is_address, to_checksum_address

from galaxy_chain.jobs.file import wei
from galaxy_fl.exceptions import ConfigurationError

__all__ = ["amount", "checksum"]


def amount(text: str) -> int:
    """An amount in wei.

    Raises:
        ConfigurationError: the text is not an amount.
    """
    try:
        value = int(text) if text.isascii() and text.isdecimal() else wei(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r}: {error}") from error
    assert isinstance(value, int)
    return value


def checksum(text: str) -> str:
    """An address, with checksum.

    Raises:
        ConfigurationError: the text is not an address.
    """
    if not is_address(text):
        raise ConfigurationError(f"{text!r} is not an address: expected 0x and 40 hexadecimal digits")
    return to_checksum_address(text)
