"""A job that is sealed: as a federation, but each participant has a folder of its own, with its key."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator, LedgerServerCoordinator
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.following.history import JobHistory
from galaxy_chain.jobs.creation import register_job
from galaxy_chain.jobs.file import TermsSection
from galaxy_chain.ledger.deployment import Deployment
from galaxy_chain.seal import owner
from galaxy_chain.seal.owner import KeyKeeper
from galaxy_chain.seal.vault import Vault, vault_of
from galaxy_chain.verify.audit import Auditor
from galaxy_chain.verify.watchtower import Watchtower
from galaxy_fl.content import ContentId, LocalStore
from galaxy_fl.vectors import Vector
from tests.galaxy_chain.federation import DOCUMENT, PARAMETERS, PATIENCE, SAMPLES, Federation
from tests.galaxy_chain.foundry import Chain

__all__ = ["SEALED", "SealedFederation"]

SEALED = DOCUMENT.model_copy(update={"seal": "members"})


class SealedFederation(Federation):
    """A sealed job of two rounds, whose three clients are admitted."""

    def __init__(self, node: Chain, deployment: Deployment, folder: Path, **terms: Any) -> None:
        self.folder = folder
        self._programs = count()
        super().__init__(node, deployment, folder, **terms)
        self.ledger(self.owner).admit(self.job, self.clients).transact()

    def register(self, document: Any = SEALED, *, pool: int = 0, **changed: Any) -> int:
        section = TermsSection(
            rounds=2, min_clients=2, max_clients=3, max_excluded=1, deadline=100, challenge_seconds=86_400,
            idle_seconds=7_200, answer_seconds=3_000, max_weight=100, open=False, server="anyone", reward=pool,
            max_unsettled=2,
        ).model_copy(update=changed)  # fmt: skip
        ledger, rules = self.ledger(self.owner), self.deployment.rules
        return register_job(
            ledger, rules, self.store, document, self.initial, None, section, self.limits, home=self.home(self.owner)
        ).job

    def register_without_key(self, document: Any = SEALED) -> int:
        """A job whose owner is stopped before it has shared the first key."""

        class Stopped(Exception):
            pass

        def stop(point: str) -> None:
            if point == "before-first-key":
                raise Stopped

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, "fault_point", stop)
            with pytest.raises(Stopped):
                self.register(document)
        return self.ledger().jobs()

    def home(self, account: str) -> Path:
        """The folder of whoever has that account."""
        return self.folder / "homes" / account

    def own(self, account: str) -> Path:
        """A folder of one of several programs with that account: the same keys, and what was opened with them."""
        home = self.home(account)
        own = self.folder / "programs" / str(next(self._programs))
        own.mkdir(parents=True)
        for name in ("keys", "opened"):
            (home / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            (own / name).symlink_to(home / name)
        return own

    def vault(self, account: str) -> Vault:
        return vault_of(self.home(account))

    def client(self, index: int) -> LedgerClientCoordinator:
        client = self.newcomer(index)
        client.enter(SAMPLES)
        self.keep()
        client.round()
        return client

    def newcomer(self, index: int, **more: Any) -> LedgerClientCoordinator:
        """A client that has done nothing yet."""
        account = self.clients[index]
        return LedgerClientCoordinator(
            self.ledger(account), self.store, self.job, PATIENCE, own=self.own(account), limits=self.limits, **more
        )

    def serve(self, account: str | None = None) -> LedgerServerCoordinator:
        account = account or self.server
        self.grant(account)
        server = self.new_server(account)
        server.enter()
        return server

    def new_server(self, account: str, kind: type[LedgerServerCoordinator] = LedgerServerCoordinator) -> Any:
        """A server that has done nothing yet."""
        ledger, own = self.ledger(account), self.own(account)
        return kind(ledger, self.store, self.job, PATIENCE, own=own, limits=self.limits, takeover=True)

    def grant(self, account: str) -> None:
        """Has an account that is no client register its key, and the owner share all with it."""
        if account in self.history().keys or account == self.owner:
            return
        self.ledger(account).register_key(self.job, self.vault(account).public).transact()
        self.keeper().share(self.history(), [account])

    def tower(self, account: str, granted: bool = True) -> Watchtower:
        """A watchtower that has the keys, and waits for nothing."""
        if granted:
            self.grant(account)
        store = LocalStore(self.store.root)
        return Watchtower(self.ledger(account), store, self.job, grace=0, own=self.own(account))

    def keeper(self) -> KeyKeeper:
        return KeyKeeper(self.ledger(self.owner), self.job, self.vault(self.owner))

    def keep(self) -> bool:
        """What `galaxy-chain key serve` does at each look."""
        return self.keeper().look(self.history(), self.store)

    def history(self) -> JobHistory:
        return JobFollower(self.ledger(), self.job).history

    def audit(self, home: Path) -> list[int]:
        """The rounds that an audit finds right."""
        return [audited.round for audited in Auditor(self.ledger(), self.store, self.job, home).rounds()]

    def lies_open(self, vector: Vector) -> bool:
        """Whether a vector lies in the store for everybody to read, or a part of it."""
        part = vector.tobytes()[:64]
        return any(part in path.read_bytes() for path in self.store.root.rglob("*") if path.is_file())

    def sealed(self, digest: bytes) -> ContentId:
        """The id of a vector in the store."""
        return ContentId(digest, 32 + 4 * PARAMETERS + 16)
