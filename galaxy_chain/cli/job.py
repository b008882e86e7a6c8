"""galaxy-chain job: create, list, show, admit, expel, settle, supersede, cancel, finalize."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from galaxy_chain.cli.console import console, print_json, print_table, short
from galaxy_chain.cli.job_views import (
    digits,
    lost,
    metrics_of,
    name_of,
    readable_terms,
    rounds_of,
    state_of,
    status_of,
    terms_shown,
    when,
)
from galaxy_chain.cli.settings import (
    LARGEST_JOB,
    AccountOption,
    AnyLedgerOption,
    AnyTermsOption,
    FeeCapOption,
    GatewayOption,
    HomeOption,
    IpfsOption,
    JsonOption,
    LedgerOption,
    RpcOption,
    StoreOption,
    check_address,
    checksum,
)
from galaxy_chain.cli.timing import too_early
from galaxy_chain.place import DEFAULT_FEE_CAP, DEFAULT_HOME, DEFAULT_RPC, Place
from galaxy_chain.shown import ETHER, date, ether

__all__ = ["JobArgument", "app"]

app = typer.Typer(no_args_is_help=True, help="Jobs on the ledger.")

JobArgument = Annotated[int, typer.Argument(min=1, max=LARGEST_JOB, help="The job's number.")]


@app.command()
def example() -> None:
    """Print an example of a job file."""
    from galaxy_chain.demo.run import example_job

    typer.echo(example_job(), nl=False)


@app.command()
def create(
    file: Annotated[Path, typer.Argument(help="The job file (TOML).")],
    account: AccountOption = None,
    fee_cap: FeeCapOption = DEFAULT_FEE_CAP,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
    store: StoreOption = None,
    ipfs: IpfsOption = None,
    gateway: GatewayOption = None,
    any_terms: AnyTermsOption = False,
    gas_price: Annotated[
        float | None,
        typer.Option(min=0, help="At which price of gas, in gwei, costs are shown; without it at the chain's own."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Register a job: put its document and initial model into the store, and its terms on the ledger.

    Shows what was chosen, what taking part costs, and what a lie would cost the server.
    """
    from galaxy_chain.jobs.costs import costs, lie
    from galaxy_chain.jobs.creation import create_job
    from galaxy_chain.jobs.file import JobFile
    from galaxy_chain.jobs.terms import Limits

    job_file = JobFile.read(file)
    place = Place.of(rpc, home, ledger, store, ipfs, gateway, any_ledger=any_ledger, fee_cap=fee_cap)
    on = place.ledger_for(account)
    limits = Limits(any_terms=any_terms)
    created = create_job(on, place.deployment().rules, place.store(on), job_file, file.parent, limits)
    for concern in created.concerns:
        typer.echo(f"warning: {concern.message}", err=True)
    price = on.rpc.number("eth_gasPrice") if gas_price is None else int(gas_price * 10**9)
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


@app.command("list")
def list_jobs(
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
    store: StoreOption = None,
    ipfs: IpfsOption = None,
    gateway: GatewayOption = None,
    json: JsonOption = False,
) -> None:
    """List the ledger's jobs."""
    place = Place.of(rpc, home, ledger, store, ipfs, gateway, any_ledger=any_ledger)
    on = place.ledger()
    contents = place.store()
    rows = []
    for number in range(1, on.call("jobs") + 1):
        job = on.job(number)
        rows.append(
            {
                "job": number,
                "name": name_of(contents, job.terms.spec),
                "round": min(job.state.round, job.state.last_round),
                "rounds": job.state.last_round,
                "updates": job.state.updates,
                "status": status_of(job.state.round, job.state.last_round, job.state.status, job.state.cancelled),
                "owner": job.owner,
            }
        )
    if json:
        print_json(rows)
    else:
        print_table(("job", "name", "round", "of", "updates", "status", "owner"), [list(row.values()) for row in rows])


@app.command()
def show(
    job: JobArgument,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
    store: StoreOption = None,
    ipfs: IpfsOption = None,
    gateway: GatewayOption = None,
    json: JsonOption = False,
) -> None:
    """Show a job: terms, participants, money, and rounds with their hashes and what may still happen to them.

    A server's metrics are shown where they are at hand.
    """
    from galaxy_chain.following.books import books
    from galaxy_chain.following.claims import earnings
    from galaxy_chain.following.follower import JobFollower
    from galaxy_chain.following.turns import bond_free_from

    place = Place.of(rpc, home, ledger, store, ipfs, gateway, any_ledger=any_ledger)
    on = place.ledger()
    history = JobFollower(on, job).history
    terms, money = history.terms, books(history)
    rounds = rounds_of(history, metrics_of(place.metrics(on.address, job)))
    servers = {commit.record.server for commit in (*history.commits.values(), *history.void.values())}
    bonds: dict[str, dict[str, Any]] = {
        server: {
            "bond": own.bond,
            "barred": own.barred,
            "late": own.late,
            "demands": own.demands,
            "free_from": bond_free_from(history, server),
        }
        for server, own in sorted(history.accounts.items())
        if own.bond or own.barred or server in servers
    }
    shown: dict[str, Any] = {
        "job": job,
        "name": name_of(place.store(), terms.spec),
        "owner": history.owner,
        "status": status_of(history.round, history.last_round, history.status, history.cancelled),
        "cancelled": history.cancelled,
        "round": history.round,
        "last_round": history.last_round,
        "settled": history.settled,
        "terms": terms_shown(terms),
        "clients": history.clients,
        "expelled": sorted(history.expelled),
        "earned": {each: vars(earnings(history, each)) for each in sorted({*history.clients, *servers})},
        "servers": bonds,
        "money": vars(money),
        "model": history.model.root.hex(),
        "rounds": rounds,
    }
    if json:
        print_json(shown)
        return
    console.print(f"job {job}: {shown['name'] or '(its document is not in the store)'}", style="bold", end="")
    console.print(f"  {shown['status']}, owner {history.owner}")
    print_table(("term", "value"), (shown["terms"] | readable_terms(terms)).items())
    console.print()
    print_table(
        ("account", "samples", "balance", "to be claimed", "not settled"),
        [
            (each, history.clients.get(each), ether(of["balance"]), ether(of["claimable"]), ether(of["unsettled"]))
            for each, of in shown["earned"].items()
        ],
    )
    console.print()
    print_table(
        ("server", "bond", "demands", "free from", ""),
        [
            (
                server, ether(of["bond"]), of["demands"], when(of["free_from"]),
                ", ".join(word for word in ("barred", "late") if of[word]),
            )
            for server, of in bonds.items()
        ],
    )  # fmt: skip
    console.print()
    console.print(
        f"pool {ether(money.pool)}: {ether(money.paid)} paid, {ether(money.claimable)} to be claimed, "
        f"{ether(money.open)} open in rounds that are not settled, {ether(money.rest)} "
        + ("back to the owner" if money.final else "not allotted yet")
    )
    console.print(f"{history.settled} of {history.last_round} rounds settled\n")
    print_table(
        ("round", "updates", "excluded", "model", "loss", "accuracy", "gas", "seconds", "block", "ether", "state"),
        [
            (
                row["round"], row["updates"], len(row["excluded"]), short(row["model"]), digits(row["loss"]),
                digits(row["accuracy"]), row["gas"], digits(row["seconds"]), row["block"], f"{row['reward'] / ETHER:g}",
                state_of(row),
            )
            for row in rounds
        ],
    )  # fmt: skip


@app.command()
def admit(
    job: JobArgument,
    clients: Annotated[list[str], typer.Argument(help="Addresses.")],
    account: AccountOption = None,
    fee_cap: FeeCapOption = DEFAULT_FEE_CAP,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
) -> None:
    """Admit clients to a job that is not open."""
    for client in clients:
        check_address(client)
    receipt = (
        Place.of(rpc, home, ledger, any_ledger=any_ledger, fee_cap=fee_cap)
        .ledger_for(account)
        .transact("admit", job, clients)
    )
    console.print(f"admitted {len(clients)} to job {job}, {receipt.gas_used} gas")


@app.command()
def expel(
    job: JobArgument,
    client: Annotated[str, typer.Argument(help="An address.")],
    account: AccountOption = None,
    fee_cap: FeeCapOption = DEFAULT_FEE_CAP,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
) -> None:
    """Take no more updates of a client, for good. What it has earned stays its own."""
    on = Place.of(rpc, home, ledger, any_ledger=any_ledger, fee_cap=fee_cap).ledger_for(account)
    receipt = on.transact("expel", job, checksum(client))
    console.print(f"{client} is expelled from job {job}, {receipt.gas_used} gas")


@app.command()
def settle(
    job: JobArgument,
    account: AccountOption = None,
    fee_cap: FeeCapOption = DEFAULT_FEE_CAP,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
    json: JsonOption = False,
) -> None:
    """Settle the rounds whose windows are over, in order; anybody may.

    It credits their servers, and clients can claim.
    """
    from galaxy_chain.coordinators.settlement import settle_rounds, why_not_settled
    from galaxy_chain.following.follower import JobFollower

    on = Place.of(rpc, home, ledger, any_ledger=any_ledger, fee_cap=fee_cap).ledger_for(account)
    follower = JobFollower(on, job)
    steps = settle_rounds(on, follower)
    follower.poll()
    history = follower.history
    if json:
        print_json({"job": job, "settled": history.settled, "rounds": [vars(step) for step in steps]})
        return
    for step in steps:
        console.print(
            f"round {step.round} settled: its server credited with {ether(step.server_amount)}, {step.gas} gas"
        )
    if history.settled < max(history.commits):
        console.print(why_not_settled(history, history.settled + 1))


@app.command()
def supersede(
    job: JobArgument,
    account: AccountOption = None,
    fee_cap: FeeCapOption = DEFAULT_FEE_CAP,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
) -> None:
    """Take back the newest commit because nobody builds upon it: its model is withheld. Needs a bond in the job.

    A server does it by itself. Nobody is slashed, but the commit's server comes last until a later one of its settles.
    """
    from galaxy_chain.exceptions import LedgerRefusedError
    from galaxy_chain.following.follower import JobFollower
    from galaxy_chain.following.turns import supersede_from
    from galaxy_fl.exceptions import RoundMovedOnError

    on = Place.of(rpc, home, ledger, any_ledger=any_ledger, fee_cap=fee_cap).ledger_for(account)
    assert on.transactions is not None
    history = JobFollower(on, job).history
    number = history.round - 1
    begins = supersede_from(history, on.transactions.signer.address)
    if begins is None:
        raise RoundMovedOnError(
            f"job {job} has no commit that this account can supersede: only the newest can be, while it is not "
            "settled, not the last round's, not built upon by enough updates, and not the account's own; and not by an "
            "account that was proved wrong"
        )
    try:
        receipt = on.transact("supersede", job, history.commits[number].record)
    except LedgerRefusedError as error:
        if error.name != "WindowOpen":
            raise
        raise RoundMovedOnError(
            f"round {number} of job {job} can be superseded from {date(begins)} on, if nobody builds upon it until then"
        ) from error
    console.print(f"the commit of round {number} of job {job} is taken back, {receipt.gas_used} gas")


@app.command()
def cancel(
    job: JobArgument,
    account: AccountOption = None,
    fee_cap: FeeCapOption = DEFAULT_FEE_CAP,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
) -> None:
    """Make a job end with the round that it is at. Up to there all goes on, and what was earned stays.

    By its owner at any time; by anybody once nothing has happened for twice its idle_seconds.
    """
    on = Place.of(rpc, home, ledger, any_ledger=any_ledger, fee_cap=fee_cap).ledger_for(account)
    with too_early():
        receipt = on.transact("cancelJob", job)
    last = on.job(job).state.last_round
    console.print(f"job {job} is cancelled: it ends with round {last}, {receipt.gas_used} gas")


@app.command()
def finalize(
    job: JobArgument,
    account: AccountOption = None,
    fee_cap: FeeCapOption = DEFAULT_FEE_CAP,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
) -> None:
    """Close the books of a job whose last round is settled; anybody may. What no round has earned is the owner's."""
    from galaxy_chain.coordinators.settlement import why_not_settled
    from galaxy_chain.following.follower import JobFollower
    from galaxy_fl.exceptions import RoundMovedOnError

    on = Place.of(rpc, home, ledger, any_ledger=any_ledger, fee_cap=fee_cap).ledger_for(account)
    try:
        with too_early():
            receipt = on.transact("finalizeJob", job)
    except RoundMovedOnError as error:
        history = JobFollower(on, job).history
        if history.settled + 1 not in history.commits:
            raise
        raise RoundMovedOnError(f"{error}; {why_not_settled(history, history.settled + 1)}") from error
    [final] = [
        event
        for event in on.events(receipt.block, receipt.block, job=job, names=["JobFinalized"])
        if "0x" + event.transaction.hex() == receipt.transaction
    ]
    console.print(
        f"job {job} is final: {ether(final.rest)} that no round has earned are credited to its owner {final.owner}, "
        f"{receipt.gas_used} gas"
    )
