"""The coordinators of a job in a folder: the server's, of both modes, and that of a standalone client."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from galaxy_fl.content.content_id import ContentId
from galaxy_fl.content.finished import Finished
from galaxy_fl.exceptions import ContentError, GivenUpError, RoundMovedOnError
from galaxy_fl.files import FileLock, check_name, explained, lock_is_held, replacing
from galaxy_fl.modes.job_folder import LOOKS, JobFolder, State, UpdateFile, parsed
from galaxy_fl.patience import poll
from galaxy_fl.rounds.aggregating import aggregate_round
from galaxy_fl.rounds.coordinator import Committed, Origin, Phase, Previous, Round, Submitted, WithoutLedger, vector_of
from galaxy_fl.rounds.kept import kept_folder
from galaxy_fl.vectors import Vector, fitting_chunk, read_vector, tree_root, usual_chunk, write_vector

__all__ = ["DEFAULT_DEADLINE", "FolderClientCoordinator", "FolderServerCoordinator"]

_log = logging.getLogger(__name__)

DEFAULT_DEADLINE = 600.0
"""Seconds that others have, once there are enough updates, where a job does not say."""

LEAST_PATIENCE = 60.0
"""Seconds that a server whose clients have all given up waits at least for others: their programs may be starting."""


def _round_of(state: State) -> Round:
    return Round(state.round, state.attempt, state.phase, 0)


class _FolderCoordinator(WithoutLedger):
    """What clients and servers of a job in a folder have in common."""

    shares_folder = True

    def __init__(self, folder: JobFolder, origin: Origin) -> None:
        self.folder = folder
        self.origin = origin
        self.job_id = folder.job_id
        self.job = folder.document
        self.planned = folder.terms.rounds

    @property
    def rounds(self) -> int:
        """How many rounds the job has, or had where it is finished."""
        state = self.folder.state
        return state.round - 1 if state.phase is Phase.FINISHED else self.planned

    def source(self) -> bytes:
        """The source of the job's model, verified."""
        return self.folder.source()

    def base(self, fetch: bool = True) -> Path:
        """The file of the job's frozen and personal tensors, verified; always here."""
        return self.folder.base()

    def round(self) -> Round:
        """Where the job stands now."""
        return _round_of(self.folder.state)

    def wait(self, seen: Round) -> Round:
        """Where the job stands once that is no longer `seen`."""
        return poll(self.round, lambda round: round != seen, LOOKS)

    def model(self, round: Round) -> Path:
        """The vector file of the round's model, verified."""
        return self.folder.model(round.number, self._expect(round).model)

    def _expect(self, round: Round, *phases: Phase) -> State:
        state = self.folder.state
        if state.attempt != round.attempt or (phases and state.phase not in phases):
            raise RoundMovedOnError(
                f"job {self.job_id} is at attempt {state.attempt} ({state.phase.value}), no longer at {round.attempt} "
                f"({round.phase.value})"
            )
        return state


class FolderServerCoordinator(_FolderCoordinator):
    """The server of a job: it alone says where the job stands.

    A round closes with the job's `max_clients`-th update; or when at least `min_clients` are in and every client that
    takes part and is alive has handed in; or `deadline` seconds after there were enough.

    Where every client that ever took part has given up, and for `deadline` seconds, or `LEAST_PATIENCE` if that is
    longer, no other has come, the job is given up. One client's word ends nothing for others: a client that has taken
    part and has not given up is waited for, even if it is away.

    Args:
        alive: Whether a client that takes part is still there.
    """

    account = ""

    def __init__(self, folder: JobFolder, origin: Origin, alive: Callable[[str], bool]) -> None:
        super().__init__(folder, origin)
        self._alive = alive
        self._enough_since: tuple[int, float] | None = None
        """The attempt, and when enough updates were seen; on a clock that nobody sets, so a restart begins anew."""
        self._deserted_since: float | None = None
        self._gave_up: dict[str, str] = {}

    @classmethod
    def of_folder(cls, folder: JobFolder, origin: Origin) -> FolderServerCoordinator:
        """The server's coordinator where the clients share its folder."""
        return cls(folder, origin, lambda client: lock_is_held(folder.lock_file(client)))

    def enter(self) -> None:
        """Removes what a server that died has left behind, and takes up a job that was given up."""
        self.folder.take_up()
        shutil.rmtree(self.folder.aside(".server"), ignore_errors=True)
        self.folder.prune()

    def round(self) -> Round:
        """Where the job stands now; closes the round if it is time.

        Raises:
            GivenUpError: all clients have given up, and so has the server.
        """
        state = self.folder.state
        if state.phase is not Phase.COLLECTING:
            return Round(state.round, state.attempt, state.phase, len(state.closed))
        updates = self.folder.updates(state.round, state.attempt)
        if self._to_be_closed(state, updates):
            # Looked at again: somebody may have handed in and left since.
            updates = self.folder.updates(state.round, state.attempt)
            taken = sorted(updates[: self.folder.max_clients], key=lambda update: update.client)
            names = tuple(update.name for update in taken)
            state = state.model_copy(update={"phase": Phase.CLOSED, "closed": names})
            self.folder.write_state(state)
            return Round(state.round, state.attempt, state.phase, len(names))
        self._expect_clients()
        return Round(state.round, state.attempt, state.phase, len(updates))

    def _to_be_closed(self, state: State, updates: Sequence[UpdateFile]) -> bool:
        if len(updates) < self.folder.terms.min_clients:
            return False
        if len(updates) >= self.folder.max_clients:
            return True
        now = time.monotonic()
        if self._enough_since is None or self._enough_since[0] != state.attempt:
            self._enough_since = state.attempt, now
        if now - self._enough_since[1] >= self._deadline:
            return True
        handed_in = {update.client for update in updates}
        return not any(client not in handed_in and self._alive(client) for client in self.folder.clients())

    @property
    def _deadline(self) -> float:
        deadline = self.folder.terms.deadline
        return DEFAULT_DEADLINE if deadline is None else deadline

    def _expect_clients(self) -> None:
        """Gives the job up where nobody is left that it could work for."""
        gave_up = self.folder.gave_up()
        for client, reason in gave_up.items():
            if self._gave_up.get(client) != reason:
                _log.warning("job %s: client %s has given up: %s", self.job_id, client, reason)
        self._gave_up = gave_up
        if not gave_up or any(client not in gave_up for client in self.folder.clients()):
            self._deserted_since = None
            return
        now = time.monotonic()
        if self._deserted_since is None:
            self._deserted_since = now
        if now - self._deserted_since >= max(self._deadline, LEAST_PATIENCE):
            reasons = "; ".join(f"{client}: {reason}" for client, reason in gave_up.items())
            reason = f"every client that came has given up, and no other has come ({reasons:.800})"
            self.folder.give_up(reason)
            raise GivenUpError(f"{reason}; started again, the server waits for clients anew")

    def give_up(self, reason: str) -> None:
        """Has the clients know that there is nothing to wait for, until a server takes the job up again."""
        self.folder.give_up(reason)

    def updates(self, round: Round) -> Sequence[Submitted]:
        """The updates of a closed round, in the order of their clients."""
        return [Submitted(update.client, update.weight) for update in self._closed(round)]

    def gather(self, round: Round, updates: Sequence[Submitted]) -> tuple[dict[Submitted, Path], dict[Submitted, str]]:
        """The vector files of the updates, verified, and why others can't be used."""
        usable: dict[Submitted, Path] = {}
        unusable: dict[Submitted, str] = {}
        closed = {update.client: update for update in self._closed(round)}
        for submitted in updates:
            try:
                usable[submitted] = self._update(round, closed[submitted.client])
            except ContentError as error:
                unusable[submitted] = str(error)
        return usable, unusable

    def endures(self, error: Exception) -> bool:
        """Nothing: there is no money at stake, and whoever operates the server shall see it."""
        return False

    def _update(self, round: Round, update: UpdateFile) -> Path:
        """The vector file of an update, verified."""
        try:
            return self.folder.update(round.number, round.attempt, update)
        except ContentError as error:
            raise ContentError(
                f"the update of {update.client} in round {round.number} can't be used: {error}"
            ) from error

    @property
    def wanted(self) -> int:
        """How many updates make a round."""
        return self.folder.terms.min_clients

    def enough(self, usable: int) -> bool:
        """Whether that many make a round."""
        return usable >= self.wanted

    def aggregate(self, round: Round, updates: Mapping[Submitted, Path], next_model: Path) -> None:
        """Writes the vector file of the next model by the job's rule."""
        aggregate_round(self.job, self.model(round), updates, next_model)

    def commit(self, round: Round, next_model: Path, excluded: Mapping[Submitted, str]) -> Committed:
        """Keeps the next model, and then says that it is the one."""
        state = self._expect(round, Phase.CLOSED)
        # The chain's default, so that a model has the same root in every mode.
        chunk = fitting_chunk(self.folder.parameters, usual_chunk(self.folder.parameters))
        root = tree_root(read_vector(next_model, self.folder.model_parameters), self.job.lanes * chunk)
        cid = self.folder.put_model(round.number + 1, next_model)
        left_out = {submitted.client for submitted in excluded}
        self.folder.write_state(
            State(
                round=round.number + 1,
                attempt=round.attempt + 1,
                phase=Phase.FINISHED if round.number == self.rounds else Phase.COLLECTING,
                model=cid,
                previous=tuple(update.name for update in self._closed(round) if update.client not in left_out),
                previous_attempt=state.attempt,
            )
        )
        self.folder.prune()
        return Committed(root, 0)

    def reopen(self, round: Round, excluded: Mapping[Submitted, str]) -> None:
        """Collects again, from everybody."""
        state = self._expect(round, Phase.CLOSED)
        again = {"attempt": state.attempt + 1, "phase": Phase.COLLECTING, "closed": ()}
        self.folder.write_state(state.model_copy(update=again))
        self.folder.prune()

    def model_after(self, rounds: int) -> Path:
        """The vector file of the model after so many rounds; the current one verified."""
        state = self.folder.state
        if rounds + 1 == state.round:
            return self.folder.model(state.round, state.model)
        return self.folder.past_model(rounds + 1)

    def check_may_end(self) -> None:
        """Nothing keeps it from that: without a ledger the server says where the job stands."""

    def end(self) -> int:
        """Says that the last committed round was the last."""
        state = self.folder.state
        if not _round_of(state).over and state.round > 1:
            over = {"attempt": state.attempt + 1, "phase": Phase.FINISHED, "closed": ()}
            self.folder.write_state(state.model_copy(update=over))
        return self.folder.state.round - 1

    def close(self) -> None:
        """Nothing is held."""

    def _closed(self, round: Round) -> list[UpdateFile]:
        return parsed(self._expect(round, Phase.CLOSED).closed)


class FolderClientCoordinator(_FolderCoordinator):
    """A client that shares the folder. It is alive, to the server, from `enter` until `close` or its end."""

    def __init__(self, folder: JobFolder, origin: Origin, client_id: str) -> None:
        super().__init__(folder, origin)
        self.client_id = self.account = check_name("client_id", client_id)
        self.kept: Path | None = kept_folder(folder.path.parents[2], folder.job_id, client_id, folder.document)
        self._aside = folder.aside(client_id)
        self._lock: FileLock | None = None
        self._done = 0
        """The last attempt that wants nothing more of this client."""

    def round(self) -> Round:
        """Where the job stands now.

        Raises:
            GivenUpError: the server has given it up.
        """
        if (reason := self.folder.given_up) is not None:
            raise GivenUpError(f"its server has given it up: {reason}")
        return super().round()

    def wait(self, seen: Round) -> Round:
        """Where the job stands once that is no longer `seen`; the clients of one program look as one."""
        while (round := self.round()) == seen:
            self.folder.changes.wait(lambda found: found[0] is not None or _round_of(found[1]) != seen)
        return round

    def give_up(self, reason: str) -> None:
        """Says that this client can't take part; gone when it does again."""
        self.folder.leave(self.client_id, reason)

    def enter(self, samples: int) -> None:
        """Takes part, with that many samples.

        Raises:
            ConfigurationError: another program takes part under this name.
        """
        if self._lock is None:
            self._lock = FileLock.claim(
                self.folder.lock_file(self.client_id),
                f"another program takes part in job {self.job_id} as client {self.client_id!r}: stop it, or choose "
                "another client_id",
            )
            shutil.rmtree(self._aside, ignore_errors=True)
        self.folder.enter(self.client_id, samples)

    def wants_update(self, round: Round) -> bool:
        """Whether the round collects and this client has not been part of it yet."""
        return (
            round.phase is Phase.COLLECTING
            and round.attempt > self._done
            and self.folder.update_of(self.client_id, round.number, round.attempt) is None
        )

    def previous(self, round: Round) -> Previous:
        """What this client handed in last, and the others in the round before, as far as it is available.

        The files stay until they are asked for again, whatever the server removes meanwhile.
        """
        state = self._expect(round)
        held = self._aside / "held"
        shutil.rmtree(held, ignore_errors=True)
        held.mkdir(parents=True)
        own, peers = None, []
        try:
            if (latest := self.folder.latest_of(self.client_id)) is not None:
                own = self._hold(held, *latest)
        except ContentError:
            self._expect(round)  # no harm if the server removes it now
            raise
        for update in parsed(state.previous):
            if update.client != self.client_id:
                with suppress(ContentError):
                    peers.append(self._hold(held, state.round - 1, state.previous_attempt, update))
        self._expect(round)
        return Previous(own, peers)

    def _hold(self, held: Path, round: int, attempt: int, update: UpdateFile) -> Path:
        path = held / f"{attempt}-{update.name}"
        try:
            os.link(self.folder.update(round, attempt, update), path)
        except OSError as error:
            raise ContentError(f"the update of {update.client} can't be held: {error.strerror}") from error
        return path

    def has_taken_part(self) -> bool:
        """Whether this client has handed in an update in a round of the job."""
        return self.folder.has_handed_in(self.client_id)

    def is_settled(self) -> bool:
        """Whether nothing takes the job's end back: nobody does without a ledger."""
        return True

    def submit(self, round: Round, update: Vector | Finished, weight: int) -> int:
        """Hands in the update, as a file; that costs nothing."""
        try:
            self._expect(round, Phase.COLLECTING)
            self.folder.check_weight(self.client_id, weight)
            vector = vector_of(update, self.folder.parameters)
            content = update.content if isinstance(update, Finished) else ContentId.of(vector.data)
            named = UpdateFile(self.client_id, weight, content.cid)
            path = self.folder.update_file(round.number, round.attempt, named)
            with explained(f"write {path}"), replacing(path, aside=self._aside) as new:
                write_vector(new, vector)
            self.folder.note_handed_in(self.client_id)
        finally:
            self._done = round.attempt
        return 0

    def retire(self, reason: str) -> None:
        """Says that this client hands in nothing more, and is not alive any more to the server."""
        self.give_up(reason)
        self.close()

    def close(self) -> None:
        """Leaves: the server no longer waits for this client. The job's thread and the program's end may both do it."""
        lock, self._lock = self._lock, None
        if lock is not None:
            shutil.rmtree(self._aside, ignore_errors=True)
            lock.release()
