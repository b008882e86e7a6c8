"""galaxy-chain bond and claim: what a participant has at stake, and what it has earned."""

from __future__ import annotations

from typing import Annotated

import typer

from galaxy_chain.commands.console import console, print_json
from galaxy_chain.commands.job import JobArgument
from galaxy_chain.commands.settings import (
    AccountOption,
    AnyLedgerOption,
    FeeCapOption,
    HomeOption,
    JsonOption,
    LedgerOption,
    RpcOption,
    check_address,
)
from galaxy_chain.commands.settings import amount as wei_of
from galaxy_chain.place import DEFAULT_FEE_CAP, DEFAULT_HOME, DEFAULT_RPC, Place

__all__ = ["app", "claim"]

app = typer.Typer(no_args_is_help=True, help="A server's bond.")

ETHER = 10**18


@app.command()
def deposit(
    job: JobArgument,
    amount: Annotated[str, typer.Argument(help='Like "1 ether", or a number of wei.')],
    account: AccountOption = None,
    fee_cap: FeeCapOption = DEFAULT_FEE_CAP,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
) -> None:
    """Add to the account's bond in a job. A server does it by itself when it starts."""
    from galaxy_chain.job_check import rule_of

    value = wei_of(amount)
    on = Place.of(rpc, home, ledger, any_ledger=any_ledger, fee_cap=fee_cap).ledger_for(account)
    if not any_ledger:
        rule_of(on, job, on.job(job).terms)
    receipt = on.transact("depositBond", job, value=value)
    console.print(f"{value / ETHER:g} ether added to the bond in job {job}, {receipt.gas_used} gas")


@app.command()
def withdraw(
    job: JobArgument,
    account: AccountOption = None,
    fee_cap: FeeCapOption = DEFAULT_FEE_CAP,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
) -> None:
    """Take the bond back, once the window of the last commit is over and no demand waits."""
    receipt = (
        Place.of(rpc, home, ledger, any_ledger=any_ledger, fee_cap=fee_cap)
        .ledger_for(account)
        .transact("withdrawBond", job)
    )
    console.print(f"the bond in job {job} is paid out, {receipt.gas_used} gas")


@app.command()
def show(
    job: JobArgument,
    address: Annotated[str, typer.Argument(help="Whose.")],
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
    json: JsonOption = False,
) -> None:
    """Show what an address has at stake in a job."""
    check_address(address)
    found = Place.of(rpc, home, ledger, any_ledger=any_ledger).ledger().account(job, address)
    if json:
        print_json(vars(found))
    else:
        barred = ", barred: proved wrong" if found.barred else ""
        console.print(f"{found.amount / ETHER:g} ether, {found.demands} demands to answer{barred}")


def claim(
    job: JobArgument,
    account: AccountOption = None,
    fee_cap: FeeCapOption = DEFAULT_FEE_CAP,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
) -> None:
    """Take your share of a job's pool, once its last window is over. Closes the books first where nobody has yet."""
    from galaxy_chain.ledger.structs import Status

    on = Place.of(rpc, home, ledger, any_ledger=any_ledger, fee_cap=fee_cap).ledger_for(account)
    if on.job(job).state.status != Status.FINAL:
        on.transact("finalizeJob", job)
    receipt = on.transact("claimReward", job)
    [claimed] = [
        event
        for event in on.events(receipt.block, receipt.block, job=job, names=["RewardClaimed"])
        if "0x" + event.transaction.hex() == receipt.transaction
    ]
    console.print(f"{claimed.amount / ETHER:g} ether of job {job}'s pool are paid out, {receipt.gas_used} gas")
