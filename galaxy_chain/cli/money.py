"""galaxy-chain bond, claim and withdraw: what a participant has at stake, and what it has earned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.job import JobArgument
from galaxy_chain.cli.settings import (
    AccountOption,
    AnyLedgerOption,
    FeeCapOption,
    HomeOption,
    JsonOption,
    LedgerOption,
    RpcOption,
    check_address,
    checksum,
)
from galaxy_chain.cli.settings import amount as wei_of
from galaxy_chain.cli.timing import too_early
from galaxy_chain.place import DEFAULT_FEE_CAP, DEFAULT_HOME, DEFAULT_RPC, Place
from galaxy_chain.shown import date, ether

__all__ = ["app", "claim", "withdraw_balance"]

if TYPE_CHECKING:
    from galaxy_chain.ledger.structs import Account

app = typer.Typer(no_args_is_help=True, help="A server's bond.")


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
    from galaxy_chain.jobs.check import rule_of

    value = wei_of(amount)
    on = Place.of(rpc, home, ledger, any_ledger=any_ledger, fee_cap=fee_cap).ledger_for(account)
    if not any_ledger:
        rule_of(on, job, on.job(job).terms)
    receipt = on.transact("depositBond", job, value=value)
    console.print(f"{ether(value)} added to the bond in job {job}, {receipt.gas_used} gas")


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
    """Take the bond back, once it is free: a window after the account's last commit, with no demand open on it."""
    on = Place.of(rpc, home, ledger, any_ledger=any_ledger, fee_cap=fee_cap).ledger_for(account)
    with too_early():
        receipt = on.transact("withdrawBond", job)
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


def claim(
    job: JobArgument,
    round: Annotated[int | None, typer.Option(min=1, help="This round alone; otherwise all that can be.")] = None,
    client: Annotated[
        list[str] | None, typer.Option("--for", help="Claim for this address, too; may be given several times.")
    ] = None,
    everybody: Annotated[bool, typer.Option("--everybody", help="Claim for all clients of the job at once.")] = False,
    account: AccountOption = None,
    fee_cap: FeeCapOption = DEFAULT_FEE_CAP,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
    json: JsonOption = False,
) -> None:
    """Have clients credited with what their updates have earned; settles rounds before, where that is due.

    Without --for or --everybody it claims for the account itself. `galaxy-chain withdraw` then pays out.
    """
    from galaxy_chain.coordinators.settlement import claim_rounds
    from galaxy_chain.following.claims import earnings
    from galaxy_chain.following.follower import JobFollower
    from galaxy_fl.exceptions import ConfigurationError

    on = Place.of(rpc, home, ledger, any_ledger=any_ledger, fee_cap=fee_cap).ledger_for(account)
    assert on.transactions is not None
    follower = JobFollower(on, job)
    history = follower.history
    if everybody and client:
        raise ConfigurationError("--everybody and --for exclude each other: name one of them")
    if round is not None and round not in history.commits:
        raise ConfigurationError(f"job {job} has no commit of round {round}: {len(history.commits)} are committed")
    clients = None if everybody else [checksum(each) for each in client or [on.transactions.signer.address]]
    for each in clients or ():
        if each not in history.clients:
            raise ConfigurationError(
                f"{each} has not joined job {job}, and so has nothing to claim; a server's share is credited when its "
                f"rounds are settled: `galaxy-chain job settle {job}`"
            )
    steps = claim_rounds(on, follower, clients, round)
    follower.poll()
    left = sum(earnings(history, each).unsettled for each in (history.clients if clients is None else clients))
    if json:
        print_json({"job": job, "rounds": [vars(step) for step in steps], "unsettled": left})
        return
    for step in steps:
        settled = ", settled" if step.settled else ""
        console.print(
            f"round {step.round}{settled}: {step.clients} clients credited with {ether(step.amount)} each, "
            f"{step.gas} gas"
        )
    total = sum(step.clients * step.amount for step in steps)
    console.print(
        f"{ether(total)} of job {job} credited; `galaxy-chain withdraw {job}` pays an account's balance out"
        if steps
        else f"nothing is left to be claimed of job {job}"
    )
    if left:
        console.print(f"{ether(left)} are not settled yet: `galaxy-chain job show {job}` says until when")


def withdraw_balance(
    job: JobArgument,
    account: AccountOption = None,
    fee_cap: FeeCapOption = DEFAULT_FEE_CAP,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
    json: JsonOption = False,
) -> None:
    """Pay out the account's balance in a job: what it was credited with by claims, shares, deposits and rewards."""
    on = Place.of(rpc, home, ledger, any_ledger=any_ledger, fee_cap=fee_cap).ledger_for(account)
    receipt = on.transact("withdraw", job)
    [paid] = [
        event
        for event in on.events(receipt.block, receipt.block, job=job, names=["BalanceWithdrawn"])
        if "0x" + event.transaction.hex() == receipt.transaction
    ]
    if json:
        print_json({"job": job, "account": paid.account, "amount": paid.amount, "gas": receipt.gas_used})
    else:
        console.print(f"{ether(paid.amount)} of job {job} are paid out to {paid.account}, {receipt.gas_used} gas")
