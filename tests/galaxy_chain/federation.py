"""A job on a chain without any training: its vectors are made up, all else is real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator, LedgerServerCoordinator, Patience
from galaxy_chain.jobs.terms import Limits
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.deployment import Deployment
from galaxy_chain.ledger.structs import ZERO_ADDRESS, Model, Terms
from galaxy_chain.node import Node
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_chain.transactions.manager import Transactions
from galaxy_fl.content import ContentId, LocalStore
from galaxy_fl.jobs.document import BuiltinModel, JobDocument
from galaxy_fl.jobs.first_model import first_model
from galaxy_fl.rounds.coordinator import Submitted
from galaxy_fl.vectors import Vector, tree_root
from tests.galaxy_chain.foundry import Chain, Prompt
from tests.vectors import generate_optimizers as optimizers

__all__ = ["CHUNK", "DOCUMENT", "PARAMETERS", "PATIENCE", "Federation", "alter", "made_up", "said"]

PARAMETERS = 150
CHUNK = 64
SAMPLES = 40
PATIENCE = Patience(poll=0.02, content=0.05)
DOCUMENT = JobDocument(
    name="made up",
    model=BuiltinModel(builtin="mlp"),
    layout=[{"name": "weight", "shape": [10, 15], "fraction_bits": 24}],
)


def made_up(seed: int, parameters: int = PARAMETERS) -> Vector:
    """A vector that follows from its seed."""
    return np.random.default_rng(seed).integers(-(2**28), 2**28, parameters, dtype=np.int32)


def alter(path: Path, at: int = 0) -> None:
    """Flips one bit of a file that nobody should write to."""
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged, but for what is said of a job's terms: that depends on how fast the chain's blocks were."""
    return [record.getMessage() for record in caplog.records if record.funcName != "accept"]


class Federation:
    """A job of two rounds with a server and three clients, each with an unlocked account.

    Attributes:
        owner, server, clients: addresses.
        store: of everybody.
        initial: the initial model.
        job: the job's number.
        limits: what clients and servers take part under.
        document: of jobs that are registered without another.
    """

    document = DOCUMENT

    def __init__(self, node: Node | Chain, deployment: Deployment, folder: Path, **terms: Any) -> None:
        self.node = node
        self.deployment = deployment
        self.rpc = Rpc(node.url) if isinstance(node, Node) else Prompt(node.url)
        self.store = LocalStore(folder / "store")
        self.owner, self.server, *self.clients = node.accounts[:5]
        self.initial = made_up(0)
        self.limits = Limits()
        self.job = self.register(**terms)

    def ledger(self, account: str | None = None) -> LedgerContract:
        """The ledger as an account sees it."""
        transactions = None if account is None else Transactions(self.rpc, NodeSigner(account))
        where = self.deployment
        return LedgerContract(self.rpc, where.ledger, transactions, first_block=where.block, chain_id=where.chain_id)

    def terms(self, document: JobDocument | None = None, **changed: Any) -> Terms:
        """The terms of a job; the document goes into the store."""
        document = document or self.document
        terms: dict[str, Any] = {
            "spec": self.store.put(document.to_bytes()).digest,
            "rule_word": document.rule.rule_word,
            "rule": self.deployment.rules[document.rule.name],
            "demand_deposit": 10**16,
            "server": ZERO_ADDRESS,
            "bond": 10**18,
            "rounds": 2,
            "min_clients": 2,
            "max_clients": 3,
            "max_excluded": 1,
            "deadline": 100,
            "aggregate_seconds": 600,
            "challenge_seconds": 86_400,
            "idle_seconds": 7_200,
            "server_share": 2_000,
            "max_unsettled": 2,
            "answer_seconds": 3_000,
            "max_weight": 100,
            "chunk_parameters": CHUNK,
            "fan_in": 16,
            "open": True,
            "parameters": PARAMETERS,
        }
        return Terms(**(terms | changed))

    def register(
        self, document: JobDocument | None = None, *, pool: int = 0, model: Vector | None = None, **changed: Any
    ) -> int:
        """Registers another job with so many wei to be earned, and gives its number. A model is given with moments."""
        document = document or self.document
        begin = first_model(document, self.initial) if model is None else model
        content = self.store.put(begin.data)
        ledger = self.ledger(self.owner)
        ledger.register_job(
            self.terms(document, **changed),
            Model(tree_root(begin, document.lanes * CHUNK), content.digest),
            value=pool,
        ).transact()
        number: int = ledger.jobs()
        return number

    def client(self, index: int) -> LedgerClientCoordinator:
        """A client that has joined."""
        client = LedgerClientCoordinator(
            self.ledger(self.clients[index]), self.store, self.job, PATIENCE, limits=self.limits
        )
        client.enter(SAMPLES)
        return client

    def serve(self, account: str | None = None) -> LedgerServerCoordinator:
        """A server with its bond."""
        server = LedgerServerCoordinator(
            self.ledger(account or self.server), self.store, self.job, PATIENCE, limits=self.limits
        )
        server.enter()
        return server

    def submit(self, *indices: int, seed: int = 1) -> None:
        """Updates of these clients in the current attempt."""
        for index in indices:
            client = self.client(index)
            client.submit(client.round(), made_up(100 * seed + index), SAMPLES - index)

    def commit(
        self, next_model: Vector | None = None, excluded: tuple[int, ...] = (), account: str | None = None
    ) -> None:
        """Commits the current attempt: the right model, or another."""
        server = self.serve(account)
        round = server.round()
        reasons = {s: "unusable" for s in server.updates(round) if s.client in [self.clients[i] for i in excluded]}
        vector = self.aggregate(server, reasons) if next_model is None else next_model
        path = self.store.root.parent / "next"
        path.unlink(missing_ok=True)
        path.write_bytes(vector.tobytes())
        server.commit(round, path, reasons)

    def aggregate(self, server: LedgerServerCoordinator, excluded: dict[Submitted, str]) -> Vector:
        """What the rule makes in Python's own integers, straight from protocol section 6."""
        round = server.round()
        model = np.fromfile(server.model(round), "<i4")
        included = [s for s in server.updates(round) if s not in excluded]
        updates = [np.fromfile(server.update(round, s), "<i4") for s in included]
        total = sum(s.weight for s in included)
        sums = [
            sum(s.weight * int(update[index]) for s, update in zip(included, updates, strict=True))
            for index in range(PARAMETERS)
        ]
        if server.job.lanes > 1:
            rule = server.job.rule
            return np.array(optimizers.finish(rule.name, rule.rule_word, model.tolist(), sums, total), np.int32)
        result = []
        for value, weighted in zip(model.tolist(), sums, strict=True):
            result.append(min(2**31 - 1, max(-(2**31), value + (weighted + total // 2) // total)))
        return np.array(result, dtype=np.int32)

    def content(self, digest: bytes, lanes: int = 1) -> Path:
        """The file of a vector, or of a model with so many lanes."""
        return self.store.path(ContentId(digest, 4 * lanes * PARAMETERS))

    def travel(self, seconds: int) -> None:
        """Lets time pass on the chain."""
        self.rpc.request("evm_increaseTime", seconds)
        self.rpc.request("evm_mine")
