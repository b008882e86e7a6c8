"""What a round is, and what a client's and a server's loop need of the place where they meet.

Standalone, cluster and chain mode differ in nothing but their coordinators.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from galaxy_fl.content.finished import Finished
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.vectors import Vector, as_vector, read_vector

__all__ = [
    "ClientCoordinator",
    "Committed",
    "Coordinator",
    "Origin",
    "Phase",
    "Previous",
    "Round",
    "ServerCoordinator",
    "Submitted",
    "WithoutLedger",
    "vector_of",
]


def vector_of(update: Vector | Finished, parameters: int) -> Vector:
    """Return the vector of what is handed in.

    Raises:
        VectorError: it is none of that many parameters.
        OSError: its file can't be read.
    """
    return read_vector(update.path, parameters) if isinstance(update, Finished) else as_vector(update, parameters)


class Phase(enum.Enum):
    """Where a round stands."""

    COLLECTING = "collecting"
    CLOSED = "closed"
    SETTLING = "settling"
    """The job's last round is committed, but a ledger may still take that back; there is nothing to do but wait."""
    FINISHED = "finished"
    """The job's last round is committed; `Round.number` is one more than that."""
    CANCELLED = "cancelled"
    """The job ends without its last round: nobody will bring `Round.number` to its end."""


@dataclass(frozen=True)
class Round:
    """One attempt at one round, as the coordinator sees it now.

    Attributes:
        updates: How many are in; participants that don't follow every update may see 0 instead.
        draw: Which drawing of the round's randomness this client trains with: 0, and one more for each attempt in which
            its update was made public in vain. Nobody takes part with what everybody knows.
    """

    number: int
    attempt: int
    phase: Phase
    updates: int
    draw: int = 0

    @property
    def over(self) -> bool:
        """Whether the job takes no more updates and makes no more models."""
        return self.phase in (Phase.FINISHED, Phase.CANCELLED)


@dataclass(frozen=True)
class Submitted:
    """One update of a round: whose (a name to show and to sort by), and the samples it was trained on."""

    client: str
    weight: int


@dataclass(frozen=True)
class Committed:
    """What was committed, the root of the model's chunk tree (32 bytes), and what it cost in gas."""

    model: bytes
    gas: int


@dataclass(frozen=True)
class Origin:
    """The owner of a job, whom an operator trusts or not before the job's model source runs.

    Attributes:
        own: It comes from this client's own folder.
        name: The address of its owner, or the URL of its server.
    """

    own: bool
    name: str


@dataclass(frozen=True)
class Previous:
    """What distillation continues from.

    Attributes:
        own: The vector file of the client's latest update in the job; None before its first.
        peers: The vector files of the other clients' updates of the previous round.
    """

    own: Path | None
    peers: Sequence[Path]


class Coordinator(Protocol):
    """What clients and servers have in common.

    Attributes:
        shares_folder: Whether the job's clients may share a working directory, so that each needs files of its own.
        leave: Whether the participant ends with the job, although something of its own is in it for longer.
        transaction: Hash of the last submission or commit; None without a ledger.
    """

    shares_folder: bool
    leave: bool
    transaction: str | None

    @property
    def account(self) -> str:
        """Address of the participant on a ledger, its name elsewhere; empty for the server of a folder."""

    @property
    def job_id(self) -> str:
        """What the job is called where it is; part of file names."""

    @property
    def origin(self) -> Origin:
        """The owner of the job."""

    @property
    def job(self) -> JobDocument:
        """What the job's participants agreed on."""

    @property
    def rounds(self) -> int:
        """How many rounds the job has; one that is ended early, or cancelled on a ledger, has fewer from then on."""

    @property
    def planned(self) -> int:
        """How many rounds the job was made with: more than `rounds` where it was ended early."""

    def source(self) -> bytes:
        """The source of the job's model, which is what the document says; only where that names a source.

        Raises:
            ContentError: it is unavailable.
        """

    def base(self, fetch: bool = True) -> Path | None:
        """The file of the job's frozen and personal tensors, as the document names it; only where it names one.

        Args:
            fetch: Whether to fetch it where it is not here; without that, None is returned then.

        Raises:
            ContentError: it is unavailable.
        """

    def round(self) -> Round:
        """Where the job stands now.

        Raises:
            GivenUpError: nowhere: the server has given it up, or all of its clients have.
        """

    def wait(self, seen: Round) -> Round:
        """Where the job stands once that is no longer `seen`, which may take for ever."""

    def model(self, round: Round) -> Path:
        """The vector file of the model that the round starts from (after the last one: the final model), verified.

        Raises:
            ContentError: it is unavailable.
            RoundMovedOnError: the round is over.
        """

    def listen(self, paid: Callable[[int], None], challenged: Callable[[int, str, int, int], None]) -> None:
        """Have the coordinator say what it does beside the rounds.

        Args:
            paid: Called with what was paid out to the participant, in wei.
            challenged: Called with the round, the server, the node and the chunk of a wrong commit that was challenged.
        """

    def begin(self) -> None:
        """Begin what goes on beside the rounds, such as a thread that answers demands, unless it has begun."""

    def stays_until(self) -> int | None:
        """Return until when something of the participant's is in a job that is over, in seconds of the chain; None for
        no longer, as everywhere without a ledger."""

    def model_root(self) -> bytes | None:
        """Return the root of the newest model's chunk tree, as a ledger has it; None without one."""

    def give_up(self, reason: str) -> None:
        """Tells the others that this participant can't continue, and why, so that nobody waits for it in vain.

        A client's word ends nothing for other clients. On a ledger participants give up by being silent.

        Raises:
            GalaxyError, OSError: it can't be said.
        """

    def close(self) -> None:
        """Leaves the job: nobody waits for this participant any more."""


class ClientCoordinator(Coordinator, Protocol):
    """What a client's loop needs.

    Attributes:
        kept: Folder for what the client has trained and not submitted yet; None for a temporary one.
    """

    kept: Path | None

    def enter(self, samples: int) -> None:
        """Makes sure that the client takes part in the job, with that many samples."""

    def wants_update(self, round: Round) -> bool:
        """Whether this client has something to do in the round: it collects, and has no update of the client's."""

    def previous(self, round: Round) -> Previous:
        """What the clients handed in before, verified; asked for only where the job distils.

        Raises:
            RoundMovedOnError: the round is over.
        """

    def retire(self, reason: str) -> None:
        """Tells the others that this client hands in nothing more, so that nobody waits for it. It may look on.

        Raises:
            GalaxyError, OSError: it can't be said.
        """

    def has_taken_part(self) -> bool:
        """Whether this client has handed in an update in a round of the job, here or with other files."""

    def first_open(self, round: Round) -> int:
        """The first round that the job may go back to, if it is at this one now."""

    def is_settled(self) -> bool:
        """Whether a job that has reached its last round's end stays there; on a ledger that may be taken back for a
        while, and then the client continues with what it has kept."""

    def stay(self, round: Round) -> Round:
        """Stay after the job's end, until what this client has earned is out.

        Returns:
            Where the job stands then: over as before, or not, because a commit was taken back.
        """

    def submit(self, round: Round, update: Vector | Finished, weight: int) -> int:
        """Hands in the update: int32 of the model's size, or the file of such, weighing `weight`. Gives what it cost:
        gas, or 0 without a ledger.

        Raises:
            RoundMovedOnError: the round is over; it no longer wants an update.
        """


class ServerCoordinator(Coordinator, Protocol):
    """What a server's loop needs."""

    @property
    def wanted(self) -> int:
        """How many updates make a round."""

    def enter(self) -> None:
        """Makes sure that the server may commit."""

    def updates(self, round: Round) -> Sequence[Submitted]:
        """The updates of a closed round, in order.

        Raises:
            RoundMovedOnError: the round is over.
        """

    def gather(self, round: Round, updates: Sequence[Submitted]) -> tuple[dict[Submitted, Path], dict[Submitted, str]]:
        """The vector files of the updates that can be used, verified, in their order; and why the others can't be: they
        are unavailable, or not what was promised.

        Raises:
            ContentError: none is to blame but the place where they are.
            RoundMovedOnError: the round is over.
        """

    def enough(self, usable: int) -> bool:
        """Whether that many usable updates make a round."""

    def aggregate(self, round: Round, updates: Mapping[Submitted, Path], next_model: Path) -> None:
        """Writes the vector file of the next model by the job's rule.

        Raises:
            AggregationError, VectorError, OSError: as `galaxy_fl.aggregation.aggregate_files`.
            RoundMovedOnError: the round is over.
        """

    def commit(self, round: Round, next_model: Path, excluded: Mapping[Submitted, str]) -> Committed:
        """Makes the vector file, to which nobody writes any more, the next round's model. `excluded` says why each
        update that is not in it is unusable.

        Raises:
            ContentError: more are unusable than may be left out.
            RoundMovedOnError: the round is over.
        """

    def reopen(self, round: Round, excluded: Mapping[Submitted, str]) -> None:
        """Collects again, without the excluded where the place keeps them out.

        Raises:
            RoundMovedOnError: the round is over.
        """

    def model_after(self, rounds: int) -> Path:
        """The vector file of the model after so many rounds, at most those that are committed.

        Raises:
            ContentError: it is unavailable.
        """

    def check_may_end(self) -> None:
        """Makes sure that this server may end the job early.

        Raises:
            ConfigurationError: it may not.
        """

    def end(self) -> int:
        """Has the job end as early as it can. Does nothing where that was done, or the job is over.

        Returns:
            The round that it ends with.

        Raises:
            GalaxyError: it can't be ended now.
        """

    def endures(self, error: Exception) -> bool:
        """Reports an error, waits a while, and returns whether the server continues."""

    def stay(self, round: Round) -> Round:
        """Stays after the job's end, while this server answers for what it has done.

        Returns:
            Where the job stands then: over as before, or not, because a commit was taken back.
        """


class WithoutLedger:
    """The part of a coordinator that only a ledger has something to say about."""

    leave = False
    transaction: str | None = None

    def listen(self, paid: Callable[[int], None], challenged: Callable[[int, str, int, int], None]) -> None:
        """Call neither: nobody is paid or challenged."""

    def begin(self) -> None:
        """Begin nothing: nothing goes on beside the rounds."""

    def first_open(self, round: Round) -> int:
        """Return this round: no commit is taken back."""
        return round.number

    def stays_until(self) -> int | None:
        """Return None: nobody has anything in a job that is over."""
        return None

    def stay(self, round: Round) -> Round:
        """End with the job."""
        return round

    def model_root(self) -> bytes | None:
        """Return None: no ledger has it."""
        return None
