"""Foundry's node as the chain of tests that are about what stands on a chain: it costs a tenth of the embedded one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from galaxy_chain.node import DEVELOPMENT_MNEMONIC
from galaxy_chain.node.accounts import derive_keys
from galaxy_chain.rpc.rpc import Rpc
from tests.end_to_end.processes import LONG, anvil

__all__ = ["Chain", "Prompt", "foundry"]


@dataclass(frozen=True)
class Chain:
    """A node that answers, with what is known of the embedded one: `galaxy_chain.node.Node`."""

    url: str
    accounts: list[str]
    private_keys: list[bytes]
    chain_id: int


@contextmanager
def foundry(accounts: int = 20, chain_id: int = 1337) -> Iterator[Chain]:
    """A chain like that of an embedded node: the same accounts with as much ether, and the same rules and limits."""
    keys = derive_keys(DEVELOPMENT_MNEMONIC, accounts)
    settings = {
        "accounts": accounts,
        "balance": 10_000,
        "mnemonic": DEVELOPMENT_MNEMONIC,
        "chain-id": chain_id,
        "hardfork": "prague",
        "gas-limit": 30_000_000,
        # Of as many blocks the states are there; all others it would write to the user's home, and leave them there.
        "prune-history": 2_000,
    }
    with anvil(*(argument for name, value in settings.items() for argument in (f"--{name}", value))) as url:
        addresses = [key.public_key.to_checksum_address() for key in keys]
        yield Chain(url, addresses, [key.to_bytes() for key in keys], chain_id)


class Prompt(Rpc):
    """Foundry's node as the embedded one in two things that tests go by.

    It answers to a transaction once that is in a block, and a block that is asked for is later than the one before.
    """

    def request(self, method: str, *parameters: Any) -> Any:
        if method == "evm_mine":
            super().request("evm_increaseTime", 1)
        result = super().request(method, *parameters)
        if method in ("eth_sendTransaction", "eth_sendRawTransaction") and super().request("anvil_getAutomine"):
            deadline = time.monotonic() + LONG
            while int(super().request("txpool_status")["pending"], 16):
                assert time.monotonic() < deadline, f"{result} is never mined"
                time.sleep(0.001)
        return result
