"""galaxy-chain server and client: taking part in a job."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from galaxy_chain.cli.hosting import host_clients
from galaxy_chain.cli.limits import BondLimits, DepositLimits
from galaxy_chain.cli.options import Account, JobOption, Json, Polling, Where
from galaxy_chain.cli.relaying import ServerRelay
from galaxy_chain.cli.reporting import printing, warnings_printed
from galaxy_chain.coordinators import LedgerClientCoordinator, LedgerServerCoordinator, Patience
from galaxy_chain.coordinators.keep import Keep
from galaxy_chain.exceptions import JobCancelledError
from galaxy_chain.lane.client_lane import Lane
from galaxy_chain.mode import ParticipantSettings
from galaxy_chain.verify.how import Verify
from galaxy_chain.verify.inspection import Withheld
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.participants.aim import Aim
from galaxy_fl.participants.data import LocalData
from galaxy_fl.participants.events import Listener, Role, Status
from galaxy_fl.participants.guard import check_budget
from galaxy_fl.participants.job_client import JobClient
from galaxy_fl.participants.job_server import JobServer
from galaxy_fl.participants.metrics import MetricsFile
from galaxy_fl.participants.participant import Outcome
from galaxy_fl.participants.tracking import Tracker, tracking
from galaxy_fl.participants.work import Work
from galaxy_fl.trust import Trust

__all__ = ["client", "server"]


@dataclass(frozen=True, kw_only=True)
class Following(Polling):
    """How a participant waits, and who may watch it."""

    confirmations: Annotated[
        int,
        typer.Option(
            min=1,
            help="Blocks that the last commit must have before the job counts as finished.",
            rich_help_panel="Waiting",
        ),
    ] = 1
    status: Annotated[
        str | None,
        typer.Option(
            envvar="GALAXY_STATUS",
            metavar="[HOST:]PORT",
            help="Address at which to answer /healthz and /metrics (Prometheus).",
        ),
    ] = None

    def patience(self) -> Patience:
        """How long to wait, as coordinators take it."""
        return Patience(self.poll, self.confirmations, self.content_timeout)


@dataclass(frozen=True, kw_only=True)
class Torch:
    """Where a model runs, and where its data are."""

    data_root: Annotated[
        str | None,
        typer.Option(
            envvar="GALAXY_DATA_ROOT", help="Folder in which downloaded data sets are.", rich_help_panel="Data"
        ),
    ] = None
    device: Annotated[
        str, typer.Option(envvar="GALAXY_DEVICE", help="Torch device: cpu, cuda, cuda:1, mps.", rich_help_panel="Data")
    ] = "cpu"
    threads: Annotated[
        int,
        typer.Option(
            envvar="GALAXY_THREADS",
            min=1,
            help="Number of torch's threads. More than 1 may change the last bits.",
            rich_help_panel="Data",
        ),
    ] = 1


@dataclass(frozen=True, kw_only=True)
class Own:
    """What a participant measures, trusts, and leaves behind."""

    accuracy: Annotated[
        str | None,
        typer.Option(
            help="Function of your own, module:function, which takes a model's output and the targets of a batch and "
            "returns the fraction that is right.",
            rich_help_panel="Data",
        ),
    ] = None
    trust: Annotated[
        list[str] | None,
        typer.Option(
            help="Owner's address, or digest of a model's source, whose program may run here, beside those in "
            "GALAXY_TRUST. Repeatable."
        ),
    ] = None
    output: Annotated[
        Path,
        typer.Option(
            envvar="GALAXY_OUTPUT", help="Folder for the final model (a state_dict, and safetensors) and the report."
        ),
    ] = Path()

    track: Annotated[
        list[str] | None,
        typer.Option(
            metavar="tensorboard:DIR|mlflow:URI|csv:FILE",
            help="Where to write what is measured, round by round. May be repeated. MLflow's password or token comes "
            "from its own variables, never from the URI.",
        ),
    ] = None

    def trusted(self) -> Trust:
        """Return whom this operator trusts."""
        return Trust.load(self.trust or ())


@dataclass(frozen=True, kw_only=True)
class TestData:
    """What a server evaluates models on."""

    data: Annotated[
        str | None,
        typer.Option(help="Data set on whose test split each model is evaluated.", rich_help_panel="Data"),
    ] = None

    def local(self, torch: Torch, accuracy: str | None) -> LocalData | None:
        """Return the data, as participants take them."""
        if self.data is None:
            return None
        return LocalData(None, self.data, accuracy, torch.device, torch.threads, root=torch.data_root)


@dataclass(frozen=True, kw_only=True)
class OwnData:
    """What a client trains on."""

    data: Annotated[
        str,
        typer.Option(
            help="Data set: digits, mnist, fashion-mnist, cifar-10, or module:function of your own.",
            rich_help_panel="Data",
        ),
    ]
    shard: Annotated[str, typer.Option(help="Part of the data to train on: i/n.", rich_help_panel="Data")] = "1/1"
    shards: Annotated[
        str | None,
        typer.Option(
            metavar="I-J/N",
            help="Be as many clients as these parts, in this one process: 1-100/100. Each needs an account of its own "
            "(--accounts).",
            rich_help_panel="Data",
        ),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            envvar="GALAXY_WORKERS",
            min=1,
            help="Processes that train at a time; as many as there are processors where it is not given.",
            rich_help_panel="Data",
        ),
    ] = None
    partition: Annotated[
        str,
        typer.Option(help="How the data are divided: iid, dirichlet:ALPHA, labels:K.", rich_help_panel="Data"),
    ] = "iid"
    partition_seed: Annotated[
        int, typer.Option(min=0, help="Seed of the division, the same for all clients.", rich_help_panel="Data")
    ] = 0

    test_data: Annotated[
        str | None,
        typer.Option(help="Data set on whose test split each model is evaluated.", rich_help_panel="Data"),
    ] = None

    def local(self, torch: Torch, accuracy: str | None) -> LocalData:
        """Return the data, as participants take them."""
        return LocalData(
            self.data,
            self.test_data,
            accuracy,
            torch.device,
            torch.threads,
            self.shard,
            self.partition,
            self.partition_seed,
            torch.data_root,
        )


@dataclass(frozen=True, kw_only=True)
class Accounts(Account):
    """Who sends the transactions of a client, or of several."""

    accounts: Annotated[
        str | None,
        typer.Option(
            envvar="GALAXY_ACCOUNTS",
            metavar="FILE|dev:I-J",
            help="With --shards the account of each client: a file with a name or an address of a keystore file a "
            "line, all of one password, or dev:I-J for the node's unlocked accounts.",
            rich_help_panel="Account",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class EarlyStop:
    """Which model a server keeps as the best, and with what it ends the job."""

    best: Annotated[
        str | None,
        typer.Option(
            metavar="accuracy|loss|NAME:max|NAME:min",
            help="Keep the model that is the best by this measure on --data, as best_model_pars_JOB in --output.",
            rich_help_panel="Best model",
        ),
    ] = None
    stop_when: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="End the job early once a model meets this, such as 'accuracy>=0.95' or 'loss<=0.1': the round that "
            "is under way then is the last. Takes the account of the job's owner. May be repeated.",
            rich_help_panel="Best model",
        ),
    ] = None
    patience: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="ROUNDS",
            help="End the job early after so many rounds in a row without a better model, by --best.",
            rich_help_panel="Best model",
        ),
    ] = None

    def aim(self, data: str | None) -> Aim:
        """Return what the server aims at."""
        aim = Aim.of(self.best, self.stop_when, self.patience)
        if aim and data is None:
            raise ConfigurationError(
                "--best, --stop-when and --patience go by what the server measures: give it test data (--data)"
            )
        return aim


def server(
    job: JobOption,
    data: TestData,
    torch: Torch,
    own: Own,
    sender: Account,
    terms: BondLimits,
    early: EarlyStop,
    following: Following,
    relaying: ServerRelay,
    where: Where,
    takeover: Annotated[
        bool,
        typer.Option(
            "--takeover",
            help="Serve although the job names another server: commit what it leaves undone, and stay until its last "
            "commit can't be taken back.",
        ),
    ] = False,
    leave: Annotated[
        bool,
        typer.Option(
            "--leave",
            help="End with the job's last round although the bond answers for it longer: whoever then demands a chunk "
            "and gets no answer takes the bond.",
        ),
    ] = False,
    keep: Annotated[
        str,
        typer.Option(
            help="Rounds whose contents stay pinned: all, last:N, or audited (the last alone). What can be challenged "
            "stays in any case."
        ),
    ] = "all",
    json: Json = False,
) -> None:
    """Serve a job: aggregate the updates of each round and commit the next model, with a bond.

    Stays after the last round, or where the job is cancelled, to answer demands until the bond is free and what it has
    earned is paid out. Until then it settles rounds, and supersedes commits whose models are withheld.
    """
    kept = Keep.parse(keep)
    relay = relaying.settings() if relaying.relay else None
    local = data.local(torch, own.accuracy)
    trust, aim = own.trusted(), early.aim(data.data)
    ledger = where.connect(sender)
    with _taking_part("server", job, json, following.status, own.track) as (listeners, looked, track):
        coordinator = LedgerServerCoordinator(
            ledger,
            where.contents(ledger, job),
            job,
            following.patience(),
            takeover=takeover,
            own=where.home,
            keep=kept,
            limits=terms.limits(),
            leave=leave,
            relay=relay,
        )
        with closing(coordinator):
            coordinator.looked = looked
            listeners.append(MetricsFile(where.at().metrics(ledger.address, job)))
            participant = JobServer(
                coordinator, local, trust, output=own.output, listeners=listeners, track=track, aim=aim, alone=True
            )
            _end(participant.run())


def client(
    job: JobOption,
    data: OwnData,
    torch: Torch,
    own: Own,
    sender: Accounts,
    terms: DepositLimits,
    following: Following,
    where: Where,
    verify: Annotated[
        str,
        typer.Option(
            help="How much of each commit to recompute before training on it: branch (of a round with partial sums "
            "those of your own update, and others that are drawn; of one without all), full, sample:K (K random "
            "chunks), or off."
        ),
    ] = "branch",
    withheld: Annotated[
        str,
        typer.Option(
            help="What to do where a commit cannot be recomputed because content is missing: go-on (train, and try "
            "again until its window is over) or wait (train once it is verified, or its window is over)."
        ),
    ] = "go-on",
    lane: Annotated[
        str,
        typer.Option(
            envvar="GALAXY_LANE",
            help="How to join and to hand in updates: signed (sign them and have a relay send them, which needs no "
            "ether), direct (send transactions), or auto (sign, and send a transaction where no relay does).",
        ),
    ] = "auto",
    leave: Annotated[
        bool,
        typer.Option(
            "--leave",
            help="End with the job's last round although rewards are available only when its window is over: "
            "`galaxy-chain claim` and `galaxy-chain withdraw` get them then.",
        ),
    ] = False,
    report: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="A watchtower (`galaxy-chain watch --report`) that is told what this client finds wrong or withheld "
            "and can't pay to bring to the ledger. May be repeated.",
        ),
    ] = None,
    stop_at_epsilon: Annotated[
        float | None,
        typer.Option(
            help="In a private job, the epsilon that this client spends at most: its part ends before the training "
            "that would exceed it, and the job goes on."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Take part in a job: train each round's model on your own data and submit the update.

    Where it has earned something, it stays after the last round until that can be claimed, and takes it. It answers
    demands for servers that are gone.

    With --shards and --accounts it is many clients, of one operator, that share a process, its workers, and what they
    verify. One that fails leaves the others alone.
    """
    check_budget(stop_at_epsilon)
    local = data.local(torch, own.accuracy)
    trust = own.trusted()
    if (data.shards is None) != (sender.accounts is None):
        raise ConfigurationError(
            "many clients need both --shards and --accounts, as in --shards 1-100/100 --accounts dev:3-102"
        )
    if data.shards is not None:
        settings = ParticipantSettings.of(
            {
                "jobs": (job,),
                "poll": following.poll,
                "confirmations": following.confirmations,
                "content_timeout": following.content_timeout,
                "verify": verify,
                "withheld": withheld,
                "lane": lane,
                "leave": leave,
                "report": tuple(report or ()),
                "max_deposit": terms.limits().deposit,
                "any_terms": terms.any_terms,
            }
        )
        parts = local.parts(data.shards)
        with _taking_part("client", job, json, following.status, own.track, len(parts)) as (listeners, looked, track):
            host_clients(
                where.at(sender),
                settings,
                parts,
                trust,
                output=own.output,
                listeners=listeners,
                track=track,
                looked=looked,
                workers=data.workers,
                stop_at_epsilon=stop_at_epsilon,
            )
        return
    ledger = where.connect(sender)
    with _taking_part("client", job, json, following.status, own.track) as (listeners, looked, track):
        coordinator = LedgerClientCoordinator(
            ledger,
            where.contents(ledger, job),
            job,
            following.patience(),
            verify=Verify.parse(verify),
            withheld=Withheld.parse(withheld),
            lane=Lane.parse(lane),
            own=where.home,
            limits=terms.limits(),
            report=report or (),
            leave=leave,
        )
        with closing(coordinator):
            coordinator.looked = looked
            work = Work(data.workers)
            participant = JobClient(
                coordinator,
                local,
                trust,
                output=own.output,
                listeners=listeners,
                track=track,
                work=work,
                alone=True,
                stop_at_epsilon=stop_at_epsilon,
            )
            _end(participant.run())


@contextmanager
def _taking_part(
    role: Role, job: int, json: bool, status: str | None, track: Sequence[str] | None, clients: int | None = None
) -> Iterator[tuple[list[Listener], Callable[[], None], Sequence[Tracker]]]:
    """Yield what listens to a participant, or to so many clients, what it calls when it has seen the chain, and where
    its measurements go."""
    with ExitStack() as stack:
        stack.enter_context(warnings_printed(json, job))
        trackers = stack.enter_context(tracking(track or ()))
        listeners, looked = [stack.enter_context(printing(json, clients))], _nothing
        if status is not None:
            from galaxy_fl.participants.health import Health, serving  # uvicorn and FastAPI, which few ask for

            health = Health(role, job)
            url = stack.enter_context(serving(health, status))
            listeners[0](Status(url=url), str(job))
            listeners, looked = [health, *listeners], health.looked
        try:
            yield listeners, looked, trackers
        except KeyboardInterrupt:
            sys.stderr.write("stopped; the same command continues where it was\n")
            raise


def _nothing() -> None:
    """Nobody watches over the participant."""


def _end(outcome: Outcome) -> None:
    """End the command as its job has ended."""
    if outcome.cancelled:
        raise JobCancelledError(
            f"job {outcome.job} was cancelled, and ends without its round {outcome.rounds}: nobody finished it"
        )
