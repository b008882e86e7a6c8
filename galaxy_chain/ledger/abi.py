"""Calls, events and errors of a contract to bytes and back, after its ABI.

Plain eth_abi instead of web3's contract objects: a participant of a large job decodes tens of thousands of
events, and this is about eight times faster (57 instead of 489 microseconds for an submitted update).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from galaxy_chain.ledger import structs
from galaxy_chain.ledger.structs import python_name

__all__ = ["Abi", "Event", "Function"]


@dataclass(frozen=True)
class Event:
    """One event of a contract, decoded, and where it stands on the chain.

    `arguments` are by their names in Python (`python_name`); structs are those of `galaxy_chain.ledger.structs`.
    """

    name: str
    arguments: Mapping[str, Any]
    block: int
    block_hash: bytes
    log_index: int
    transaction: bytes

    def __getattr__(self, name: str) -> Any:
        try:
            return self.arguments[name]
        except KeyError:
            raise AttributeError(f"{self.name} has no argument {name}") from None


def _type(entry: Mapping[str, Any]) -> str:
    """The canonical type of an ABI entry: tuples written out."""
    kind: str = entry["type"]
    if not kind.startswith("tuple"):
        return kind
    return "(" + ",".join(_type(part) for part in entry["components"]) + ")" + kind[5:]


def _value(entry: Mapping[str, Any], value: Any) -> Any:
    """A decoded value in the types of this package."""
    kind: str = entry["type"]
    if kind.endswith("]"):
        inner = {**entry, "type": kind[: kind.rindex("[")]}
        return tuple(_value(inner, item) for item in value)
    if kind == "tuple":
        struct = getattr(structs, entry["internalType"].rpartition(".")[2])
        return struct(*map(_value, entry["components"], value))
    return to_checksum_address(value) if kind == "address" else value


def _number(value: str) -> int:
    number = int(value, 16)
    if not 0 <= number < 2**64:
        raise ValueError(f"{value:.40} is no number of a block or a log")
    return number


def _plain(value: Any) -> Any:
    """Structs as the tuples that eth_abi takes."""
    if dataclasses.is_dataclass(value):
        return tuple(_plain(getattr(value, field.name)) for field in dataclasses.fields(value))
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class Function:
    """A function of a contract."""

    name: str
    selector: bytes
    inputs: Sequence[Mapping[str, Any]]
    outputs: Sequence[Mapping[str, Any]]

    @cached_property
    def _input_types(self) -> list[str]:
        return [_type(entry) for entry in self.inputs]

    @cached_property
    def _output_types(self) -> list[str]:
        return [_type(entry) for entry in self.outputs]

    def encode(self, *arguments: Any) -> bytes:
        """The call data."""
        return self.selector + encode(self._input_types, _plain(arguments))

    def decode(self, answer: bytes) -> Any:
        """What the call gave: one value as it is, several as a tuple.

        Raises:
            ValueError: the answer is not of the function's form.
        """
        try:
            values = decode(self._output_types, answer)
        except (DecodingError, OverflowError) as error:
            raise ValueError(f"{self.name} can't have answered {answer.hex() or 'nothing':.200}: {error}") from error
        values = tuple(map(_value, self.outputs, values))
        return values[0] if len(values) == 1 else values


class Abi:
    """The functions, events and errors of one contract."""

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self.functions: dict[str, Function] = {}
        self.topics: dict[str, bytes] = {}
        self._events: dict[bytes, tuple[str, list[Any], list[Any]]] = {}
        self._errors: dict[bytes, tuple[str, list[Any]]] = {}
        for entry in entries:
            if entry["type"] not in ("function", "event", "error"):
                continue
            name = entry["name"]
            digest = keccak(text=f"{name}({','.join(map(_type, entry['inputs']))})")
            if entry["type"] == "function":
                self.functions[name] = Function(name, digest[:4], entry["inputs"], entry["outputs"])
            elif entry["type"] == "event":
                indexed = [part for part in entry["inputs"] if part["indexed"]]
                data = [part for part in entry["inputs"] if not part["indexed"]]
                self.topics[name] = digest
                self._events[digest] = (name, indexed, data)
            else:
                self._errors[digest[:4]] = (name, entry["inputs"])

    def event(self, log: Mapping[str, Any]) -> Event | None:
        """Decodes a log entry of the RPC (hex strings); None if it is no event of this contract.

        Raises:
            ValueError: the entry is malformed.
        """
        try:
            topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
            if not topics or topics[0] not in self._events:
                return None
            name, indexed, data = self._events[topics[0]]
            values = {
                python_name(part["name"]): _value(part, decode([part["type"]], topic)[0])
                for part, topic in zip(indexed, topics[1:], strict=True)
            }
            decoded = decode([_type(part) for part in data], bytes.fromhex(log["data"][2:]))
            values |= {
                python_name(part["name"]): _value(part, value) for part, value in zip(data, decoded, strict=True)
            }
            return Event(
                name,
                values,
                _number(log["blockNumber"]),
                bytes.fromhex(log["blockHash"][2:]),
                _number(log["logIndex"]),
                bytes.fromhex(log["transactionHash"][2:]),
            )
        except (DecodingError, OverflowError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"a log entry is malformed ({error!r:.200}): {log!r:.300}") from error

    def error(self, data: bytes) -> tuple[str, dict[str, Any]] | None:
        """The name and the arguments of the custom error in revert data; None if it is none of this contract."""
        if data[:4] not in self._errors:
            return None
        name, inputs = self._errors[data[:4]]
        try:
            values = decode([_type(part) for part in inputs], data[4:])
        except (DecodingError, OverflowError, UnicodeDecodeError):
            return None
        return name, {
            python_name(part["name"]): _value(part, value) for part, value in zip(inputs, values, strict=True)
        }
