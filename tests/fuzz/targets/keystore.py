"""Keystore files and keys from the environment."""

from __future__ import annotations

import os

from eth_utils.address import is_checksum_address

from galaxy_chain.exceptions import AccountError
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import KEY_VARIABLE, Keystore, find_signer
from tests.fuzz.clean import refused
from tests.fuzz.folder import folder
from tests.fuzz.reader import Reader

__all__ = ["fuzz"]

NOBODY = Rpc("http://127.0.0.1:1")
"""Neither a key nor a keystore asks a node."""


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    from_environment, content = reader.integer() % 4 == 3, reader.rest()
    try:
        if from_environment:
            os.environ[KEY_VARIABLE] = content.replace(b"\0", b"").decode(errors="surrogateescape")
            address = find_signer(None, Keystore(folder() / "nothing"), NOBODY).address
        else:
            keys = folder() / "keys"
            keys.mkdir(exist_ok=True)
            (keys / "alice.json").write_bytes(content)
            assert all(address is None or is_checksum_address(address) for address in Keystore(keys).list().values())
            address = Keystore(keys).open("alice", "password").address
    except AccountError as error:
        return refused(error)
    assert is_checksum_address(address)
    return True
