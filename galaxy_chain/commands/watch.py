"""galaxy-chain watch: a watchtower."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from galaxy_chain.commands.job import JobArgument
from galaxy_chain.commands.settings import (
    AccountOption,
    AnyLedgerOption,
    FeeCapOption,
    GatewayOption,
    HomeOption,
    IpfsOption,
    JsonOption,
    LedgerOption,
    RpcOption,
    StoreOption,
)
from galaxy_chain.place import DEFAULT_FEE_CAP, DEFAULT_HOME, DEFAULT_RPC, Place

__all__ = ["watch"]


def watch(
    job: JobArgument,
    content_timeout: Annotated[
        float,
        typer.Option(min=0, help="Seconds that a commit's content may take before it counts as withheld."),
    ] = 10.0,
    poll: Annotated[float, typer.Option(min=0.01, help="Pause between two looks at the chain, in seconds.")] = 1.0,
    account: AccountOption = None,
    fee_cap: FeeCapOption = DEFAULT_FEE_CAP,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
    store: StoreOption = None,
    ipfs: IpfsOption = None,
    gateway: GatewayOption = None,
    json: JsonOption = False,
) -> None:
    """Audit every commit of a job as it comes; challenge what is wrong, and demand what is withheld.

    Ends once the job is final or cancelled and nothing can be challenged any more.
    """
    from galaxy_chain.commands.reporting import reporting
    from galaxy_chain.watch import Watchtower

    place = Place.of(rpc, home, ledger, store, ipfs, gateway, fee_cap, any_ledger=any_ledger)
    on = place.ledger_for(account)
    tower = Watchtower(on, place.store(), job, content_timeout)
    with reporting(json, job) as say:
        while not tower.over:
            for finding in tower.look():
                say({"event": "found", **vars(finding)})
            time.sleep(poll)
