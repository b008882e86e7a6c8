"""Blocks, transactions, receipts and logs as the JSON of the Ethereum RPC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from galaxy_chain.node.transactions import Transaction

__all__ = ["block_json", "header_json", "hex_data", "receipt_json", "transaction_json"]


def hex_data(raw: bytes) -> str:
    return "0x" + raw.hex()


def header_json(header: Any) -> dict[str, Any]:
    """What a block says whether it is mined or pending."""
    return {
        "number": hex(header.block_number),
        "hash": hex_data(header.hash),
        "parentHash": hex_data(header.parent_hash),
        "nonce": hex_data(header.nonce),
        "sha3Uncles": hex_data(header.uncles_hash),
        "logsBloom": f"0x{header.bloom:0512x}",
        "transactionsRoot": hex_data(header.transaction_root),
        "stateRoot": hex_data(header.state_root),
        "receiptsRoot": hex_data(header.receipt_root),
        "miner": hex_data(header.coinbase),
        "difficulty": hex(header.difficulty),
        "extraData": hex_data(header.extra_data),
        "gasLimit": hex(header.gas_limit),
        "gasUsed": hex(header.gas_used),
        "timestamp": hex(header.timestamp),
        "mixHash": hex_data(header.mix_hash),
        "baseFeePerGas": hex(header.base_fee_per_gas),
        "withdrawalsRoot": hex_data(header.withdrawals_root),
        "blobGasUsed": hex(header.blob_gas_used),
        "excessBlobGas": hex(header.excess_blob_gas),
        "parentBeaconBlockRoot": hex_data(header.parent_beacon_block_root),
        "requestsHash": hex_data(header.requests_hash),
        "uncles": [],
        "withdrawals": [],
    }


def block_json(header: Any, size: int, transactions: Sequence[Transaction], full: bool) -> dict[str, Any]:
    """A mined block of `size` bytes, with whole transactions or only their hashes."""
    return {
        **header_json(header),
        "size": hex(size),
        "transactions": [
            transaction_json(transaction, header, index) if full else transaction.hash
            for index, transaction in enumerate(transactions)
        ],
    }


def transaction_json(transaction: Transaction, header: Any | None, index: int | None) -> dict[str, Any]:
    """A transaction; while it waits in the pool `header` and `index` are None."""
    evm = transaction.evm
    record: dict[str, Any] = {
        "type": hex(transaction.type),
        "hash": transaction.hash,
        "from": hex_data(transaction.sender),
        "to": hex_data(evm.to) if evm.to else None,
        "nonce": hex(evm.nonce),
        "gas": hex(evm.gas),
        "value": hex(evm.value),
        "input": hex_data(evm.data),
        "chainId": hex(evm.chain_id),
        "r": hex(evm.r),
        "s": hex(evm.s),
        "blockHash": None if header is None else hex_data(header.hash),
        "blockNumber": None if header is None else hex(header.block_number),
        "transactionIndex": None if index is None else hex(index),
    }
    if transaction.type == 0:
        record["v"] = hex(evm.v)
    else:
        record["v"] = record["yParity"] = hex(evm.y_parity)
        record["accessList"] = [
            {"address": hex_data(account), "storageKeys": [f"0x{key:064x}" for key in keys]}
            for account, keys in evm.access_list
        ]
    if transaction.type == 2:
        record["maxFeePerGas"] = hex(evm.max_fee_per_gas)
        record["maxPriorityFeePerGas"] = hex(evm.max_priority_fee_per_gas)
    paid = evm.max_fee_per_gas
    if header is not None:
        paid = min(paid, header.base_fee_per_gas + evm.max_priority_fee_per_gas)
    record["gasPrice"] = hex(paid)
    return record


def receipt_json(
    transaction: Transaction,
    receipt: Any,
    header: Any,
    index: int,
    gas_used: int,
    first_log: int,
    created: bytes,
) -> dict[str, Any]:
    """A receipt.

    `index` is the transaction's place in its block, `gas_used` its own gas, `first_log` the index in the
    block of its first log, `created` the address of the contract that it created, or empty.
    """
    evm = transaction.evm
    place = {
        "transactionHash": transaction.hash,
        "transactionIndex": hex(index),
        "blockHash": hex_data(header.hash),
        "blockNumber": hex(header.block_number),
    }
    return {
        **place,
        "type": hex(transaction.type),
        "from": hex_data(transaction.sender),
        "to": hex_data(evm.to) if evm.to else None,
        "contractAddress": hex_data(created) if created else None,
        "status": hex(int.from_bytes(receipt.state_root, "big")),
        "cumulativeGasUsed": hex(receipt.gas_used),
        "gasUsed": hex(gas_used),
        "effectiveGasPrice": hex(min(evm.max_fee_per_gas, header.base_fee_per_gas + evm.max_priority_fee_per_gas)),
        "logsBloom": f"0x{receipt.bloom:0512x}",
        "logs": [
            {
                **place,
                "address": hex_data(log.address),
                "topics": [f"0x{topic:064x}" for topic in log.topics],
                "data": hex_data(log.data),
                "logIndex": hex(first_log + position),
                "blockTimestamp": hex(header.timestamp),
                "removed": False,
            }
            for position, log in enumerate(receipt.logs)
        ],
    }
