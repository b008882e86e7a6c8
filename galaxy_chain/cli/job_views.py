"""What the job commands show of a job, as values for JSON and as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from galaxy_chain.shown import date, ether
from galaxy_fl.exceptions import GalaxyError
from galaxy_fl.jobs.document import JobDocument

if TYPE_CHECKING:
    from galaxy_chain.following.history import JobHistory
    from galaxy_chain.jobs.costs import Lie

__all__ = [
    "digits",
    "document_of",
    "lost",
    "name_of",
    "rounds_of",
    "state_of",
    "when",
]


def rounds_of(history: JobHistory, measured: dict[tuple[int, str], dict[str, Any]]) -> list[dict[str, Any]]:
    """The commits that stand, and what may still happen to each: times are seconds of the chain."""
    from galaxy_chain.following.turns import settle_from  # slow, and a list of jobs needs none of it
    from galaxy_chain.ledger.records import client_amount, server_amount

    return [
        {
            "round": number,
            "updates": len(commit.included),
            "excluded": [entry.client for entry in commit.excluded],
            "blocks": len(commit.blocks),
            "nodes": len(commit.nodes),
            "model": commit.record.next.root.hex(),
            "server": commit.record.server,
            "block": commit.block,
            "transaction": "0x" + commit.transaction.hex(),
            "reward": commit.record.reward,
            "server_amount": server_amount(commit.record),
            "client_amount": client_amount(commit.record),
            "settled": number <= history.settled,
            "challengeable_until": commit.record.time + history.terms.challenge_seconds,
            "settles_from": settle_from(history, number),
            "demands": [
                {"node": demand.node, "chunk": demand.index, "demander": demand.demander, "answer_by": demand.answer_by}
                for demand in history.demands.get(commit.word, {}).values()
            ],
            **{
                key: measured.get((commit.attempt, commit.record.next.root.hex()), {}).get(key)
                for key in ("loss", "accuracy", "gas", "seconds")
            },
            "metrics": measured.get((commit.attempt, commit.record.next.root.hex()), {}).get("metrics", {}),
        }
        for number, commit in sorted(history.commits.items())
    ]


def state_of(row: dict[str, Any]) -> str:
    """What may still happen to a round of `rounds_of`, for people."""
    if row["settled"]:
        return "settled"
    if row["demands"]:
        until = max(demand["answer_by"] for demand in row["demands"])
        return f"{len(row['demands'])} chunks demanded, until {date(until)}"
    return f"open until {date(row['settles_from'])}"


def when(seconds: int | None) -> str:
    """A time from which something can be done; nothing where it can't."""
    return "" if seconds is None else date(seconds) if seconds else "now"


def lost(false: Lie) -> str:
    """What a lie takes, for people."""
    if false.rounds + false.takes == 0:
        return "The job has no pool, so no pay depends on it."
    return (
        f"It loses its shares of the rounds that are not settled, up to {ether(false.rounds)}, and clients up to "
        f"{ether(false.takes)}, which the rounds earn again when they are repeated."
    )


def document_of(store: Any, spec: bytes) -> JobDocument | None:
    """A job's document, where it is at hand."""
    try:
        return JobDocument.from_bytes(store.block(spec))
    except GalaxyError:
        return None  # a list is not the place to complain that somebody else's document is not here


def name_of(store: Any, spec: bytes) -> str | None:
    """A job's name, where its document is at hand."""
    document = document_of(store, spec)
    return None if document is None else document.name


def digits(value: float | None) -> str:
    """A measurement with three digits behind the point, or nothing."""
    return "" if value is None else f"{value:.3f}"
