"""The auditor of a demonstration, in a process of its own: it recomputes each round while the next one is trained, from
ledger and content alone, and lets everybody else go first."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from galaxy_chain.demo.instructions import ALL_IS_OVER, AuditReport, Instructions
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.verify.audit import Auditor
from galaxy_fl.content import LocalStore
from galaxy_fl.exceptions import GalaxyError

__all__ = ["run"]

NICE = 10
"""By how much others go first: it works when a processor has little else to do, and on a machine that has other work,
too, it ends."""


def run(connection: Connection) -> None:
    """Audit the job of the instructions that come first, whenever a message comes; with the last one, `ALL_IS_OVER`, to
    the end, and send what was found."""
    told = Instructions.model_validate_json(connection.recv_bytes())
    os.nice(NICE)
    with suppress(EOFError, KeyboardInterrupt):  # the demonstration is over
        connection.send_bytes(_audit(told, connection).model_dump_json().encode())


def _audit(told: Instructions, connection: Connection) -> AuditReport:
    where, roots = told.deployment, dict[bytes, bytes]()
    auditor: Auditor | None = None

    def catch_up() -> Auditor:
        nonlocal auditor
        if auditor is None:
            ledger = LedgerContract(Rpc(told.rpc), where.ledger, first_block=where.block, chain_id=where.chain_id)
            begun = Auditor(ledger, LocalStore(Path(told.store)), told.job)
            begun.check_initial_model()
            auditor = begun  # not before: what is wrong with it is to be found at the end, too
        auditor.follow()
        for _, commit in sorted(auditor.history.commits.items()):
            if commit.word not in roots:
                roots[commit.word] = auditor.audited(commit).root
        return auditor

    while not _is_over(connection):
        with suppress(GalaxyError):  # it is said at the end, if it is still so
            catch_up()
    try:
        auditor = catch_up()
        auditor.check_state()
    except GalaxyError as error:
        return AuditReport(models=[], seconds=time.process_time(), error=str(error))
    models = [roots[commit.word].hex() for _, commit in sorted(auditor.history.commits.items())]
    return AuditReport(models=models, seconds=time.process_time())


def _is_over(connection: Connection) -> bool:
    """Wait until there may be something new, and return whether it is the last of all."""
    over = connection.recv_bytes() == ALL_IS_OVER
    while not over and connection.poll():
        over = connection.recv_bytes() == ALL_IS_OVER
    return over
