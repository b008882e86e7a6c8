"""The ledger's events, one class each, with their arguments in the order of `IGalaxyLedger.sol`.

`job` and the place on the chain are the same in all of them. Amounts are in wei, times in seconds by the chain's clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from galaxy_chain.ledger.structs import Model, Record, Terms

__all__ = [
    "BalanceWithdrawn",
    "BondDeposited",
    "BondSlashed",
    "BondWithdrawn",
    "ChunkAnswered",
    "ChunkDemanded",
    "ClientAdmitted",
    "ClientExpelled",
    "ClientJoined",
    "DemandExpired",
    "Event",
    "JobCancelled",
    "JobFinalized",
    "JobFunded",
    "JobRegistered",
    "KeyRegistered",
    "KeyShared",
    "LedgerEvent",
    "RewardsClaimed",
    "RoundCommitted",
    "RoundReopened",
    "RoundReverted",
    "RoundSettled",
    "RoundSuperseded",
    "UpdatesSubmitted",
]


@dataclass(frozen=True, slots=True)
class Event:
    """What all events have: where they are on the chain, and the number of their job.

    Attributes:
        log_index: The place among all logs of the block.
        transaction: The transaction's hash, 32 bytes.
    """

    block: int
    block_hash: bytes
    log_index: int
    transaction: bytes
    job: int

    @property
    def name(self) -> str:
        """The event's name in the contract."""
        return type(self).__name__


@dataclass(frozen=True, slots=True)
class JobRegistered(Event):
    """A job was registered, with the model that it begins with."""

    owner: str
    terms: Terms
    model: Model
    keeps_model: bool
    is_sum: bool
    time: int


@dataclass(frozen=True, slots=True)
class JobFunded(Event):
    """The reward pool was added to."""

    funder: str
    amount: int


@dataclass(frozen=True, slots=True)
class ClientAdmitted(Event):
    """The owner admitted a client."""

    client: str


@dataclass(frozen=True, slots=True)
class ClientExpelled(Event):
    """The owner expelled a client."""

    client: str


@dataclass(frozen=True, slots=True)
class ClientJoined(Event):
    """A client joined; its updates may weigh up to `samples`."""

    client: str
    samples: int
    key: bytes


@dataclass(frozen=True, slots=True)
class KeyRegistered(Event):
    """Somebody registered the public key that content keys are wrapped for."""

    account: str
    key: bytes


@dataclass(frozen=True, slots=True)
class KeyShared(Event):
    """The owner shared a content key.

    Attributes:
        digest: Names the key, 32 bytes.
        wraps: The key, encrypted for some members; see `galaxy_chain/seal/wraps.py`.
    """

    digest: bytes
    wraps: bytes


@dataclass(frozen=True, slots=True)
class UpdatesSubmitted(Event):
    """Updates are in; the round is the attempt's.

    Attributes:
        first: The number of the first of these entries.
        closes_at: When collecting ends after them.
        entries: Packed, 88 bytes each, in blocks of the job's `fan_in`; see `submissions.py`.
    """

    attempt: int
    first: int
    closes_at: int
    entries: bytes


@dataclass(frozen=True, slots=True)
class RoundCommitted(Event):
    """The attempt ended with a commit; `record.attempt` differs from it after a rollback.

    Attributes:
        nodes: The nodes of the tree of sums, packed; empty in a round that is flat.
        nodes_content: The digest of the content id of a manifest of the nodes' vectors.
    """

    attempt: int
    server: str
    record: Record
    nodes: bytes
    nodes_content: bytes


@dataclass(frozen=True, slots=True)
class RoundReopened(Event):
    """The attempt ended without a commit; the round is collected again."""

    attempt: int
    sender: str
    round: int
    time: int


@dataclass(frozen=True, slots=True)
class RoundReverted(Event):
    """A commit was proved wrong; it and all later ones are void.

    Attributes:
        attempt: The new one, which has the head and the entries of the record again.
        word: The record's.
    """

    attempt: int
    word: bytes
    round: int
    time: int


@dataclass(frozen=True, slots=True)
class RoundSuperseded(Event):
    """As `RoundReverted`, but the record can still be challenged, and its committer `server` is late."""

    attempt: int
    word: bytes
    round: int
    server: str
    sender: str
    time: int


@dataclass(frozen=True, slots=True)
class RoundSettled(Event):
    """The committer was credited with `server_amount`; each included entry can claim `client_amount`.

    Attributes:
        closes_at: The current attempt's end of collecting, which may begin anew with this.
    """

    round: int
    server: str
    server_amount: int
    client_amount: int
    closes_at: int
    time: int


@dataclass(frozen=True, slots=True)
class RewardsClaimed(Event):
    """Entries were credited with `amount` each: bit i of `entries` stands for entry `256 * word + i`."""

    round: int
    word: int
    amount: int
    entries: int


@dataclass(frozen=True, slots=True)
class ChunkDemanded(Event):
    """A chunk of a node of a commit was demanded: `deposit` is kept, `excess` was credited to the demander."""

    word: bytes
    demander: str
    round: int
    node: int
    index: int
    answer_by: int
    announced: bool
    deposit: int
    excess: int


@dataclass(frozen=True, slots=True)
class ChunkAnswered(Event):
    """A demand was answered; `paid` was credited with `deposit`.

    Attributes:
        chunk: The chunk of the node, or for node 0 of the committed model, and its path.
    """

    word: bytes
    sender: str
    round: int
    node: int
    index: int
    paid: str
    deposit: int
    chunk: bytes


@dataclass(frozen=True, slots=True)
class DemandExpired(Event):
    """A demand ended without an answer; `demander` was credited with `deposit`."""

    word: bytes
    demander: str
    round: int
    node: int
    index: int
    deposit: int


@dataclass(frozen=True, slots=True)
class BondSlashed(Event):
    """The committer of a record lost `amount` and is barred; `finder` was credited with `reward`."""

    word: bytes
    server: str
    amount: int
    finder: str
    reward: int


@dataclass(frozen=True, slots=True)
class JobCancelled(Event):
    """The job ends with round `last_round`."""

    sender: str
    last_round: int
    time: int


@dataclass(frozen=True, slots=True)
class JobFinalized(Event):
    """The books are closed; the owner was credited with `rest`, and the last model has the root `root`."""

    owner: str
    root: bytes
    rest: int


@dataclass(frozen=True, slots=True)
class BondDeposited(Event):
    """A bond was added to."""

    server: str
    amount: int


@dataclass(frozen=True, slots=True)
class BondWithdrawn(Event):
    """A bond was paid out."""

    server: str
    amount: int


@dataclass(frozen=True, slots=True)
class BalanceWithdrawn(Event):
    """A balance was paid out."""

    account: str
    amount: int


LedgerEvent = (
    JobRegistered
    | JobFunded
    | ClientAdmitted
    | ClientExpelled
    | ClientJoined
    | KeyRegistered
    | KeyShared
    | UpdatesSubmitted
    | RoundCommitted
    | RoundReopened
    | RoundReverted
    | RoundSuperseded
    | RoundSettled
    | RewardsClaimed
    | ChunkDemanded
    | ChunkAnswered
    | DemandExpired
    | BondSlashed
    | JobCancelled
    | JobFinalized
    | BondDeposited
    | BondWithdrawn
    | BalanceWithdrawn
)
"""Any event of the ledger."""
