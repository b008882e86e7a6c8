#!/usr/bin/env python
"""Measures one job of two rounds for few and for many clients: what grows with their number, and what does not.

All of them take part in one process, on the embedded chain: a server that relays and aggregates, and clients without
ether, each in a thread, with a folder and a store of its own over one folder. Each trains on a sample or two of the
digits, hands in by signature, and verifies its branch of each commit, but for what another of them has verified; the
chain is followed once for all. Then the job is audited.

Each row is a process of its own, because its memory counts. Seconds of parts are of a processor, summed over threads;
"in all" is by the clock, audit included. What a client reads is counted at its store, each content once.
"""

from __future__ import annotations

import argparse
import functools
import logging
import multiprocessing
import re
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from eth_account import Account
from torch.utils.data import TensorDataset

from galaxy_chain.coordinators import LedgerClientCoordinator, LedgerServerCoordinator, Patience
from galaxy_chain.coordinators.shared_job import SharedJob
from galaxy_chain.jobs.creation import register_job
from galaxy_chain.jobs.file import TermsSection
from galaxy_chain.lane.client_lane import Lane
from galaxy_chain.lane.relay import Relay, RelaySettings
from galaxy_chain.ledger.abi import ledger_abi
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.deployment import Deployment, deploy
from galaxy_chain.node import Node
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import LocalSigner, NodeSigner
from galaxy_chain.transactions.manager import Signer, Transactions
from galaxy_chain.verify.audit import Auditor
from galaxy_chain.verify.inspection import Inspection
from galaxy_fl import Job, Train
from galaxy_fl.content import ContentId, LocalStore
from galaxy_fl.data.datasets import load
from galaxy_fl.data.partition import iid
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.jobs.preparing import prepare
from galaxy_fl.jobs.submission import floats_of
from galaxy_fl.rounds.client import run_client
from galaxy_fl.rounds.server import run_server
from galaxy_fl.training.models import build_model
from galaxy_fl.training.results import TrainResult
from galaxy_fl.training.task import TrainTask
from galaxy_fl.training.trainer import train
from galaxy_fl.vectors import decode, read_vector, write_encoded

HEADER = (
    "         │ gas of                                       │ processor's seconds of",
    " clients │   an entry   joining   a commit       in all │  train  hand in  verify  relay  aggregate   chain  audit"
    "     all",
)
BESIDE = (" │ by the │ a client and round            │", " │  clock │ verifies    reads  asks after │ memory")


@dataclass
class Row:
    """What one number of clients takes: gas by the function called, seconds by part, and of each client and round."""

    clients: int
    rounds: int
    gas: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=partial(defaultdict, float))
    read: float = 0
    """Bytes."""
    asked: float = 0
    """Contents whose presence was asked after."""
    memory: int = 0
    """Bytes above what the process had before the first client."""

    def __str__(self) -> str:
        gas, seconds, entries = self.gas, self.seconds, self.clients * self.rounds
        return (
            f"{self.clients:>8,} │ {gas['submitUpdates'] / entries:>10,.0f} "
            f"{gas['joinBySignatures'] / self.clients:>9,.0f} {gas['commitRound'] / self.rounds:>10,.0f} "
            f"{sum(gas.values()):>12,} │ {seconds['train']:>6.1f} {seconds['hand in']:>8.1f} {seconds['verify']:>7.1f} "
            f"{seconds['relay']:>6.1f} {seconds['aggregate']:>10.2f} {seconds['chain']:>7.1f} {seconds['audit']:>6.1f} "
            f"{seconds['all']:>7.1f} │ {seconds['clock']:>6.1f} │ {1e3 * seconds['verify'] / entries:>5.1f} ms "
            f"{self.read / 1e3:>5.0f} kB {self.asked:>11,.0f} │ {self.memory / 2**20:>3.0f} MiB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[4, 64, 256, 1_000], help="numbers of clients")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--fan-in", type=int, default=16, help="children of a node, 2 to 64")
    arguments = parser.parse_args()
    for left, right in zip(HEADER, BESIDE, strict=True):
        print(f"{left:<{len(HEADER[1])}}{right}")
    for clients in arguments.clients:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.apply(measured, (clients, arguments.rounds, arguments.fan_in)), flush=True)


def measured(clients: int, rounds: int, fan_in: int) -> Row:
    """Run one job and return its figures."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    row = Row(clients, rounds)
    with tempfile.TemporaryDirectory() as folder, Node(port=0, accounts=2) as node, timed(row.seconds):
        job = ManyClients(node, Path(folder), clients, rounds, fan_in)
        before, processor, started = memory(), time.process_time(), time.perf_counter()
        job.run()
        row.memory = memory() - before
        audited = time.process_time()
        check(job)
        row.seconds["audit"] = time.process_time() - audited
        row.seconds["clock"] = time.perf_counter() - started
        row.seconds["all"] = time.process_time() - processor
        row.seconds["chain"] = thread_seconds("evm")
        row.read = sum(job.store.read.values()) / (clients * rounds)
        row.asked = job.store.asked / (clients * rounds)
        names = {function.selector: name for name, function in ledger_abi().functions.items()}
        for block in node.chain.blocks[job.since :]:
            for transaction, receipt in zip(block.transactions, block.receipts, strict=True):
                row.gas[names[transaction.evm.data[:4]]] += int(receipt["gasUsed"], 16)
    return row


class ManyClients:
    """A job with its server and its clients.

    Args:
        node: With an account for the owner, who serves.
        folder: For the store, and for what each participant keeps.
        clients, rounds, fan_in: How many.
    """

    def __init__(self, node: Node, folder: Path, clients: int, rounds: int, fan_in: int) -> None:
        self.rpc = Rpc(node.url)
        self._folder = folder
        self.clients = clients
        self._owner = NodeSigner(node.accounts[0])
        self.deployment: Deployment = deploy(self.rpc, Transactions(self.rpc, self._owner))[0]
        self.since = node.chain.head.number + 1
        request = prepare(
            Job(
                "mlp",
                rounds=rounds,
                model_options={"hidden": 8},
                train=Train(learning_rate=0.1, batch_size=8),
                min_clients=clients,
                max_clients=clients,
            ),
            "many",
        )
        terms = TermsSection(rounds=rounds, min_clients=clients, max_clients=clients, fan_in=fan_in, open=True)
        self.document = request.document
        self.ledger = self._ledger(self._owner)
        self.job = register_job(
            self.ledger, self.deployment.rules, self._store(), request.document, request.initial, None, terms
        ).job
        digits = load("digits", "train")
        assert isinstance(digits, TensorDataset)
        samples, labels = digits.tensors
        self._data = [
            TensorDataset(samples[torch.from_numpy(shard)], labels[torch.from_numpy(shard)])
            for shard in iid(np.asarray(labels), clients, seed=0)
        ]
        self.verified: list[list[str]] = []
        """What each client has verified: a commit's word, and how."""
        self.store = CountingStore(folder / "store")
        """Of all clients."""
        # However many look, a processor is left for what they wait for.
        self._patience = Patience(poll=max(0.1, clients / 100), content=60.0, relay=3_600.0)

    def run(self) -> None:
        """Run the job to its end; raises what any participant does."""
        shared = SharedJob(self.ledger, self.store, self.job, poll=0.25)
        with closing(shared), ThreadPoolExecutor(1 + len(self._data)) as threads:
            ends = [threads.submit(self._serve)]
            ends += [threads.submit(self._take_part, number, shared) for number in range(len(self._data))]
            for end in ends:
                end.result()

    def _serve(self) -> None:
        with closing(
            LedgerServerCoordinator(
                self._ledger(self._owner),
                self._store(),
                self.job,
                Patience(poll=0.1, content=60.0),
                own=self._folder / "server",
                leave=True,
                relay=RelaySettings(wait=3_600.0),
            )
        ) as server:
            assert run_server(server).over

    def _take_part(self, number: int, shared: SharedJob) -> None:
        account = LocalSigner(Account.from_key((number + 1).to_bytes(32)))
        with closing(
            LedgerClientCoordinator(
                self._ledger(account),
                self.store,
                self.job,
                self._patience,
                lane=Lane.SIGNED,
                own=self._folder / f"client-{number}",
                leave=True,
                shared=shared,
            )
        ) as client:
            data = self._data[number]
            assert run_client(client, Trainer(self.document, data), len(data), folder=client.kept).over
        assert self.rpc.number("eth_getBalance", account.address, "latest") == 0
        (verified,) = (self._folder / f"client-{number}" / "verified").iterdir()
        self.verified.append(verified.read_text().splitlines())

    def _store(self) -> LocalStore:
        return LocalStore(self._folder / "store")

    def _ledger(self, signer: Signer) -> LedgerContract:
        where = self.deployment
        transactions = Transactions(self.rpc, signer)
        return LedgerContract(self.rpc, where.ledger, transactions, first_block=where.block, chain_id=where.chain_id)


class CountingStore(LocalStore):
    """The clients' store, which notes what is read from it: each content once, for a copy of it is kept."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.read: dict[ContentId, int] = {}
        self.asked = 0

    def path(self, content: ContentId) -> Path:
        self.read[content] = content.size
        return super().path(content)

    def get(self, content: ContentId, start: int = 0, stop: int | None = None) -> bytes:
        self.read[content] = content.size
        return super().get(content, start, stop)

    def has(self, content: ContentId) -> bool:
        self.asked += 1
        return super().has(content)


class Trainer:
    """Trains in this process, one client at a time, because torch's random numbers are those of the process."""

    _turn = threading.Lock()

    def __init__(self, document: JobDocument, data: TensorDataset) -> None:
        self._document = document
        self._data = data

    def train(self, task: TrainTask) -> TrainResult:
        """As every trainer."""
        document, layout = self._document, self._document.tensors
        with self._turn:
            model = build_model(document.model, document.train.seed)
            model.load_state_dict(decode(read_vector(task.start, layout.parameters), layout))
            result = train(model, self._data, document.train, task.seed, round=task.round)
        start = read_vector(task.start, layout.parameters) if task.update else None
        write_encoded(task.trained, floats_of(model, layout), layout, start)
        return result


def check(job: ManyClients) -> None:
    """Audit a job as one who only reads, and make sure that every client has verified every commit."""
    where = job.deployment
    reading = LedgerContract(job.rpc, where.ledger, first_block=where.block, chain_id=where.chain_id)
    auditor = Auditor(reading, LocalStore(job.store.root), job.job)
    for audited in auditor.rounds():
        assert (audited.updates, audited.excluded, audited.objections) == (job.clients, (), ())
    commits = auditor.history.commits
    assert len(commits) == auditor.history.terms.rounds
    expected = {f"{commit.word.hex()} {'branch' if commit.nodes else 'full'}" for commit in commits.values()}
    assert [set(lines) for lines in job.verified] == [expected] * job.clients


@contextmanager
def timed(seconds: dict[str, float]) -> Iterator[None]:
    """Count the processor's seconds in what participants do, by part."""
    with ExitStack() as stack:
        for owner, name, part in (
            (Trainer, "train", "train"),
            (LedgerClientCoordinator, "submit", "hand in"),
            (Inspection, "look", "verify"),
            (Relay, "look", "relay"),
            (LedgerServerCoordinator, "gather", "aggregate"),
            (LedgerServerCoordinator, "aggregate", "aggregate"),
            (LedgerServerCoordinator, "commit", "aggregate"),
        ):
            plain = getattr(owner, name)
            setattr(owner, name, _counted(plain, part, seconds))
            stack.callback(setattr, owner, name, plain)
        yield


def _counted(function: Callable[..., Any], part: str, seconds: dict[str, float]) -> Callable[..., Any]:
    @functools.wraps(function)
    def counted(*arguments: Any, **named: Any) -> Any:
        started = time.thread_time()
        try:
            return function(*arguments, **named)
        finally:
            with _counting:
                seconds[part] += time.thread_time() - started

    return counted


_counting = threading.Lock()


def thread_seconds(prefix: str) -> float:
    """Return the processor's seconds that the threads of that name have had."""
    return sum(
        time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        for thread in threading.enumerate()
        if thread.name.startswith(prefix) and thread.ident is not None
    )


def memory() -> int:
    """Return the peak resident memory of this process, in bytes."""
    return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])


if __name__ == "__main__":
    main()
