"""galaxy-chain watch: a watchtower."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import Annotated, Any

import typer

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.limits import DepositLimits
from galaxy_chain.cli.options import Account, JobNumber, Json, Keys, Polling, Where
from galaxy_chain.cli.reporting import for_programs, warnings_printed
from galaxy_chain.cli.values import amount
from galaxy_chain.verify.reports import Reports
from galaxy_chain.verify.watchtower import Finding, Watchtower
from galaxy_fl.participants.json_lines import now

__all__ = ["watch"]


def watch(
    job: JobNumber,
    sender: Account,
    terms: DepositLimits,
    polling: Polling,
    where: Where,
    keys: Keys,
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
    report: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:]PORT",
            help="Listen there for reports of clients that have no ether (`galaxy-chain client --report`), and look at "
            "the partial sums that they name first. PORT alone is for programs of this machine.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Audit every commit of a job as it comes; challenge what is wrong, and demand what is withheld.

    Answers demands for right commits whose server does not, settles rounds that nobody else does, and cancels
    a job that its servers have abandoned.

    Ends once the job has ended, everything that could be settled is, and, by the chain's time, nothing can be
    challenged any more; no error ends it. What it has demanded and spent is kept, and continues to count when it is
    started again.
    """
    keys.take(where.home)
    ledger = where.connect(sender)
    said = ""

    def say(event: dict[str, Any], line: str) -> None:
        nonlocal said
        if for_programs(json):
            print_json({"time": now(), "job": job, **event})
        elif line != said:
            console.print(line)
            said = line

    with warnings_printed(json, job):
        reports = Reports(job)
        tower = Watchtower(
            ledger,
            where.existing(),
            job,
            polling.content_timeout,
            max_spend=amount(max_spend),
            max_settle=amount(max_settle),
            own=where.home,
            limits=terms.limits(),
            reports=reports,
        )
        with closing(tower), ExitStack() as stack:
            if report is not None:
                from galaxy_chain.verify.report_server import ReportServer

                url = stack.enter_context(ReportServer(reports, report)).url
                say({"event": "listening", "url": url}, f"takes reports at {url}")
            tower.watch(
                lambda finding: say({"event": "found", **vars(finding)}, _line(finding)),
                lambda why: say({"event": "trouble", "reason": why}, f"a look has failed, and is tried again: {why}"),
                polling.poll,
            )


def _line(finding: Finding) -> str:
    of = f" of partial sum {finding.node}" if finding.node else ""
    chunk = "" if finding.chunk is None else f", chunk {finding.chunk}{of}"
    reason = f": {finding.reason}" if finding.reason else ""
    return f"round {finding.round}: {finding.verdict}{chunk}{reason}"
