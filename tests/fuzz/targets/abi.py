"""Log entries, answers of calls, and revert data."""

from __future__ import annotations

import json

from galaxy_chain.ledger.abi import ledger_abi
from tests.fuzz.clean import refused
from tests.fuzz.reader import Reader

__all__ = ["fuzz"]


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    abi = ledger_abi()
    kind = reader.pick(("event", "answer", "error", "entry"))
    if kind == "answer":
        function = reader.pick([function for function in abi.functions.values() if function.outputs])
        try:
            function.decode(reader.rest())
        except ValueError as error:
            return refused(error, 2_000)
        return True
    if kind == "error":
        return abi.error(reader.rest()) is not None
    if kind == "event":
        topics = [reader.pick(list(abi.topics.values()))] + [reader.take(32) for _ in range(reader.integer() % 5)]
        return _event(_entry(topics, reader.rest()))
    try:
        entry = json.loads(reader.rest())
    except (ValueError, RecursionError):
        return False
    return _event(entry)


def _entry(topics: list[bytes], data: bytes) -> dict[str, object]:
    return {
        "topics": ["0x" + topic.hex() for topic in topics],
        "data": "0x" + data.hex(),
        "blockNumber": "0x1",
        "blockHash": "0x" + bytes(32).hex(),
        "logIndex": "0x0",
        "transactionHash": "0x" + bytes(32).hex(),
    }


def _event(entry: object) -> bool:
    try:
        event = ledger_abi().event(entry)  # type: ignore[arg-type]  # what a node gives has no type
    except ValueError as error:
        return refused(error, 2_000)
    assert event is None or event.name in ledger_abi().topics
    return event is not None
