"""How the entries of a job came in: signed, and by whom they were handed in, or by transactions of the clients."""

from __future__ import annotations

from dataclasses import dataclass

from eth_utils.address import to_checksum_address

from galaxy_chain.exceptions import RpcError
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.ledger.abi import ledger_abi
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.events import UpdatesSubmitted
from galaxy_chain.ledger.submissions import unpack_entries

__all__ = ["HandedIn", "lane_of", "lanes"]


@dataclass(frozen=True)
class HandedIn:
    """Entries that came in together.

    Attributes:
        lane: `signed`, `direct`, or `contract` where another contract has called the ledger, and how is not known.
        by: Who has sent, and paid for, the transaction.
    """

    attempt: int
    clients: tuple[str, ...]
    lane: str
    by: str
    transaction: str


def lanes(ledger: LedgerContract, follower: JobFollower) -> list[HandedIn]:
    """How all entries of a job came in, in their order. Asks for a transaction each time that entries came.

    Raises:
        RpcError: the node fails, or has the transactions no longer.
    """
    found = []
    for event in follower.events():
        if isinstance(event, UpdatesSubmitted):
            hash = "0x" + event.transaction.hex()
            lane, by = lane_of(ledger, hash)
            clients = tuple(entry.client for entry in unpack_entries(event.entries))
            found.append(HandedIn(event.attempt, clients, lane, by, hash))
    return found


def lane_of(ledger: LedgerContract, hash: str) -> tuple[str, str]:
    """How a transaction brought entries in, as `HandedIn.lane`, and who has sent it.

    Raises:
        RpcError: the node fails, or has the transaction no longer.
    """
    signed, direct = (ledger_abi().functions[name].selector for name in ("submitUpdates", "submitUpdate"))
    transaction = ledger.rpc.request("eth_getTransactionByHash", hash)
    try:
        to, data = str(transaction["to"]), bytes.fromhex(transaction["input"][2:])
        by = to_checksum_address(transaction["from"])
    except (KeyError, TypeError, ValueError) as error:
        raise RpcError(
            f"{ledger.rpc.name} does not give the transaction {hash}: name a node that keeps old ones, with --rpc"
        ) from error
    called = data[:4] if to.lower() == ledger.address.lower() else b""
    return "signed" if called == signed else "direct" if called == direct else "contract", by
