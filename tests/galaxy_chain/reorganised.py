"""A job of two clients and a server on anvil, in threads, that can be held at any round while the chain is reorganised.

Training only adds a number to every parameter; all else is real: loops, coordinators, follower, transactions, store.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from galaxy_chain.coordinators import LedgerClientCoordinator, LedgerServerCoordinator, Patience
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.deployment import deploy
from galaxy_chain.ledger.events import Event, RoundCommitted, UpdatesSubmitted
from galaxy_chain.ledger.structs import Model, Terms
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_chain.transactions.manager import Transactions
from galaxy_fl.content import LocalStore
from galaxy_fl.rounds.client import run_client
from galaxy_fl.rounds.coordinator import Round
from galaxy_fl.rounds.server import run_server
from galaxy_fl.training.results import TrainResult
from galaxy_fl.training.task import TrainTask
from galaxy_fl.vectors import read_vector, tree_root
from tests.galaxy_chain.federation import CHUNK, DOCUMENT, PARAMETERS, made_up
from tests.galaxy_fl.training.trained import write_trained

Kind = TypeVar("Kind", bound=Event)

__all__ = ["FINAL", "ROUNDS", "Play"]

ROUNDS = 3
SAMPLES = 10
STEPS = {"a": 4, "b": 8}
LONG = 300.0
FINAL = tree_root(made_up(0) + np.int32(ROUNDS * 6), CHUNK)
"""The root of the final model, if each round has the updates of both clients: their mean is 6."""


class Gated:
    """A trainer that waits at rounds which are held."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._held: dict[int, threading.Event] = {}
        self.reached: dict[int, threading.Event] = {n: threading.Event() for n in range(1, ROUNDS + 1)}
        self.trained: list[int] = []

    def hold(self, number: int) -> None:
        self._held[number] = threading.Event()

    def release(self) -> None:
        for held in self._held.values():
            held.set()

    def train(self, task: TrainTask) -> TrainResult:
        self.reached[task.round].set()
        if task.round in self._held:
            assert self._held[task.round].wait(LONG)
        self.trained.append(task.round)
        vector = read_vector(task.start, PARAMETERS) + np.int32(self._step)
        write_trained(task, vector)
        return TrainResult(samples=SAMPLES, loss=1.0, accuracy=None, seconds=0.0, batches=1)


class Play:
    """The job, its participants, and the hands that reorganise the chain.

    Args:
        url: Of an anvil of its own.
        folder: For all that is kept.
        confirmations: That the last commit has to have.
    """

    def __init__(self, url: str, folder: Path, confirmations: int = 1) -> None:
        self.rpc = Rpc(url)
        self._folder = folder
        self.store = LocalStore(folder / "store")
        self.patience = Patience(poll=0.05, confirmations=confirmations, content=5.0)
        accounts = self.rpc.request("eth_accounts")
        self._accounts = dict(zip(("owner", "server", "other", "a", "b"), accounts, strict=False))
        owner = Transactions(self.rpc, NodeSigner(self._checksum("owner")))
        self.deployment = deploy(self.rpc, owner)[0]
        self.trainers = {name: Gated(step) for name, step in STEPS.items()}
        self.ends: dict[str, Round | BaseException] = {}
        self.coordinators: dict[str, LedgerClientCoordinator | LedgerServerCoordinator] = {}
        self._threads: dict[str, threading.Thread] = {}
        self.job = self._register(owner)

    def _checksum(self, name: str) -> str:
        from eth_utils.address import to_checksum_address

        return to_checksum_address(self._accounts[name])

    def _register(self, owner: Transactions) -> int:
        initial = made_up(0)
        terms = Terms(
            spec=self.store.put(DOCUMENT.to_bytes()).digest,
            rule_word=DOCUMENT.rule.rule_word,
            rule=self.deployment.rules["weighted_mean"],
            demand_deposit=10**16,
            server="0x" + "00" * 20,
            bond=10**18,
            rounds=ROUNDS,
            min_clients=2,
            max_clients=2,
            max_excluded=0,
            deadline=100,
            aggregate_seconds=600,
            challenge_seconds=86_400,
            idle_seconds=7_200,
            server_share=0,
            max_unsettled=ROUNDS,
            answer_seconds=3_000,
            max_weight=SAMPLES,
            chunk_parameters=CHUNK,
            fan_in=16,
            open=True,
            parameters=PARAMETERS,
        )
        content = self.store.put(initial.data)
        ledger = self.ledger(owner)
        ledger.register_job(terms, Model(tree_root(initial, CHUNK), content.digest)).transact()
        self.first = self.height
        number: int = ledger.jobs()
        return number

    def ledger(self, transactions: Transactions | None = None) -> LedgerContract:
        where = self.deployment
        rpc = self.rpc if transactions is None else transactions.rpc
        return LedgerContract(rpc, where.ledger, transactions, first_block=where.block, chain_id=where.chain_id)

    def open(self, name: str) -> LedgerClientCoordinator | LedgerServerCoordinator:
        """A participant's coordinator, with what it has kept."""
        own = self._folder / name
        rpc = Rpc(self.rpc.url)
        signer = NodeSigner(self._checksum(name))
        own.mkdir(exist_ok=True)
        ledger = self.ledger(Transactions(rpc, signer, own / "transactions.sqlite"))
        if name in STEPS:
            return LedgerClientCoordinator(ledger, self.store, self.job, self.patience, own=own)
        return LedgerServerCoordinator(ledger, self.store, self.job, self.patience, own=own, leave=True)

    def start(self, *names: str) -> None:
        """Has participants take part, each in a thread."""
        for name in names:
            self._threads[name] = threading.Thread(target=self._run, args=(name,), daemon=True)
            self._threads[name].start()

    def _run(self, name: str) -> None:
        try:
            with closing(self.open(name)) as coordinator:
                self.coordinators[name] = coordinator
                if isinstance(coordinator, LedgerServerCoordinator):
                    self.ends[name] = run_server(coordinator)
                else:
                    self.ends[name] = run_client(coordinator, self.trainers[name], SAMPLES, folder=coordinator.kept)
        except BaseException as error:
            self.ends[name] = error

    # What is on the chain

    @property
    def height(self) -> int:
        return self.rpc.number("eth_blockNumber")

    def events(self, kind: type[Kind]) -> list[Kind]:
        """The job's events on the chain as it is now."""
        return self.ledger().events(kind, self.deployment.block, self.height, job=self.job)

    def wait_for(self, kind: type[Kind], count: int = 1, **fields: Any) -> Kind:
        """Waits for the chain to have so many of an event, and gives the last."""
        deadline = time.monotonic() + LONG
        while (
            len(found := [e for e in self.events(kind) if all(getattr(e, k) == v for k, v in fields.items())]) < count
        ):
            assert time.monotonic() < deadline, f"{count} {kind.__name__} never came: {self.ends}"
            time.sleep(0.02)
        return found[-1]

    def held_in(self, number: int, submitted: bool = True) -> None:
        """Waits until b is held in a round, and, unless told otherwise, a has submitted in it."""
        assert self.trainers["b"].reached[number].wait(LONG), self.ends
        if submitted:
            self.wait_for(UpdatesSubmitted, attempt=number)

    def reorganise(self, back_to: int, longer: int = 0) -> None:
        """Replaces the blocks from `back_to` on by empty ones, as many and some more."""
        depth = self.height - back_to + 1
        # A transaction that comes meanwhile waits: its block may otherwise stand on one that is replaced, and the node has
        # a chain for good of which it lacks a block.
        self.rpc.request("evm_setAutomine", False)
        self.rpc.request("anvil_reorg", depth, [])
        self.rpc.request("evm_setAutomine", True)
        if int(self.rpc.request("txpool_status")["pending"], 16):
            self.rpc.request("evm_mine")
        if longer:
            self.rpc.request("anvil_mine", hex(longer))

    def finish(self, wrong: Sequence[int] = ()) -> None:
        """Lets all go on, waits for their ends, and makes sure that they are the right one; after wrong commits of some
        rounds, which were challenged."""
        for trainer in self.trainers.values():
            trainer.release()
        deadline = time.monotonic() + LONG
        while any(thread.is_alive() for thread in self._threads.values()):
            assert time.monotonic() < deadline, f"not all have ended: {self.ends}"
            if self.patience.confirmations > 1:
                self.rpc.request("anvil_mine", "0x1")
            time.sleep(0.02)
        for name, end in self.ends.items():
            assert isinstance(end, Round), f"{name} ended with {end!r}"
            assert end.over
        assert self.ledger().job_of(self.job).root == FINAL
        self.check_events(wrong)

    def check_events(self, wrong: Sequence[int]) -> None:
        """No event is missed and none applied twice: what each participant applied is what the chain has."""
        on_chain = [(e.name, e.block, e.transaction) for e in self.events(Event)]
        assert len(set(on_chain)) == len(on_chain)
        submitted = [(e.attempt, e.entries[:20]) for e in self.events(UpdatesSubmitted)]
        assert len(submitted) == 2 * ROUNDS == len(set(submitted))
        committed = [e.record.round for e in self.events(RoundCommitted)]
        assert committed == [*wrong, *range(1, ROUNDS + 1)]
        for name in self._threads:
            history = self.open(name).history
            assert [c.transaction for _, c in sorted(history.commits.items())] == [
                e.transaction for e in self.events(RoundCommitted)[len(wrong) :]
            ]
            live = self.coordinators[name].history
            assert live.commits == history.commits
            assert live.clients == history.clients

    def __enter__(self) -> Play:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for trainer in self.trainers.values():
            trainer.release()
