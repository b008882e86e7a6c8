"""What a demonstration and its participants tell each other: apart from them, because they import what it need not wait
for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from galaxy_chain.ledger.deployment import Deployment
from galaxy_fl.participants.events import (
    EVENTS,
    Challenged,
    Committed,
    Event,
    Exhausted,
    Failed,
    Finished,
    Noted,
    Paid,
    Staying,
    Trained,
)
from galaxy_fl.validation import Strict

__all__ = ["ALL_IS_OVER", "HEARD_OF_CLIENTS", "HEARD_OF_SERVERS", "AuditReport", "Instructions", "pack", "unpack"]

ALL_IS_OVER = b"over"
"""What an auditor is told at the end; anything else is that there may be something new."""

HEARD_OF_CLIENTS = Challenged, Exhausted, Failed, Paid, Staying, Trained
"""What the demonstration hears of clients. Each message wakes its process, and a thousand clients have many."""
HEARD_OF_SERVERS = *HEARD_OF_CLIENTS, Committed, Finished, Noted

_ADDRESS = 42


class Instructions(Strict):
    """What a process of participants, or of the auditor, is told when it starts."""

    role: Literal["server", "liar", "clients", "auditor"]
    rpc: str
    accounts: Sequence[str]
    """Of a server one; of clients one each, in the order of their shards; of an auditor none."""
    first: int
    """Which of the chain's accounts the first of them is; the others come after it."""
    deployment: Deployment
    store: str
    metrics: str
    output: str
    """Folder for final models and reports."""
    job: int
    data: str
    """What clients divide among them and train on."""
    test_data: str | None
    """What the server evaluates models on."""
    data_root: str | None
    partition: str
    trust: Sequence[str]
    """Whose programs may run."""
    scratch: str
    """Folder for what is not to outlive the demonstration, which removes it however its participants end."""
    keeps: bool
    """Whether clients keep there what they have trained, as some jobs ask for."""
    verify: str = "branch"
    track: Sequence[str] = ()
    """Where measurements go, as `--track` has it."""
    device: str


class AuditReport(Strict):
    """What an auditor has found."""

    models: Sequence[str]
    """The root of each round's model, in hexadecimal; all are right."""
    seconds: float
    """Of processors."""
    error: str | None = None
    """What is wrong."""


def pack(account: str, event: Event | None) -> bytes:
    """Return the message that something happens to a participant; None for its end."""
    return account.encode() + (b"" if event is None else event.model_dump_json().encode())


def unpack(message: bytes) -> tuple[str, Event | None]:
    """Return whose event a message has, and the event; None for its end."""
    account, event = message[:_ADDRESS].decode(), message[_ADDRESS:]
    return account, EVENTS.validate_json(event) if event else None
