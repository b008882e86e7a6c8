"""A job whose participants share nothing but the node and the content store: each keeps its own in a folder of its own."""

from __future__ import annotations

import json
import shutil
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_utils.address import to_checksum_address

from galaxy_chain.following.follower import JobFollower
from galaxy_chain.following.history import JobHistory
from galaxy_chain.jobs.creation import register_job
from galaxy_chain.jobs.file import TermsSection
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.deployment import Deployment
from galaxy_chain.place import Ledger
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_chain.transactions.manager import Transactions
from galaxy_fl.content import ContentId, LocalStore
from galaxy_fl.faults import FAULT_VARIABLE
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.vectors import Vector, read_vector
from tests.end_to_end.forked import Forked
from tests.end_to_end.processes import Program, run

__all__ = ["CLIENTS", "Apart", "Described", "Participant"]

JOB = """\
name = "apart"
[model]
source = "apart_model.py"
class = "Net"
[train]
learning_rate = 0.1
[terms]
rounds = 1
open = true
server = "anyone"
min_clients = 2
max_clients = 2
"""
MODEL = """\
from torch import nn


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Flatten(),
            nn.Linear(64, 1200),
            nn.BatchNorm1d(1200, momentum=None),
            nn.ReLU(),
            nn.Linear(1200, 10),
        )
"""
"""A vector has more than a block of the store, so that an upload has a middle; and each client has an integer buffer,
the batches that it has seen, by which its averages go: a client that lost it would change the final model."""
CLIENTS = {"first": "1/20", "second": "2/20"}
"""Names and shards."""
ACCOUNTS = {"owner": 0, "server": 1, "first": 2, "second": 3}
STUCK = 400
"""Seconds that somebody may have to wait for others, who are started again and again, on a busy machine."""


@dataclass(frozen=True)
class Described:
    """What a job is about: on whichever ledger, it ends with the same model."""

    document: JobDocument
    initial: Vector
    source: bytes

    @classmethod
    def on(cls, url: str, folder: Path) -> Described:
        """Has `galaxy-chain job create` describe it."""
        run(folder, "deploy", "--account", "dev:0", GALAXY_RPC=url)
        (folder / "job.toml").write_text(JOB)
        (folder / "apart_model.py").write_text(MODEL)
        job = run(folder, "job", "create", "job.toml", "--account", "dev:0", GALAXY_RPC=url)["job"]
        home, rpc = folder / ".galaxy", Rpc(url)
        where = Deployment.read(home / "ledger.json")
        known = JobFollower(LedgerContract(rpc, where.ledger, first_block=where.block), job).history
        store = LocalStore(home / "store")
        document = JobDocument.from_bytes(store.block(known.terms.spec))
        vector = store.path(ContentId(known.initial.content, 4 * known.terms.parameters))
        return cls(document, read_vector(vector, known.terms.parameters).copy(), MODEL.encode())


class Apart:
    """The job on a ledger of its own, with the node's first accounts.

    Args:
        folder: For all that is kept; the content store is in `.galaxy/store`, as by default.
        url: Of the node.
        of: What the job is about.
        rounds: How many.
    """

    def __init__(self, folder: Path, url: str, of: Described, rounds: int) -> None:
        self.folder, self.url = folder, url
        run(folder, "deploy", "--account", "dev:0", GALAXY_RPC=url)
        self.rpc = Rpc(url)
        self._accounts = [to_checksum_address(each) for each in self.rpc.request("eth_accounts")]
        where = Deployment.read(folder / ".galaxy" / "ledger.json")
        owner = Transactions(self.rpc, NodeSigner(self.address("owner")))
        self.ledger = LedgerContract(self.rpc, where.ledger, owner, first_block=where.block)
        terms = TermsSection(rounds=rounds, min_clients=2, max_clients=2, open=True, server="anyone")
        store = LocalStore(folder / ".galaxy" / "store")
        self.job = register_job(self.ledger, where.rules, store, of.document, of.initial, of.source, terms).job
        self._first = self.rpc.number("eth_blockNumber") + 1

    def address(self, name: str) -> str:
        """Of a participant's account."""
        return self._accounts[ACCOUNTS[name]]

    def ledger_of(self, name: str) -> Ledger:
        """Where a participant of this process meets the others."""
        file = self.folder / ".galaxy" / "ledger.json"
        return Ledger(self.url, file, account=f"dev:{ACCOUNTS[name]}", home=self.folder / ".galaxy")

    def participant(self, name: str, *more: object, store: str | None = None) -> Participant:
        """The server, or one of two clients, who share a tenth of the digits."""
        home = self.folder / name
        home.mkdir()
        shutil.copy(self.folder / ".galaxy" / "ledger.json", home)
        role = ["server", "--leave"] if name == "server" else ["client", "--data", "digits", "--shard", CLIENTS[name]]
        command = [*role, "--job", self.job, "--account", f"dev:{ACCOUNTS[name]}", "--poll", 0.1, "--json", *more]
        place = {"GALAXY_RPC": self.url, "GALAXY_HOME": str(home), "GALAXY_TRUST": self.address("owner")}
        return Participant(home, command, place | {"GALAXY_STORE": store or str(self.folder / ".galaxy" / "store")})

    def history(self) -> JobHistory:
        """What the ledger says."""
        return JobFollower(self.ledger, self.job).history

    def model(self) -> str:
        """The final model, audited: each round had both clients' updates."""
        history = self.history()
        assert history.finished
        for commit in history.commits.values():
            assert {submission.client for submission in commit.included} == {self.address(name) for name in CLIENTS}
        lines = run(self.folder, "audit", self.job, GALAXY_RPC=self.url)
        audited = [line for line in lines if "right" in line]
        assert [line["round"] for line in audited] == list(range(1, history.terms.rounds + 1))
        assert audited[-1]["model"] == history.model.root.hex()
        return history.model.root.hex()

    def check_transactions(self) -> int:
        """Nobody has done more than the job needs: a bond or a joining, and one transaction a round. Gives how many
        failed in a block: a reorganisation may put one before what it was meant to follow."""
        names = {self.address(name): name for name in ACCOUNTS}
        done: Counter[str] = Counter()
        failed = 0
        for number in range(self._first, self.rpc.number("eth_blockNumber") + 1):
            for transaction in self.rpc.request("eth_getBlockByNumber", hex(number), True)["transactions"]:
                receipt = self.rpc.request("eth_getTransactionReceipt", transaction["hash"])
                if int(receipt["status"], 16):
                    done[names[to_checksum_address(transaction["from"])]] += 1
                else:
                    failed += 1
        assert done == dict.fromkeys(("server", *CLIENTS), 1 + self.history().terms.rounds)
        return failed


@dataclass(frozen=True)
class Participant:
    """A command that is started again and again, with what it keeps in its folder."""

    home: Path
    command: list[object]
    variables: Mapping[str, str]

    def start(self, fault: str | None = None, program: type[Program] = Program) -> Program:
        """One life, which ends at a fault point if one is named."""
        fatal = {} if fault is None else {FAULT_VARIABLE: fault}
        return program(self.home, *self.command, **self.variables, **fatal)

    def live(self, *faults: str) -> list[dict[str, Any]]:
        """Is killed at each of the points, started again each time, and ends at last; gives all that it said."""
        said = []
        for fault in (*faults, None):
            with self.start(fault, Forked) as program:
                output, errors = program.process.communicate(timeout=STUCK)
            expected = 0 if fault is None else -signal.SIGKILL
            assert program.process.returncode == expected, (self.command, fault, output, errors)
            said += [json.loads(line) for line in output.splitlines()]
        return said
