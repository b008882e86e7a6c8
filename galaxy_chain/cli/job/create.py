"""galaxy-chain job create."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galaxy_chain.cli.console import console, print_json, print_table
from galaxy_chain.cli.job_views import document_of, lost
from galaxy_chain.cli.limits import TermsLimits
from galaxy_chain.cli.options import Account, Json, Where
from galaxy_chain.jobs.costs import costs, lie
from galaxy_chain.jobs.creation import create_job
from galaxy_chain.jobs.file import JobFile
from galaxy_chain.jobs.rounds import start_of
from galaxy_chain.shown import ether
from galaxy_chain.shown.document import choices_of, readable_choices
from galaxy_chain.shown.terms import readable_terms, terms_shown
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.jobs.start import check_start, round_of_job

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
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="JOB:ROUND|FILE",
            help="Begin with the model after a round of another job of the ledger (its number, last, or best), or with "
            "a safetensors file, instead of what the job file says.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Register a job: put its document and initial model into the store, and its terms on the ledger.

    Shows what was chosen, what taking part costs, and what a lie would cost the server.
    """
    job_file = JobFile.read(file)
    begins = job_file.start if start is None else _checked(start)
    named = None if begins is None else round_of_job(begins)
    ledger = where.connect(sender)
    rules, store = where.at().deployment().rules, where.contents(ledger)
    model = None
    if named is not None:
        job, round = _number(named[0]), named[1]
        model = start_of(ledger, store, job, round, where.at().metrics(ledger.address, job), where.home)
    elif start is not None:  # relative to where the command runs
        job_file = job_file.model_copy(update={"start": str(Path(start).absolute())})
    created = create_job(ledger, rules, store, job_file, file.parent, terms.limits(), model, home=where.home)
    for concern in created.concerns:
        typer.echo(f"warning: {concern.message}", err=True)
    document = document_of(store, created.terms.spec)
    price = ledger.rpc.number("eth_gasPrice") if gas_price is None else int(gas_price * 10**9)
    costly = costs(created.terms, job_file.rule.name, price)
    false = lie(created.terms, job_file.terms.reward)
    if json:
        print_json(
            {
                "job": created.job,
                "parameters": created.parameters,
                "start": None if begins is None else begins if model is None else model.what,
                "gas": created.gas,
                "document": None if document is None else choices_of(document),
                "terms": terms_shown(created.terms),
                "costs": [{"what": each.what, "who": each.who, "gas": each.gas, "wei": each.wei} for each in costly],
                "lie": vars(false),
            }
        )
        return
    console.print(f"job {created.job}: “{job_file.name}”, {created.parameters} parameters, {created.gas} gas")
    if begins is not None:
        console.print(f"it begins with {begins if model is None else model.what}")
    if document is not None:
        print_table(("document", "value"), readable_choices(choices_of(document)).items())
        console.print()
    print_table(("term", "value"), readable_terms(created.terms, created.owner).items())
    console.print(f"\nwhat it costs at most, at {price / 10**9:g} gwei a unit of gas", style="bold")
    print_table(("what", "who pays", "gas", "costs"), [(c.what, c.who, c.gas, ether(c.wei)) for c in costly])
    console.print(
        f"\nA wrong commit costs its server the bond of {ether(false.bond)}: {ether(false.finder)} of it go to whoever "
        f"proves it, the rest is burned. {lost(false)}"
    )


def _checked(start: str) -> str:
    try:
        return check_start(start)
    except ValueError as error:
        raise ConfigurationError(f"--from: {error}") from None


def _number(job: str) -> int:
    if not (job.isascii() and job.isdecimal()):
        raise ConfigurationError(f"--from names the job {job!r}, expected its number on the ledger, as in 7:12")
    return int(job)
