"""galaxy-chain server and client: taking part in a job."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galaxy_chain.cli.settings import (
    LARGEST_JOB,
    AccountOption,
    AnyLedgerOption,
    AnyTermsOption,
    DataRootOption,
    DeviceOption,
    FeeCapOption,
    GatewayOption,
    HomeOption,
    IpfsOption,
    JsonOption,
    LedgerOption,
    MaxBondOption,
    MaxDepositOption,
    PollOption,
    RpcOption,
    StoreOption,
    ThreadsOption,
    amount,
)
from galaxy_chain.place import DEFAULT_FEE_CAP, DEFAULT_HOME, DEFAULT_RPC, Place

if TYPE_CHECKING:
    from galaxy_chain.web.status import Status

__all__ = ["client", "server"]

Say = Callable[[dict[str, Any]], None]

JobOption = Annotated[int, typer.Option(min=1, max=LARGEST_JOB, help="The job's number.")]
StatusOption = Annotated[
    str | None,
    typer.Option(
        envvar="GALAXY_STATUS", metavar="[HOST:]PORT", help="Answer /healthz and /metrics (Prometheus) there."
    ),
]
ConfirmationsOption = Annotated[
    int, typer.Option(min=1, help="Blocks that the last commit has to have before the job counts as finished.")
]
ContentOption = Annotated[float, typer.Option(min=0, help="How long to wait for content that is missing, in seconds.")]


def server(
    job: JobOption,
    data: Annotated[
        str | None,
        typer.Option(help="Evaluate each model on this data set's test split.", rich_help_panel="Data"),
    ] = None,
    data_root: DataRootOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    takeover: Annotated[
        bool, typer.Option("--takeover", help="Serve though another is named: commit what it leaves undone.")
    ] = False,
    leave: Annotated[
        bool,
        typer.Option(
            "--leave",
            help="End with the job's last round, though the bond answers for it longer: whoever demands a chunk then "
            "and gets no answer takes the bond.",
        ),
    ] = False,
    keep: Annotated[
        str,
        typer.Option(
            help="Which rounds' contents stay pinned: all, last:N, or audited, the last alone. "
            "What can be challenged stays in any case."
        ),
    ] = "all",
    poll: PollOption = 1.0,
    confirmations: ConfirmationsOption = 1,
    content_timeout: ContentOption = 10.0,
    account: AccountOption = None,
    fee_cap: FeeCapOption = DEFAULT_FEE_CAP,
    max_bond: MaxBondOption = "2 ether",
    any_terms: AnyTermsOption = False,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
    store: StoreOption = None,
    ipfs: IpfsOption = None,
    gateway: GatewayOption = None,
    status: StatusOption = None,
    json: JsonOption = False,
) -> None:
    """Serve a job: aggregate the updates of each round and commit the next model, with a bond.

    It stays after the last round, or where the job is cancelled, to answer demands until the bond is free and what it
    has earned is out. Until then it settles rounds, and supersedes commits whose models are withheld.
    """
    from galaxy_chain.coordinators import LedgerServerCoordinator, Patience
    from galaxy_chain.coordinators.keep import Keep
    from galaxy_chain.jobs.terms import Limits
    from galaxy_chain.participants import DataChoice, run_server_of_job

    kept = Keep.parse(keep)
    place = Place.of(rpc, home, ledger, store, ipfs, gateway, fee_cap, any_ledger=any_ledger)
    limits = Limits(bond=amount(max_bond), any_terms=any_terms)
    choice = None if data is None else DataChoice(data, root=data_root, device=device, threads=threads)
    on = place.ledger_for(account)
    with _taking_part("server", job, json, status) as (say, looked):
        coordinator = LedgerServerCoordinator(
            on,
            place.store(on, job),
            job,
            Patience(poll, confirmations, content_timeout),
            takeover=takeover,
            own=place.home,
            keep=kept,
            limits=limits,
            leave=leave,
        )
        with closing(coordinator):
            coordinator.looked = looked
            run_server_of_job(coordinator, choice, place.metrics(on.address, job), say)


def client(
    job: JobOption,
    data: Annotated[
        str,
        typer.Option(
            help="digits, mnist, fashion-mnist, cifar-10, or module:function of your own.",
            rich_help_panel="Data",
        ),
    ],
    shard: Annotated[str, typer.Option(help="Which part of the data: i/n.", rich_help_panel="Data")] = "1/1",
    partition: Annotated[
        str,
        typer.Option(help="How the data are divided: iid, dirichlet:ALPHA, labels:K.", rich_help_panel="Data"),
    ] = "iid",
    partition_seed: Annotated[int, typer.Option(min=0, help="The same for all clients.", rich_help_panel="Data")] = 0,
    data_root: DataRootOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    verify: Annotated[
        str, typer.Option(help="How much of each commit to recompute before training on it: full, sample:K, off.")
    ] = "full",
    withheld: Annotated[
        str,
        typer.Option(
            help="Where a commit can't be recomputed because content is missing: go-on (train, and try again until its "
            "window is over) or wait (train once it is verified, or its window is over)."
        ),
    ] = "go-on",
    leave: Annotated[
        bool,
        typer.Option(
            "--leave",
            help="End with the job's last round, though rewards can be had only when its window is over: "
            "`galaxy-chain claim` and `galaxy-chain withdraw` get them then.",
        ),
    ] = False,
    poll: PollOption = 1.0,
    confirmations: ConfirmationsOption = 1,
    content_timeout: ContentOption = 10.0,
    account: AccountOption = None,
    fee_cap: FeeCapOption = DEFAULT_FEE_CAP,
    max_deposit: MaxDepositOption = "0.1 ether",
    any_terms: AnyTermsOption = False,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
    store: StoreOption = None,
    ipfs: IpfsOption = None,
    gateway: GatewayOption = None,
    status: StatusOption = None,
    json: JsonOption = False,
) -> None:
    """Take part in a job: train each round's model on your own data and submit the update.

    Where it has earned something, it stays after the last round until that can be claimed, and takes it. It answers
    demands for servers that are gone.
    """
    from galaxy_chain.coordinators import LedgerClientCoordinator, Patience
    from galaxy_chain.jobs.terms import Limits
    from galaxy_chain.participants import DataChoice, run_client_of_job
    from galaxy_chain.verify.inspection import Withheld
    from galaxy_chain.verify.verifier import Verify

    place = Place.of(rpc, home, ledger, store, ipfs, gateway, fee_cap, any_ledger=any_ledger)
    limits = Limits(deposit=amount(max_deposit), any_terms=any_terms)
    choice = DataChoice(data, shard, partition, partition_seed, data_root, device, threads)
    on = place.ledger_for(account)
    with _taking_part("client", job, json, status) as (say, looked):
        coordinator = LedgerClientCoordinator(
            on,
            place.store(on, job),
            job,
            Patience(poll, confirmations, content_timeout),
            verify=Verify.parse(verify),
            withheld=Withheld.parse(withheld),
            own=place.home,
            limits=limits,
            leave=leave,
        )
        with closing(coordinator):
            coordinator.looked = looked
            run_client_of_job(coordinator, choice, say)


@contextmanager
def _taking_part(role: str, job: int, json: bool, status: str | None) -> Iterator[tuple[Say, Callable[[], None]]]:
    """Gives what a participant says things with, and what it calls when it has seen the chain."""
    from galaxy_chain.cli.reporting import reporting

    with ExitStack() as stack:
        observer: Status | None = None
        if status is not None:
            from galaxy_chain.web.status import Status, serving

            observer = Status(role, job)
            url = stack.enter_context(serving(observer, status))
        say = stack.enter_context(reporting(json, job, observer))
        if status is not None:
            say({"event": "status", "url": url})
        try:
            yield say, (lambda: None) if observer is None else observer.looked
        except KeyboardInterrupt:
            sys.stderr.write("stopped; the same command goes on where it was\n")
            raise
