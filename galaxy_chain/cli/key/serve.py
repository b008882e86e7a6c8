"""galaxy-chain key serve."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from typing import Annotated

import typer

from galaxy_chain.cli.console import console
from galaxy_chain.cli.options import Account, JobNumber, Polling, Where
from galaxy_chain.cli.reporting import warnings_printed
from galaxy_chain.exceptions import RpcError
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.jobs.check import check_job
from galaxy_chain.ledger.structs import Status
from galaxy_chain.seal.owner import KeyKeeper
from galaxy_chain.seal.vault import vault_of
from galaxy_fl.exceptions import ConfigurationError

__all__ = ["serve"]


def serve(
    job: JobNumber,
    sender: Account,
    polling: Polling,
    where: Where,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
) -> None:
    """Share a sealed job's keys with its members, as its owner, whenever one comes; begin a new epoch when one is
    expelled.

    Members are the clients that were admitted, and the server that the job names. The owner's own server does the same.
    Ends with the job.
    """
    ledger, store = where.connect(sender), where.existing()
    assert ledger.transactions is not None
    with warnings_printed(False, job), closing(JobFollower(ledger, job)) as follower:
        history = follower.history
        if check_job(ledger, store, job, history.terms).seal is None:
            raise ConfigurationError(f"job {job} is not sealed: there are no keys to share")
        if history.owner != (address := ledger.transactions.signer.address):
            raise ConfigurationError(f"only the owner of job {job}, {history.owner}, shares its keys, not {address}")
        keeper = KeyKeeper(ledger, job, vault_of(where.home))
        while not follower.history.finished and follower.history.status is not Status.FINAL:
            with suppress(RpcError):  # of nodes that have answered before; it is asked again
                if keeper.look(follower.history, store):
                    follower.poll()
                    console.print(f"shared: job {job} has {len(follower.history.epochs)} keys")
                    continue
                if once:
                    return
                time.sleep(polling.poll)
                follower.poll()
