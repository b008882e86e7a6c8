"""Foundry's node as a chain for one test process: a second virtual machine beside the embedded chain's, and a quick one."""

from __future__ import annotations

import json
from contextlib import ExitStack
from functools import cache
from http.client import HTTPConnection
from typing import Any
from weakref import finalize

from eth_account import Account
from eth_account.signers.local import LocalAccount

from tests.end_to_end.processes import anvil

__all__ = ["Anvil", "TransactionFailed", "key_of"]

MNEMONIC = "test test test test test test test test test test test junk"
PATH = "m/44'/60'/0'/"
FEE = hex(10**9)
MISSED = "Transaction confirmation timeout"
"""What the node says after half a minute where it has missed its own block, or lost the transaction, which happens on a
busy machine now and then and changes nothing."""
TRIES = 3
"""At sending one that the node loses."""


@cache
def key_of(number: int) -> LocalAccount:
    """What signs for the account with that number, from 0."""
    Account.enable_unaudited_hdwallet_features()
    account: LocalAccount = Account.from_mnemonic(MNEMONIC, account_path=f"{PATH}{number}")
    return account


class TransactionFailed(Exception):
    """A call did not go through.

    Attributes:
        data: what it reverted with; None where the virtual machine ended it, as at an invalid instruction.
    """

    def __init__(self, message: str, data: bytes | None) -> None:
        super().__init__(message)
        self.data = data


class Anvil:
    """A node that makes a block of every transaction, each a second after the one before; it ends when nobody has it any more.

    Attributes:
        url: where it answers.
        accounts: its addresses, each with 10,000 ether.
    """

    def __init__(self, accounts: int, chain_id: int) -> None:
        node = ExitStack()
        finalize(self, node.close)
        arguments = {
            "accounts": accounts,
            "balance": 10_000,
            "mnemonic": MNEMONIC,
            # The accounts, whose addresses are in calldata and hashes, are those that the figures were measured with.
            "derivation-path": PATH,
            "chain-id": chain_id,
            "hardfork": "prague",
            # Not the time of day: it is in the calldata of a challenge, whose gas is compared exactly.
            "timestamp": 1_800_000_000,
            "gas-limit": 30_000_000,
            "block-base-fee-per-gas": 875_000_000,
            # Else it writes the states of old blocks, which nobody asks for, to the user's home and leaves them there.
            "prune-history": 2,
        }
        flags = [argument for name, value in arguments.items() for argument in (f"--{name}", value)]
        self.url = node.enter_context(anvil(*flags))
        self._connection = HTTPConnection(self.url.removeprefix("http://"))
        node.callback(self._connection.close)
        self._snapshots: list[str] = []
        self.ask("anvil_setBlockTimestampInterval", 1)
        self.accounts: list[str] = self.ask("eth_accounts")

    def ask(self, method: str, *parameters: Any) -> Any:
        """The result of a request.

        Raises:
            TransactionFailed: it has none.
        """
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        self._connection.request("POST", "/", json.dumps(question), {"Content-Type": "application/json"})
        answer = json.loads(self._connection.getresponse().read())
        if "error" in answer:
            error = answer["error"]
            reverted = error["code"] == 3
            raise TransactionFailed(error["message"], bytes.fromhex(error.get("data", "0x")[2:]) if reverted else None)
        return answer["result"]

    def send(self, message: dict[str, Any]) -> dict[str, Any]:
        """The receipt of a transaction, in a block of its own."""
        fees = {"maxFeePerGas": FEE, "maxPriorityFeePerGas": FEE}
        receipt: dict[str, Any]
        for left in reversed(range(TRIES)):
            try:
                receipt = self.ask("eth_sendTransactionSync", message | fees)
                break
            except TransactionFailed as error:
                counts = {self.ask("eth_getTransactionCount", message["from"], at) for at in ("latest", "pending")}
                if str(error) != MISSED or len(counts) > 1:
                    raise
                sent = [self.ask("eth_getTransactionByHash", each) for each in self.block()["transactions"]]
                if sent and sent[0]["input"][2:] == message.get("data", "").removeprefix(
                    "0x"
                ):  # and not the transaction before
                    receipt = self.ask("eth_getTransactionReceipt", sent[0]["hash"])
                    break
                if not left:  # it has lost the transaction, which is in no block and waits for none
                    raise
        return receipt

    def call(self, message: dict[str, Any]) -> bytes:
        """The output of a call in the latest block."""
        return bytes.fromhex(self.ask("eth_call", message, "latest")[2:])

    def block(self) -> dict[str, Any]:
        """The latest one."""
        block: dict[str, Any] = self.ask("eth_getBlockByNumber", "latest", False)
        return block

    def mine_at(self, time: int) -> None:
        """Mines an empty block."""
        self.ask("evm_setNextBlockTimestamp", time)
        self.ask("evm_mine")

    def take_snapshot(self) -> int:
        self._snapshots.append(self.ask("evm_snapshot"))
        return len(self._snapshots) - 1

    def revert_to_snapshot(self, snapshot: int) -> None:
        """Goes back to a snapshot, which can be gone back to again; those taken since then are gone."""
        # anvil uses a snapshot up.
        assert self.ask("evm_revert", self._snapshots[snapshot]) is True
        del self._snapshots[snapshot + 1 :]
        self._snapshots[snapshot] = self.ask("evm_snapshot")
