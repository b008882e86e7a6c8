"""galaxy-chain job create."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galaxy_chain.cli.console import console, print_json, print_table
from galaxy_chain.cli.job_views import lost, readable_terms, terms_shown
from galaxy_chain.cli.limits import TermsLimits
from galaxy_chain.cli.options import Account, Json, Where
from galaxy_chain.jobs.costs import costs, lie
from galaxy_chain.jobs.creation import create_job
from galaxy_chain.jobs.file import JobFile
from galaxy_chain.shown import ether

__all__ = ["create"]


def create(
    file: Annotated[Path, typer.Argument(help="Job file (TOML).")],
    sender: Account,
    terms: TermsLimits,
    where: Where,
    gas_price: Annotated[
        float | None,
        typer.Option(min=0, help="Price of gas, in gwei, at which costs are shown; by default the chain's own."),
    ] = None,
    json: Json = False,
) -> None:
    """Register a job: put its document and initial model into the store, and its terms on the ledger.

    Shows what was chosen, what taking part costs, and what a lie would cost the server.
    """
    job_file = JobFile.read(file)
    ledger = where.connect(sender)
    rules, store = where.at().deployment().rules, where.contents(ledger)
    created = create_job(ledger, rules, store, job_file, file.parent, terms.limits())
    for concern in created.concerns:
        typer.echo(f"warning: {concern.message}", err=True)
    price = ledger.rpc.number("eth_gasPrice") if gas_price is None else int(gas_price * 10**9)
    costly = costs(created.terms, job_file.rule.name, price)
    false = lie(created.terms, job_file.terms.reward)
    if json:
        print_json(
            {
                "job": created.job,
                "parameters": created.parameters,
                "gas": created.gas,
                "terms": terms_shown(created.terms),
                "costs": [{"what": each.what, "who": each.who, "gas": each.gas, "wei": each.wei} for each in costly],
                "lie": vars(false),
            }
        )
        return
    console.print(f"job {created.job}: “{job_file.name}”, {created.parameters} parameters, {created.gas} gas")
    print_table(("term", "value"), readable_terms(created.terms, created.owner).items())
    console.print(f"\nwhat it costs at most, at {price / 10**9:g} gwei a unit of gas", style="bold")
    print_table(("what", "who pays", "gas", "costs"), [(c.what, c.who, c.gas, ether(c.wei)) for c in costly])
    console.print(
        f"\nA wrong commit costs its server the bond of {ether(false.bond)}: {ether(false.finder)} of it go to whoever "
        f"proves it, the rest is burned. {lost(false)}"
    )
