"""The file: one page of HTML that asks for nothing, runs nothing, and says what is in it."""

from __future__ import annotations

import base64
import hashlib
import html
import math
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template

from galaxy_chain.following.books import books
from galaxy_chain.ledger.events import ClientJoined, JobRegistered, UpdatesSubmitted
from galaxy_chain.ledger.structs import status_of
from galaxy_chain.report.facts import Facts
from galaxy_chain.report.findings import findings, unchecked
from galaxy_chain.report.parts import Contents, Person, people, shown_commits, when
from galaxy_chain.report.rounds import hash_of, overview, round_shown, uncommitted_shown
from galaxy_chain.report.words import amount, count, event_in_words, moment, ranges, terms_in_words
from galaxy_chain.shown.document import choices_of, readable_choices
from galaxy_fl.participants.curves import Panel, draw
from galaxy_fl.tables import Html, listing, table, visible

__all__ = ["render"]

FEW_ENTRIES = 500
"""Updates in all, up to which everything is unfolded: what is folded is not printed."""
COLOUR = "#4477aa"
ABREAST = 2
"""Curves side by side."""


def render(facts: Facts, now: int) -> bytes:
    """Return the file.

    Args:
        facts: What it says.
        now: The time that it states, in seconds: the same facts and time make the same bytes.
    """
    return _Page(facts, now).render().encode()


def _text(name: str) -> str:
    return files("galaxy_chain.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, finalize=_finalized
    )
    environment.globals |= {"table": table, "amount": amount, "moment": moment, "count": count}
    return environment.from_string(_text("job.html"))


class _Page:
    def __init__(self, facts: Facts, now: int) -> None:
        self._facts, self._now = facts, now
        self._contents = Contents(facts)
        self._commits = shown_commits(facts)
        self._people = people(facts)

    def render(self) -> str:
        style = _text("job.css")
        facts = self._facts
        entries = sum(len(each.commit.entries) for each in self._commits)
        return _template().render(
            facts=facts,
            style=Html(style),
            style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
            now=moment(self._now),
            open="open" if entries <= FEW_ENTRIES else "",
            folded=entries > FEW_ENTRIES,
            name=None if facts.document is None else facts.document.name,
            status=self._status(),
            findings=findings(facts, self._commits),
            job=self._job(),
            terms=table((), terms_in_words(facts.history.terms, facts.document, facts.history.pool), None),
            choices=None
            if facts.document is None
            else table((), readable_choices(choices_of(facts.document)).items(), None),
            raw_terms=self._raw_terms(),
            codes=facts.place.codes,
            state=self._state(),
            money=self._money(),
            persons=listing(
                ("address", "part", "samples", "rounds", "left out of", "settled", "not settled", "paid out", "other"),
                map(self._person, self._people),
            ),
            joined=listing(
                ("client", "transaction", "block", "time"),
                [
                    (each.address, hash_of(each.joined.transaction), each.joined.block, when(facts, each.joined.block))
                    for each in self._people
                    if each.joined is not None
                ],
            ),
            published=listing(
                ("client", "trainings published", "epsilon, at least"),
                [
                    (client, trainings, "" if epsilon is None else f"{epsilon:.4g}")
                    for client, (trainings, epsilon) in facts.published.items()
                ],
            )
            if facts.published
            else None,
            curves=self._curves(),
            rounds=[round_shown(facts, each) for each in self._commits],
            overview=overview(facts, self._commits),
            uncommitted=uncommitted_shown(facts),
            events=listing(
                ("time", "block", "what happened", "transaction"),
                [
                    (when(facts, event.block), event.block, event_in_words(event), hash_of(event.transaction))
                    for event in facts.events
                    if not isinstance(event, UpdatesSubmitted | ClientJoined)
                ],
            ),
            asides=[each for each in facts.asides if each.objections],
            unchecked=unchecked(facts, self._commits),
            ledger_file=Html(html.escape(facts.place.deployment.model_dump_json(indent=2))),
            lies=facts.lies,
        )

    def _status(self) -> str:
        history = self._facts.history
        return status_of(history.round, history.last_round, history.status, history.cancelled)

    def _state(self) -> str:
        """What became of comparing the contract's own state with the events."""
        if self._facts.lacking:
            return "not compared with its events"
        about = [trouble.why for trouble in self._facts.troubles if "state" in trouble.what]
        return about[0] if about else "the one that its events lead to"

    def _job(self) -> Html:
        facts, history = self._facts, self._facts.history
        registered = next(event for event in facts.events if isinstance(event, JobRegistered))
        document = facts.document
        rows: list[tuple[str, object]] = [
            ("Job", f"{facts.job}"),
            ("Name", "(its document is not at hand)" if document is None else document.name),
            ("Owner", history.owner),
            ("Registered", f"{moment(registered.time)}, block {registered.block}"),
            ("By transaction", hash_of(registered.transaction)),
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
        return table(("what", "amount", "in wei"), [(what, amount(wei), f"{wei:,}") for what, wei in rows], None)

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
        panels: list[Panel] = [
            (name, [("test", COLOUR, points)], None, None) for name, points in finite.items() if points
        ]
        last = max(history.commits, default=1)
        return [Html(draw("", last, panels[at : at + ABREAST])) for at in range(0, len(panels), ABREAST)]


def _finalized(value: object) -> object:
    """What stands in braces: texts of strangers with all that is unseen in them spelled out."""
    return value if isinstance(value, Html) or hasattr(value, "__html__") else visible(value)
