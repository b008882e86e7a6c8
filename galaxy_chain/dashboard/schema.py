"""What the dashboard's API says. Everything is read from ledger, store and local files, and recomputed here.

Routes, all `GET`, JSON unless said otherwise (OpenAPI: `/api/openapi.json`):

    /                                           static/index.html; /static/… the rest of the page
    /api/ledger                                 Ledger
    /api/jobs?from=&count=                      Jobs: the newest first; `from` is the highest number wanted
    /api/jobs/{job}                             JobDetail
    /api/jobs/{job}/participants?from=&count=   Participants, in the order of joining; `from` is a place from 0 on
    /api/jobs/{job}/rounds?from=&count=         Rounds, ascending; `from` is a number from 1 on, without it the newest
    /api/jobs/{job}/rounds/{round}              RoundDetail: the attempt that stands or runs; `?attempt=` for another
    /api/jobs/{job}/rounds/{round}/entries?attempt=&from=&count=   Entries
    /api/jobs/{job}/rounds/{round}/nodes?attempt=&from=&count=     Nodes: the tree of sums
    /api/jobs/{job}/curves?points=              Curves: what was measured, of all rounds or evenly spread ones
    /api/events                                 text/event-stream: of the ledger and all jobs that are looked at
    /api/jobs/{job}/events                      text/event-stream: of the ledger and this job

The page reads what to show from the part behind `#`, which the commands print: `/#/jobs/1` and `/#/jobs/1/rounds/2`.

A job is followed from the first time that it is asked for. While its events are being read for the first time its
routes answer 503 with the problem `loading` and `Retry-After`, and `job` is sent once that is over. Errors are
`application/problem+json`: 404 `not_found`, `unknown_job`; 422 `invalid`; 503 `loading`, `ledger`, `busy`;
403 `host`; 405 `method`; 413 `too_large`.

Events. Each has an `id`; a browser that comes back sends the last as `Last-Event-ID` and gets what it has missed, or
`reload` where too much has happened, or by another process: then all is to be fetched again. A comment is sent as a
heartbeat every 15 seconds. `data` is an `Update`; events only say what to fetch again:

    hello      the stream begins (first event of every connection)
    reload     fetch everything again
    ledger     /api/ledger: a new block, the node is away or back, or what is wrong with the store
    jobs       /api/jobs: one was registered, or `job` is in another state now
    job        /api/jobs/{job}, its participants and curves
    rounds     the rounds `first` to `last` of `job`
    verdict    the verdict of `round` of `job`; while it is computed, its progress, a few times a second at most

Amounts are `Money`. Times are seconds by the chain's clock. Hashes have 64 hexadecimal digits, addresses, transactions
and records 0x in front. Integers that may exceed 2**53 are strings. Whatever a ledger or a document names (`name`,
`notes`, `server` …) is hostile text: show it as text.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Attempt",
    "Challenge",
    "Curve",
    "Curves",
    "Demand",
    "Ending",
    "Entries",
    "EntryShown",
    "Gas",
    "Health",
    "JobDetail",
    "JobRow",
    "Jobs",
    "Judgement",
    "Lane",
    "Ledger",
    "Lie",
    "Measured",
    "Money",
    "NodeShown",
    "NodeState",
    "Nodes",
    "Participant",
    "Participants",
    "Phase",
    "Pool",
    "Progress",
    "Punishment",
    "RoundDetail",
    "RoundRow",
    "Rounds",
    "Server",
    "Terms",
    "Update",
    "Verdict",
]

Count = Annotated[int, Field(ge=0)]


class Shown(BaseModel):
    """What all parts of the API have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Money(Shown):
    """An amount."""

    wei: str
    """Exactly, in decimal digits."""
    ether: str
    """For people: `0.5 ether`."""


# The ledger


class Health(StrEnum):
    """Whether something that the dashboard reads from answers."""

    OK = "ok"
    AWAY = "away"
    """It does not answer; it is asked again and again."""
    WRONG = "wrong"
    """It answers what can't be: another chain, another contract, events that contradict each other."""


class Ledger(Shown):
    """Which ledger this is, and whether node and store answer."""

    chain_id: int
    address: str
    genuine: bool
    """Whether the contracts' code and the transaction that made them are those of the ledger that is known here."""
    doubt: str | None
    """What is not genuine about it."""
    node: str
    """The node's address, without secrets."""
    health: Health
    problem: str | None
    """What is wrong with the node, and what to do."""
    since: float | None
    """For how many seconds it has been wrong."""
    block: int | None
    """Number of the newest block that was seen."""
    time: int | None
    """Its time."""
    jobs: Count
    """How many jobs the ledger has, as far as was seen."""
    store: str
    """What the contents are read from."""
    content: str | None
    """Below which a content id is linked, as in `RoundDetail`."""
    store_problem: str | None
    """Why it can't be used; what is only missing in it is told with the rounds."""
    version: str
    """Of Galaxy."""


# Verdicts


class Judgement(StrEnum):
    """What this process has found of a commit."""

    WAITING = "waiting"
    """It is to be computed."""
    COMPUTING = "computing"
    RIGHT = "right"
    WRONG = "wrong"
    UNCHECKED = "unchecked"
    """It is not to be checked: `missing` says what is missing. It is tried again."""


class Progress(Shown):
    """How far a computation is."""

    done: Count
    total: Count
    what: str
    """What is counted: `updates`, `nodes`."""


class Lie(Shown):
    """Where a commit is wrong.

    The two values are there where the lie can be shown by content that is here: `committed` is what the ledger's commit
    says, `right` what the updates make, both as the integers that are compared, in fixed point. `committed_number` and
    `right_number` are the same as numbers: of a partial sum, the mean that it stands for.
    """

    node: Count
    """Number of the partial sum; 0 for the step to the next model."""
    chunk: Count
    parameter: int | None
    """Index in the model's vector."""
    tensor: str | None
    """Where that is in the model: `0.weight[3, 17]`."""
    lane: int | None
    """Which moment, of a rule that keeps some; 0 for the parameter itself."""
    committed: str | None
    right: str | None
    committed_number: float | None
    right_number: float | None
    of_sum: bool
    """Whether the values are those of a weighted sum."""
    reason: str
    """What was found, in words."""
    provable: bool
    """Whether one transaction can prove it; where something is withheld it takes demands."""


class Punishment(Shown):
    """What became of a commit that was proved wrong."""

    transaction: str
    block: int
    time: int | None
    how: Literal["challenged", "expired"]
    """`expired`: what was demanded of it was not opened in time."""
    finder: str | None
    server: str
    lost: Money
    """The server's bond."""
    reward: Money
    """The finder's."""


class Verdict(Shown):
    """What this process has recomputed of a commit, from ledger and content alone."""

    judgement: Judgement
    progress: Progress | None
    """While it is computed."""
    missing: str | None
    """What is missing, where it is not to be checked."""
    retry_in: float | None
    """Seconds until it is tried again."""
    lie: Lie | None
    """Where it is wrong."""
    punishment: Punishment | None
    """The transaction that punished it, wherever there is one."""
    objections: list[str]
    """What is to be said against it though its arithmetic is right. The ledger punishes none of it."""
    seconds: float | None
    """How long it took."""


# Jobs


class JobRow(Shown):
    """A job in the list."""

    job: int
    name: str | None
    """None where its document is not in the store."""
    status: Literal["running", "cancelled", "finished", "final", "unknown"]
    """`finished` once all rounds are committed, `final` once the books are closed, `cancelled` while it only ends."""
    round: Count
    """The round that runs, or the last one."""
    done: Count
    """Rounds that are committed."""
    settled: Count
    planned: Count
    """The last round, which may be earlier than the terms say."""
    clients: int | None
    """How many have joined; None where the job is not followed yet."""
    updates: Count
    """How many are in in the round that runs."""
    pool: Money
    bond: Money
    owner: str
    wrong: int | None
    """How many commits were found wrong here; None where the job is not followed yet."""


class Jobs(Shown):
    """A page of the list, the newest first."""

    total: Count
    jobs: list[JobRow]
    next: int | None
    """What to ask for as `from` for the page after this."""


class Terms(Shown):
    """A job's terms."""

    words: list[str]
    """In sentences: `Rounds: 5 rounds, each of at least 2 updates.`"""
    values: dict[str, str]
    """For people, by the names of job files: as `galaxy-chain job show` has them."""
    raw: dict[str, Any]
    """As the ledger has them; amounts in wei as strings."""


class Pool(Shown):
    """Where a job's money is. `pool` is the sum of the others."""

    pool: Money
    paid: Money
    """Credited by settled rounds."""
    claimable: Money
    open: Money
    """Lost to those who earned it if their rounds are taken back."""
    dust: Money
    rest: Money
    """Allotted by no round, or back to the owner where the job is final."""
    final: bool


class Server(Shown):
    """Somebody who has committed, or has a bond."""

    address: str
    named: bool
    """Whether it is the server that the terms name."""
    bond: Money
    barred: bool
    """A commit of it was proved wrong."""
    late: bool
    demands: Count
    free_from: int | None
    """From when on the bond can be taken back; None where it can't."""
    rounds: Count
    """Of the commits that stand."""
    earned: Money
    """By settled rounds, as a server."""
    unsettled: Money
    balance: Money


class Demand(Shown):
    """A chunk that somebody demands to see."""

    round: int
    attempt: int
    record: str
    node: int
    chunk: int
    demander: str
    answer_by: int
    deposit: Money


class Ending(Shown):
    """That a job ends before the last round of its terms."""

    planned: int
    last_round: int
    by: str
    time: int
    transaction: str


class JobDetail(Shown):
    """A job."""

    job: int
    name: str | None
    notes: str | None
    owner: str
    status: Literal["running", "cancelled", "finished", "final"]
    document: dict[str, Any] | None
    """What its author chose, as JSON; None where the document is missing."""
    document_words: dict[str, str]
    """The same for people."""
    document_problem: str | None
    """Why there is none, or why it is not what the ledger says: then nothing of the job can be checked."""
    document_id: str
    """Content id."""
    terms: Terms
    round: Count
    attempt: Count
    last_round: Count
    settled: Count
    collected: Count
    """Updates that are in in the round that runs."""
    least: Count
    most: Count
    """Updates that a round needs, and takes."""
    closes_at: int | None
    """When collecting ends; None while too few updates are in."""
    commit_from: int | None
    """When a commit is taken at the earliest."""
    clients: Count
    expelled: Count
    model: str
    """Root of the newest model."""
    model_id: str
    """Its content id."""
    pool: Pool
    servers: list[Server]
    demands: list[Demand]
    """What is open now."""
    ending: Ending | None
    privacy: dict[str, Any] | None
    """What the document promises, where the job is private."""
    epsilon: float | None
    """The most that any client has spent, at least, by what it has published; see Participant."""
    verdicts: dict[Judgement, int]
    """How many commits have which verdict, those that no longer stand among them."""
    wrong: list[int]
    """The rounds with a commit that was found wrong here, the newest first; at most 100."""
    objections: list[str]
    """What is to be said against how rounds were opened again or superseded."""
    problem: str | None
    """Why the job can't be followed at the moment; what is shown is from before."""
    block: int
    time: int
    """Of the newest block that was seen of it."""
    check: str
    """The command that recomputes all of it elsewhere."""


class Participant(Shown):
    """A client."""

    address: str
    samples: Count
    """Which it declared."""
    expelled: bool
    in_round: bool
    """Whether its update of the round that runs is in."""
    rounds: Count
    """Rounds that stand and have its update."""
    excluded: Count
    """Rounds that stand and left its update out."""
    lanes: dict[Lane, int] | None
    """How its updates came in, as far as was looked up; None where it was not."""
    earned: Money
    """By settled rounds."""
    claimable: Money
    """Of that, what it has to claim first."""
    balance: Money
    """What it can withdraw now."""
    unsettled: Money
    trainings: int | None
    """Different updates that it has published, in a private job."""
    epsilon: float | None
    """What those have spent, at least."""


class Participants(Shown):
    """A page of the clients."""

    total: Count
    first: Count
    participants: list[Participant]


# Rounds


class Phase(StrEnum):
    """Where a round, or an attempt at it, is."""

    COLLECTING = "collecting"
    """Updates come in."""
    CLOSED = "closed"
    """They are in, and the commit is awaited."""
    COMMITTED = "committed"
    """It can be challenged."""
    CHALLENGED = "challenged"
    """Something is demanded of the commit."""
    SETTLED = "settled"
    REVERTED = "reverted"
    """The commit was proved wrong, or stood on one that was."""
    SUPERSEDED = "superseded"
    """The commit was set aside because nobody built upon it."""
    REOPENED = "reopened"
    """The round was collected again without a commit."""


class Lane(StrEnum):
    """How an entry came in."""

    DIRECT = "direct"
    """By a transaction of the client."""
    SIGNED = "signed"
    """Signed by the client, handed in by somebody."""
    CONTRACT = "contract"
    """By another contract; how is not known."""


class Gas(Shown):
    """What an attempt's transactions cost, as far as their receipts were looked up."""

    commit: int | None
    updates: int | None
    """All transactions that brought updates in."""
    total: int | None
    """Both, once all is known."""
    transactions: Count
    """How many there are."""


class Measured(Shown):
    """What a server of this machine has measured of the model that a commit made."""

    loss: float | None
    accuracy: float | None
    seconds: float | None
    metrics: dict[str, float | None]


class Challenge(Shown):
    """A demand that was made of a commit, and what became of it."""

    node: int
    chunk: int
    demander: str
    transaction: str
    block: int
    answer_by: int
    outcome: Literal["open", "answered", "expired"]
    outcome_transaction: str | None


class Attempt(Shown):
    """One attempt at a round: it ends with a commit, or is given up."""

    attempt: int
    phase: Phase
    origin: int
    """The attempt whose updates count: an earlier one where the same updates were committed again."""
    opened_at: int
    opened_block: int
    committed_at: int | None
    commit_block: int | None
    transaction: str | None
    """Of the commit."""
    record: str | None
    """The word that the ledger keeps of the commit."""
    server: str | None
    ended_at: int | None
    """When it was settled, reverted, superseded or opened again."""
    ended_by: str | None
    """The transaction that did so."""
    ended_round: int | None
    """The round that was proved wrong, where this one was reverted with it."""
    sender: str | None
    """Who had the round opened again, or the commit superseded."""
    updates: Count
    excluded: Count
    samples: Count
    """Of the included updates."""
    model: str | None
    reward: Money
    server_amount: Money
    client_amount: Money
    """What each included client earns."""
    challengeable_until: int | None
    settles_from: int | None
    """None where it is settled, does not stand, or demands are open."""
    demands: Count
    """Open ones."""
    gas: Gas
    measured: Measured | None
    verdict: Verdict | None
    """None where there is no commit."""


class RoundRow(Shown):
    """A round in the timeline: all attempts at it, the last of which stands or runs."""

    round: int
    phase: Phase
    attempts: list[Attempt]
    more: Count
    """Earlier attempts that are not listed: at most 8 are."""


class Rounds(Shown):
    """A page of the timeline."""

    total: Count
    """Rounds that were begun."""
    planned: Count
    first: int
    rounds: list[RoundRow]


class RoundDetail(Shown):
    """A round opened, at one attempt."""

    job: int
    round: int
    attempts: list[int]
    attempt: Attempt
    head: str | None
    """What binds the entries."""
    previous: str | None
    previous_id: str | None
    """Root and content id of the model that it began with."""
    model: str | None
    model_id: str | None
    nodes: Count
    """How many partial sums there are; 0 where the round is flat."""
    nodes_id: str | None
    """Content id of the list of the partial sums."""
    levels: list[int]
    """How many nodes each level of the tree has, the lowest first."""
    fan_in: int
    entries: Count
    challenges: list[Challenge]
    """What was demanded of the commit; at most 1,000, the newest first."""
    content: str | None
    """Below which a content id is linked: `https://…/content/` where the store is served, else None."""
    check: str
    """The command that repeats the check elsewhere."""


class EntryShown(Shown):
    """An update in a round."""

    number: Count
    client: str
    weight: Count
    """Samples that it counts for."""
    included: bool
    content_id: str
    commitment: str
    here: bool | None
    """Whether the content is in the store on this machine; None where nobody has looked."""
    node: int | None
    """The partial sum of level 1 that stands for it."""
    lane: Lane | None
    by: str | None
    """Who sent the transaction."""
    transaction: str
    block: int


class Entries(Shown):
    """A page of a round's entries."""

    total: Count
    first: Count
    entries: list[EntryShown]


class NodeState(StrEnum):
    """What this process has found of a partial sum."""

    WAITING = "waiting"
    RIGHT = "right"
    WRONG = "wrong"
    UNCHECKED = "unchecked"


class NodeShown(Shown):
    """A partial sum; node 0, the step to the next model, is the last."""

    node: Count
    level: Count
    """From 1; 0 for the next model."""
    first_child: Count
    last_child: Count
    """Numbers of entries on level 1, and of the next model where there are no partial sums; else of nodes. Both
    included."""
    weight: Count
    root: str
    content_id: str | None
    """None where the list of the partial sums is not here."""
    state: NodeState
    reason: str | None


class Nodes(Shown):
    """A page of a round's tree of sums, from the lowest level up, and the step to the next model at the end."""

    total: Count
    first: Count
    levels: list[int]
    nodes: list[NodeShown]


# Curves


class Curve(Shown):
    """A value by round. `values` has as many as `Curves.rounds`, None where there is none."""

    name: str
    """`loss`, `accuracy`, `epsilon`, `gas`, `updates`, `samples`, or as a metric is called: hostile text."""
    source: str
    """`ledger`, `server`, or the participant of a report: hostile text."""
    values: list[float | None]


class Curves(Shown):
    """What changes from round to round."""

    rounds: list[int]
    curves: list[Curve]


# Events


class Update(Shown):
    """The data of an event."""

    job: int | None = None
    round: int | None = None
    first: int | None = None
    last: int | None = None
    block: int | None = None
