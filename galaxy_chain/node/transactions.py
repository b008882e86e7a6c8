"""Signed transactions: decoding, and the checks that geth's pool makes before it takes one in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth.constants import SECPK1_N
from eth.exceptions import PyEVMError
from eth.vm.forks.prague import PragueVM
from eth_keys.exceptions import BadSignature
from eth_typing import Address
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException  # type: ignore[import-untyped]

from galaxy_chain.node.errors import RPCError

__all__ = ["TRANSACTION_BUILDER", "Transaction", "decode_transaction", "minimum_gas"]

TRANSACTION_BUILDER: Any = PragueVM.get_transaction_builder()

_SUPPORTED_TYPES = (0, 1, 2)
_MAX_INITCODE = 49_152
_UINT64 = 2**64


@dataclass(frozen=True, slots=True)
class Transaction:
    """A signed transaction with what costs time to find out: its hash (hex) and its sender (20 bytes)."""

    evm: Any
    type: int
    hash: str
    sender: Address

    def check_payable(self, nonce: int, balance: int) -> None:
        """Raises RPCError if the sender's nonce is past this transaction, or its balance (wei) too small."""
        if self.evm.nonce < nonce:
            raise RPCError(f"nonce too low: next nonce {nonce}, tx nonce {self.evm.nonce}")
        cost = self.evm.gas * self.evm.max_fee_per_gas + self.evm.value
        if cost > balance:
            raise RPCError(
                f"insufficient funds for gas * price + value: balance {balance}, tx cost {cost}, "
                f"overshot {cost - balance}"
            )


def decode_transaction(raw: bytes, chain_id: int) -> Transaction:
    """The transaction in `raw`, if it is well-formed, signed for this chain and has gas enough to begin.

    Raises RPCError, with geth's wording, if not.
    """
    if not raw:
        raise RPCError("typed transaction too short")
    kind = raw[0] if raw[0] < 0x80 else 0
    if kind not in _SUPPORTED_TYPES:
        raise RPCError(f"transaction type not supported: {kind}, expected one of {_SUPPORTED_TYPES}")
    try:
        evm = TRANSACTION_BUILDER.decode(raw)
    except (RLPException, PyEVMError, ValidationError, ValueError, TypeError, RecursionError) as error:
        raise RPCError(f"rlp: not a signed transaction: {error}") from None
    if evm.chain_id is None:
        raise RPCError("only replay-protected (EIP-155) transactions allowed over RPC")
    if evm.chain_id != chain_id:
        raise RPCError(f"invalid chain id for signer: have {evm.chain_id} want {chain_id}")
    _check_fields(evm)
    try:
        sender = evm.sender
    except (BadSignature, ValidationError) as error:
        raise RPCError(f"invalid sender: {error}") from None
    return Transaction(evm, kind, "0x" + evm.hash.hex(), sender)


def minimum_gas(evm: Any) -> tuple[int, int]:
    """(intrinsic gas, floor for call data of EIP-7623): a transaction needs both."""
    zeros = evm.data.count(0)
    # py-evm charges the words of EIP-3860 when the creation starts; geth counts them as intrinsic
    words = 2 * ((len(evm.data) + 31) // 32) if evm.to == b"" else 0
    return evm.intrinsic_gas + words, 21_000 + 10 * (zeros + 4 * (len(evm.data) - zeros))


def _check_fields(evm: Any) -> None:
    if max(evm.value, evm.max_fee_per_gas, evm.max_priority_fee_per_gas) >= 2**256:
        raise RPCError("rlp: value or fee larger than 256 bits")
    if evm.gas >= _UINT64 or evm.nonce >= _UINT64 - 1:
        raise RPCError("rlp: gas or nonce larger than 64 bits")
    if not 0 < evm.r < SECPK1_N or not 0 < evm.s <= SECPK1_N // 2 or evm.y_parity not in (0, 1):
        raise RPCError("invalid transaction v, r, s values")
    if evm.max_priority_fee_per_gas > evm.max_fee_per_gas:
        raise RPCError(
            "max priority fee per gas higher than max fee per gas: maxPriorityFeePerGas: "
            f"{evm.max_priority_fee_per_gas}, maxFeePerGas: {evm.max_fee_per_gas}"
        )
    if evm.to == b"" and len(evm.data) > _MAX_INITCODE:
        raise RPCError(f"max initcode size exceeded: code size {len(evm.data)}, limit {_MAX_INITCODE}")
    intrinsic, floor = minimum_gas(evm)
    if evm.gas < intrinsic:
        raise RPCError(f"intrinsic gas too low: gas {evm.gas}, minimum needed {intrinsic}")
    if evm.gas < floor:
        raise RPCError(f"insufficient gas for floor data gas cost: gas {evm.gas}, minimum needed {floor}")
