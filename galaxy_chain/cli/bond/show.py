"""galaxy-chain bond show."""

from __future__ import annotations

from typing import Annotated

import typer

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.options import AtLedger, JobNumber, Json
from galaxy_chain.cli.values import checksum
from galaxy_chain.ledger.structs import Account
from galaxy_chain.shown import date, ether

__all__ = ["show"]


def show(
    job: JobNumber,
    address: Annotated[str, typer.Argument(help="Address of the account.")],
    at: AtLedger,
    json: Json = False,
) -> None:
    """Show what an address has at stake in a job."""
    found = at.connect().account_of(job, checksum(address))
    if json:
        print_json(vars(found))
    else:
        console.print("; ".join(_account(found)))


def _account(account: Account) -> list[str]:
    said = [f"bond {ether(account.bond)}, {account.demands} demands to answer"]
    if account.bond and account.locked_until:
        said.append(f"locked until {date(account.locked_until)} at least")
    if account.late:
        said.append(f"late: round {account.late_round} was superseded, and it stays locked until a later one settles")
    if account.barred:
        said.append("barred: proved wrong")
    said.append(f"balance {ether(account.balance)}, free at any time")
    return said
