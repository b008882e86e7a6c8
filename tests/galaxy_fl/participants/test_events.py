"""The events that a participant emits are documented, and each listener takes every one of them."""

from __future__ import annotations

import io
import json
import re
import types
import typing
from pathlib import Path

import pytest
from pydantic import ValidationError

from galaxy_fl.participants import events
from galaxy_fl.participants.console import Console
from galaxy_fl.participants.events import EVENTS, Committed, Event, Finished, Paid, Reopened, Started
from galaxy_fl.participants.json_lines import JsonLines
from galaxy_fl.participants.metrics import MetricsFile

ROOT = Path(__file__).resolve().parents[3]
CLASSES = typing.get_args(Event)
COMMITTED = Committed(
    round=2,
    attempt=3,
    updates=2,
    excluded={"c": "not to be found"},
    seconds=0.5,
    transaction="0x12",
    model="ab" * 32,
    gas=91_000,
    loss=0.25,
    accuracy=0.875,
    test_samples=360,
)


def documented() -> dict[str, list[str]]:
    """The fields of each event in docs/reference/events.md."""
    found = {}
    for line in (ROOT / "docs" / "reference" / "events.md").read_text().splitlines():
        if (row := re.fullmatch(r"\| `(\w+)` \| (?:client|server|both) \| .* \| (.*) \|", line)) is not None:
            found[row[1]] = re.findall(r"(?:^|, )`(\w+)`", re.sub(r" \([^)]*\)", "", row[2]))
    return found


def test_the_documented_events_are_those_of_the_union():
    declared = {
        each.model_fields["event"].default: [name for name in each.model_fields if name != "event"] for each in CLASSES
    }
    assert documented() == declared
    assert {each.__name__ for each in CLASSES} == {
        name for name in events.__all__ if isinstance(getattr(events, name), type) and name != "EVENTS"
    }


def made(kind: type) -> Event:
    """An event of a class, each of its fields with some value."""

    def value(of: typing.Any) -> typing.Any:
        origin, arguments = typing.get_origin(of), typing.get_args(of)
        if origin is typing.Literal:
            return arguments[0]
        if origin in (types.UnionType, typing.Union):
            return value(arguments[0])
        return {str: "x", int: 3, float: 0.5}.get(of, [] if "Sequence" in str(origin) else {})

    return kind(**{name: value(field.annotation) for name, field in kind.model_fields.items()})


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_event_is_read_back_from_its_line(kind, capsys):
    stream = io.StringIO()
    event = made(kind)
    JsonLines(lambda: stream, job=int)(event, "7")
    said = json.loads(stream.getvalue())
    assert list(said)[:3] == ["time", "job", "event"]
    assert said.pop("job") == 7
    del said["time"]
    assert EVENTS.validate_json(json.dumps(said)) == event
    Console()(event, "7")
    printed = capsys.readouterr()
    assert (printed.out + printed.err).startswith("job 7: ") or kind is events.Training


def test_what_concerns_no_job_has_none():
    stream = io.StringIO()
    JsonLines(lambda: stream, job=int)(events.Looking(places=["here"]), "")
    assert json.loads(stream.getvalue())["job"] is None


@pytest.mark.parametrize("wrong", [{"event": "paid"}, {"event": "paid", "amount": "1"}, {"event": "lost"}])
def test_what_is_not_an_event_is_refused(wrong):
    with pytest.raises(ValidationError):
        EVENTS.validate_python(wrong)


def test_the_console_prints_no_line_twice_in_a_row(capsys):
    console = Console()
    for job in ("1", "1", "2", "1"):
        console(Paid(amount=10**18), job)
    console(COMMITTED, "1")
    assert capsys.readouterr().out.splitlines() == [
        "job 1: 1 ether were earned, and are paid out",
        "job 2: 1 ether were earned, and are paid out",
        "job 1: round 2: aggregated 2 updates, loss 0.250, accuracy 87.5 %, 0.50 s, 91000 gas, model abababababab…; "
        "the update of c can't be used: not to be found",
    ]


def test_the_console_names_a_final_model_as_seen_from_here(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "models" / "final", Path("/elsewhere/final")):
        Console()(Finished(rounds=3, model=None, final_model=str(path)), "7")
    assert capsys.readouterr().out.splitlines() == [
        "job 7: finished after 3 rounds; the final model is in models/final",
        "job 7: finished after 3 rounds; the final model is in /elsewhere/final",
    ]


def test_metrics_are_the_rounds_of_a_server(tmp_path):
    path = tmp_path / "metrics" / "7.jsonl"
    metrics = MetricsFile(path)
    reopened = Reopened(round=1, attempt=1, updates=0, excluded={"c": "gone"}, seconds=0.1, transaction=None)
    for event in (Started(role="server", account="", name="digits"), reopened, COMMITTED, Paid(amount=1)):
        metrics(event, "7")
    assert [EVENTS.validate_json(line) for line in path.read_text().splitlines()] == [reopened, COMMITTED]
