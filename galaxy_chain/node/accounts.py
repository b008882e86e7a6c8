"""The funded accounts of the development chain, the same ones that anvil has.

Keys are derived from a BIP-39 mnemonic along m/44'/60'/0'/0/i (BIP-32, BIP-44).
"""

from __future__ import annotations

from eth_account.hdaccount import key_from_seed, seed_from_mnemonic
from eth_keys.datatypes import PrivateKey
from eth_utils.exceptions import ValidationError

from galaxy_fl.exceptions import ConfigurationError

__all__ = ["derive_keys"]


def derive_keys(mnemonic: str, count: int) -> list[PrivateKey]:
    """The first `count` private keys (eth_keys `PrivateKey`) of a mnemonic.

    Raises ConfigurationError if the mnemonic is not a valid BIP-39 phrase or `count` is below 1.
    """
    if count < 1:
        raise ConfigurationError(f"a chain needs at least 1 account, {count} were asked for")
    try:
        seed = seed_from_mnemonic(mnemonic, "")
    except ValidationError:
        # the phrase is a secret, if a poor one: it is not repeated
        raise ConfigurationError(
            f"the mnemonic of {len(mnemonic.split())} words is not a valid BIP-39 phrase: "
            "check the spelling, the order and the number of words (12, 15, 18, 21 or 24)"
        ) from None
    return [PrivateKey(key_from_seed(seed, f"m/44'/60'/0'/0/{index}")) for index in range(count)]
