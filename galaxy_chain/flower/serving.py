"""The server of a Flower app's job: it hands in what clients have signed, aggregates and commits, and decodes.

All of that is what every server of a ledger does (`galaxy_chain.coordinators.server`, `galaxy_chain.lane.relay`); here
it goes by Flower's rounds, and the inbox is what the replies have brought.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy.typing as npt

from galaxy_chain.coordinators import LedgerServerCoordinator
from galaxy_chain.coordinators.keep import Keep
from galaxy_chain.exceptions import AuditError
from galaxy_chain.flower.arrays import Arrays, as_arrays, difference_of, encoded
from galaxy_chain.flower.job import check_fit
from galaxy_chain.flower.messages import Answer
from galaxy_chain.lane.messages import SignedJoin, SignedUpdate
from galaxy_chain.lane.relay import MOST_ENTRIES, RelaySettings
from galaxy_chain.ledger.signing import Domain
from galaxy_chain.mode import ChainSettings
from galaxy_fl.exceptions import ConfigurationError, GalaxyError, RoundMovedOnError
from galaxy_fl.jobs.first_model import read_weights
from galaxy_fl.rounds.coordinator import Phase, Round
from galaxy_fl.rounds.server import ServerReport, serve_round
from galaxy_fl.vectors import Vector

__all__ = ["Replies", "Serving"]

LOG = logging.getLogger(__name__)

HANDING_IN = 60.0
"""Seconds without an entry more until what is not in by then counts as not to be handed in."""


class Replies:
    """The inbox that the replies of Flower's clients fill."""

    where = "the replies of Flower's clients"

    def __init__(self) -> None:
        self._attempt = 0
        self._updates: dict[str, SignedUpdate] = {}
        self._joins: dict[str, SignedJoin] = {}

    def hand_in(self, job: int, attempt: int, update: SignedUpdate) -> None:
        """Keeps an update until a later attempt's come in."""
        if attempt != self._attempt:
            self._attempt, self._updates = attempt, {}
        self._updates[update.client] = update

    def updates(self, job: int, attempt: int) -> Sequence[SignedUpdate]:
        """Those of that attempt."""
        return list(self._updates.values()) if attempt == self._attempt else []

    def ask_to_join(self, job: int, join: SignedJoin) -> None:
        """Keeps that a client joins."""
        self._joins[join.client] = join

    def joins(self, job: int) -> Sequence[SignedJoin]:
        """All that were kept."""
        return list(self._joins.values())

    def tend(self, job: int) -> None:
        """Nobody asks."""

    def relayed(self, job: int) -> bool:
        """Whoever has replied has its entry handed in."""
        return True


class Serving:
    """A server of one job, while a Flower strategy runs. A context manager.

    Args:
        settings: Where the ledger is, who acts there, and how.
        job: The job's number.

    Raises:
        ConfigurationError: the job is not one for a Flower app, or names another server.
        GalaxyError: the job can't be opened.
    """

    def __init__(self, settings: ChainSettings, job: int) -> None:
        at = settings.model_copy(update={"accounts": None}).at()  # those are the clients'
        ledger = at.acting()
        self._replies = Replies()
        cap = None if settings.relay_fee_cap is None else int(settings.relay_fee_cap * 10**9)
        self.coordinator = LedgerServerCoordinator(
            ledger,
            at.store(ledger, job),
            job,
            settings.patience,
            takeover=settings.takeover,
            own=at.home,
            keep=Keep.parse(settings.keep),
            leave=True,
            limits=settings.limits,
            relay=RelaySettings(batch=MOST_ENTRIES, wait=0, fee_cap=cap, budget=settings.relay_budget),
            inbox=self._replies,
        )
        self.number = job
        self.domain = Domain(ledger.chain_id, ledger.address)
        self.document = self.coordinator.job
        self._folder = tempfile.TemporaryDirectory(prefix="galaxy-flower-")
        self._next = Path(self._folder.name) / "next"
        try:
            check_fit(self.document, job)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Serve no longer. What its bond answers for, `galaxy-chain server` continues to answer for."""
        self.coordinator.close()
        self._folder.cleanup()

    def enter(self) -> Round:
        """Where the job stands, the bond deposited where it is not over."""
        self.coordinator.begin()
        round = self.coordinator.round()
        if not _is_done(round):
            self.coordinator.enter()
        return round

    @property
    def fewest(self) -> int:
        """How few updates make a round."""
        return self.coordinator.terms.min_clients

    @property
    def most(self) -> int:
        """How many updates a round takes."""
        return self.coordinator.terms.max_clients

    def collecting(self) -> Round:
        """The round that collects now; commits what an earlier start has left closed. Over where the job is.

        Raises:
            GalaxyError: the round can't be served.
        """
        until = self._patience()
        while True:
            round = self.coordinator.round()
            self._check_standing()
            if round.phase is Phase.COLLECTING or _is_done(round):
                return round
            with suppress(RoundMovedOnError):
                self._serve(round, until)

    def model_root(self) -> bytes:
        """The root of the model that the round starts from."""
        return self.coordinator.history.model.root

    def weights(self, round: Round) -> Vector:
        """What clients train of the model that a round starts from."""
        return read_weights(self.document, self.coordinator.model(round))

    def arrays(self, round: Round, like: Arrays) -> dict[str, npt.NDArray[Any]]:
        """The arrays of the model that a round starts from, named, ordered and typed as others are."""
        return as_arrays(self.document, self.weights(round), like)

    def check_initial(self, round: Round, arrays: Arrays) -> None:
        """Make sure that an app's model is the job's: in round 1 its values, too.

        Raises:
            ConfigurationError: it is another.
        """
        remedy = "register a job for this model (galaxy_chain.flower.create_job), or name the job that is its own"
        try:
            vector = encoded(self.document, arrays, "the app's model")
        except GalaxyError as error:
            raise ConfigurationError(f"job {self.number} has another model: {error}; {remedy}") from error
        if round.number > 1:
            return
        weights = self.weights(round)
        rounded = as_arrays(self.document, vector, arrays)
        if (found := difference_of(self.document, weights, rounded)) is not None:
            raise ConfigurationError(
                f"job {self.number} starts from other values than initial_arrays: {found}; start from the values that "
                f"the job was registered with (the same seed), or {remedy}"
            )

    def check_brought(self, answer: Answer) -> None:
        """Make sure that an update that came with an entry is to be put into the store.

        Raises:
            ConfigurationError: it is not of the model's size, or of a client that does not join, or may not.
        """
        if answer.vector is None:
            return
        client, parameters = answer.update.client, self.document.tensors.parameters
        if answer.vector.size != parameters:
            raise ConfigurationError(
                f"the update that it brings has {answer.vector.size} numbers, and the job's model has {parameters}"
            )
        history = self.coordinator.history
        if answer.join is None or not (history.terms.open or client in history.admitted or client in history.clients):
            raise ConfigurationError(
                f"it brings an update of {client}, which does not join or is not admitted: nothing of it is kept"
            )

    def serve(self, asked: Round, answers: Sequence[Answer]) -> ServerReport | None:
        """Hand in what clients have signed, and commit the round.

        Args:
            asked: The round.
            answers: What came in time.

        Returns:
            What was done; None where too few entries came in, or somebody else has moved the round on.

        Raises:
            GalaxyError: the round can't be served.
        """
        for answer in answers:
            if answer.vector is not None:
                self.coordinator.store.put(answer.vector.data)
            if answer.join is not None:
                self._replies.ask_to_join(self.number, answer.join)
            self._replies.hand_in(self.number, asked.attempt, answer.update)
        signed = {answer.update.client for answer in answers}
        until, entries, since = self._patience(), 0, time.monotonic()
        while True:
            now = self.coordinator.round()
            if now.attempt != asked.attempt or _is_done(now):
                self._check_standing()
                return None
            if now.phase is Phase.CLOSED:
                with suppress(RoundMovedOnError):
                    if (report := self._serve(now, until)) is not None:
                        return report
                continue
            there = {entry.client for entry in self.coordinator.history.entries}
            if len(there) > entries:
                entries, since = len(there), time.monotonic()
            if len(there) < self.fewest and (signed <= there or time.monotonic() - since >= HANDING_IN):
                LOG.warning(
                    "job %d: round %d has %d of the %d updates that make a round, so nothing is committed; its clients "
                    "are asked again in the app's next round",
                    *(self.number, now.number, len(there), self.fewest),
                )
                return None
            if time.monotonic() >= until:
                raise ConfigurationError(
                    f"job {self.number}: round {now.number} has not closed by its terms' time: look at it with "
                    f"`galaxy-chain job show {self.number}`, and start the app again, which continues there"
                )
            time.sleep(self.coordinator.patience.poll)

    def _check_standing(self) -> None:
        """Make sure that this server may still commit.

        Raises:
            AuditError: one of its commits was proved wrong.
        """
        if self.coordinator.history.account(self.coordinator.address).barred:
            raise AuditError(
                f"{self.coordinator.address} has lost its bond in job {self.number}, because a commit of its own was "
                "proved wrong, and is barred from it: look for what has altered its models, and then for another "
                f"server (`galaxy-chain audit {self.number}`)"
            )

    def _serve(self, round: Round, until: float) -> ServerReport | None:
        try:
            return serve_round(self.coordinator, round, self._next)
        except RoundMovedOnError:
            raise
        except GalaxyError as error:
            if time.monotonic() >= until or not self.coordinator.endures(error):
                raise
            return None

    def _patience(self) -> float:
        """Until when a round may take, by this machine's stopwatch: its deadline, and this server's turn, twice."""
        terms = self.coordinator.terms
        return time.monotonic() + terms.deadline + 2 * terms.aggregate_seconds


def _is_done(round: Round) -> bool:
    """Whether the job's last round is committed, or the job is given up."""
    return round.over or round.phase is Phase.SETTLING
