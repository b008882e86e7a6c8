"""Transactions of one account: signed here, in order of their nonces, followed until they are in a block."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

from galaxy_chain.exceptions import InsufficientFundsError, RpcError, TransactionError
from galaxy_chain.ledger.rpc import Rpc, RpcAnswerError

__all__ = ["Receipt", "Signer", "Transactions"]


class Signer(Protocol):
    """An account that can send transactions."""

    @property
    def address(self) -> str:
        """With checksum."""

    def send(self, rpc: Rpc, transaction: dict[str, Any]) -> str:
        """Signs a complete transaction (integers, `data` as bytes), hands it to the node and gives its hash."""


@dataclass(frozen=True)
class Receipt:
    """A transaction that is in a block."""

    transaction: str
    block: int
    gas_used: int
    contract: str | None


class Transactions:
    """Sends an account's transactions.

    Args:
        rpc: The node.
        signer: The account.
        timeout: Seconds until a transaction that is in no block counts as failed. Raise it for a slow chain.
    """

    def __init__(self, rpc: Rpc, signer: Signer, timeout: float = 180.0) -> None:
        self.rpc = rpc
        self.signer = signer
        self.timeout = timeout
        self._chain_id = rpc.number("eth_chainId")

    def send(self, to: str | None, data: bytes, value: int = 0) -> Receipt:
        """Sends a transaction and waits until it is in a block; it is tried out first, so a revert costs nothing.

        Raises:
            RpcAnswerError: it would revert; `data` has the revert data.
            InsufficientFundsError: the account can't pay for it.
            TransactionError: it did not get in in time, or reverted after all.
        """
        call: dict[str, Any] = {"from": self.signer.address, "data": "0x" + data.hex(), "value": hex(value)}
        if to is not None:
            call["to"] = to
        try:
            gas = self.rpc.number("eth_estimateGas", call)
            transaction: dict[str, Any] = {
                "data": data,
                "value": value,
                # Another transaction may come in between and make it dearer, but never by as much.
                "gas": gas + gas // 4,
                "nonce": self.rpc.number("eth_getTransactionCount", self.signer.address, "pending"),
                "chainId": self._chain_id,
                **self._fees(),
            }
            if to is not None:
                transaction["to"] = to
            identity = self.signer.send(self.rpc, transaction)
        except RpcAnswerError as error:
            if "insufficient" in error.reason.lower():
                raise InsufficientFundsError(
                    f"{self.signer.address} can't pay for the transaction ({error.reason}): send it some ether first"
                ) from error
            raise
        return self._wait(identity, call)

    def _fees(self) -> dict[str, int]:
        block = self.rpc.block("latest")
        if "baseFeePerGas" not in block:
            return {"gasPrice": self.rpc.number("eth_gasPrice")}
        tip = self.rpc.number("eth_maxPriorityFeePerGas")
        # Twice the base fee stays enough for six full blocks in a row.
        return {
            "maxPriorityFeePerGas": tip,
            "maxFeePerGas": 2 * int(block["baseFeePerGas"], 16) + tip,
            "type": 2,
        }

    def _wait(self, identity: str, call: dict[str, Any]) -> Receipt:
        deadline = time.monotonic() + self.timeout
        pause = 0.01
        while (receipt := self.rpc.request("eth_getTransactionReceipt", identity)) is None:
            if time.monotonic() > deadline:
                raise TransactionError(
                    f"transaction {identity} is in no block after {self.timeout:.0f} s: see whether the chain "
                    "makes blocks"
                )
            time.sleep(pause)
            pause = min(1.0, pause * 1.5)
        try:
            block, succeeded = int(receipt["blockNumber"], 16), int(receipt["status"], 16) == 1
            found = Receipt(identity, block, int(receipt["gasUsed"], 16), receipt["contractAddress"])
        except (KeyError, TypeError, ValueError) as error:
            raise RpcError(f"{self.rpc.url} gives a malformed receipt: {receipt!r:.300}") from error
        if not succeeded:
            # Something else came in between. The state before this block's end tells why, nearly always.
            self.rpc.request("eth_call", call, hex(block))
            raise TransactionError(f"transaction {identity} failed in block {block} after it had been tried out")
        return found
