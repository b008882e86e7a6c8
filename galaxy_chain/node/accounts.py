"""The funded accounts of the development chain, the same ones that anvil has.

Keys are derived from a BIP-39 mnemonic along m/44'/60'/0'/0/i (BIP-32, BIP-44).
"""

from __future__ import annotations

import hashlib
import hmac
from functools import cache
from typing import TYPE_CHECKING

import coincurve

from galaxy_chain.ledger.words import key_address
from galaxy_chain.node.server import DEVELOPMENT_MNEMONIC
from galaxy_fl.exceptions import ConfigurationError

if TYPE_CHECKING:
    from eth_keys.datatypes import PrivateKey

__all__ = ["address_of", "derive_keys", "development_key"]

_HARDENED = 2**31
_PATH = (_HARDENED + 44, _HARDENED + 60, _HARDENED, 0)

_Extended = tuple[coincurve.PrivateKey, bytes]
"""A key with its chain code (32 bytes), from which its children are derived."""


def derive_keys(mnemonic: str, count: int) -> list[PrivateKey]:
    """The first `count` private keys (eth_keys `PrivateKey`) of a mnemonic.

    Raises ConfigurationError if the mnemonic is not a valid BIP-39 phrase or `count` is below 1.
    """
    from eth_account.hdaccount import seed_from_mnemonic  # a quarter of a second, which a known phrase does not cost
    from eth_keys.datatypes import PrivateKey
    from eth_utils.exceptions import ValidationError

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
    parent = _parent(seed)
    return [PrivateKey(_child(parent, index)[0].secret) for index in range(count)]


def development_key(number: int) -> coincurve.PrivateKey:
    """The private key of an account of the development mnemonic, counted from 0."""
    return _child(_development_parent(), number)[0]


def address_of(key: coincurve.PrivateKey) -> bytes:
    """The 20 bytes of a key's address."""
    return key_address(key.public_key.format(compressed=False))


@cache
def _development_parent() -> _Extended:
    return _parent(hashlib.pbkdf2_hmac("sha512", DEVELOPMENT_MNEMONIC.encode(), b"mnemonic", 2048))  # BIP-39


def _parent(seed: bytes) -> _Extended:
    """What the keys of a seed's accounts are children of."""
    master = hmac.digest(b"Bitcoin seed", seed, "sha512")
    extended = coincurve.PrivateKey(master[:32]), master[32:]
    for index in _PATH:
        extended = _child(extended, index)
    return extended


def _child(parent: _Extended, index: int) -> _Extended:
    """CKDpriv of BIP-32; a ValueError for one child of 2**127, which has no key."""
    key, code = parent
    serialized = b"\0" + key.secret if index >= _HARDENED else key.public_key.format()
    child = hmac.digest(code, serialized + index.to_bytes(4), "sha512")
    return key.add(child[:32]), child[32:]
