"""Whether a contract is the ledger that this version of Galaxy knows: else its rules are whatever its author likes.

The code alone does not tell: whoever deploys a contract may have its constructor write any balance into its storage
before it leaves the right code behind. So the transaction that made the contract has to be the right one, too; and the
contracts that the ledger asks about openings and whose code it executes, the addresses of which follow from its own,
have to have the right code.
"""

from __future__ import annotations

from eth_utils.address import is_address

from galaxy_chain.exceptions import ForeignLedgerError, NoLedgerError, RpcError
from galaxy_chain.ledger.artifacts import artifact
from galaxy_chain.rpc.rpc import Rpc
from galaxy_fl.keccak import keccak

__all__ = ["PARTS", "check_code", "check_creation", "created_address"]

PARTS = (
    ("OpeningVerifier", "asks whether a commit is right"),
    ("LedgerIntake", "runs to take jobs and signed entries in"),
)
"""The contracts that a ledger makes, in the order in which it does, and what for."""
ADVICE = "use a version of Galaxy that has that code, or --any-ledger if you know it and trust it with your ether"


def check_code(rpc: Rpc, address: str, *, any_ledger: bool = False) -> None:
    """Makes sure that the contract at an address has the ledger's code, and the contracts that it makes their own.

    They have no immutable values and no appended metadata (`scripts/compile.py` sees to both), so that every right one
    has the same bytes.

    Args:
        any_ledger: Any code will do.

    Raises:
        NoLedgerError: there is no code.
        ForeignLedgerError: it is another.
        RpcError: the node fails.
    """
    code = rpc.data("eth_getCode", address, "latest")
    if not code:
        raise NoLedgerError(
            f"there is no contract at {address} on chain {rpc.number('eth_chainId')}: deploy a ledger with "
            "`galaxy-chain deploy`, or name the file of another with --ledger "
            "(an embedded chain forgets everything when it ends)"
        )
    if not any_ledger and code != artifact("GalaxyLedger").runtime:
        raise ForeignLedgerError(
            f"the contract at {address} is not the ledger that this version of Galaxy knows: its code has the "
            f"keccak256 {keccak(code).hex()}, expected {keccak(artifact('GalaxyLedger').runtime).hex()}. Its bonds, "
            f"deposits and rewards follow other rules than those that are promised here: {ADVICE}"
        )
    if any_ledger:
        return
    # The first contract that a contract makes is that of nonce 1; `verifier()` and `intake()` say the same.
    for nonce, (name, purpose) in enumerate(PARTS, 1):
        part, expected = created_address(address, nonce), artifact(name).runtime
        found = rpc.data("eth_getCode", part, "latest")
        if found != expected:
            raise ForeignLedgerError(
                f"the contract at {part}, which the ledger at {address} {purpose}, is not the one that this version of "
                f"Galaxy knows: its code has the keccak256 {keccak(found).hex()}, expected {keccak(expected).hex()}: "
                f"{ADVICE}"
            )


def check_creation(rpc: Rpc, address: str, block: int) -> None:
    """Makes sure that the contract at an address was made by a plain deployment of the ledger in a block.

    Raises:
        ForeignLedgerError: it was not.
        RpcError: the node fails, or does not have the block.
    """
    found = rpc.request("eth_getBlockByNumber", hex(block), True)
    try:
        making = [
            bytes.fromhex(transaction["input"][2:])
            for transaction in found["transactions"]
            if transaction["to"] is None
            and created_address(transaction["from"], int(transaction["nonce"], 16)) == address.lower()
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RpcError(f"{rpc.name} does not give block {block}, in which the ledger was deployed") from error
    if not making:
        raise ForeignLedgerError(
            f"no transaction of block {block} has deployed the ledger at {address}, so that nobody can tell what its "
            "storage began with: correct the `block` of the ledger's file if a reorganisation has moved the "
            f"deployment, else {ADVICE}"
        )
    if making != [artifact("GalaxyLedger").bytecode]:
        raise ForeignLedgerError(
            f"the contract at {address} was deployed by other code than the ledger's, which may have put anything into "
            f"its storage: {ADVICE}"
        )


def created_address(sender: str, nonce: int) -> str:
    """The address of the contract that an account makes by its transaction of that nonce, in small letters.

    Raises:
        ValueError: the sender is not an address, or the nonce is negative.
    """
    if not is_address(sender) or nonce < 0:
        raise ValueError(f"{sender!r} with nonce {nonce} makes no contract")
    number = nonce.to_bytes((nonce.bit_length() + 7) // 8)
    encoded = number if nonce and nonce < 0x80 else bytes([0x80 + len(number)]) + number
    pair = bytes([0x80 + 20]) + bytes.fromhex(sender[2:]) + encoded
    return "0x" + keccak(bytes([0xC0 + len(pair)]) + pair)[12:].hex()
