"""The virtual machine whose commonest instructions are the node's own, beside py-evm's: any program, the same end."""

from __future__ import annotations

from typing import Any

import pytest
from eth.db.atomic import AtomicDB
from eth.vm import opcode_values as op
from eth.vm.chain_context import ChainContext
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.opcodes import PRAGUE_OPCODES
from eth.vm.message import Message
from eth_typing import Address
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy_chain.node.machine import Computation, VirtualMachine

SENDER, CONTRACT = Address(b"\x01" * 20), Address(b"\xc0" * 20)
DATA = bytes(range(200, 240))
EDGES = [0, 1, 2, 31, 32, 255, 256, 2**255, 2**256 - 1]

QUICK = sorted(code for code in PRAGUE_OPCODES if Computation.opcodes[code] is not PRAGUE_OPCODES[code])
# These stand between: they give the stack bytes or the rest of the gas, or make memory grow
THEIRS = [op.SHA3, op.CALLER, op.CALLDATALOAD, op.GAS, op.PC, op.MSIZE, op.MSTORE8, op.SLT, op.BYTE, op.SAR]
THEIRS += [op.SLOAD, op.SSTORE, op.RETURN, op.REVERT, op.STOP, 0x0C]

words = st.sampled_from(EDGES) | st.integers(0, 40) | st.integers(0, 2**256 - 1)
pushes = words.map(lambda word: push(word))
pieces = st.one_of(pushes, pushes, st.sampled_from(QUICK + THEIRS).map(lambda code: bytes([code])))
jumps = st.tuples(st.integers(0, 60), st.sampled_from([op.JUMP, op.JUMPI])).map(
    lambda jump: push(jump[0]) + bytes([jump[1], op.JUMPDEST])
)
programs = st.lists(pieces | jumps, max_size=60).map(b"".join) | st.binary(max_size=80)


def push(word: int) -> bytes:
    data = word.to_bytes((word.bit_length() + 7) // 8, "big")
    return bytes([op.PUSH0 + len(data)]) + data


def end(kind: type[PragueComputation], code: bytes, gas: int) -> dict[str, Any]:
    """What is left of a program's run, as it can be seen from outside and as it can't."""
    header = VirtualMachine.create_genesis_header(gas_limit=30_000_000, timestamp=1)
    state: Any = VirtualMachine.build_state(AtomicDB(), header, ChainContext(1))
    message = Message(gas, CONTRACT, SENDER, 0, DATA, code)
    about = state.transaction_context_class(gas_price=7, origin=SENDER)
    done: Any = kind.apply_computation(state, message, about)
    return {
        "error": repr(done.error) if done.is_error else None,
        "gas": done._gas_meter.gas_remaining,
        "refund": done._gas_meter.gas_refunded,
        "output": done.output,
        "stack": [int.from_bytes(item, "big") if isinstance(item, bytes) else item for item in done._stack.values],
        "memory": bytes(done._memory._bytes),
        "at": done.code.program_counter,
        "storage": [state.get_storage(CONTRACT, slot) for slot in range(3)],
    }


def same(code: bytes, gas: int) -> None:
    assert end(Computation, code, gas) == end(PragueComputation, code, gas)


@pytest.mark.filterwarnings("ignore:SELFDESTRUCT:DeprecationWarning")
@settings(max_examples=300, deadline=None)
@given(programs, st.integers(0, 400) | st.just(50_000))
def test_any_program_ends_as_it_does_on_py_evm(code: bytes, gas: int) -> None:
    same(code, gas)


def named(code: int) -> str:
    return str(PRAGUE_OPCODES[code].mnemonic)  # type: ignore[attr-defined]


@pytest.mark.parametrize("code", QUICK, ids=named)
def test_each_instruction_does_what_py_evms_does_with_too_little_gas_and_a_stack_too_small_or_full(code: int) -> None:
    for height in (0, 1, 2, 16, 17, 1023, 1024):
        same(b"".join(push(EDGES[index % 3]) for index in range(height)) + bytes([code]), 50_000)
    for gas in range(10, 20):
        same(push(1) + push(2) + push(3) + bytes([code]), gas)


@pytest.mark.parametrize("code", [code for code in QUICK if not op.PUSH0 <= code <= op.SWAP16], ids=named)
def test_each_instruction_does_what_py_evms_does_with_numbers_at_the_edge(code: int) -> None:
    for first in EDGES:
        for second in EDGES:
            # a word of memory, so that a small address is within it; and places to jump to, one of them false
            begin = push(second) + push(0) + bytes([op.MSTORE]) + push(second) + push(first)
            same(begin + bytes([code, op.PUSH1, op.JUMPDEST, op.JUMPDEST, op.CALLER, op.GAS]), 50_000)


def test_a_jump_goes_to_a_place_that_is_no_data_and_nowhere_else() -> None:
    #   PUSH1 target JUMP  PUSH2 JUMPDEST JUMPDEST  JUMPDEST  PUSH1 1
    tail = bytes([op.JUMP, op.PUSH2, op.JUMPDEST, op.JUMPDEST, op.JUMPDEST, op.PUSH1, 1])
    ends = {target: end(Computation, bytes([op.PUSH1, target]) + tail, 1_000) for target in range(12)}
    assert [target for target, found in ends.items() if found["error"] is None] == [6]
    assert ends[6]["stack"] == [1]
    assert ends == {target: end(PragueComputation, bytes([op.PUSH1, target]) + tail, 1_000) for target in range(12)}
