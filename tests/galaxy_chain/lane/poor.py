"""Clients that have never had any ether, and the jobs that they take part in."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from eth_account import Account

from galaxy_chain.coordinators import LedgerClientCoordinator, LedgerServerCoordinator
from galaxy_chain.lane.client_lane import Lane
from galaxy_chain.lane.inbox import inbox_of
from galaxy_chain.lane.messages import SignedJoin, SignedUpdate
from galaxy_chain.lane.relay import Relay, RelaySettings
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.signing import Domain, sign_join, sign_update
from galaxy_chain.ledger.structs import Update
from galaxy_chain.ledger.words import address_bytes
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.store.server import StoreServer
from galaxy_chain.store.signed_request import Writer
from galaxy_chain.transactions.accounts import LocalSigner, NodeSigner
from galaxy_chain.transactions.manager import Transactions
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.content import Store
from galaxy_fl.content.http_store import http_store
from galaxy_fl.rounds.client import run_client
from galaxy_fl.rounds.coordinator import Round
from galaxy_fl.rounds.server import run_server
from galaxy_fl.training.results import TrainResult
from galaxy_fl.training.task import TrainTask
from galaxy_fl.vectors import commitment, read_vector, tree_root
from tests.galaxy_chain.federation import CHUNK, PARAMETERS, PATIENCE, SAMPLES, Federation, made_up
from tests.galaxy_fl.training.trained import write_trained

__all__ = ["AT_ONCE", "LONG", "Job", "Poor", "background", "look", "poor_accounts", "served_job", "until"]

LONG = 240.0
AT_ONCE = RelaySettings(wait=0)


def poor_accounts(count: int) -> list[LocalSigner]:
    """Accounts without ether, the same ones in every run."""
    return [LocalSigner(Account.from_key(bytes([100 + number]) * 32)) for number in range(count)]


class Adds:
    """A trainer that adds a number to every parameter."""

    def __init__(self, step: int) -> None:
        self.step = step

    def train(self, task: TrainTask) -> TrainResult:
        vector = read_vector(task.start, PARAMETERS) + np.int32(self.step)
        write_trained(task, vector)
        return TrainResult(samples=SAMPLES, loss=1.0, accuracy=None, seconds=0.0, batches=1)


def until(condition: Any, what: str = "it") -> None:
    """Waits for something that is about to happen."""
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, f"{what} never happened"
        time.sleep(0.01)


class background(threading.Thread):
    """What a function does in a thread, whose result or error is waited for."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        super().__init__(daemon=True)
        self._function, self._arguments = function, arguments
        self._result: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._function(*self._arguments)
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self.join(LONG)
        assert not self.is_alive(), "it never ended"
        if self._error is not None:
            raise self._error
        return self._result


class Poor:
    """Clients of a federation's job without ether, and whoever relays for them.

    Args:
        served: A server of the store; None where all share its folder.
    """

    def __init__(
        self, federation: Federation, folder: Path, clients: int = 3, served: StoreServer | None = None
    ) -> None:
        self.federation = federation
        self.folder = folder
        self.served = served
        self.signers = poor_accounts(clients)
        self.inbox = inbox_of(self.store(NodeSigner(federation.server)), self.domain)

    @property
    def domain(self) -> Domain:
        where = self.federation.deployment
        return Domain(where.chain_id, where.ledger)

    def store(self, signer: LocalSigner | NodeSigner) -> Store:
        if self.served is None:
            return self.federation.store
        writer = Writer(signer, Rpc(self.federation.rpc.url), self.federation.job)
        return http_store(self.served.url, self.folder / f"copies-{signer.address}", writer)

    def ledger(self, signer: LocalSigner | NodeSigner) -> LedgerContract:
        where = self.federation.deployment
        rpc = Rpc(self.federation.rpc.url)
        transactions = Transactions(rpc, signer, self.folder / f"{signer.address}.sqlite")
        return LedgerContract(rpc, where.ledger, transactions, first_block=where.block, chain_id=where.chain_id)

    def client(
        self, index: int, lane: Lane = Lane.SIGNED, relay: float = LONG, signer: LocalSigner | NodeSigner | None = None
    ) -> LedgerClientCoordinator:
        signer = signer or self.signers[index]
        return LedgerClientCoordinator(
            self.ledger(signer),
            self.store(signer),
            self.federation.job,
            replace(PATIENCE, relay=relay, content=5.0),
            lane=lane,
            own=self.folder / f"own-{index}",
            limits=self.federation.limits,
        )

    def server(self, relay: RelaySettings | None = AT_ONCE) -> LedgerServerCoordinator:
        signer = NodeSigner(self.federation.server)
        return LedgerServerCoordinator(
            self.ledger(signer),
            self.store(signer),
            self.federation.job,
            replace(PATIENCE, content=5.0),
            own=self.folder / "own-server",
            limits=self.federation.limits,
            leave=True,
            relay=relay,
        )

    def relay(self, server: LedgerServerCoordinator, settings: RelaySettings = AT_ONCE, **options: Any) -> Relay:
        """A relay of a server's account, without the server."""
        verifier = Verifier(server.store, server.terms, server.job)
        options.setdefault("reveals_late", server.job.reveal == "after-close")
        memory = self.folder / "relayed.json"
        return Relay(server.ledger, self.inbox, verifier, self.federation.job, settings, memory, **options)

    def balances(self) -> list[int]:
        rpc = self.federation.rpc
        return [rpc.number("eth_getBalance", signer.address, "latest") for signer in self.signers]

    def signed(
        self, index: int, attempt: int = 1, model: bytes | None = None, seed: int | None = None, weight: int = SAMPLES
    ) -> SignedUpdate:
        """What a client signs, its content being in the store."""
        federation, signer = self.federation, self.signers[index]
        vector = made_up(100 + index if seed is None else seed)
        root = tree_root(vector, CHUNK)
        content = federation.store.put(vector.data)
        update = Update(commitment(root, address_bytes(signer.address)), content.digest, weight)
        model = tree_root(federation.initial, CHUNK) if model is None else model
        signature = sign_update(signer, federation.rpc, self.domain, federation.job, attempt, model, update)
        return SignedUpdate.of(signer.address, model, update, signature)

    def joining(self, index: int, samples: int = SAMPLES, deadline: int | None = None) -> SignedJoin:
        """That a client joins, signed."""
        signer = self.signers[index]
        deadline = int(time.time()) + 3_600 if deadline is None else deadline
        signature = sign_join(signer, self.federation.rpc, self.domain, self.federation.job, samples, deadline)
        return SignedJoin(client=signer.address, samples=samples, deadline=deadline, signature=signature.hex())

    def join(self, *indices: int) -> None:
        """Has clients join, by what they have signed."""
        ledger = self.federation.ledger(self.federation.owner)
        ledger.join_by_signatures(self.federation.job, [self.joining(index).join for index in indices]).transact()

    def enter(self, index: int, relay: Relay, server: LedgerServerCoordinator) -> LedgerClientCoordinator:
        """A client that has joined by its signature."""
        client = self.client(index)
        entering = background(client.enter, SAMPLES)
        while entering.is_alive():
            look(relay, server)
        entering.result()
        return client


def look(relay: Relay, server: LedgerServerCoordinator) -> bool:
    """One look of a relay at the job as it is now."""
    server.round()
    done = relay.look(server.history, server.ledger.rpc.block("latest").time)
    time.sleep(0.01)
    return done


class Job:
    """A whole job in threads: the loops of all participants, training that only adds."""

    def __init__(self, poor: Poor) -> None:
        self.poor = poor
        self.ends: dict[str, Round] = {}

    def run(self, lanes: list[Lane], relay: RelaySettings | None = AT_ONCE) -> bytes:
        """Runs it to its end, and gives the root of the final model."""
        threads = [
            background(self._server, relay),
            *(background(self._client, i, lane) for i, lane in enumerate(lanes)),
        ]
        for thread in threads:
            round = thread.result()
            assert round.over
        return self.poor.federation.ledger().job_of(self.poor.federation.job).root

    def _server(self, relay: RelaySettings | None) -> Round:
        with closing(self.poor.server(relay)) as server:
            server.enter()
            return run_server(server)

    def _client(self, index: int, lane: Lane) -> Round:
        with closing(self.poor.client(index, lane)) as client:
            return run_client(client, Adds(3 * (index + 1)), SAMPLES, folder=client.kept)

    @staticmethod
    def root(rounds: int, clients: int) -> bytes:
        """The root of the final model, if each round has the updates of all clients: the mean of what they add."""
        mean = sum(3 * (index + 1) for index in range(clients)) // clients
        return tree_root(made_up(0) + np.int32(rounds * mean), CHUNK)


@contextmanager
def served_job(federation: Federation, folder: Path, **terms: Any) -> Iterator[StoreServer]:
    """A server of the store, and a job whose content is there."""
    with ExitStack() as stack:
        server = stack.enter_context(StoreServer(folder / "served", federation.ledger(), [federation.owner], 1 << 30))
        writer = Writer(NodeSigner(federation.owner), Rpc(federation.rpc.url))
        federation.store = http_store(server.url, folder / "owners", writer)  # type: ignore[assignment]
        federation.job = federation.register(**terms)
        federation.store.pin(federation.store.put(federation.initial.data))
        yield server
