"""A job's events in any order, with any values: what they contradict is said, and the rest is consistent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from galaxy_chain.exceptions import AuditError
from galaxy_chain.ledger.abi import Event
from galaxy_chain.ledger.history import JobHistory, record_word
from galaxy_chain.ledger.ledger import ledger_abi
from galaxy_chain.ledger.structs import Model, Opening, Terms, Update
from tests.fuzz.clean import refused
from tests.fuzz.reader import Reader

__all__ = ["fuzz"]

LEDGER = "0x" + "ab" * 20


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    history = JobHistory(1337, LEDGER, 1)
    names = [*ledger_abi().topics]
    for place in range(64):
        if not reader:
            break
        name = reader.pick(names)
        event = Event(name, _arguments(name, history, reader), place, bytes(32), 0, bytes(32))
        try:
            history.apply(event)
        except AuditError as error:
            return refused(error)
        _check(history)
    return bool(history.commits)


def _arguments(name: str, history: JobHistory, reader: Reader) -> dict[str, Any]:
    """The values of an event: mostly those that the history expects, so that it comes far; else any."""

    def likely(expected: Callable[[], Any], other: Callable[[], Any]) -> Any:
        return expected() if reader.integer() % 8 else other()

    def number() -> int:
        return reader.integer(reader.pick((1, 4)))

    address = f"0x{reader.integer() % 8:040x}"
    model = Model(reader.take(1).rjust(32, b"\0"), reader.take(1).rjust(32, b"\0"))
    reverted = name == "RoundReverted"
    about_chunk = name in ("ChunkDemanded", "ChunkAnswered", "DemandExpired") and bool(history.commits)
    last = history.commits[history.round - 1].record if about_chunk else None
    arguments: dict[str, Any] = {
        "job": 1,
        "round": likely(
            lambda: 1 + reader.integer() % max(1, history.round - 1) if reverted else history.round - about_chunk,
            number,
        ),
        "attempt": likely(lambda: last.attempt if last is not None else history.attempt + reverted, number),
        "head": likely(lambda: history.head, lambda: reader.take(32)),
        "update": Update(reader.take(32), reader.take(32), number()),
        "model": model,
        "excluded": tuple(f"0x{reader.integer() % 8:040x}" for _ in range(reader.integer() % 4)),
        "time": number(),
        "index": number(),
        "next": Opening(reader.take(4), (reader.take(32),)),
        "samples": number(),
        "terms": Terms(bytes(32), bytes(32), LEDGER, 1, LEDGER, 1, number(), 1, 1, 0, 1, 1, 1, 1, 8, True, number()),
    }
    arguments |= dict.fromkeys(("client", "server", "owner", "challenger", "caller", "demander"), address)
    arguments["answer_by"] = arguments["time"]
    if last is not None and name != "ChunkDemanded" and (waiting := history.open_demands(last)):
        arguments |= {"index": waiting[0].index, "demander": waiting[0].demander}
    return arguments


def _check(history: JobHistory) -> None:
    """The commits that stand are those of the rounds below, each beginning where the one before ended."""
    if history.owner is None:
        assert not history.commits
        return
    assert sorted(history.commits) == [*range(1, history.round)]
    model = history.initial
    for _, commit in sorted(history.commits.items()):
        assert commit.previous == model
        assert {s.client for s in commit.included}.isdisjoint(commit.record.excluded)
        assert len(record_word(commit.record)) == 32
        model = commit.record.next
    assert history.model == model
    made = [commit.record for commit in (*history.commits.values(), *history.reverted)]
    for record, waiting in history.demands.items():
        assert record in made
        assert waiting
        assert all(demand.index == index and demand.deposits >= 1 for index, demand in waiting.items())
