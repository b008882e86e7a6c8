"""The ledger's structs, field by field in the order of `ILedgerTypes.sol`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "NEVER",
    "ZERO_ADDRESS",
    "Account",
    "Client",
    "Demand",
    "Fault",
    "JoinBySignature",
    "JoinFault",
    "Mark",
    "Model",
    "Record",
    "State",
    "Status",
    "Terms",
    "Update",
    "python_name",
    "status_of",
]

ZERO_ADDRESS = "0x0000000000000000000000000000000000000000"
NEVER = 2**40 - 1
"""The time at which collecting ends while fewer than `min_clients` entries are in."""


_OTHERWISE = {
    "minUpdates": "min_clients",
    "maxUpdates": "max_clients",
    "collectSeconds": "deadline",
    "ruleParameters": "rule_word",
}


def python_name(solidity: str) -> str:
    """Return what the contract calls otherwise by the name that it has in Python and in job files.

    That is the same in snake case, except for the terms that jobs without a ledger have, too: a client has one update
    a round, and the words are those of federated learning. Nothing else translates between the two.
    """
    return _OTHERWISE.get(solidity) or re.sub(r"(?<!^)(?=[A-Z])", "_", solidity).lower().strip("_")


class Status(IntEnum):
    """Whether a job's books are open."""

    NONE = 0
    RUNNING = 1
    FINAL = 2


def status_of(round: int, last_round: int, status: int, cancelled: bool) -> str:
    """`finished` once all rounds are committed, `final` once the books are closed, `cancelled` while it only ends."""
    if status != Status.RUNNING:
        return Status(status).name.lower()
    return "finished" if round > last_round else "cancelled" if cancelled else "running"


class Fault(IntEnum):
    """What is wrong with a signed entry."""

    NOT_JOINED = 0
    WEIGHT = 1
    SIGNATURE = 2


class JoinFault(IntEnum):
    """What is wrong with a signed join, as the ledger says it."""

    SAMPLES = 0
    NOT_ADMITTED = 1
    EXPIRED = 2
    SIGNATURE = 3


@dataclass(frozen=True)
class Terms:
    """What a job is; amounts in wei, times in seconds, `server_share` in basis points.

    The names are those of job files and of `galaxy_fl`; `python_name` says which differ from Solidity's.
    """

    spec: bytes
    rule_word: bytes
    rule: str
    demand_deposit: int
    server: str
    bond: int
    rounds: int
    min_clients: int
    max_clients: int
    max_excluded: int
    deadline: int
    aggregate_seconds: int
    challenge_seconds: int
    idle_seconds: int
    server_share: int
    max_unsettled: int
    answer_seconds: int
    max_weight: int
    chunk_parameters: int
    fan_in: int
    open: bool
    parameters: int

    def _repr_html_(self) -> str:
        from galaxy_chain.report.words import terms_in_words  # for notebooks alone
        from galaxy_fl.tables import table

        return table((), terms_in_words(self, None, None))


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
class JoinBySignature:
    """A client's signature to join.

    Attributes:
        client: Who joins.
        samples: The most samples that an update of this client may weigh.
        key: A public key, 32 bytes, or zero.
        deadline: Until when the signature is valid, in seconds.
        signature: 65 bytes; see `signing.py`.
    """

    client: str
    samples: int
    key: bytes
    deadline: int
    signature: bytes


@dataclass(frozen=True)
class Record:
    """The preimage of the word that the ledger keeps of a commit.

    Attributes:
        attempt: The attempt whose entries were aggregated.
        updates: How many entries that attempt had, the excluded ones among them.
        excluded: The bit map of the entries that were left out; see `excluded.py`.
        nodes_hash: What binds the nodes of the tree of sums; zero in a round that is flat.
        reward: What the round is worth, in wei.
        allotted_before: What the standing records had been allotted before this one, in wei.
        share: The committer's part of the reward, in basis points.
    """

    attempt: int
    round: int
    updates: int
    head: bytes
    previous_root: bytes
    next: Model
    excluded: bytes
    nodes_hash: bytes
    reward: int
    allotted_before: int
    share: int
    server: str
    time: int


@dataclass(frozen=True)
class State:
    """Where a job stands.

    Attributes:
        blocks: How many blocks the segment of entries has that is not full.
        shut: How many entries are in full segments.
        is_sum: Whether rounds of more than `fan_in` entries have a tree of sums.
    """

    round: int
    attempt: int
    settled: int
    last_round: int
    closes_at: int
    updates: int
    status: int
    built: bool
    blocks: int
    shut: int
    reopenings: int
    origin: int
    highest: int
    active_at: int
    cancelled: bool
    keeps_model: bool
    is_sum: bool
    reopenings_before: int


@dataclass(frozen=True)
class Client:
    """A client of a job; `samples` is 0 for one that has not joined."""

    samples: int
    attempt: int
    digest: int
    admitted: bool
    expelled: bool


@dataclass(frozen=True)
class Account:
    """What an address has in a job; amounts in wei.

    Attributes:
        bond: Locked, slashed, and counted for committing.
        balance: What it has earned or got back; free at any time.
        locked_until: The end of the bond's lock, in seconds.
        barred: Whether it was proved to have committed a wrong model.
        late: Whether a record of it was superseded and no later one has settled.
        demands: Open demands on its records.
        late_round: The round of its latest superseded record.
    """

    bond: int = 0
    balance: int = 0
    locked_until: int = 0
    barred: bool = False
    late: bool = False
    demands: int = 0
    late_round: int = 0


@dataclass(frozen=True)
class Demand:
    """A demand for one chunk of a node of a commit.

    Attributes:
        deposits: How many times the demand deposit it cost.
        announced: Whether its demander's announcement counted when it was made.
    """

    demander: str
    answer_by: int
    deposits: int
    announced: bool


@dataclass(frozen=True)
class Mark:
    """What the ledger knows of a record by its word: open demands, and whether it was superseded and is unrefuted."""

    demands: int
    superseded: bool
