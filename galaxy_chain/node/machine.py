"""The virtual machine of Prague: py-evm's, with its commonest instructions done in one loop.

py-evm calls five functions and more for each instruction, which was half of what a transaction cost. Nine in ten
only move numbers on the stack, in memory or in the program, and those are done here one after the other, with gas
and program counter in local variables. Everything else stays py-evm's: whatever touches state, calls, hashes or
logs; and whatever is out of the ordinary (too little gas, a stack too small or full, a jump to nowhere, memory that
has to grow, a program's last bytes) is left as it is, untouched, for py-evm's own instruction to do or to refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from eth.vm import opcode_values as op
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.opcodes import PRAGUE_OPCODES
from eth.vm.forks.prague.state import PragueState
from eth.vm.stack import Stack

__all__ = ["Computation", "VirtualMachine"]

_PRAGUE: dict[int, Any] = PRAGUE_OPCODES
_WORD = 2**256 - 1
_FULL = 1024  # items that a stack holds
_PROGRAMS = 64  # contracts whose instructions are remembered

# Operand on top of the stack first
_UNARY: dict[int, Callable[[int], int]] = {
    op.ISZERO: lambda a: 0 if a else 1,
    op.NOT: lambda a: _WORD ^ a,
}
_BINARY: dict[int, Callable[[int, int], int]] = {
    op.ADD: lambda a, b: (a + b) & _WORD,
    op.SUB: lambda a, b: (a - b) & _WORD,
    op.MUL: lambda a, b: (a * b) & _WORD,
    op.DIV: lambda a, b: a // b if b else 0,
    op.AND: lambda a, b: a & b,
    op.OR: lambda a, b: a | b,
    op.XOR: lambda a, b: a ^ b,
    op.EQ: lambda a, b: 1 if a == b else 0,
    op.LT: lambda a, b: 1 if a < b else 0,
    op.GT: lambda a, b: 1 if a > b else 0,
    op.SHL: lambda a, b: (b << a) & _WORD if a < 256 else 0,
    op.SHR: lambda a, b: b >> a if a < 256 else 0,
}
_PUSHES = range(op.PUSH0, op.PUSH32 + 1)
_DUPS = range(op.DUP1, op.DUP16 + 1)
_SWAPS = range(op.SWAP1, op.SWAP16 + 1)
_OTHERS = (op.POP, op.MLOAD, op.MSTORE, op.JUMP, op.JUMPI, op.JUMPDEST)
_QUICK = (*_PUSHES, *_DUPS, *_SWAPS, *_BINARY, *_UNARY, *_OTHERS)
_COSTS: dict[int, int] = {code: _PRAGUE[code].gas_cost for code in _QUICK}

# How an instruction is done (the kind of its first in the table), its gas, what belongs to it, what follows it
_Step = tuple[int, int, Any, int]
_BINARIES, _UNARIES = op.ADD, op.ISZERO
_PY_EVMS: _Step = (op.STOP, 2**256, None, 0)  # nobody has so much gas


class _Program:
    """What is known of a contract's code: where it may jump to, and its instructions so far as they were needed."""

    def __init__(self, code: bytes) -> None:
        self.code = code
        self.steps: list[_Step | None] = [None] * len(code)
        self.steps.append(_PY_EVMS)
        targets: list[int] = []
        at = 0
        while at < len(code):
            if code[at] == op.JUMPDEST:
                targets.append(at)
            at += 1 + (code[at] - op.PUSH0 if code[at] in _PUSHES else 0)
        self.targets = frozenset(targets)

    def read(self, at: int) -> _Step:
        """The instruction at `at`, which `steps` has from then on."""
        step = self.steps[at] = self._step(at, self.code[at])
        return step

    def _step(self, at: int, code: int) -> _Step:
        following = at + 1
        if code in _PUSHES:
            end = following + code - op.PUSH0
            if end > len(self.code):
                return _PY_EVMS
            return op.PUSH0, _COSTS[code], int.from_bytes(self.code[following:end], "big"), end
        if code in _DUPS:
            return op.DUP1, _COSTS[code], op.DUP1 - 1 - code, following
        if code in _SWAPS:
            return op.SWAP1, _COSTS[code], op.SWAP1 - 2 - code, following
        if code in _BINARY:
            return _BINARIES, _COSTS[code], _BINARY[code], following
        if code in _UNARY:
            return _UNARIES, _COSTS[code], _UNARY[code], following
        return (code, _COSTS[code], None, following) if code in _OTHERS else _PY_EVMS


_program = lru_cache(_PROGRAMS)(_Program)


class _Stack(Stack):
    """A stack of numbers alone; py-evm's keeps what it pushes as bytes until a number is asked for."""

    def push_bytes(self, value: bytes) -> None:
        self.push_int(int.from_bytes(value, "big"))


def _run(computation: Any) -> bool:
    """Does the instruction that was read last, and those after it, up to one that is py-evm's to do.

    Answers False if that is the first one already. A step changes nothing before it is sure to be done.
    """
    stream, meter, program = computation.code, computation._gas_meter, computation.program
    steps, targets = program.steps, program.targets
    items: list[int] = computation._stack.values
    memory: bytearray = computation._memory._bytes
    first = stream.program_counter - 1
    at, gas = first, meter.gas_remaining
    try:
        while True:
            kind, cost, argument, following = steps[at] or program.read(at)
            if cost > gas:
                break
            if kind == op.PUSH0:
                if len(items) >= _FULL:
                    break
                items.append(argument)
            elif kind == _BINARIES:
                result = argument(items[-1], items[-2])
                items.pop()
                items[-1] = result
            elif kind == op.DUP1:
                if len(items) >= _FULL:
                    break
                items.append(items[argument])
            elif kind == op.SWAP1:
                items[argument], items[-1] = items[-1], items[argument]
            elif kind == op.JUMPI:
                if items[-2]:
                    following = items[-1]
                    if following not in targets:
                        break
                del items[-2:]
            elif kind == op.JUMPDEST:
                pass
            elif kind == op.JUMP:
                following = items[-1]
                if following not in targets:
                    break
                items.pop()
            elif kind == op.MSTORE:
                end = items[-1] + 32
                if end > len(memory):
                    break
                memory[end - 32 : end] = items[-2].to_bytes(32, "big")
                del items[-2:]
            elif kind == op.MLOAD:
                end = items[-1] + 32
                if end > len(memory):
                    break
                items[-1] = int.from_bytes(memory[end - 32 : end], "big")
            elif kind == _UNARIES:
                items[-1] = argument(items[-1])
            else:  # POP
                items.pop()
            gas -= cost
            at = following
    except IndexError:
        pass  # the stack has too few items
    if at == first:
        return False
    meter.gas_remaining = gas
    stream.program_counter = at
    return True


def _quick(instruction: Callable[..., None]) -> Callable[..., None]:
    """An instruction of py-evm's table as the beginning of a run."""

    def begin(computation: Any) -> None:
        if not _run(computation):
            instruction(computation)

    return begin


_OPCODES = {**_PRAGUE, **{code: _quick(_PRAGUE[code]) for code in _QUICK}}


class Computation(PragueComputation):
    """One call's execution."""

    opcodes = _OPCODES

    def __init__(self, state: Any, message: Any, transaction_context: Any) -> None:
        super().__init__(state, message, transaction_context)
        self.program = _program(message.code)
        self._stack = _Stack()


class _State(PragueState):
    computation_class = Computation


class VirtualMachine(PragueVM):
    """Prague's rules."""

    _state_class = _State
