"""Participants of a demonstration, in a process of the fork server: torch is loaded from its first moment."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from multiprocessing.connection import Connection
from pathlib import Path

from galaxy_chain.coordinators import LedgerClientCoordinator, LedgerServerCoordinator, Patience, base
from galaxy_chain.coordinators.shared_job import SharedJob
from galaxy_chain.coordinators.summing_up import SummingUp
from galaxy_chain.demo import LYING_ROUND
from galaxy_chain.demo.instructions import HEARD_OF_CLIENTS, HEARD_OF_SERVERS, Instructions, pack
from galaxy_chain.demo.lie import LyingSums
from galaxy_chain.jobs.terms import Limits
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_chain.transactions.manager import Transactions
from galaxy_chain.verify.how import Verify
from galaxy_fl.content import LocalStore
from galaxy_fl.exceptions import GalaxyError
from galaxy_fl.floor import FLOOR
from galaxy_fl.participants.data import LocalData
from galaxy_fl.participants.events import Event, Failed, Listener
from galaxy_fl.participants.job_client import JobClient
from galaxy_fl.participants.job_server import JobServer
from galaxy_fl.participants.metrics import MetricsFile
from galaxy_fl.participants.tracking import Tracker, tracking
from galaxy_fl.participants.work import Work
from galaxy_fl.rounds.coordinator import Round, Submitted
from galaxy_fl.trust import Trust
from galaxy_fl.vectors import write_vector

__all__ = ["run"]

PATIENCE = Patience(poll=0.05)
PLAY_MONEY = Limits(bond=2**96, deposit=2**96)
"""Whatever a job asks for is paid: it is worth nothing."""


class LyingServerCoordinator(LedgerServerCoordinator):
    """A server that lies in one round: in the middle of it, where it has partial sums, or else in the next model, where
    it is off by one in one parameter."""

    def aggregate(self, round: Round, updates: Mapping[Submitted, Path], next_model: Path) -> None:
        """Aggregate as any server does, except for one lie."""
        lies = round.number == LYING_ROUND
        self.summing_up = LyingSums(self.verifier) if lies else SummingUp(self.verifier)
        super().aggregate(round, updates, next_model)
        if lies and not self.summing_up.has_tree(self.history):
            vector = self.verifier.read_model(next_model).copy()
            vector[len(vector) // 2] += 1
            write_vector(next_model, vector)


class _Told:
    """The connection to the demonstration, which many threads tell of what happens."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def of(self, account: str, heard: tuple[type, ...]) -> Listener:
        """What listens to one participant, and tells what is heard of it."""
        return lambda event, job: self.tell(account, event) if isinstance(event, heard) else None

    def tell(self, account: str, event: Event | None) -> None:
        """Tell what happens to a participant, or that it has ended."""
        try:
            with self._lock:
                self._connection.send_bytes(pack(account, event))
        except OSError:
            raise SystemExit from None  # nobody listens: no error that a server with money at stake would outlast


def run(connection: Connection) -> None:
    """Takes part in the job of the instructions that come first, and sends what happens until all is over."""
    told = Instructions.model_validate_json(connection.recv_bytes())
    back = _Told(connection)
    tempfile.tempdir = told.scratch
    # What is to be said of terms, the demonstration has said.
    logging.getLogger(base.__name__).addFilter(lambda record: record.funcName != "accept")
    try:
        rpc = Rpc(told.rpc)
        where = told.deployment
        transactions = Transactions(rpc, NodeSigner(told.accounts[0], told.first))
        ledger = LedgerContract(rpc, where.ledger, transactions, first_block=where.block, chain_id=where.chain_id)
        with tracking(told.track) as track:
            if told.role == "clients":
                _take_part(told, ledger, back, track)
            else:
                _serve(told, ledger, back, track)
    except GalaxyError as error:  # whatever keeps all of them from beginning
        for account in told.accounts:
            back.tell(account, Failed(message=str(error), exit_code=error.exit_code))
    except KeyboardInterrupt:
        pass  # the demonstration is over


def _serve(told: Instructions, ledger: LedgerContract, back: _Told, track: Sequence[Tracker]) -> None:
    (account,) = told.accounts
    store = LocalStore(Path(told.store))
    try:
        if told.role == "server":
            server = LedgerServerCoordinator(ledger, store, told.job, PATIENCE, takeover=True, limits=PLAY_MONEY)
        else:
            server = LyingServerCoordinator(ledger, store, told.job, PATIENCE, leave=True, limits=PLAY_MONEY)
        listeners: list[Listener] = [back.of(account, HEARD_OF_SERVERS), MetricsFile(Path(told.metrics))]
        data = (
            None if told.test_data is None else LocalData(None, told.test_data, device=told.device, root=told.data_root)
        )
        output, trust = Path(told.output), Trust(told.trust)
        JobServer(server, data, trust, listeners=listeners, track=track, output=output, alone=True).run()
        back.tell(account, None)
    except GalaxyError as error:
        back.tell(account, Failed(message=str(error), exit_code=error.exit_code))


def _take_part(told: Instructions, ledger: LedgerContract, back: _Told, track: Sequence[Tracker]) -> None:
    """Be all clients, in threads that share what they follow and verify, and the workers."""
    verify, count = Verify.parse(told.verify), len(told.accounts)
    data = LocalData(told.data, device=told.device, partition=told.partition, root=told.data_root)
    parts = list(data.parts(f"1-{count}/{count}").values())
    store, work, trust = LocalStore(Path(told.store)), Work(), Trust(told.trust)
    own = Path(told.scratch) if told.keeps else None

    def take_part(number: int) -> None:
        account = told.accounts[number]
        output, name, listeners = Path(told.output), str(number + 1), [back.of(account, HEARD_OF_CLIENTS)]
        try:
            with ExitStack() as stack:
                stack.enter_context(FLOOR.among())
                by = ledger.by(NodeSigner(account, told.first + number))
                coordinator = LedgerClientCoordinator(
                    by, store, told.job, PATIENCE, verify=verify, shared=shared, limits=PLAY_MONEY, own=own
                )
                stack.enter_context(closing(coordinator))
                JobClient(
                    coordinator, parts[number], trust,
                    listeners=listeners, track=track, output=output, work=work, alone=True, name=name, hosted=name,
                    writes_model=apart,
                ).run()  # fmt: skip
            back.tell(account, None)
        except GalaxyError as error:
            back.tell(account, Failed(message=str(error), exit_code=error.exit_code))

    shared = SharedJob(ledger, store, told.job, poll=PATIENCE.poll, hosted=count)
    apart = shared.document.distils or bool(shared.document.personal)  # of all other models the server's file is theirs
    with ExitStack() as ending:
        ending.enter_context(closing(shared))
        ending.callback(work.stop)
        threads = ending.enter_context(ThreadPoolExecutor(count, thread_name_prefix="client"))
        list(threads.map(take_part, range(count)))
