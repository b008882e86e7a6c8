"""Transactions that wait for a block."""

from __future__ import annotations

from collections.abc import Iterator

from eth_typing import Address

from galaxy_chain.node.errors import RPCError
from galaxy_chain.node.transactions import Transaction

__all__ = ["Pool"]


class Pool:
    """At most one transaction a (sender, nonce), in the order of arrival.

    Another one for the same place must offer at least 10 % more for both fees, as geth asks.
    Single look-ups are safe from other threads; everything else belongs to the thread that mines.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[Address, int], Transaction] = {}
        self._hashes: dict[str, Transaction] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Transaction]:
        return iter(list(self._places.values()))

    def get(self, transaction_hash: str) -> Transaction | None:
        return self._hashes.get(transaction_hash)

    def add(self, transaction: Transaction) -> None:
        """Raises RPCError if it is there already, or underpriced as a replacement."""
        if transaction.hash in self._hashes:
            raise RPCError("already known")
        place = (transaction.sender, transaction.evm.nonce)
        old = self._places.get(place)
        if old is not None:
            if not _outbids(transaction, old):
                raise RPCError(
                    "replacement transaction underpriced: both fees must be at least 10 % above those of "
                    f"{old.hash} (maxFeePerGas {old.evm.max_fee_per_gas}, "
                    f"maxPriorityFeePerGas {old.evm.max_priority_fee_per_gas})"
                )
            self.remove(old)
        self._places[place] = transaction
        self._hashes[transaction.hash] = transaction

    def remove(self, transaction: Transaction) -> None:
        del self._places[transaction.sender, transaction.evm.nonce]
        del self._hashes[transaction.hash]

    def next_nonce(self, sender: Address, nonce: int) -> int:
        """The first nonce from `nonce` (that of the state) on that no waiting transaction of `sender` has."""
        while (sender, nonce) in self._places:
            nonce += 1
        return nonce

    def copy(self) -> Pool:
        copy = Pool()
        copy._places = dict(self._places)
        copy._hashes = dict(self._hashes)
        return copy


def _outbids(new: Transaction, old: Transaction) -> bool:
    return bool(
        10 * new.evm.max_fee_per_gas >= 11 * old.evm.max_fee_per_gas
        and 10 * new.evm.max_priority_fee_per_gas >= 11 * old.evm.max_priority_fee_per_gas
    )
