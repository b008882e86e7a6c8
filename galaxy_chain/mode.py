"""Taking part at a ledger: its settings, the places where a client and a server find jobs, and the mode `blockchain` of
PFL's users, whose ledger is a setting, too."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_chain.coordinators import LedgerClientCoordinator, LedgerServerCoordinator, Patience
from galaxy_chain.coordinators.keep import Keep
from galaxy_chain.coordinators.shared_job import SharedJob, lend
from galaxy_chain.jobs.creation import register_job
from galaxy_chain.jobs.file import TermsSection, Wei
from galaxy_chain.jobs.terms import Limits
from galaxy_chain.lane.client_lane import Lane
from galaxy_chain.lane.relay import MOST_ENTRIES, RelaySettings
from galaxy_chain.ledger.contract import JobOnLedger, LedgerContract
from galaxy_chain.ledger.structs import ZERO_ADDRESS, Status
from galaxy_chain.place import DEFAULT_FEE_CAP, DEFAULT_HOME, DEFAULT_RPC, Ledger
from galaxy_chain.settings_file import SETTINGS_FILE, read_settings
from galaxy_chain.store.open import open_store
from galaxy_chain.transactions.manager import Signer
from galaxy_chain.verify.how import Verify
from galaxy_chain.verify.inspection import Withheld
from galaxy_fl.content import Store
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.jobs.request import JobRequest
from galaxy_fl.jobs.start import Start
from galaxy_fl.trust import Trust
from galaxy_fl.validation import explain

LOG = logging.getLogger(__name__)

__all__ = [
    "MODE",
    "BlockchainMode",
    "ChainSettings",
    "LedgerClientPlace",
    "LedgerServerPlace",
    "ParticipantSettings",
    "hosted_places",
    "submit",
]

VARIABLES = (
    "rpc", "home", "ledger", "store", "account", "accounts", "poll", "ipfs", "max_bond", "max_deposit", "lane",
    "relay_batch", "relay_wait", "relay_fee_cap", "relay_budget",
)  # fmt: skip
"""Settings that GALAXY_… variables give, too."""


class ParticipantSettings(BaseModel):
    """How somebody takes part: given, else GALAXY_… variables, else galaxy.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    poll: Annotated[float, Field(ge=0.01, le=3600)] = 1.0
    """The longest pause between two looks at the chain, in seconds."""
    jobs: tuple[int, ...] | None = None
    """Numbers of the jobs to take part in, also if they are over; None for those whose owner is trusted, and for a
    server those that name it, too."""
    confirmations: Annotated[int, Field(ge=1)] = 1
    """How many blocks the last commit must have before a job counts as finished."""
    content_timeout: Annotated[float, Field(ge=0)] = 10.0
    """How long to wait for content that is missing, in seconds."""
    leave: bool = False
    """Whether to end with a job's last round, although a server's bond answers for its commits longer, and a client's
    rewards are available only later."""
    takeover: bool = False
    """Whether a server serves although a job names another, and commits what that one leaves undone."""
    keep: str = "all"
    """Rounds whose contents a server keeps pinned: `all`, `last:N` or `audited`."""
    verify: str = "branch"
    """How much of each commit a client recomputes: `branch` (of rounds with partial sums those of its own update, and
    others that it draws), `full`, `sample:K` or `off`."""
    withheld: str = "go-on"
    """What a client does where it can't, because content is missing: `go-on` or `wait`."""
    lane: str = "auto"
    """How a client joins and hands in: `signed` (it signs, and a relay sends that: this needs no ether), `direct` (it
    sends transactions), or `auto` (it signs, and sends a transaction where no relay does)."""
    relay: bool = False
    """Whether a server hands in what clients have signed, and pays for it."""
    relay_batch: Annotated[int, Field(ge=1, le=MOST_ENTRIES)] = RelaySettings.batch
    """Updates of one transaction of a relay."""
    relay_wait: Annotated[float, Field(ge=0)] = RelaySettings.wait
    """How long an update waits for others of its transaction, in seconds."""
    relay_fee_cap: Annotated[float, Field(ge=0)] | None = None
    """Gwei for a unit of gas above which a relay hands in nothing; None for what the account offers at most."""
    relay_budget: Wei = RelaySettings.budget
    """The most that a relay spends in a round, like "0.1 ether"."""
    max_bond: Wei = Limits().bond
    """The largest bond that a server deposits in a job, like "2 ether"."""
    max_deposit: Wei = Limits().deposit
    """The most that a job's demands may cost for a client to take part."""
    any_terms: bool = False
    """Whether terms that cost money, or leave commits that nobody can challenge, are only warned of."""
    report: tuple[str, ...] = ()
    """URLs of watchtowers that a client tells what it finds wrong or withheld and can't pay to bring to the ledger."""
    trust: tuple[str, ...] = ()
    """Whose jobs to take part in beside those that GALAXY_TRUST and galaxy.toml name: addresses of owners."""
    terms: dict[str, Any] = {}
    """Of a job that is submitted, beside its rounds and numbers of updates: bond, windows, server, reward, …"""

    @classmethod
    def of(cls, given: dict[str, Any]) -> Self:
        """The settings in force.

        Raises:
            ConfigurationError: one is wrong or unknown.
        """
        known = set(cls.model_fields)
        from_file = {name: value for name, value in read_settings(SETTINGS_FILE).items() if name in known}
        variables = {name: os.environ.get(f"GALAXY_{name.upper()}") for name in VARIABLES if name in known}
        from_environment = {name: value for name, value in variables.items() if value is not None}
        try:
            return cls.model_validate(from_file | from_environment | given)
        except ValidationError as error:
            raise ConfigurationError(f"settings of a ledger: {explain(error)}") from error

    @property
    def patience(self) -> Patience:
        """How long a participant waits."""
        return Patience(self.poll, self.confirmations, self.content_timeout)

    @property
    def relaying(self) -> RelaySettings | None:
        """How a server relays; None for not at all."""
        if not self.relay:
            return None
        cap = None if self.relay_fee_cap is None else int(self.relay_fee_cap * 10**9)
        return RelaySettings(self.relay_batch, self.relay_wait, cap, self.relay_budget)

    @property
    def limits(self) -> Limits:
        """What a participant is ready to pay."""
        return Limits(self.max_bond, self.max_deposit, self.any_terms)


class ChainSettings(ParticipantSettings):
    """Where the ledger is, who takes part, and how."""

    rpc: str = DEFAULT_RPC
    home: Path = DEFAULT_HOME
    ledger: Path | None = None
    any_ledger: bool = False
    """Take any contract for the ledger, whatever its code: it may keep the bond. Never from a file or a variable."""
    store: str | None = None
    ipfs: str | None = None
    gateway: tuple[str, ...] = ()
    account: str | None = None
    """A keystore's name or address, or `dev:N`; without it the key in GALAXY_KEY."""
    accounts: str | None = None
    """Of several clients in one program: `dev:FIRST-LAST`, or a file with a name or an address a line."""
    fee_cap: Annotated[float, Field(ge=0)] = DEFAULT_FEE_CAP
    """The most to offer for a unit of gas, in gwei."""

    def at(self) -> Ledger:
        """The ledger that they name."""
        return Ledger(
            self.rpc,
            self.ledger,
            account=self.account,
            accounts=self.accounts,
            store=self.store,
            home=self.home,
            ipfs=self.ipfs,
            gateways=self.gateway,
            fee_cap=self.fee_cap,
            any_ledger=self.any_ledger,
        )


class _LedgerPlace:
    """What the two places below have in common. All jobs and accounts of a process share the connections."""

    def __init__(self, at: Ledger, settings: ParticipantSettings, account: Future[Signer] | None = None) -> None:
        self._at = at
        self._settings = settings
        self._account = account
        self._over: set[int] = set()
        self._passed_over: set[int] = set()
        if account is None:
            self._ledger  # noqa: B018  # so that whatever is wrong with it is said before jobs are looked for

    @cached_property
    def _ledger(self) -> LedgerContract:
        return self._at.acting() if self._account is None else self._at.hosting(self._account.result())

    @property
    def _address(self) -> str:
        assert self._ledger.transactions is not None
        return self._ledger.transactions.signer.address

    @property
    def name(self) -> str:
        """The ledger and its node."""
        return f"ledger {self._ledger.address} at {self._ledger.rpc.name}"

    def close(self) -> None:
        """Nothing is held open."""

    def _chosen(self) -> list[tuple[int, JobOnLedger]]:
        trust = Trust.load(self._settings.trust)
        wanted = self._settings.jobs or range(1, self._ledger.jobs() + 1)
        chosen = []
        for number in wanted:
            if number in self._over:
                continue
            job = self._ledger.job_of(number)
            if self._settings.jobs is not None or trust.names(job.owner) or self._is_mine(job):
                chosen.append((number, job))
            elif job.state.status == Status.RUNNING and number not in self._passed_over:
                self._passed_over.add(number)
                LOG.warning(
                    "job %d is passed over, because its owner %s is not trusted here: to take part in it, give "
                    "jobs=[%d]; to take part in all of this owner's jobs, set GALAXY_TRUST=%s",
                    *(number, job.owner, number, job.owner),
                )
        return chosen

    def _is_mine(self, job: JobOnLedger) -> bool:
        return job.owner == self._address


class LedgerClientPlace(_LedgerPlace):
    """The jobs of a ledger that a client takes part in.

    Args:
        at: The ledger.
        settings: How the client takes part.
        account: Of one of several clients of a program: the account, once its key is open. None for the ledger's own.
    """

    def __init__(self, at: Ledger, settings: ParticipantSettings, account: Future[Signer] | None = None) -> None:
        super().__init__(at, settings, account)
        self._open: list[LedgerClientCoordinator] = []
        self._changed = threading.Condition()
        self._opening = 0
        """How many threads open a job."""
        self._closed = False

    @property
    def name(self) -> str:
        """The ledger and its node; no key is waited for."""
        return self._at.name

    def jobs(self) -> Sequence[str]:
        """Those named, or those chosen that run and have rounds left."""
        if self._settings.jobs is not None:  # what was earned there may still have to be paid out
            return [str(number) for number in self._settings.jobs]
        if self._account is not None and not self._account.done():
            return []  # its key is not open yet
        chosen = self._chosen()
        running = [
            (number, job)
            for number, job in chosen
            if job.state.status == Status.RUNNING and job.state.round <= job.state.last_round
        ]
        self._over |= {number for number, _ in chosen} - {number for number, _ in running}
        return [str(number) for number, _ in running]

    def open(self, job_id: str) -> LedgerClientCoordinator:
        """A job to take part in. Clients of one process share what they follow and verify there.

        Raises:
            ConfigurationError: the place is closed.
            GalaxyError: the job can't be opened.
        """
        with self._changed:
            if self._closed:
                raise ConfigurationError(f"{self.name} is closed: job {job_id} is not taken part in any more")
            self._opening += 1
        try:
            coordinator = self._coordinator(int(job_id))
            with self._changed:
                self._open.append(coordinator)
            return coordinator
        finally:
            with self._changed:
                self._opening -= 1
                self._changed.notify_all()

    def _coordinator(self, job: int) -> LedgerClientCoordinator:
        at, settings, ledger = self._at, self._settings, self._ledger
        name = f"{self._address}-{LedgerClientCoordinator.role}"

        def share() -> SharedJob:
            return SharedJob(ledger, at.store(), job, at.home, name, settings.poll, at.hosted)

        shared = lend((at.place_of(ledger), job), share)
        try:
            return LedgerClientCoordinator(
                ledger,
                at.store(ledger, job),
                job,
                settings.patience,
                verify=Verify.parse(settings.verify),
                withheld=Withheld.parse(settings.withheld),
                lane=Lane.parse(settings.lane),
                own=at.home,
                limits=settings.limits,
                leave=settings.leave,
                report=settings.report,
                shared=shared,
            )
        except BaseException:
            shared.leave()
            raise

    def close(self) -> None:
        """Leave what is still taken part in, because the program ends: its threads are left behind, and must not be in
        the midst of SQLite then. Those that only open a job are waited for, all of a program together for some
        seconds."""
        with self._changed:
            self._closed = True
            left = self._at.closes_by - time.monotonic()
            self._changed.wait_for(lambda: self._opening == 0, max(0.0, left))
            opened = tuple(self._open)
        for coordinator in opened:
            coordinator.close()


class LedgerServerPlace(_LedgerPlace):
    """The jobs of a ledger that a server serves."""

    def _is_mine(self, job: JobOnLedger) -> bool:
        return job.terms.server == self._address or (job.terms.server == ZERO_ADDRESS and super()._is_mine(job))

    def jobs(self) -> Sequence[str]:
        """Those chosen."""
        return [str(number) for number, _ in self._chosen()]

    def open(self, job_id: str) -> LedgerServerCoordinator:
        """A job to serve."""
        ledger, job = self._at.acting(), int(job_id)
        store = self._at.store(ledger, job)
        return LedgerServerCoordinator(
            ledger,
            store,
            job,
            self._settings.patience,
            takeover=self._settings.takeover,
            own=self._at.home,
            keep=Keep.parse(self._settings.keep),
            leave=self._settings.leave,
            limits=self._settings.limits,
            relay=self._settings.relaying,
        )


def hosted_places(
    at: Ledger,
    settings: ParticipantSettings,
    client_ids: Sequence[str],
    say: Callable[[str], None] = LOG.warning,
) -> list[list[LedgerClientPlace]]:
    """The place of each of several clients of one program.

    Args:
        at: The ledger, with their accounts.
        settings: How all of them take part.
        client_ids: What they are called.
        say: Takes how many of their keys are open, now and then.

    Raises:
        AccountError: there are not as many accounts as clients, or one of them can't be.
        GalaxyError: the ledger is not there.
    """
    if len(client_ids) == 1 and at.accounts is None:
        return [[LedgerClientPlace(at, settings)]]
    at.open()
    return [[LedgerClientPlace(at, settings, account)] for account in at.signers(len(client_ids), say)]


def submit(at: Ledger, settings: ParticipantSettings, request: JobRequest) -> str:
    """Register a job at a ledger; its id is its number there.

    Raises:
        GalaxyError: it can't be registered.
    """
    wanted = {name: value for name, value in asdict(request.terms).items() if value is not None}
    if request.terms.deadline is not None:
        wanted["deadline"] = math.ceil(request.terms.deadline)  # a ledger counts whole seconds
    # As in the other modes, whoever is there takes part, unless it is sealed; `terms` may say otherwise.
    wanted["open"] = request.document.seal is None
    try:
        section = TermsSection.model_validate(wanted | settings.terms)
    except ValidationError as error:
        raise ConfigurationError(f"the job's terms: {explain(error)}") from error
    ledger = at.acting()
    created = register_job(
        ledger,
        at.deployment().rules,
        at.store(ledger),
        request.document,
        request.initial,
        request.source,
        section,
        settings.limits,
        request.base,
        at.home,
    )
    for concern in created.concerns:
        LOG.warning("job %d: %s", created.job, concern.message)
    return str(created.job)


class BlockchainMode:
    """Jobs at the ledger that the settings name."""

    def open_store(self, folder: Path, ipfs: str | None, gateways: Sequence[str]) -> Store:
        """The store in `folder`, with an IPFS node and gateways behind it, also for jobs without a ledger."""
        return open_store(folder, ipfs, gateways)

    def submit(self, request: JobRequest, **settings: Any) -> str:
        """Register a job.

        Raises:
            GalaxyError: it can't be registered.
        """
        chosen = ChainSettings.of(settings)
        return submit(chosen.at(), chosen, request)

    def model_of(self, job_id: str, round: str, **settings: Any) -> Start:
        """The model after a round of a job, verified."""
        return ChainSettings.of(settings).at().model_of(job_id, round)

    def client_places(self, client_id: str, **settings: Any) -> Sequence[LedgerClientPlace]:
        """The one ledger; the account is the client's name there."""
        chosen = ChainSettings.of(settings)
        return [LedgerClientPlace(chosen.at(), chosen)]

    def places_of(self, client_ids: Sequence[str], **settings: Any) -> Sequence[Sequence[LedgerClientPlace]]:
        """The one ledger for each of several clients; their accounts are their names there."""
        chosen = ChainSettings.of(settings)
        return hosted_places(chosen.at(), chosen, client_ids)

    def server_place(self, **settings: Any) -> LedgerServerPlace:
        """The ledger."""
        chosen = ChainSettings.of(settings)
        return LedgerServerPlace(chosen.at(), chosen)


MODE = BlockchainMode()
