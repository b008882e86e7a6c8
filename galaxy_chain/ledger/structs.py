"""The ledger's structs, field by field in the order of `IGalaxyLedger.sol`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "ZERO_ADDRESS",
    "Account",
    "Client",
    "Demand",
    "Model",
    "Opening",
    "Openings",
    "Record",
    "State",
    "Status",
    "Submission",
    "Terms",
    "Update",
]

ZERO_ADDRESS = "0x0000000000000000000000000000000000000000"


class Status(IntEnum):
    """What a job's owner and its books say of it."""

    NONE = 0
    RUNNING = 1
    CANCELLED = 2
    FINAL = 3


@dataclass(frozen=True)
class Terms:
    """What a job is; amounts in wei, times in seconds."""

    spec: bytes
    rule_parameters: bytes
    rule: str
    demand_deposit: int
    server: str
    bond: int
    rounds: int
    min_updates: int
    max_updates: int
    max_excluded: int
    collect_seconds: int
    aggregate_seconds: int
    challenge_seconds: int
    answer_seconds: int
    chunk_parameters: int
    open: bool
    parameters: int


@dataclass(frozen=True)
class Model:
    """A model: tree root and content digest, 32 bytes each."""

    root: bytes
    content: bytes


@dataclass(frozen=True)
class Update:
    """An update: commitment and content digest, 32 bytes each, and the samples that it was trained on."""

    commitment: bytes
    content: bytes
    weight: int


@dataclass(frozen=True)
class Record:
    """The preimage of the word that the ledger keeps of a commit."""

    attempt: int
    round: int
    updates: int
    head: bytes
    previous_root: bytes
    next: Model
    excluded: tuple[str, ...]
    server: str
    time: int


@dataclass(frozen=True)
class Submission:
    """An update and who submitted it."""

    client: str
    update: Update


@dataclass(frozen=True)
class Opening:
    """One chunk of a vector, `4 * chunk_parameters` bytes, and its path up to below the root."""

    chunk: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class Openings:
    """All that is needed to recompute one chunk of a commit."""

    previous: Opening
    next: Opening
    submissions: tuple[Submission, ...]
    included: tuple[Opening, ...]


@dataclass(frozen=True)
class State:
    """Where a job stands."""

    round: int
    attempt: int
    origin: int
    updates: int
    closes_at: int
    final_at: int
    total_credits: int
    open_demands: int
    status: int


@dataclass(frozen=True)
class Client:
    """A client of a job; `samples` is 0 for one that has not joined."""

    samples: int
    attempt: int
    credits: int
    digest: int
    admitted: bool


@dataclass(frozen=True)
class Account:
    """What an address has at stake in a job; the amount in wei."""

    amount: int
    locked_until: int
    demands: int
    barred: bool


@dataclass(frozen=True)
class Demand:
    """A demand for one chunk of a commit."""

    demander: str
    answer_by: int
    deposits: int
    """How many times the demand deposit it cost."""
