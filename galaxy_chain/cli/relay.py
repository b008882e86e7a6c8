"""galaxy-chain relay."""

from __future__ import annotations

import time
from contextlib import closing, suppress

from galaxy_chain.cli.console import console
from galaxy_chain.cli.options import Account, JobOption, Json, Polling, Where
from galaxy_chain.cli.relaying import RelayOptions
from galaxy_chain.cli.reporting import warnings_printed
from galaxy_chain.exceptions import RpcError
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.jobs.check import check_job
from galaxy_chain.lane.inbox import inbox_of
from galaxy_chain.lane.relay import Relay
from galaxy_chain.ledger.signing import Domain
from galaxy_chain.ledger.structs import Status
from galaxy_chain.seal.store import contents_of
from galaxy_chain.verify.verifier import Verifier

__all__ = ["relay"]


def relay(
    job: JobOption, sender: Account, relaying: RelayOptions, polling: Polling, where: Where, json: Json = False
) -> None:
    """Hand in what clients of a job have signed and left in the store's inbox, and pay for it.

    Anybody may, beside the job's server or instead of it; the ledger takes each update once. Ends with the job.
    """
    settings = relaying.settings()
    ledger = where.connect(sender)
    assert ledger.transactions is not None
    store = where.contents(ledger, job)
    name = f"{ledger.address}-{job}-{ledger.transactions.signer.address}"
    with (
        warnings_printed(json, job),
        closing(JobFollower(ledger, job, where.home / "events" / f"{name}-relay.sqlite")) as follower,
    ):
        terms = follower.history.terms
        document = check_job(ledger, store, job, terms)
        handing_in = Relay(
            ledger,
            inbox_of(store, Domain(ledger.chain_id, ledger.address)),
            Verifier(contents_of(store, document, job, where.home, lambda: follower.history), terms, document),
            job,
            settings,
            where.home / "relayed" / f"{name}.json",
            reveals_late=document.reveal == "after-close",
        )
        if not json:
            console.print(f"relays for job {job} of {ledger.address}; Ctrl-C ends it")
        while not follower.history.finished and follower.history.status is not Status.FINAL:
            if not handing_in.look(follower.history, follower.chain_time):
                time.sleep(polling.poll)
            with suppress(RpcError):  # of nodes that have answered before; it is asked again
                follower.poll()
