"""What each JSON-RPC method does: a method of the class `Methods` is the RPC method of that name.

Reads of blocks, receipts, logs and accounts are answered at once, from the index; what executes contracts
waits for the engine's thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from eth_abi.exceptions import EncodingError
from eth_account.messages import defunct_hash_message, encode_typed_data
from eth_keys.datatypes import PrivateKey
from eth_typing import Address
from eth_utils.exceptions import ValidationError
from pydantic_core import from_json

from galaxy_chain.node import parameters
from galaxy_chain.node.chain import BLOCK_GAS_LIMIT, Block, Chain, Message
from galaxy_chain.node.engine import Engine
from galaxy_chain.node.errors import InvalidParameters, RPCError
from galaxy_chain.node.logs import LogFilter
from galaxy_chain.node.records import block_json, header_json, hex_data, transaction_json
from galaxy_chain.node.transactions import TRANSACTION_BUILDER, Transaction, decode_transaction
from galaxy_fl.keccak import keccak

__all__ = ["Methods"]

CLIENT_VERSION = "galaxy-chain/py-evm/prague"
PRIORITY_FEE = 10**9
MAX_FEE_HISTORY = 1024

_MINED_TAGS = ("latest", "safe", "finalized")


class Methods:
    """The RPC methods on a chain. `keys` are the unlocked accounts: address → eth_keys `PrivateKey`."""

    def __init__(self, chain: Chain, engine: Engine, keys: Mapping[Address, PrivateKey]) -> None:
        self._chain = chain
        self._engine = engine
        self._keys = keys

    # The client and its network

    def web3_clientVersion(self) -> str:
        return CLIENT_VERSION

    def net_version(self) -> str:
        return str(self._chain.chain_id)

    def eth_chainId(self) -> str:
        return hex(self._chain.chain_id)

    def eth_syncing(self) -> bool:
        return False

    def eth_accounts(self) -> list[str]:
        return [hex_data(address) for address in self._keys]

    # Accounts

    def eth_getBalance(self, address: Any, block: Any = "latest") -> str:
        return hex(self._state(block).get_balance(parameters.address(address)))

    def eth_getCode(self, address: Any, block: Any = "latest") -> str:
        return hex_data(self._state(block).get_code(parameters.address(address)))

    def eth_getStorageAt(self, address: Any, slot: Any, block: Any = "latest") -> str:
        value = self._state(block).get_storage(parameters.address(address), parameters.quantity(slot))
        return f"0x{value:064x}"

    def eth_getTransactionCount(self, address: Any, block: Any = "latest") -> str:
        sender = parameters.address(address)
        nonce = self._state(block).get_nonce(sender)
        if block == "pending":
            nonce = self._chain.pool.next_nonce(sender, nonce)
        return hex(nonce)

    # Fees

    def eth_gasPrice(self) -> str:
        return hex(self._chain.next_base_fee() + PRIORITY_FEE)

    def eth_maxPriorityFeePerGas(self) -> str:
        return hex(PRIORITY_FEE)

    def eth_feeHistory(self, count: Any, newest: Any, percentiles: Any = None) -> dict[str, Any]:
        wanted = parameters.integer(count)
        ranks = _percentiles(percentiles)
        last = self._chain.head if newest == "pending" else self._block(newest)
        blocks = self._chain.blocks[: last.number + 1][-max(min(wanted, MAX_FEE_HISTORY), 1) :]
        following = self._chain.blocks[last.number + 1 : last.number + 2]
        next_fee = following[0].header.base_fee_per_gas if following else self._chain.next_base_fee()
        history: dict[str, Any] = {
            "oldestBlock": hex(blocks[0].number),
            "baseFeePerGas": [hex(block.header.base_fee_per_gas) for block in blocks] + [hex(next_fee)],
            "gasUsedRatio": [block.header.gas_used / block.header.gas_limit for block in blocks],
        }
        if ranks:
            history["reward"] = [[hex(tip) for tip in _tips(block, ranks)] for block in blocks]
        return history

    # Blocks, transactions, receipts, logs

    def eth_blockNumber(self) -> str:
        return hex(self._chain.head.number)

    def eth_getBlockByNumber(self, block: Any, full: Any = False) -> dict[str, Any] | None:
        whole = _flag(full)
        if block == "pending":
            return self._pending_block(whole)
        try:
            return _block(self._block(block), whole)
        except _UnknownBlock:
            return None

    def eth_getBlockByHash(self, block_hash: Any, full: Any = False) -> dict[str, Any] | None:
        block = self._chain.blocks_by_hash.get(parameters.hash32(block_hash))
        return None if block is None else _block(block, _flag(full))

    def eth_getTransactionByHash(self, transaction_hash: Any) -> dict[str, Any] | None:
        wanted = parameters.hash32(transaction_hash)
        waiting = self._chain.pool.get(wanted)
        found = self._chain.transactions.get(wanted)
        if found is not None:
            block, index = found
            return transaction_json(block.transactions[index], block.header, index)
        return None if waiting is None else transaction_json(waiting, None, None)

    def eth_getTransactionReceipt(self, transaction_hash: Any) -> dict[str, Any] | None:
        found = self._chain.transactions.get(parameters.hash32(transaction_hash))
        if found is None:
            return None
        block, index = found
        return block.receipts[index]

    def eth_getLogs(self, log_filter: Any) -> list[dict[str, Any]]:
        request = parameters.mapping(log_filter)
        wanted = LogFilter.from_json(request)
        return [log for block in self._range(request) for log in block.logs if wanted.matches(log)]

    # Calls

    async def eth_call(self, transaction: Any, block: Any = "latest") -> str:
        message = _message(transaction)
        header = self._header(block)
        return hex_data(await self._engine.run(partial(self._chain.call, message, header)))

    async def eth_estimateGas(self, transaction: Any, block: Any = "pending") -> str:
        message = _message(transaction)
        # it is for a transaction of the next block, though web3.py asks for the latest: here that one may be
        # old, and a condition on the time long since met
        header = self._header("pending" if block == "latest" else block)
        return hex(await self._engine.run(partial(self._chain.estimate_gas, message, header)))

    # Transactions

    async def eth_sendRawTransaction(self, raw: Any) -> str:
        signed = parameters.data(raw)
        return await self._engine.submit(partial(decode_transaction, signed, self._chain.chain_id))

    async def eth_sendTransaction(self, transaction: Any) -> str:
        request = parameters.mapping(transaction)
        sender = parameters.address(request.get("from"))
        self._key(sender)
        return await self._engine.submit(partial(self._sign, request, sender))

    async def eth_signTransaction(self, transaction: Any) -> dict[str, Any]:
        request = parameters.mapping(transaction)
        sender = parameters.address(request.get("from"))
        self._key(sender)
        signed = await self._engine.run(partial(self._sign, request, sender))
        return {"raw": hex_data(signed.evm.encode()), "tx": transaction_json(signed, None, None)}

    def eth_sign(self, address: Any, message: Any) -> str:
        """Signs a message (EIP-191, version 0x45), as geth and anvil do."""
        signer, body = parameters.address(address), parameters.data(message)
        signature = self._key(signer).sign_msg_hash(defunct_hash_message(body)).to_bytes()
        return hex_data(signature[:64] + bytes((signature[64] + 27,)))

    def eth_signTypedData_v4(self, address: Any, data: Any) -> str:
        """Signs typed data (EIP-712), given as an object or as its JSON."""
        signer = self._key(parameters.address(address))
        try:
            fields = from_json(data, allow_inf_nan=False) if isinstance(data, str) else data
            signable = encode_typed_data(full_message=parameters.mapping(fields))
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            ValidationError,
            EncodingError,
            RecursionError,
        ) as error:
            raise InvalidParameters(f"expected typed data (EIP-712), got {data!r:.80} ({error})") from error
        digest = keccak(b"\x19" + signable.version + signable.header + signable.body)
        signature = signer.sign_msg_hash(digest).to_bytes()
        return hex_data(signature[:64] + bytes((signature[64] + 27,)))

    def _key(self, address: Address) -> PrivateKey:
        if address not in self._keys:
            raise RPCError(f"unknown account {hex_data(address)}: it is not one of this node's (eth_accounts)")
        return self._keys[address]

    def _sign(self, request: dict[str, Any], sender: Address) -> Transaction:
        """Completes and signs a transaction; in the engine's thread, where nonces stand still."""
        chain = self._chain
        message = _message(request)
        gas = message.gas
        if request.get("gas") is None:
            gas = chain.estimate_gas(message, chain.next_header())
        nonce = parameters.optional_quantity(request.get("nonce"))
        if nonce is None:
            nonce = chain.pool.next_nonce(sender, chain.state(chain.head.header).get_nonce(sender))
        common: dict[str, Any] = {
            "nonce": nonce,
            "gas": gas,
            "to": message.to,
            "value": message.value,
            "data": message.data,
        }
        gas_price = parameters.optional_quantity(request.get("gasPrice"))
        if gas_price is not None:
            unsigned = TRANSACTION_BUILDER.create_unsigned_transaction(gas_price=gas_price, **common)
        else:
            tip = parameters.optional_quantity(request.get("maxPriorityFeePerGas"))
            cap = parameters.optional_quantity(request.get("maxFeePerGas"))
            if tip is None:
                tip = PRIORITY_FEE if cap is None else min(PRIORITY_FEE, cap)
            unsigned = TRANSACTION_BUILDER.new_unsigned_dynamic_fee_transaction(
                chain_id=chain.chain_id,
                max_priority_fee_per_gas=tip,
                max_fee_per_gas=2 * chain.next_base_fee() + tip if cap is None else cap,
                access_list=[],
                **common,
            )
        signed = unsigned.as_signed_transaction(self._keys[sender], chain_id=chain.chain_id)
        return decode_transaction(signed.encode(), chain.chain_id)

    # Development

    async def evm_mine(self, timestamp: Any = None) -> str:
        seconds = None if timestamp is None else parameters.integer(timestamp)
        await self._engine.run(partial(self._chain.mine, seconds))
        return "0x0"

    async def evm_setAutomine(self, automine: Any) -> bool:
        enabled = _flag(automine)
        await self._engine.run(partial(self._set_automine, enabled))
        return True

    async def evm_snapshot(self) -> str:
        return hex(await self._engine.run(self._chain.snapshot))

    async def evm_revert(self, snapshot: Any) -> bool:
        number = parameters.integer(snapshot)
        return await self._engine.run(partial(self._chain.revert, number))

    async def evm_increaseTime(self, seconds: Any) -> int:
        return await self._engine.run(partial(self._chain.increase_time, parameters.integer(seconds)))

    async def evm_setNextBlockTimestamp(self, timestamp: Any) -> None:
        await self._engine.run(partial(self._chain.set_next_timestamp, parameters.integer(timestamp)))

    def _set_automine(self, enabled: bool) -> None:
        self._chain.automine = enabled
        if enabled:
            self._chain.mine_waiting()

    # Blocks by name

    def _block(self, block: Any) -> Block:
        """A mined block, by tag, number, or the object of EIP-1898."""
        blocks = self._chain.blocks
        if isinstance(block, dict) and "blockHash" in block:
            found = self._chain.blocks_by_hash.get(parameters.hash32(block["blockHash"]))
            if found is None:
                raise _UnknownBlock(f"header not found: no block {block['blockHash']}")
            return found
        if isinstance(block, dict):
            block = block.get("blockNumber")
        if block in _MINED_TAGS:
            return blocks[-1]
        if block == "earliest":
            return blocks[0]
        number = parameters.quantity(block)
        try:
            return blocks[number]
        except IndexError:
            raise _UnknownBlock(f"header not found: no block {number}, the latest is {len(blocks) - 1}") from None

    def _header(self, block: Any) -> Any:
        return self._chain.next_header() if block == "pending" else self._block(block).header

    def _state(self, block: Any) -> Any:
        # nothing in the pool is executed before it is mined: the pending state is the latest
        return self._chain.state((self._chain.head if block == "pending" else self._block(block)).header)

    def _pending_block(self, full: bool) -> dict[str, Any]:
        waiting = list(self._chain.pool)
        return {
            **header_json(self._chain.next_header()),
            "hash": None,
            "nonce": None,
            "miner": None,
            "transactions": [transaction_json(each, None, None) if full else each.hash for each in waiting],
        }

    def _range(self, request: dict[str, Any]) -> Sequence[Block]:
        """The blocks that a log filter is about. Blocks that are not there yet have no logs."""
        if request.get("blockHash") is not None:
            if request.get("fromBlock") is not None or request.get("toBlock") is not None:
                raise InvalidParameters("cannot specify both blockHash and fromBlock/toBlock, choose one")
            wanted = parameters.hash32(request["blockHash"])
            block = self._chain.blocks_by_hash.get(wanted)
            if block is None:
                raise RPCError(f"unknown block: {wanted}")
            return [block]
        first, last = request.get("fromBlock"), request.get("toBlock")
        begin, end = self._bound(first), self._bound(last)
        if begin > end and _is_number(first) and _is_number(last):
            raise InvalidParameters(f"invalid block range params: fromBlock {begin} is after toBlock {end}")
        return self._chain.blocks[begin : end + 1]

    def _bound(self, block: Any) -> int:
        if block is None or block == "pending" or block in _MINED_TAGS:
            return self._chain.head.number
        return 0 if block == "earliest" else parameters.quantity(block)


class _UnknownBlock(RPCError):
    """A block that is not (or no longer) on the chain."""


def _block(block: Block, full: bool) -> dict[str, Any]:
    return block_json(block.header, block.size, block.transactions, full)


def _is_number(block: Any) -> bool:
    return isinstance(block, str) and block.startswith("0x")


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidParameters(f"expected true or false, got {value!r:.80}")
    return value


def _message(transaction: Any) -> Message:
    """A transaction object as what is executed; fees are left out, because calls are free."""
    request = parameters.mapping(transaction)
    sender, to, value = request.get("from"), request.get("to"), request.get("value")
    gas = request.get("gas")
    body = request.get("input")
    if body is None:
        body = request.get("data")
    return Message(
        sender=Address(bytes(20)) if sender is None else parameters.address(sender),
        to=Address(b"") if to is None else parameters.address(to),
        data=b"" if body is None else parameters.data(body),
        value=0 if value is None else parameters.quantity(value),
        gas=BLOCK_GAS_LIMIT if gas is None else parameters.quantity(gas),
    )


def _percentiles(value: Any) -> list[float]:
    ranks = value or []
    if not isinstance(ranks, list) or not all(isinstance(rank, int | float) and 0 <= rank <= 100 for rank in ranks):
        raise InvalidParameters(f"expected a list of percentiles from 0 to 100, got {value!r:.80}")
    if ranks != sorted(ranks):
        raise InvalidParameters(f"percentiles must ascend, got {value!r:.80}")
    return [float(rank) for rank in ranks]


def _tips(block: Block, percentiles: Sequence[float]) -> list[int]:
    """The effective priority fee at each percentile of a block's gas, wei (zeros for an empty block)."""
    base_fee = block.header.base_fee_per_gas
    paid = sorted(
        (int(receipt["effectiveGasPrice"], 16) - base_fee, int(receipt["gasUsed"], 16)) for receipt in block.receipts
    )
    tips: list[int] = []
    for percentile in percentiles:
        remaining = block.header.gas_used * percentile / 100
        tip = 0
        for tip, gas in paid:  # noqa: B007
            remaining -= gas
            if remaining <= 0:
                break
        tips.append(tip)
    return tips
