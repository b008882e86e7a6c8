"""The chain: blocks made with py-evm, their index, calls, gas estimates and snapshots.

It stands on py-evm's virtual machine and not on its `Chain` or on eth-tester, which validate every block
again after making it, keep one block a transaction and search the whole chain for a receipt.

Whatever changes the chain, or executes contracts, runs in one thread (`engine.py`). Reading is allowed from
any other: blocks are immutable, a mined block is published by one append, and the state of a block is a trie
whose nodes are only ever added to.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import rlp  # type: ignore[import-untyped]
from eth.consensus.context import ConsensusContext
from eth.db.atomic import AtomicDB
from eth.db.chain import ChainDB
from eth.exceptions import OutOfGas, Revert
from eth.rlp.headers import BlockHeader
from eth.vm.chain_context import ChainContext
from eth.vm.forks.london.headers import calculate_expected_base_fee_per_gas
from eth.vm.forks.prague import PragueVM
from eth.vm.spoof import SpoofTransaction
from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError
from eth_typing import Address
from eth_utils.exceptions import ValidationError

from galaxy_chain.node.errors import ExecutionReverted, RPCError
from galaxy_chain.node.pool import Pool
from galaxy_chain.node.records import hex_data, receipt_json
from galaxy_chain.node.transactions import TRANSACTION_BUILDER, Transaction, minimum_gas

__all__ = ["BLOCK_GAS_LIMIT", "Block", "Chain", "Message"]

BLOCK_GAS_LIMIT = 30_000_000

# SSTORE needs 2,300 gas to be left (EIP-2200), a call with value lends as much to the callee
_STIPEND = 2_300


@dataclass(frozen=True, slots=True)
class Block:
    """A mined block with everything that is asked about it, ready to send."""

    header: Any
    hash: str
    size: int
    transactions: tuple[Transaction, ...]
    receipts: tuple[dict[str, Any], ...]
    logs: tuple[dict[str, Any], ...]

    @property
    def number(self) -> int:
        return int(self.header.block_number)


@dataclass(frozen=True, slots=True)
class Message:
    """What eth_call and eth_estimateGas execute; `to` is empty for a creation."""

    sender: Address
    to: Address
    data: bytes
    value: int
    gas: int


@dataclass(frozen=True, slots=True)
class _Snapshot:
    number: int
    clock_offset: int
    exact_timestamp: int | None
    pool: Pool


class Chain:
    """A chain with Prague's rules whose genesis gives each address of `balances` that many wei.

    With `automine` (the default) `submit` mines what it takes in; without, transactions wait for `mine`.
    """

    def __init__(self, chain_id: int, balances: dict[Address, int]) -> None:
        self.chain_id = chain_id
        self.automine = True
        self.pool = Pool()
        self.blocks: list[Block] = []
        self.blocks_by_hash: dict[str, Block] = {}
        self.transactions: dict[str, tuple[Block, int]] = {}
        self._db = AtomicDB()
        self._chaindb = ChainDB(self._db)
        # the chain id of the EVM and of EIP-155 is a matter of the context, not of a subclass
        self._chain_context = ChainContext(chain_id)
        self._consensus_context = ConsensusContext(self._db)
        self._clock_offset = 0
        self._exact_timestamp: int | None = None
        self._snapshots: dict[int, _Snapshot] = {}
        self._next_snapshot = 1
        self._publish(self._genesis(balances), [], [])

    # Reading: from any thread

    @property
    def head(self) -> Block:
        return self.blocks[-1]

    def next_base_fee(self) -> int:
        """Base fee of the next block, wei."""
        return int(calculate_expected_base_fee_per_gas(self.head.header))

    def next_header(self) -> Any:
        """The header of a block on top of the head, without transactions: the pending block."""
        parent = self.head.header
        if self._exact_timestamp is not None:
            timestamp = self._exact_timestamp
        else:
            timestamp = max(parent.timestamp + 1, int(time.time()) + self._clock_offset)
        return PragueVM.create_header_from_parent(
            parent,
            gas_limit=BLOCK_GAS_LIMIT,
            timestamp=timestamp,
            # random, as on a real chain; besides, no block that is mined again after a revert is the same
            mix_hash=os.urandom(32),
        )

    def state(self, header: Any) -> Any:
        """The state after a block (py-evm `StateAPI`), to read."""
        return PragueVM.build_state(self._db, header, self._chain_context)

    # Transactions and blocks: in the engine's thread

    def submit(self, sources: Iterable[Callable[[], Transaction]]) -> list[str | Exception]:
        """Takes transactions into the pool and, automining, into as few blocks as hold them.

        Each source makes one transaction when its turn comes, so that it can ask for the sender's next nonce.
        Answers the hash of each, or why it was refused. A transaction whose nonce is not yet due waits.
        """
        answers: list[str | Exception] = []
        state = self.state(self.head.header)
        for source in sources:
            try:
                transaction = source()
                self._admit(transaction, state)
                answers.append(transaction.hash)
            except RPCError as error:
                answers.append(error)
        refused = self.mine_waiting() if self.automine else {}
        return [refused.get(answer, answer) if isinstance(answer, str) else answer for answer in answers]

    def mine_waiting(self) -> dict[str, RPCError]:
        """Mines until no waiting transaction can be included; answers those that turned out invalid."""
        refused: dict[str, RPCError] = {}
        while len(self.pool):
            if not self._mine(refused, even_if_empty=False):
                break
        return refused

    def mine(self, timestamp: int | None = None) -> None:
        """Mines one block with what waits and fits, even if that is nothing."""
        if timestamp is not None:
            self.set_next_timestamp(timestamp)
        self._mine({}, even_if_empty=True)

    def _admit(self, transaction: Transaction, state: Any) -> None:
        evm, sender = transaction.evm, transaction.sender
        if evm.gas > BLOCK_GAS_LIMIT:
            raise RPCError(f"exceeds block gas limit: gas {evm.gas}, limit {BLOCK_GAS_LIMIT}")
        base_fee = self.next_base_fee()
        if evm.max_fee_per_gas < base_fee:
            raise RPCError(
                f"max fee per gas less than block base fee: address {hex_data(sender)}, "
                f"maxFeePerGas: {evm.max_fee_per_gas}, baseFee: {base_fee}"
            )
        transaction.check_payable(state.get_nonce(sender), state.get_balance(sender))
        self.pool.add(transaction)

    def _mine(self, refused: dict[str, RPCError], *, even_if_empty: bool) -> bool:
        """Makes the next block out of the pool. Answers whether there is one."""
        header = self.next_header()
        base_fee = header.base_fee_per_gas
        vm: Any = PragueVM(header, self._chaindb, self._chain_context, self._consensus_context)
        included: list[Transaction] = []
        results: list[tuple[Any, Any]] = []
        # by nonce, so that one pass finds all that are due (the sort is stable: first come, first)
        for transaction in sorted(self.pool, key=lambda waiting: int(waiting.evm.nonce)):
            evm = transaction.evm
            nonce = vm.state.get_nonce(transaction.sender)
            if evm.nonce > nonce or evm.max_fee_per_gas < base_fee or header.gas_used + evm.gas > header.gas_limit:
                continue
            try:
                transaction.check_payable(nonce, vm.state.get_balance(transaction.sender))
                receipt, computation = vm.apply_transaction(header, evm)
            except (RPCError, ValidationError) as error:
                self.pool.remove(transaction)
                refused[transaction.hash] = RPCError(str(error))
                continue
            header = vm.add_receipt_to_header(header, receipt)
            included.append(transaction)
            results.append((receipt, computation))
        if not included and not even_if_empty:
            return False
        evms = [transaction.evm for transaction in included]
        block = vm.set_block_transactions_and_withdrawals(
            vm.get_block(), header, evms, [receipt for receipt, _ in results]
        )
        # finalize_block writes the state; mine_block would go on to derive again what was just derived
        self._publish(vm.finalize_block(block).block, included, results)
        if self._exact_timestamp is not None:
            self._clock_offset = self._exact_timestamp - int(time.time())
            self._exact_timestamp = None
        return True

    def _genesis(self, balances: dict[Address, int]) -> Any:
        before = BlockHeader(difficulty=0, block_number=-1, gas_limit=0)
        state = PragueVM.build_state(self._db, before, self._chain_context)
        for account, balance in balances.items():
            state.set_balance(account, balance)
        state.persist()
        header = PragueVM.create_genesis_header(
            gas_limit=BLOCK_GAS_LIMIT, timestamp=int(time.time()), state_root=state.state_root
        )
        return PragueVM.get_block_class()(header, transactions=[], uncles=[])

    def _publish(self, evm_block: Any, transactions: list[Transaction], results: list[tuple[Any, Any]]) -> None:
        header = evm_block.header
        self._db[header.hash] = rlp.encode(header)
        receipts: list[dict[str, Any]] = []
        logs: list[dict[str, Any]] = []
        gas_before = 0
        for index, (transaction, (receipt, computation)) in enumerate(zip(transactions, results, strict=True)):
            created = computation.msg.storage_address if transaction.evm.to == b"" else b""
            gas_used = receipt.gas_used - gas_before
            gas_before = receipt.gas_used
            record = receipt_json(transaction, receipt, header, index, gas_used, len(logs), created)
            receipts.append(record)
            logs.extend(record["logs"])
        block = Block(
            header,
            hex_data(header.hash),
            len(rlp.encode(evm_block)),
            tuple(transactions),
            tuple(receipts),
            tuple(logs),
        )
        # a receipt must not be seen before its block
        self.blocks_by_hash[block.hash] = block
        self.blocks.append(block)
        for index, transaction in enumerate(transactions):
            self.transactions[transaction.hash] = (block, index)
            if self.pool.get(transaction.hash) is not None:
                self.pool.remove(transaction)

    # Calls: in the engine's thread

    def call(self, message: Message, header: Any) -> bytes:
        """Executes a message on the state after `header` and returns its output; nothing is kept.

        Raises ExecutionReverted, or RPCError for any other failure.
        """
        computation, _ = self._execute(message, header)
        if computation.is_error:
            raise _failure(computation, message.gas)
        return bytes(computation.output)

    def estimate_gas(self, message: Message, header: Any) -> int:
        """A gas limit with which the message succeeds, from one execution.

        The execution has `message.gas`. What it used, before refunds, is enough but for two rules: some
        instructions want gas left that they do not use, and a call passes on at most 63/64 of what is left
        (EIP-150), so a margin at each depth has to grow by 64/63 for each depth above. A contract that looks
        at gasleft() may want more. A message that executes no code needs exactly what it used.
        """
        computation, evm = self._execute(message, header)
        if computation.is_error:
            raise _failure(computation, message.gas)
        intrinsic, floor = evm.intrinsic_gas, minimum_gas(evm)[1]
        executed = message.gas - intrinsic - computation.get_gas_remaining()
        if computation.msg.code:
            executed += _STIPEND
            for _ in range(_depth(computation)):
                executed += executed // 63 + 1
        return int(min(max(intrinsic + executed, floor), message.gas))

    def _execute(self, message: Message, header: Any) -> tuple[Any, Any]:
        # without a base fee the sender need not pay for gas, as in geth
        state: Any = PragueVM.build_state(
            self._db,
            header.copy(base_fee_per_gas=0),
            self._chain_context,
            PragueVM.get_prev_hashes(header.parent_hash, self._chaindb) or (),
        )
        unsigned = TRANSACTION_BUILDER.new_unsigned_dynamic_fee_transaction(
            chain_id=self.chain_id,
            nonce=state.get_nonce(message.sender),
            max_priority_fee_per_gas=0,
            max_fee_per_gas=0,
            gas=message.gas,
            to=message.to,
            value=message.value,
            data=message.data,
            access_list=[],
        )
        needed = max(minimum_gas(unsigned))
        if message.gas < needed:
            raise RPCError(f"intrinsic gas too low: gas {message.gas}, minimum needed {needed}")
        balance = state.get_balance(message.sender)
        if message.value > balance:
            raise RPCError(
                f"insufficient funds for gas * price + value: address {hex_data(message.sender)} "
                f"has {balance}, wants {message.value}"
            )
        evm = SpoofTransaction(unsigned, from_=message.sender)
        return state.apply_transaction(evm), evm

    # Development: in the engine's thread

    def set_next_timestamp(self, timestamp: int) -> None:
        """The next block gets this time (seconds), and time continues from there."""
        if timestamp <= self.head.header.timestamp:
            raise RPCError(f"timestamp {timestamp} is not after that of the latest block, {self.head.header.timestamp}")
        self._exact_timestamp = timestamp

    def increase_time(self, seconds: int) -> int:
        """Moves the clock forward; answers by how many seconds it is now ahead in all.

        Counted from the latest block where that is ahead of the clock, as after more than one block a second:
        the next block is at least `seconds` later.
        """
        ahead = self.head.header.timestamp - int(time.time())
        self._clock_offset = max(self._clock_offset, ahead) + seconds
        return self._clock_offset

    def snapshot(self) -> int:
        """Remembers the chain, the pool and the clock; answers the snapshot's number."""
        number = self._next_snapshot
        self._next_snapshot += 1
        self._snapshots[number] = _Snapshot(
            self.head.number, self._clock_offset, self._exact_timestamp, self.pool.copy()
        )
        return number

    def revert(self, number: int) -> bool:
        """Goes back to a snapshot, which is used up with all later ones. False if there is no such."""
        snapshot = self._snapshots.get(number)
        if snapshot is None:
            return False
        self._snapshots = {kept: old for kept, old in self._snapshots.items() if kept < number}
        undone: Sequence[Block] = self.blocks[snapshot.number + 1 :]
        for block in undone:
            for transaction in block.transactions:
                del self.transactions[transaction.hash]
        del self.blocks[snapshot.number + 1 :]
        for block in undone:
            del self.blocks_by_hash[block.hash]
        self.pool = snapshot.pool
        self._clock_offset = snapshot.clock_offset
        self._exact_timestamp = snapshot.exact_timestamp
        return True


def _depth(computation: Any) -> int:
    """How deep the calls below a computation go; 0 if it made none."""
    depth, level = 0, computation.children
    while level:
        depth += 1
        level = [child for computation in level for child in computation.children]
    return depth


def _failure(computation: Any, gas: int) -> RPCError:
    error = computation.error
    if isinstance(error, Revert):
        output = bytes(computation.output)
        reason = _revert_reason(output)
        message = f"execution reverted: {reason}" if reason else "execution reverted"
        return ExecutionReverted(message, hex_data(output))
    if isinstance(error, OutOfGas):
        return RPCError(f"out of gas: gas required exceeds allowance ({gas})")
    return RPCError(f"execution failed: {type(error).__name__}: {error}")


def _revert_reason(output: bytes) -> str | None:
    """The text of Solidity's Error(string) or the code of its Panic(uint256); None for anything else."""
    try:
        if output[:4] == bytes.fromhex("08c379a0"):
            return str(abi_decode(["string"], output[4:])[0])
        if output[:4] == bytes.fromhex("4e487b71"):
            return f"panic code {abi_decode(['uint256'], output[4:])[0]:#04x}"
    except (DecodingError, UnicodeDecodeError, OverflowError):
        pass
    return None
