"""A client of a Flower app's job: it checks what it begins with, signs what it trained, and hands in nothing itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from galaxy_chain.coordinators import LedgerClientCoordinator
from galaxy_chain.exceptions import AuditError, NotAdmittedError
from galaxy_chain.flower.arrays import Arrays, difference_of, encoded
from galaxy_chain.flower.job import check_fit
from galaxy_chain.flower.messages import Answer
from galaxy_chain.jobs.terms import Role
from galaxy_chain.lane.client_lane import Lane
from galaxy_chain.lane.messages import SignedJoin, SignedUpdate
from galaxy_chain.mode import ChainSettings
from galaxy_chain.place import Ledger
from galaxy_chain.transactions.manager import Signer
from galaxy_chain.verify.how import Verify
from galaxy_chain.verify.inspection import Withheld
from galaxy_fl.content import ContentId
from galaxy_fl.exceptions import ConfigurationError, ContentMissingError, RoundMovedOnError, VectorError
from galaxy_fl.files import make_folder, write_durably
from galaxy_fl.jobs.first_model import read_weights
from galaxy_fl.rounds.coordinator import Phase, Round
from galaxy_fl.trust import Trust
from galaxy_fl.vectors import Vector, difference, read_vector

__all__ = ["SigningClient"]

CATCHING_UP = 30.0
"""Seconds for this client's node to see the block that the server's has seen."""


class SigningClient(LedgerClientCoordinator):
    """A client that signs its entries and leaves it to whoever asked to hand them in. Has to be closed."""

    @classmethod
    def at(cls, ledger: Ledger, signer: Signer, settings: ChainSettings, job: int) -> SigningClient:
        """Open a job for an account of the ledger.

        Args:
            ledger: Where the job is.
            signer: The client's account.
            settings: How it takes part.
            job: Its number, as a server says.

        Raises:
            ConfigurationError: nobody on this side has said that the client takes part in that job, or the job is not
                one for a Flower app.
            GalaxyError: it can't be opened.
        """
        if settings.jobs is not None and job not in settings.jobs:
            raise ConfigurationError(
                f"the server asks for an update to job {job}, and this client takes part in "
                f"{', '.join(map(str, settings.jobs))} alone: ask its operator which is right, then name it "
                f"(--node-config 'galaxy-job={job}', or galaxy_mod(jobs=[{job}]))"
            )
        contract = ledger.hosting(signer)
        client = cls(
            contract,
            ledger.store(contract, job),
            job,
            settings.patience,
            verify=Verify.parse(settings.verify),
            withheld=Withheld.parse(settings.withheld),
            lane=Lane.SIGNED,
            own=ledger.home,
            limits=settings.limits,
            leave=True,
            report=settings.report,
        )
        try:
            owner = client.history.owner or ""
            if settings.jobs is None and not Trust.load(settings.trust).names(owner):
                raise ConfigurationError(
                    f"the server asks for an update to job {job} of {owner}, whom nobody here trusts: name the job "
                    f"(--node-config 'galaxy-job={job}', or galaxy_mod(jobs=[{job}])), or all jobs of this owner "
                    f"(GALAXY_TRUST={owner})"
                )
            check_fit(client.job, job)
        except BaseException:
            client.close()
            raise
        return client

    def reach(self, attempt: int) -> Round:
        """The round that an attempt is of, once this client's node has seen it.

        Raises:
            RoundMovedOnError: the attempt is over, or is not seen.
        """
        until = time.monotonic() + CATCHING_UP
        while True:
            now = self.round()
            if now.attempt == attempt and now.phase is Phase.COLLECTING:
                return now
            if now.over or now.attempt >= attempt or time.monotonic() >= until:
                raise RoundMovedOnError(
                    f"the server asks for attempt {attempt} of job {self.number}, and this client's node sees attempt "
                    f"{now.attempt}, {now.phase.value}: nothing is trained for it"
                )
            self._follower.pause(self.patience.poll)

    def check(self, round: Round, arrays: Arrays) -> None:
        """Make sure that the server has sent the model that stands on the ledger, and that it was made rightly.

        Raises:
            ConfigurationError: it has sent another.
            RoundMovedOnError: a commit was wrong, and has been challenged.
            AuditError: one is wrong, and this client can't pay for a challenge.
            ContentError: the model can't be had.
        """
        weights = read_weights(self.job, self.model(round))
        for commit in self.history.challengeable():
            if (where := self._inspection.wrong.get(commit.word)) and commit.word not in self.history.superseded:
                raise AuditError(
                    f"round {commit.record.round} of job {self.number} was committed wrongly, in {where}, and "
                    f"{self.address} could not challenge it, so nothing is trained on what follows from it: "
                    f"whoever has ether can run `galaxy-chain audit {self.number} --challenge`"
                )
        if (found := difference_of(self.job, weights, arrays)) is not None:
            raise ConfigurationError(
                f"the server has sent another model than the one that round {round.number} of job {self.number} starts "
                f"from, so nothing is trained on it: {found}"
            )

    def before(self, round: Round) -> Answer | None:
        """What was signed for this attempt before: a client signs one entry for each."""
        assert self._lane is not None
        signed = self._lane.before(round.attempt, self.history.model.root)
        if signed is None:
            return None
        join = self._joining(signed.weight)
        return Answer(signed, join, None if join is None else self._kept_update(signed))

    def sign(self, round: Round, trained: Arrays, samples: int) -> Answer:
        """Put an update into the store, and sign its entry; where the client has not joined, the answer has the update,
        too, and who hands in puts it.

        Args:
            round: What it was trained for.
            trained: The trained model's arrays.
            samples: On how many.

        Raises:
            VectorError: the arrays are not those of the job, or training has diverged.
            RoundMovedOnError: the round was over before the training.
            NotAdmittedError, ConfigurationError, ContentError: the client can't take part.
        """
        assert self._lane is not None
        vector = encoded(self.job, trained, "the trained model")
        self.round()
        update = difference(vector, read_weights(self.job, self.model(round)))
        join = self._joining(samples)
        promised = self._promise(round, update, samples, None if join is None else self._keep_update)
        signed = self._lane.signed(round.attempt, self.history.model.root, promised)
        if join is None:
            self._unsent.unlink(missing_ok=True)
        return Answer(signed, join, None if join is None else update)

    def _keep_update(self, update: Vector) -> ContentId:
        """Keep an update until the client has joined, so that it can be sent again."""
        make_folder(self._unsent.parent, 0o700)
        write_durably(self._unsent, update.tobytes(), mode=0o600)
        return ContentId.of(update.data)

    def _kept_update(self, signed: SignedUpdate) -> Vector:
        """The update of an entry that was signed before the client had joined.

        Raises:
            ContentError: it is not there any more.
        """
        try:
            update = read_vector(self._unsent, self.job.tensors.parameters).copy()
        except (OSError, VectorError) as error:
            raise ContentMissingError(f"the update that this client has signed is not in {self._unsent}") from error
        if ContentId.of(update.data).digest != signed.update.content:
            raise ContentMissingError(f"the update that this client has signed is not the one in {self._unsent}")
        return update

    @property
    def _unsent(self) -> Path:
        assert self.kept is not None
        return self.kept.parent.parent / "unsent" / self._name

    def _joining(self, samples: int) -> SignedJoin | None:
        """That this client joins, signed; None where it has joined."""
        assert self._lane is not None
        samples = min(samples, self.terms.max_weight)
        joined = self.history.clients.get(self.address, 0)
        if joined >= samples:
            return None
        if joined:
            raise ConfigurationError(
                f"{self.address} joined job {self.number} with {joined} samples, but its update was trained on "
                f"{samples}: use the data it joined with, or another account"
            )
        if not self.terms.open and self.address not in self.history.admitted:
            raise NotAdmittedError(
                f"{self.address} is not admitted to job {self.number}: ask its owner, {self.history.owner}, to run "
                f"`galaxy-chain job admit {self.number} {self.address}`",
                "NotAdmitted",
                {"client": self.address},
            )
        self._accept(Role.CLIENT, entered=False)
        return self._lane.join(samples, max(self._follower.chain_time, int(time.time())))

    def __enter__(self) -> SigningClient:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
