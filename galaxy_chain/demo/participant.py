"""One participant of a demonstration, in a process of the fork server: torch is loaded from its first moment."""

from __future__ import annotations

from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401

from galaxy_chain.coordinators import LedgerClientCoordinator, LedgerServerCoordinator, Patience
from galaxy_chain.coordinators.summing_up import SummingUp
from galaxy_chain.demo.instructions import Instructions
from galaxy_chain.demo.lie import LyingSums
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_chain.transactions.manager import Transactions
from galaxy_chain.verify.how import Verify
from galaxy_fl.content import LocalStore
from galaxy_fl.exceptions import GalaxyError
from galaxy_fl.participants.data import LocalData
from galaxy_fl.participants.events import Event, Failed
from galaxy_fl.participants.job_client import JobClient
from galaxy_fl.participants.job_server import JobServer
from galaxy_fl.participants.metrics import MetricsFile
from galaxy_fl.rounds.coordinator import Round, Submitted
from galaxy_fl.trust import Trust
from galaxy_fl.vectors import read_vector, write_vector

__all__ = ["LYING_ROUND", "run"]

LYING_ROUND = 2
PATIENCE = Patience(poll=0.25)


class LyingServerCoordinator(LedgerServerCoordinator):
    """A server that lies in one round: in the middle of it, where it has partial sums, or else in the next model, where
    it is off by one in one parameter."""

    def aggregate(self, round: Round, updates: Mapping[Submitted, Path], next_model: Path) -> None:
        """Aggregate as any server does, except for one lie."""
        lies = round.number == LYING_ROUND
        self.summing_up = LyingSums(self.verifier) if lies else SummingUp(self.verifier)
        super().aggregate(round, updates, next_model)
        if lies and not self.summing_up.has_tree(self.history):
            vector = read_vector(next_model, self.terms.parameters).copy()
            vector[len(vector) // 2] += 1
            write_vector(next_model, vector)


def run(connection: Connection) -> None:
    """Takes part in the job of the instructions that come first, and sends its events until it is finished."""

    def send(event: Event, job: str) -> None:
        try:
            connection.send_bytes(event.model_dump_json().encode())
        except OSError:
            raise SystemExit from None  # nobody listens: no error that a server with money at stake would outlast

    told = Instructions.model_validate_json(connection.recv_bytes())
    try:
        rpc = Rpc(told.rpc)
        where = told.deployment
        transactions = Transactions(rpc, NodeSigner(told.account))
        ledger = LedgerContract(rpc, where.ledger, transactions, first_block=where.block, chain_id=where.chain_id)
        store = LocalStore(Path(told.store))
        options: Any = {"output": Path(told.output), "alone": True}
        if told.role == "client":
            data, verify = LocalData("digits", shard=told.shard), Verify.parse(told.verify)
            client = LedgerClientCoordinator(ledger, store, told.job, PATIENCE, verify=verify)
            JobClient(client, data, Trust(), listeners=[send], **options).run()
            return
        if told.role == "server":
            server = LedgerServerCoordinator(ledger, store, told.job, PATIENCE, takeover=True)
        else:
            server = LyingServerCoordinator(ledger, store, told.job, PATIENCE, leave=True)
        metrics = MetricsFile(Path(told.metrics))
        JobServer(server, LocalData(None, "digits"), Trust(), listeners=[send, metrics], **options).run()
    except GalaxyError as error:
        send(Failed(message=str(error)), str(told.job))
    except KeyboardInterrupt:
        pass  # the demonstration is over
