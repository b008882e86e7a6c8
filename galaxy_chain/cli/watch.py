"""galaxy-chain watch: a watchtower."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from galaxy_chain.cli.job import JobArgument
from galaxy_chain.cli.settings import (
    AccountOption,
    AnyLedgerOption,
    AnyTermsOption,
    FeeCapOption,
    GatewayOption,
    HomeOption,
    IpfsOption,
    JsonOption,
    LedgerOption,
    MaxDepositOption,
    RpcOption,
    StoreOption,
    amount,
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
    max_spend: Annotated[
        str,
        typer.Option(
            envvar="GALAXY_MAX_SPEND",
            help='The most to spend in this job, deposits that are out and gas, like "0.25 ether".',
        ),
    ] = "0.25 ether",
    max_settle: Annotated[
        str,
        typer.Option(
            envvar="GALAXY_MAX_SETTLE",
            help="The most gas to pay to settle a round that nobody else has settled, or to cancel a job that its "
            'servers have abandoned, like "0.001 ether"; "0 ether" to leave it to others.',
        ),
    ] = "0.001 ether",
    max_deposit: MaxDepositOption = "0.1 ether",
    any_terms: AnyTermsOption = False,
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

    Answers demands for right commits whose server does not, settles rounds that nobody else does, and cancels
    a job that its servers have abandoned.

    Ends once the job has ended, everything that could be settled is, and, by the chain's time, nothing can be
    challenged any more; no error ends it. What it has demanded and spent is kept, and continues to count when it is
    started again.
    """
    from galaxy_chain.cli.reporting import reporting
    from galaxy_chain.jobs.terms import Limits
    from galaxy_chain.verify.watchtower import Watchtower

    place = Place.of(rpc, home, ledger, store, ipfs, gateway, fee_cap, any_ledger=any_ledger)
    on = place.ledger_for(account)
    with reporting(json, job) as say:
        tower = Watchtower(
            on,
            place.store(),
            job,
            content_timeout,
            max_spend=amount(max_spend),
            max_settle=amount(max_settle),
            own=place.home,
            limits=Limits(deposit=amount(max_deposit), any_terms=any_terms),
        )
        with closing(tower):
            tower.watch(
                lambda finding: say({"event": "found", **vars(finding)}),
                lambda why: say({"event": "trouble", "reason": why}),
                poll,
            )
