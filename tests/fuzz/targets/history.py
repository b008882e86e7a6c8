"""A job's events in any order, with any values: what they contradict is said, and the rest is consistent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

from galaxy_chain.exceptions import AuditError
from galaxy_chain.following.history import JobHistory
from galaxy_chain.ledger import events
from galaxy_chain.ledger.abi import ledger_abi
from galaxy_chain.ledger.events import LedgerEvent
from galaxy_chain.ledger.records import client_amount, round_reward, server_amount
from galaxy_chain.ledger.structs import NEVER, Model, Record, Status, Terms
from galaxy_chain.ledger.submissions import Entries
from galaxy_fl.aggregation.sum_tree import nodes_hash, unpack_nodes
from galaxy_fl.exceptions import AggregationError
from tests.fuzz.clean import refused
from tests.fuzz.reader import Reader

__all__ = ["fuzz"]

LEDGER = "0x" + "ab" * 20
NO_RECORD = Record(0, 1, 0, b"", b"", Model(b"", b""), b"", b"", 0, 0, 0, LEDGER, 0)


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    history = JobHistory(1337, LEDGER, 1)
    names = [*ledger_abi().topics]
    for place in range(64):
        if not reader:
            break
        name = reader.pick(names)
        try:
            history.apply(_event(name, place, _arguments(name, history, reader)))
        except AuditError as error:
            return refused(error)
        _check(history)
    return bool(history.commits)


def _event(name: str, block: int, arguments: dict[str, Any]) -> LedgerEvent:
    kind: Any = getattr(events, name)
    place = {"block": block, "block_hash": bytes(32), "log_index": 0, "transaction": bytes(32)}
    event: LedgerEvent = kind(**{field.name: (place | arguments)[field.name] for field in fields(kind)})
    return event


def _arguments(name: str, history: JobHistory, reader: Reader) -> dict[str, Any]:
    """The values of an event: mostly those that the history expects, so that it comes far; else any."""

    def likely(expected: Callable[[], Any], other: Callable[[], Any]) -> Any:
        return expected() if reader.integer() % 8 else other()

    def number() -> int:
        return reader.integer(reader.pick((1, 4)))

    def address() -> str:
        return f"0x{reader.integer() % 8:040x}"

    registered = history.owner is not None
    commits = [*history.commits.values(), *history.void.values()]
    commit = reader.pick(commits) if commits else None
    record = commit.record if commit is not None else None
    rolls_back = name in ("RoundReverted", "RoundSuperseded")
    about_record = rolls_back or name in ("ChunkDemanded", "ChunkAnswered", "DemandExpired", "BondSlashed")
    settles = name in ("RoundSettled", "RewardsClaimed")
    if settles:
        due = history.commits.get(history.settled + (name == "RoundSettled"), commit)
        record = None if due is None else due.record
    who = address()
    waiting = history.open_demands(commit.word) if commit is not None else []
    demand = reader.pick(waiting) if waiting else None
    entries = len(history.entries) if registered else 0
    minimum = history.terms.min_clients if registered else 1
    together = [who, *(address() for _ in range(likely(lambda: 0, lambda: reader.integer() % 4)))]
    arguments: dict[str, Any] = {
        "job": 1,
        "round": likely(
            lambda: record.round if record is not None and (about_record or settles) else history.round, number
        ),
        "attempt": likely(lambda: history.attempt + rolls_back, number),
        "first": likely(lambda: entries, number),
        "closes_at": likely(lambda: NEVER if entries + len(together) < minimum else min(history.closes_at, 9), number),
        "entries": b"".join(
            bytes.fromhex(client[2:]) + likely(lambda: 1, number).to_bytes(4) + reader.take(1).rjust(64, b"\0")
            for client in together
        ),
        "word": likely(lambda: bytes(32) if commit is None else commit.word, lambda: reader.take(32)),
        "model": Model(reader.take(1).rjust(32, b"\0"), reader.take(1).rjust(32, b"\0")),
        "keeps_model": False,
        "is_sum": likely(lambda: True, lambda: False),
        "time": likely(lambda: 2**32, number),
        "node": likely(lambda: 0 if demand is None else demand.node, number),
        "index": likely(lambda: 0 if demand is None else demand.index, number),
        "answer_by": number(),
        "announced": True,
        "deposit": likely(lambda: 1, number),
        "excess": number(),
        "chunk": reader.take(likely(lambda: 64, number) % 200),
        "samples": likely(lambda: 9, number),
        "last_round": likely(lambda: min(history.last_round, max(history.round, history.highest)), number),
        "bits": likely(lambda: 1, number),
        "server_amount": likely(lambda: server_amount(record) if record is not None else 0, number),
        "client_amount": likely(lambda: client_amount(record) if record is not None else 0, number),
        "reward": likely(lambda: 0, number),
        "rest": likely(lambda: history.pool - history.allotted, number),
        "root": likely(lambda: history.model.root if registered else bytes(32), lambda: reader.take(32)),
        "terms": Terms(
            *(bytes(32), bytes(32), LEDGER, 1, f"0x{1:040x}", 1, likely(lambda: 3, number), likely(lambda: 1, number)),
            *(likely(lambda: 4, number), 0, 1, 1, 1, 1, likely(lambda: 2_000, number), likely(lambda: 2, number), 1, 9),
            *(8, likely(lambda: 2, number), True, 99),
        ),
        "sender": who,
        "key": bytes(32),
    }
    arguments |= dict.fromkeys(("client", "owner", "funder", "account"), who)
    arguments["server"] = likely(
        lambda: record.server if record is not None and name != "BondDeposited" else f"0x{1:040x}", address
    )
    arguments |= dict.fromkeys(("paid", "demander", "finder"), arguments["server"] if name == "ChunkAnswered" else who)
    if name == "DemandExpired" and demand is not None:
        arguments["demander"] = demand.demander
    arguments["amount"] = likely(lambda: _amount(name, history, arguments), number)
    if name in ("KeyRegistered", "KeyShared"):
        arguments |= {"key": reader.take(32), "digest": reader.take(32), "wraps": reader.take(reader.integer())}
    if name == "RewardsClaimed":
        arguments |= {"word": 0, "entries": arguments["bits"]}
    if name == "RoundCommitted":
        # A job that is not registered has no terms to make a record of; there the history never looks at one.
        arguments["record"] = _record(history, arguments, likely, number) if registered else NO_RECORD
        arguments["server"] = arguments["record"].server
        arguments |= {"nodes": _nodes(history, likely, reader) if registered else b"", "nodes_content": bytes(32)}
        with suppress(AggregationError):
            bound = nodes_hash(unpack_nodes(arguments["nodes"]), entries, history.terms.fan_in if registered else 2)
            arguments["record"] = replace(arguments["record"], nodes_hash=likely(lambda: bound, lambda: bytes(32)))
    return arguments


def _nodes(history: JobHistory, likely: Any, reader: Reader) -> bytes:
    """Nodes over the current entries, whose weights are right above level 1."""
    fan_in = history.terms.fan_in
    weights, nodes = [entry.update.weight for entry in history.entries], b""
    if not history.is_sum or len(weights) <= fan_in:
        return likely(lambda: b"", lambda: reader.take(36))
    while not nodes or len(weights) > 1:
        weights = [sum(weights[at : at + fan_in]) for at in range(0, len(weights), fan_in)]
        nodes += b"".join(reader.take(1).rjust(32, b"\0") + (weight % 2**32).to_bytes(4) for weight in weights)
    return likely(lambda: nodes, lambda: reader.take(72))


def _amount(name: str, history: JobHistory, arguments: dict[str, Any]) -> int:
    match name:
        case "RewardsClaimed":
            return int(arguments["client_amount"])
        case "BalanceWithdrawn":
            return history.account(arguments["account"]).balance
        case "BondWithdrawn" | "BondSlashed":
            return history.account(arguments["server"]).bond
        case _:
            return 100


def _record(history: JobHistory, arguments: dict[str, Any], likely: Any, number: Callable[[], int]) -> Record:
    updates = len(history.entries)
    reward = 0
    if not history.finished:
        reward = round_reward(history.pool, history.allotted, history.terms.rounds, history.round)
    return Record(
        attempt=likely(lambda: history.origin, number),
        round=history.round,
        updates=likely(lambda: updates, lambda: number() % 2**16),
        head=history.head,
        previous_root=history.model.root,
        next=arguments["model"],
        nodes_hash=bytes(32),
        excluded=likely(lambda: bytes((updates + 7) // 8), lambda: number().to_bytes(4)),
        reward=likely(lambda: reward, number),
        allotted_before=history.allotted,
        share=likely(lambda: history.terms.server_share, lambda: 0) % 2**16,
        server=history.terms.server,
        time=likely(lambda: 2**20, number),
    )


def _check(history: JobHistory) -> None:
    """The commits that stand are those of the rounds below, each beginning where the one before ended, and what they
    are worth is all that is allotted."""
    if history.owner is None:
        assert not history.commits
        return
    assert sorted(history.commits) == [*range(1, history.round)]
    model, allotted = history.initial, 0
    for _, commit in sorted(history.commits.items()):
        assert commit.previous == model
        assert commit.record.allotted_before == allotted
        assert len(commit.included) + len(commit.excluded) == commit.record.updates == len(commit.entries)
        model, allotted = commit.record.next, allotted + commit.record.reward
    assert history.model == model
    assert history.allotted == allotted <= history.pool
    assert history.settled < history.round
    assert Entries(history.entries.start, history.entries.blocks).head == history.head
    assert history.superseded <= history.void.keys()
    for address, account in history.accounts.items():
        committed = {word for word, commit in _all_commits(history).items() if commit.record.server == address}
        assert account.demands == sum(len(history.demands.get(word, ())) for word in committed)
        assert account.balance >= 0
    assert isinstance(history.status, Status)


def _all_commits(history: JobHistory) -> dict[bytes, Any]:
    return history.void | {commit.word: commit for commit in history.commits.values()}
