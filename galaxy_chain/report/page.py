"""The file: one page of HTML that asks for nothing, runs nothing, and says what is in it."""

from __future__ import annotations

import base64
import hashlib
import html
import math
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from galaxy_chain.cli.document_view import choices_of, readable_choices
from galaxy_chain.cli.job_views import status_of
from galaxy_chain.following.books import books
from galaxy_chain.ledger.events import ClientJoined, JobRegistered, UpdatesSubmitted
from galaxy_chain.ledger.records import client_amount, server_amount
from galaxy_chain.ledger.submissions import ENTRY_BYTES
from galaxy_chain.report.facts import Facts
from galaxy_chain.report.parts import Contents, Person, Shown, people, shown_commits, when
from galaxy_chain.report.words import amount, count, event_in_words, moment, ranges, terms_in_words
from galaxy_chain.verify.verdicts import Outcome
from galaxy_fl.participants.curves import Panel, draw
from galaxy_fl.tables import Html, table, visible

__all__ = ["render"]

FEW_ENTRIES = 500
"""Updates in all, up to which everything is unfolded: what is folded is not printed."""
COLOUR = "#4477aa"
ABREAST = 2
"""Curves side by side."""
LONG_TABLE = 100
"""Rows beyond which a list is lines of text: a browser has room for a hundred thousand of these."""


def render(facts: Facts, now: int) -> bytes:
    """Return the file.

    Args:
        facts: What it says.
        now: The time that it states, in seconds: the same facts and time make the same bytes.
    """
    return _Page(facts, now).render().encode()


def _text(name: str) -> str:
    return files("galaxy_chain.report").joinpath(name).read_text(encoding="utf-8")


class _Page:
    def __init__(self, facts: Facts, now: int) -> None:
        self._facts, self._now = facts, now
        self._contents = Contents(facts)
        self._commits = shown_commits(facts)
        self._people = people(facts)

    def render(self) -> str:
        style = _text("job.css")
        environment = Environment(
            autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, finalize=_finalized
        )
        environment.globals |= {"listing": _listing, "table": table, "amount": amount, "moment": moment, "count": count}
        facts = self._facts
        entries = sum(len(each.commit.entries) for each in self._commits)
        return environment.from_string(_text("job.html")).render(
            facts=facts,
            style=Html(style),
            style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
            now=moment(self._now),
            open="open" if entries <= FEW_ENTRIES else "",
            folded=entries > FEW_ENTRIES,
            name=None if facts.document is None else facts.document.name,
            status=self._status(),
            findings=self._findings(),
            job=self._job(),
            terms=table((), terms_in_words(facts.history.terms, facts.document, facts.history.pool), None),
            choices=None
            if facts.document is None
            else table((), readable_choices(choices_of(facts.document)).items(), None),
            raw_terms=self._raw_terms(),
            codes=facts.place.codes,
            money=self._money(),
            persons=_listing(
                ("address", "part", "samples", "rounds", "left out of", "settled", "not settled", "paid out", "other"),
                map(self._person, self._people),
            ),
            joined=_listing(
                ("client", "transaction", "block", "time"),
                [
                    (each.address, _hash(each.joined.transaction), each.joined.block, when(facts, each.joined.block))
                    for each in self._people
                    if each.joined is not None
                ],
            ),
            published=_listing(
                ("client", "trainings published", "epsilon, at least"),
                [
                    (client, trainings, "" if epsilon is None else f"{epsilon:.4g}")
                    for client, (trainings, epsilon) in facts.published.items()
                ],
            )
            if facts.published
            else None,
            curves=self._curves(),
            rounds=[self._round(each) for each in self._commits],
            overview=table(
                ("round", "verdict", "updates", "left out", "committed by", "at", "state"),
                [
                    (
                        each.commit.record.round,
                        _said_of(each),
                        len(each.commit.included),
                        len(each.commit.excluded) or "",
                        each.commit.record.server,
                        moment(each.commit.record.time),
                        each.state(facts),
                    )
                    for each in self._commits
                ],
                None,
            ),
            events=_listing(
                ("time", "block", "what happened", "transaction"),
                [
                    (when(facts, event.block), event.block, event_in_words(event), _hash(event.transaction))
                    for event in facts.events
                    if not isinstance(event, UpdatesSubmitted | ClientJoined)
                ],
            ),
            asides=[each for each in facts.asides if each.objections],
            unchecked=self._unchecked(),
            ledger_file=Html(html.escape(facts.place.deployment.model_dump_json(indent=2))),
            lies=facts.lies,
        )

    def _status(self) -> str:
        history = self._facts.history
        return status_of(history.round, history.last_round, history.status, history.cancelled)

    def _findings(self) -> list[tuple[str, str]]:
        """What comes first: a kind, and a sentence."""
        facts, history = self._facts, self._facts.history
        found: list[tuple[str, str]] = []
        committed = len(history.commits)
        right, wrong, unchecked = (facts.count(outcome) for outcome in Outcome)
        if wrong:
            numbers = ranges(
                verdict.commit.record.round for verdict in facts.lies if verdict.commit in history.commits.values()
            )
            found.append(("wrong", f"WRONG: what was committed in round {numbers} is not what its updates make."))
        if facts.lacking:
            found.append(("unchecked", "No round could be recomputed: what that takes could not be read."))
        elif unchecked:
            found.append(("unchecked", f"{count(unchecked, 'round')} could not be recomputed; below it is said why."))
        if right and right == committed:
            every = f"All {count(committed, 'round')} that were committed are" if committed > 1 else "The one round is"
            found.append(("right", f"{every} right: recomputed from the ledger and the content, to the bit."))
        elif right:
            found.append(("right", f"{right} of {count(committed, 'round')} were recomputed and are right."))
        elif not committed:
            found.append(("unchecked", "No round is committed yet, so there is nothing to recompute."))
        if left := committed - right - wrong - unchecked if not facts.lacking else 0:
            found.append(("unchecked", f"{count(left, 'round')} were not asked for and not recomputed."))
        if taken_back := [each for each in facts.lies if each.commit.word in history.void]:
            rounds = ranges(each.commit.record.round for each in taken_back)
            found.append(("lie", f"A wrong commit of round {rounds} was found, and taken back: see there."))
        for text in (facts.initial, facts.state):
            if text:
                found.append(("wrong", text))
        if any(not code.known for code in facts.place.codes):
            found.append(("wrong", "The code of a contract is not one that this version of Galaxy knows: see Ledger."))
        return found

    def _job(self) -> Html:
        facts, history = self._facts, self._facts.history
        registered = next(event for event in facts.events if isinstance(event, JobRegistered))
        document = facts.document
        rows: list[tuple[str, object]] = [
            ("Job", f"{facts.job}"),
            ("Name", "(its document is not at hand)" if document is None else document.name),
            ("Owner", history.owner),
            ("Registered", f"{moment(registered.time)}, block {registered.block}"),
            ("By transaction", _hash(registered.transaction)),
            ("Document", self._contents.document()),
            ("SHA-256 of the document", history.terms.spec.hex()),
            ("Initial model", history.initial.root.hex()),
            ("Its content", self._contents.model(history.initial.content)),
            ("Final model" if self._ended else "Model so far", history.model.root.hex()),
            ("Its content", self._contents.model(history.model.content)),
        ]
        if document is not None and document.notes:
            rows.append(("Notes", document.notes))
        return table((), rows, None)

    @property
    def _ended(self) -> bool:
        return self._status() in ("finished", "final")

    def _raw_terms(self) -> Html:
        values = vars(self._facts.history.terms)
        return table(
            ("term", "value"),
            [(name, value.hex() if isinstance(value, bytes) else str(value)) for name, value in values.items()],
            None,
        )

    def _money(self) -> Html:
        money = books(self._facts.history)
        rest = "Back to the owner" if money.final else "Not allotted"
        rows = [
            ("Paid into the pool", money.pool),
            ("Credited to servers and clients", money.paid),
            ("Earned, and still to be claimed", money.claimable),
            ("Of rounds that are not settled yet", money.open),
            ("Rounded off, and left in the ledger", money.dust),
            (rest, money.rest),
        ]
        return table(("", "amount", "in wei"), [(what, amount(wei), f"{wei:,}") for what, wei in rows], None)

    def _person(self, person: Person) -> Sequence[object]:
        other = [
            *([f"committed {ranges(person.committed)}"] if person.committed else []),
            *([f"{amount(person.found)} for proving a commit wrong"] if person.found else []),
            *([f"lost a bond of {amount(person.lost)}"] if person.lost else []),
        ]
        return (
            person.address,
            ", ".join(person.roles),
            "" if person.samples is None else person.samples,
            ranges(person.rounds),
            ranges(person.left_out),
            amount(person.settled),
            amount(person.unsettled),
            amount(person.paid),
            "; ".join(other),
        )

    def _curves(self) -> list[Html]:
        history, measured = self._facts.history, self._facts.measured
        series: dict[str, list[tuple[int, float]]] = {}
        for number, commit in sorted(history.commits.items()):
            line = measured.get((commit.attempt, commit.record.next.root.hex()), {})
            values = {"loss": line.get("loss"), "accuracy": line.get("accuracy"), **line.get("metrics", {})}
            for name, value in values.items():
                if value is not None:
                    series.setdefault(visible(name), []).append((number, float(value)))
        finite = {name: [each for each in points if math.isfinite(each[1])] for name, points in series.items()}
        panels: list[Panel] = [(name, [("", COLOUR, points)], None, None) for name, points in finite.items() if points]
        last = max(history.commits, default=1)
        return [Html(draw("", last, panels[at : at + ABREAST])) for at in range(0, len(panels), ABREAST)]

    def _round(self, shown: Shown) -> dict[str, Any]:
        commit, record, facts = shown.commit, shown.commit.record, self._facts
        rows: list[tuple[str, object]] = [
            ("State", shown.state(facts)),
            ("Committed by", record.server),
            ("At", f"{moment(record.time)}, block {commit.block}"),
            ("Transaction", _hash(commit.transaction)),
            (
                "Attempt",
                f"{commit.attempt}"
                + ("" if commit.attempt == record.attempt else f", with the updates of {record.attempt}"),
            ),
            ("Record (keccak256)", commit.word.hex()),
            ("Model before", record.previous_root.hex()),
            ("Model after", record.next.root.hex()),
            ("Its content", self._contents.model(record.next.content)),
            ("Head of the entries", record.head.hex()),
            ("Left out (bits)", record.excluded.hex()),
        ]
        if commit.nodes:
            rows += [("Partial sums", record.nodes_hash.hex()), ("Their list", self._contents.nodes(commit))]
        to_server, to_each = amount(server_amount(record)), amount(client_amount(record))
        rows.append(("Worth", f"{amount(record.reward)}: {to_server} to its server, {to_each} to each client in it"))
        for what, event in (("Settled", shown.settled), ("Taken back", shown.ended)):
            if event is not None:
                where = f"{moment(event.time)}, block {event.block}, transaction {_hash(event.transaction)}"
                rows.append((what, where))
        return {
            "number": record.round,
            "attempt": commit.attempt,
            "stands": shown.stands,
            "said": _said_of(shown),
            "verdict": shown.verdict,
            "slashed": shown.slashed,
            "rows": table((), rows, None),
            "updates": len(commit.entries),
            "entries": _listing(("no.", "client", "weight", "commitment", "content"), self._entries(shown)),
            "handed_in": _listing(
                ("updates", "transaction", "block", "time"),
                [
                    (
                        ranges(range(event.first, event.first + len(event.entries) // ENTRY_BYTES)),
                        _hash(event.transaction),
                        event.block,
                        when(facts, event.block),
                    )
                    for event in shown.handed_in
                ],
            ),
            "nodes": _listing(
                ("no.", "weight", "root"),
                [(number, node.weight, node.root.hex()) for number, node in enumerate(commit.nodes, 1)],
            )
            if commit.nodes
            else None,
        }

    def _entries(self, shown: Shown) -> Iterable[Sequence[object]]:
        commit = shown.commit
        for number, entry in enumerate(commit.entries):
            left_out = " (left out)" if number in commit.left_out else ""
            update = entry.update
            yield (
                number,
                entry.client + left_out,
                update.weight,
                update.commitment.hex(),
                self._contents.update(update.content),
            )

    def _unchecked(self) -> list[tuple[str, str]]:
        facts = self._facts
        found = [("The job", facts.lacking)] if facts.lacking else []
        for each in self._commits:
            verdict, number = each.verdict, each.commit.record.round
            if verdict is not None and verdict.outcome is Outcome.UNCHECKED:
                found.append((f"Round {number}, attempt {each.commit.attempt}", verdict.reason))
            elif verdict is None and not facts.lacking:
                found.append((f"Round {number}, attempt {each.commit.attempt}", "It was not asked for."))
        if not facts.measured:
            found.append(
                (
                    "Loss and accuracy",
                    "This machine has no measurements of the job: only a server has them, and the ledger does not.",
                )
            )
        return found


def _said_of(shown: Shown) -> str:
    if shown.verdict is None:
        return "not recomputed"
    return {Outcome.RIGHT: "right", Outcome.WRONG: "WRONG", Outcome.UNCHECKED: "not to be checked"}[
        shown.verdict.outcome
    ]


def _hash(transaction: bytes) -> str:
    return f"0x{transaction.hex()}"


def _finalized(value: object) -> object:
    """What stands in braces: texts of strangers with all that is unseen in them spelled out."""
    return value if isinstance(value, Html) or hasattr(value, "__html__") else visible(value)


def _listing(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """A table, or lines of text where there are so many rows that a browser would be busy with their cells."""
    rows = list(rows)
    if len(rows) <= LONG_TABLE:
        return table(columns, rows, None)
    texts = [list(columns), *([visible("" if cell is None else cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in texts)
    return Html(f'<pre class="lines">{html.escape(lines)}</pre>')
