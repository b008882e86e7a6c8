"""galaxy-chain watch: a watchtower."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from galaxy_chain.cli.limits import DepositLimits
from galaxy_chain.cli.options import Account, JobNumber, Json, Polling, Where
from galaxy_chain.cli.reporting import reporting
from galaxy_chain.cli.values import amount
from galaxy_chain.verify.watchtower import Watchtower

__all__ = ["watch"]


def watch(
    job: JobNumber,
    sender: Account,
    terms: DepositLimits,
    polling: Polling,
    where: Where,
    max_spend: Annotated[
        str,
        typer.Option(
            envvar="GALAXY_MAX_SPEND",
            help='The most to spend in this job, open deposits and gas, like "0.25 ether".',
            rich_help_panel="Account",
        ),
    ] = "0.25 ether",
    max_settle: Annotated[
        str,
        typer.Option(
            envvar="GALAXY_MAX_SETTLE",
            help="The most gas to pay to settle a round that nobody else has settled, or to cancel a job that its "
            'servers have abandoned, like "0.001 ether". Set it to "0 ether" to leave it to others.',
            rich_help_panel="Account",
        ),
    ] = "0.001 ether",
    json: Json = False,
) -> None:
    """Audit every commit of a job as it comes; challenge what is wrong, and demand what is withheld.

    Answers demands for right commits whose server does not, settles rounds that nobody else does, and cancels
    a job that its servers have abandoned.

    Ends once the job has ended, everything that could be settled is, and, by the chain's time, nothing can be
    challenged any more; no error ends it. What it has demanded and spent is kept, and continues to count when it is
    started again.
    """
    ledger = where.connect(sender)
    with reporting(json, job) as say:
        tower = Watchtower(
            ledger,
            where.contents(),
            job,
            polling.content_timeout,
            max_spend=amount(max_spend),
            max_settle=amount(max_settle),
            own=where.home,
            limits=terms.limits(),
        )
        with closing(tower):
            tower.watch(
                lambda finding: say({"event": "found", **vars(finding)}),
                lambda why: say({"event": "trouble", "reason": why}),
                polling.poll,
            )
