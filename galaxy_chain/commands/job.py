"""galaxy-chain job: create, list, show, admit, cancel."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel, ValidationError

from galaxy_chain.commands.console import console, print_json, print_table, short
from galaxy_chain.commands.settings import (
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
)
from galaxy_chain.place import DEFAULT_FEE_CAP, DEFAULT_HOME, DEFAULT_RPC, Place

if TYPE_CHECKING:
    from galaxy_chain.ledger.structs import Terms

__all__ = ["JobArgument", "app"]

app = typer.Typer(no_args_is_help=True, help="Jobs on the ledger.")

JobArgument = Annotated[int, typer.Argument(min=1, max=LARGEST_JOB, help="The job's number.")]


@app.command()
def example() -> None:
    """Print an example of a job file."""
    from galaxy_chain.demo import example_job

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
    json: JsonOption = False,
) -> None:
    """Register a job: put its document and initial model into the store, and its terms on the ledger."""
    from galaxy_chain.job_creation import create_job
    from galaxy_chain.job_file import JobFile
    from galaxy_chain.terms import Limits

    job_file = JobFile.read(file)
    place = Place.of(rpc, home, ledger, store, ipfs, gateway, any_ledger=any_ledger, fee_cap=fee_cap)
    on = place.ledger_for(account)
    limits = Limits(any_terms=any_terms)
    created = create_job(on, place.deployment().rules, place.store(on), job_file, file.parent, limits)
    for concern in created.concerns:
        typer.echo(f"warning: {concern.message}", err=True)
    chosen = _shown(created.terms)
    if json:
        print_json({"job": created.job, "parameters": created.parameters, "gas": created.gas, "terms": chosen})
        return
    console.print(f"job {created.job}: “{job_file.name}”, {created.parameters} parameters, {created.gas} gas")
    print_table(("term", "value"), _readable(created.terms, created.owner).items())


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
                "name": _name(contents, job.terms.spec),
                "round": min(job.state.round, job.terms.rounds),
                "rounds": job.terms.rounds,
                "updates": job.state.updates,
                "status": _status(job.state.round, job.terms.rounds, job.state.status),
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
    """Show a job: terms, participants, rounds with their hashes, and its server's metrics where they are at hand."""
    from galaxy_chain.ledger.follower import JobFollower

    place = Place.of(rpc, home, ledger, store, ipfs, gateway, any_ledger=any_ledger)
    on = place.ledger()
    history = JobFollower(on, job).history
    terms = history.terms
    measured = _metrics(place.metrics(on.address, job))
    rounds: list[dict[str, Any]] = [
        {
            "round": number,
            "updates": len(commit.included),
            "excluded": list(commit.record.excluded),
            "model": commit.record.next.root.hex(),
            "server": commit.record.server,
            "block": commit.block,
            "transaction": "0x" + commit.transaction.hex(),
            **{
                key: measured.get((commit.attempt, commit.record.next.root.hex()), {}).get(key)
                for key in ("loss", "accuracy", "gas", "seconds")
            },
        }
        for number, commit in sorted(history.commits.items())
    ]
    shown: dict[str, Any] = {
        "job": job,
        "name": _name(place.store(), terms.spec),
        "owner": history.owner,
        "status": _status(history.round, terms.rounds, history.status),
        "round": history.round,
        "terms": _shown(terms),
        "clients": history.clients,
        "model": history.model.root.hex(),
        "rounds": rounds,
    }
    if json:
        print_json(shown)
        return
    console.print(f"job {job}: {shown['name']}", style="bold", end="")
    console.print(f"  {shown['status']}, owner {history.owner}")
    print_table(("term", "value"), shown["terms"].items())
    console.print()
    print_table(("client", "samples"), history.clients.items())
    console.print()
    print_table(
        ("round", "updates", "excluded", "model", "loss", "accuracy", "gas", "seconds", "block"),
        [
            (
                row["round"], row["updates"], len(row["excluded"]), short(row["model"]), _digits(row["loss"]),
                _digits(row["accuracy"]), row["gas"], _digits(row["seconds"]), row["block"],
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
def cancel(
    job: JobArgument,
    account: AccountOption = None,
    fee_cap: FeeCapOption = DEFAULT_FEE_CAP,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
) -> None:
    """Cancel a job. Commits can be challenged as before, and what clients earned stays theirs."""
    receipt = (
        Place.of(rpc, home, ledger, any_ledger=any_ledger, fee_cap=fee_cap)
        .ledger_for(account)
        .transact("cancelJob", job)
    )
    console.print(f"job {job} is cancelled, {receipt.gas_used} gas")


def _shown(terms: Terms) -> dict[str, Any]:
    return {key: value.hex() if isinstance(value, bytes) else value for key, value in vars(terms).items()}


def _readable(terms: Terms, creator: str) -> dict[str, str]:
    """The terms that the owner chooses, for people."""
    from galaxy_chain.ledger.structs import ZERO_ADDRESS
    from galaxy_chain.terms import ether

    server = {ZERO_ADDRESS: "anyone with a bond", creator: f"{creator} (this account)"}
    amounts = {name: ether(getattr(terms, name)) for name in ("bond", "demand_deposit")}
    others = {
        name: str(value) for name, value in vars(terms).items() if name not in ("spec", "rule", "rule_parameters")
    }
    return (
        others
        | amounts
        | {
            "open": "anyone may join" if terms.open else "only whom its owner admits",
            "server": server.get(terms.server, terms.server),
        }
    )


def _name(store: Any, spec: bytes) -> str | None:
    from galaxy_fl.exceptions import GalaxyError
    from galaxy_fl.job_document import JobDocument

    try:
        return JobDocument.from_bytes(store.block(spec)).name
    except GalaxyError:
        return None  # a list is not the place to complain that somebody else's document is not here


def _status(round: int, rounds: int, status: int) -> str:
    from galaxy_chain.ledger.structs import Status

    if status == Status.RUNNING and round > rounds:
        return "finished"
    return Status(status).name.lower()


class _Metrics(BaseModel):
    """A line of a server's metrics, as far as it is shown."""

    attempt: int
    model: str
    loss: float | None = None
    accuracy: float | None = None
    gas: int | None = None
    seconds: float | None = None


def _metrics(path: Path) -> dict[tuple[int, str], dict[str, Any]]:
    """A server's metrics by attempt and model; empty where there are none."""
    if not path.exists():
        return {}
    found = {}
    for text in path.read_bytes().splitlines():
        with suppress(ValidationError):  # a server that was killed leaves half a line behind
            line = _Metrics.model_validate_json(text)
            found[line.attempt, line.model] = line.model_dump()
    return found


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
