"""The rounds of a report: each commit with all its hashes, its updates, and what was found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from galaxy_chain.ledger.events import UpdatesSubmitted
from galaxy_chain.ledger.records import client_amount, server_amount
from galaxy_chain.ledger.submissions import ENTRY_BYTES, Entry
from galaxy_chain.report.facts import Facts
from galaxy_chain.report.parts import Contents, Shown, uncommitted, when
from galaxy_chain.report.words import amount, moment, ranges
from galaxy_chain.verify.verdicts import Outcome
from galaxy_fl.tables import Html, listing, table

__all__ = ["hash_of", "overview", "round_shown", "uncommitted_shown"]

_SAID = {Outcome.RIGHT: "right", Outcome.WRONG: "WRONG", Outcome.UNCHECKED: "not to be checked"}


def overview(facts: Facts, commits: Iterable[Shown]) -> Html:
    """A row for each commit."""
    return table(
        ("round", "verdict", "updates", "left out", "committed by", "at", "state"),
        [
            (
                each.commit.record.round,
                Html(f'<span class="verdict {_kind_of(each)}">{_said_of(each)}</span>'),
                len(each.commit.included),
                len(each.commit.excluded) or "",
                each.commit.record.server,
                moment(each.commit.record.time),
                each.state(facts),
            )
            for each in commits
        ],
        None,
    )


def round_shown(facts: Facts, shown: Shown) -> dict[str, Any]:
    """What the template has of a commit."""
    contents = Contents(facts)
    commit, record = shown.commit, shown.commit.record
    rows: list[tuple[str, object]] = [
        ("State", shown.state(facts)),
        ("Committed by", record.server),
        ("At", f"{moment(record.time)}, block {commit.block}"),
        ("Transaction", hash_of(commit.transaction)),
        (
            "Attempt",
            f"{commit.attempt}"
            + ("" if commit.attempt == record.attempt else f", with the updates of {record.attempt}"),
        ),
        ("Record (keccak256)", commit.word.hex()),
        ("Model before", record.previous_root.hex()),
        ("Model after", record.next.root.hex()),
        ("Its content", contents.model(record.next.content)),
        ("Head of the entries", record.head.hex()),
    ]
    if commit.left_out:
        rows.append(("Left out, as bits", record.excluded.hex()))
    if commit.nodes:
        rows += [("Partial sums", record.nodes_hash.hex()), ("Their list", contents.nodes(commit))]
    to_server, to_each = amount(server_amount(record)), amount(client_amount(record))
    rows.append(("Worth", f"{amount(record.reward)}: {to_server} to its server, {to_each} to each client in it"))
    for what, event in (("Settled", shown.settled), ("Taken back", shown.ended)):
        if event is not None:
            where = f"{moment(event.time)}, block {event.block}, transaction {hash_of(event.transaction)}"
            rows.append((what, where))
    return {
        "number": record.round,
        "attempt": commit.attempt,
        "stands": shown.stands,
        "said": _said_of(shown),
        "kind": _kind_of(shown),
        "verdict": shown.verdict,
        "slashed": shown.slashed,
        "rows": table((), rows, None),
        "updates": len(commit.entries),
        "entries": _entries(contents, commit.entries, commit.left_out),
        "handed_in": _handed_in(facts, shown.handed_in),
        "nodes": listing(
            ("no.", "weight", "root"),
            [(number, node.weight, node.root.hex()) for number, node in enumerate(commit.nodes, 1)],
        )
        if commit.nodes
        else None,
    }


def uncommitted_shown(facts: Facts) -> list[dict[str, Any]]:
    """What the template has of updates that are in no commit."""
    return [
        {
            "round": each.round,
            "attempt": each.attempt,
            "given_up_by": each.given_up_by,
            "updates": len(each.entries),
            "entries": _entries(Contents(facts), each.entries, frozenset()),
            "handed_in": _handed_in(facts, each.handed_in),
        }
        for each in uncommitted(facts)
    ]


def _entries(contents: Contents, entries: Sequence[Entry], left_out: frozenset[int]) -> Html:
    return listing(
        ("no.", "client", "weight", "commitment", "content"),
        [
            (
                number,
                entry.client + (" (left out)" if number in left_out else ""),
                entry.update.weight,
                entry.update.commitment.hex(),
                contents.update(entry.update.content),
            )
            for number, entry in enumerate(entries)
        ],
    )


def _handed_in(facts: Facts, handed_in: Iterable[UpdatesSubmitted]) -> Html:
    return listing(
        ("updates", "transaction", "block", "time"),
        [
            (
                ranges(range(event.first, event.first + len(event.entries) // ENTRY_BYTES)),
                hash_of(event.transaction),
                event.block,
                when(facts, event.block),
            )
            for event in handed_in
        ],
    )


def _said_of(shown: Shown) -> str:
    return "not recomputed" if shown.verdict is None else _SAID[shown.verdict.outcome]


def _kind_of(shown: Shown) -> str:
    """The class of how a verdict looks."""
    return "unchecked" if shown.verdict is None else shown.verdict.outcome.name.lower()


def hash_of(transaction: bytes) -> str:
    """A transaction's hash as everybody writes it."""
    return f"0x{transaction.hex()}"
