"""Transactions of one account: signed here, in order of their nonces, followed until they are in a block."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

from eth_utils.address import to_checksum_address

from galaxy_chain.exceptions import InsufficientFundsError, RpcError, TransactionError
from galaxy_chain.ledger.rpc import Rpc, RpcAnswerError

__all__ = ["Receipt", "Signer", "Transactions"]

FEES_SECONDS = 10.0
TRIES = 10
NONCE_PAUSE = 0.1
"""Seconds. Two programs of one account may take the same nonce; the later one takes the next."""
NONCE_CONFLICTS = ("nonce too low", "already known", "already imported", "replacement transaction underpriced")


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
        self._offer: tuple[float, dict[str, int]] | None = None

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
        for _ in range(TRIES):
            try:
                identity, nonce = self._broadcast(to, data, value, call)
            except RpcAnswerError as error:
                reason = error.reason.lower()
                if "insufficient" in reason:
                    raise InsufficientFundsError(
                        f"{self.signer.address} can't pay for it ({error.reason}): send it some ether first"
                    ) from error
                if not any(conflict in reason for conflict in NONCE_CONFLICTS):
                    raise
                time.sleep(NONCE_PAUSE)
            else:
                if (receipt := self._wait(identity, nonce, call)) is not None:
                    return receipt
        raise TransactionError(
            f"other transactions of {self.signer.address} came first {TRIES} times: give every program that runs at "
            "the same time an account of its own"
        )

    def _broadcast(self, to: str | None, data: bytes, value: int, call: dict[str, Any]) -> tuple[str, int]:
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
            transaction["to"] = to_checksum_address(to)
        return self.signer.send(self.rpc, transaction), transaction["nonce"]

    def _fees(self) -> dict[str, int]:
        """What to offer for gas; asked for again after some seconds, in which a base fee can't double."""
        if self._offer is None or time.monotonic() - self._offer[0] > FEES_SECONDS:
            self._offer = time.monotonic(), self._current_fees()
        return self._offer[1]

    def _current_fees(self) -> dict[str, int]:
        base_fee = self.rpc.block("latest").base_fee
        if base_fee is None:
            return {"gasPrice": self.rpc.number("eth_gasPrice")}
        tip = self.rpc.number("eth_maxPriorityFeePerGas")
        # Twice the base fee stays enough for six full blocks in a row.
        return {
            "maxPriorityFeePerGas": tip,
            "maxFeePerGas": 2 * base_fee + tip,
            "type": 2,
        }

    def _wait(self, identity: str, nonce: int, call: dict[str, Any]) -> Receipt | None:
        """The receipt; None if a dearer transaction of another program has taken the nonce: it never gets in."""
        deadline = time.monotonic() + self.timeout
        pause = 0.01
        while (receipt := self.rpc.request("eth_getTransactionReceipt", identity)) is None:
            if (
                pause > NONCE_PAUSE
                and self.rpc.number("eth_getTransactionCount", self.signer.address, "latest") > nonce
            ):
                if (receipt := self.rpc.request("eth_getTransactionReceipt", identity)) is None:
                    return None
                break
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
