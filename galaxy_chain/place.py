"""A ledger as a place to meet: its nodes, its contract, who acts there, where contents are, and what is kept."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from functools import cached_property
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galaxy_fl.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from eth_account.signers.local import LocalAccount
    from web3 import Web3

    from galaxy_chain.following.history import JobHistory
    from galaxy_chain.ledger.contract import Jobs, LedgerContract
    from galaxy_chain.ledger.deployment import Deployment
    from galaxy_chain.mode import LedgerClientPlace, LedgerServerPlace
    from galaxy_chain.rpc.rpc import Rpc
    from galaxy_chain.transactions.manager import Signer, TransactionSettings
    from galaxy_chain.verify.audit import Auditor
    from galaxy_fl.content import Store
    from galaxy_fl.jobs.request import JobRequest
    from galaxy_fl.jobs.start import Start

__all__ = ["DEFAULT_FEE_CAP", "DEFAULT_HOME", "DEFAULT_RPC", "Ledger", "ask_password"]

DEFAULT_RPC = "http://127.0.0.1:8545"
DEFAULT_HOME = Path(".galaxy")
DEFAULT_FEE_CAP = 500.0
CLOSING_SECONDS = 5.0


def ask_password(name: str) -> str:
    """Ask for an account's password on the terminal.

    Raises:
        AccountError: there is no terminal.
    """
    from galaxy_chain.exceptions import AccountError
    from galaxy_chain.transactions.accounts import PASSWORD_VARIABLE

    if not sys.stdin.isatty():
        raise AccountError(f"there is no terminal to ask for the password of {name}: set {PASSWORD_VARIABLE}")
    return getpass(f"Password of {name}: ")


class Ledger:
    """A ledger to read, to submit jobs to and to take part in jobs at.

    Nothing is asked or opened until it is needed, or until `open`, which a `with` statement calls.

    Args:
        nodes: URLs of Ethereum nodes of one chain: where one fails, the next is asked. Or a `web3.Web3` of your own,
            with an HTTPProvider or an IPCProvider.
        deployment: The file that `galaxy-chain deploy` has written; None for `ledger.json` in `home`.
        account: Who sends transactions: the name or the address of a keystore file in `home`, `dev:N` for the node's
            N-th unlocked account, or an account of eth_account. None for the key in GALAXY_KEY or, with a `Web3`, its
            default account; with one, an address is what its middleware or its node signs for.
        accounts: Those of several clients that one program hosts, `galaxy_fl.Client(shards=…)`: `dev:3-102`, or a file
            with a name or an address of a keystore file a line, or a list of such. One password opens all of them.
        store: Content store: a folder (None for `store` in `home`), or the URL of one that is served.
        home: Folder for everything that is kept: keys, transactions, what is known of jobs.
        ipfs: URL of the RPC of an IPFS node behind the folder.
        gateways: URLs of IPFS gateways to read from where everything else fails.
        fee_cap: The most to offer for a unit of gas, in gwei.
        any_ledger: Whether to accept a contract of any code, made in any way: it may keep your bond.

    Raises:
        ConfigurationError: `nodes` can't be used, or two kinds of stores are named.

    Example:
        >>> import galaxy_chain
        >>> ledger = galaxy_chain.Ledger("http://127.0.0.1:8545", account="alice")
        >>> with ledger:  # doctest: +SKIP
        ...     for number, job in ledger.jobs().items():
        ...         print(number, job.owner, job.state.round)
    """

    def __init__(
        self,
        nodes: str | Sequence[str] | Web3 = DEFAULT_RPC,
        deployment: str | os.PathLike[str] | None = None,
        *,
        account: str | LocalAccount | None = None,
        accounts: str | os.PathLike[str] | Sequence[str] | None = None,
        store: str | os.PathLike[str] | None = None,
        home: str | os.PathLike[str] = DEFAULT_HOME,
        ipfs: str | None = None,
        gateways: Sequence[str] | None = None,
        fee_cap: float = DEFAULT_FEE_CAP,
        any_ledger: bool = False,
    ) -> None:
        self._web3: Web3 | None = None
        self._urls: tuple[str, ...] = ()
        if isinstance(nodes, str):
            self._urls = tuple(part.strip() for part in nodes.split(","))
        elif isinstance(nodes, list | tuple) and all(isinstance(url, str) for url in nodes):
            self._urls = tuple(nodes)
        else:
            from galaxy_chain.rpc.web3_rpc import as_web3

            self._web3 = as_web3(nodes)
        if self._web3 is None and not (self._urls and all(self._urls)):
            raise ConfigurationError(f"nodes is {nodes!r}, expected the URLs of nodes, or a web3.Web3")
        self.home = Path(home)
        self.deployment_file = self.home / "ledger.json" if deployment is None else Path(deployment)
        self.store_url = store if isinstance(store, str) and store.startswith(("http://", "https://")) else None
        if self.store_url is not None and (ipfs or gateways):
            raise ConfigurationError(
                f"the store is at {self.store_url}, so there is nothing to get by IPFS: name one of them"
            )
        self.store_folder = self.home / "store" if store is None or self.store_url is not None else Path(store)
        self._account = account
        if account is not None and accounts is not None:
            raise ConfigurationError(
                "account and accounts are both given: the one is for one client, the other for several in one program"
            )
        self.accounts = os.fspath(accounts) if isinstance(accounts, os.PathLike) else accounts
        self._ipfs = ipfs
        self._gateways = tuple(gateways or ())
        self._fee_cap = fee_cap
        self._any_ledger = any_ledger
        self._reading: LedgerContract | None = None
        self._hosting: LedgerContract | None = None
        self.hosted = 1
        """How many clients this process has, once their accounts were asked for."""
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        """The file and the account; not the nodes, whose URLs may have secrets in them."""
        account = self._account if self._account is None else str(getattr(self._account, "address", self._account))
        # Longer than an address may be a key that was given by mistake.
        who = "" if account is None else f", account={account if len(account) <= 42 else '…'!r}"
        return f"Ledger(deployment={str(self.deployment_file)!r}{who})"

    # What users need

    def open(self) -> Ledger:
        """Connect to a node and make sure of the contract.

        Raises:
            NoLedgerError: no ledger is known, or there is none at its address.
            ForeignLedgerError: it is another contract than the ledger that is known here.
            RpcError: no node answers, or they are of another chain.
        """
        self._reading = self._reading or self.contract()
        return self

    def close(self) -> None:
        """Let the connection go. The next use connects again."""
        self._reading = None

    def __enter__(self) -> Ledger:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def jobs(self) -> Jobs:
        """What the ledger stores of all of its jobs, by their numbers; a notebook shows it as a table.

        Raises:
            GalaxyError: as `open`.
        """
        from galaxy_chain.ledger.contract import Jobs

        contract = self._read()
        return Jobs({number: contract.job_of(number) for number in range(1, contract.jobs() + 1)})

    def job(self, number: int) -> JobHistory:
        """A job's history from its first event to the newest block: its terms, commits, clients and accounts.

        Raises:
            UnknownJobError: there is none with that number.
            AuditError: its events contradict each other.
            GalaxyError: as `open`.
        """
        from contextlib import closing

        from galaxy_chain.following.follower import JobFollower

        with closing(JobFollower(self._read(), number)) as follower:
            return follower.history

    def audit(self, number: int) -> Auditor:
        """What recomputes a job from its events and contents: `rounds()` goes through them, to the bit.

        Raises:
            UnknownJobError: there is none with that number.
            GalaxyError: as `open`, or the job's document is missing.
        """
        from galaxy_chain.verify.audit import Auditor

        return Auditor(self._read(), self.store(), number, self.home)

    def report(self, number: int, file: str | os.PathLike[str]) -> str:
        """Write the report of a job, an HTML file to be filed, every round recomputed, as `galaxy-chain job report`.

        Returns:
            The SHA-256 of the file, in hexadecimal.

        Raises:
            UnknownJobError: there is none with that number.
            ConfigurationError: the file can't be written there.
            GalaxyError: as `open`.
        """
        from galaxy_chain.report.file import write_report

        return write_report(self, self._read(), self.store(), number, Path(file)).sha256

    def admit(self, number: int, accounts: Sequence[str]) -> None:
        """Admit clients to a job that is not open, as its owner.

        Args:
            number: The job's.
            accounts: Their addresses.

        Raises:
            GalaxyError: the ledger refuses, or it can't be sent.
        """
        self.acting().admit(number, list(accounts)).transact()

    def export_keys(self, number: int, file: str | os.PathLike[str]) -> None:
        """Write the keys of a sealed job into a new file, for an auditor: as a member, whose key is in `home`.

        Whoever has the file reads all models and updates of the job so far.

        Raises:
            KeyMissingError: not all of them are here.
            ConfigurationError: the file can't be written, or is there already.
            GalaxyError: as `job`.
        """
        from galaxy_chain.seal.job_keys import JobKeys
        from galaxy_chain.seal.vault import vault_of

        history, vault = self.job(number), vault_of(self.home)
        keys = JobKeys(vault, lambda: history)
        if not history.epochs or keys.lacking():
            raise keys.missing()
        vault.export(keys.known(), Path(file))

    def import_keys(self, file: str | os.PathLike[str]) -> None:
        """Keep the keys of a file that a member has exported, in `home`.

        Raises:
            ConfigurationError: it is not such a file.
        """
        from galaxy_chain.seal.vault import vault_of

        vault_of(self.home).read(Path(file))

    def web3(self) -> Web3:
        """The `Web3` that was given, or a new one whose requests fail over from one node to the next as Galaxy's do."""
        if self._web3 is not None:
            return self._web3
        from web3 import Web3

        from galaxy_chain.rpc.web3_rpc import RpcProvider

        return Web3(RpcProvider(self.rpc))

    # The methods of a mode: what `at=` takes

    def submit(self, request: JobRequest, **settings: Any) -> str:
        """Register a job; its id is its number. `galaxy_fl.submit(job, at=ledger)` calls this.

        Raises:
            ConfigurationError: a setting is unknown, or a term is not valid.
            GalaxyError: the job can't be registered.
        """
        from galaxy_chain.mode import ParticipantSettings, submit

        return submit(self, ParticipantSettings.of(settings), request)

    def model_of(self, job_id: str, round: str, **settings: Any) -> Start:
        """Return the model after a round of a job, verified. `galaxy_fl.submit` calls this for `Job(start="7:12")`.

        Raises:
            ConfigurationError: it is not a job's number, or there is no such round.
            GalaxyError: the model can't be had.
        """
        from galaxy_chain.jobs.rounds import start_of

        if not (job_id.isascii() and job_id.isdecimal()):
            raise ConfigurationError(f"start names the job {job_id!r}, expected its number on the ledger, as in '7:12'")
        ledger, job = self._read(), int(job_id)
        return start_of(ledger, self.store(), job, round, self.metrics(ledger.address, job), self.home)

    def client_places(self, client_id: str, **settings: Any) -> Sequence[LedgerClientPlace]:
        """This one ledger; the account is the client's name there. `galaxy_fl.Client(at=ledger)` calls this."""
        from galaxy_chain.mode import LedgerClientPlace, ParticipantSettings

        return [LedgerClientPlace(self, ParticipantSettings.of(settings))]

    def places_of(self, client_ids: Sequence[str], **settings: Any) -> Sequence[Sequence[LedgerClientPlace]]:
        """This one ledger for each of several clients. `galaxy_fl.Client(shards=…, at=ledger)` calls this."""
        from galaxy_chain.mode import ParticipantSettings, hosted_places

        return hosted_places(self, ParticipantSettings.of(settings), client_ids)

    def server_place(self, **settings: Any) -> LedgerServerPlace:
        """This ledger. `galaxy_fl.Server(at=ledger)` calls this."""
        from galaxy_chain.mode import LedgerServerPlace, ParticipantSettings

        return LedgerServerPlace(self, ParticipantSettings.of(settings))

    # What the rest of the package needs

    def deployment(self) -> Deployment:
        """What the ledger's file says.

        Raises:
            NoLedgerError, ConfigurationError: there is none, or it is not valid.
        """
        from galaxy_chain.ledger.deployment import Deployment

        return Deployment.read(self.deployment_file)

    def rpc(self, *, timeout: float = 30.0, patience: float = 120.0) -> Rpc:
        """Connections of one's own to the nodes.

        Args:
            timeout: Seconds that one request may take; a `Web3`'s provider has its own.
            patience: Seconds until a request to nodes that have answered before is given up.
        """
        if self._web3 is not None:
            from galaxy_chain.rpc.web3_rpc import Web3Rpc

            return Web3Rpc(self._web3, patience)
        from galaxy_chain.rpc.rpc import Rpc

        return Rpc(self._urls, timeout, patience)

    @cached_property
    def signer(self) -> Signer:
        """The account that acts; asks for its password on the terminal.

        Raises:
            AccountError: there is no such account, or its key can't be opened.
            RpcError: the node fails.
        """
        from eth_utils.address import is_address, to_checksum_address

        from galaxy_chain.transactions.accounts import Keystore, LocalSigner, find_signer

        account = self._account
        if account is not None and not isinstance(account, str):
            return LocalSigner(account)
        if self._web3 is not None:
            account = account or self._web3.eth.default_account or None
            if account is not None and is_address(account):
                from galaxy_chain.transactions.web3_signer import Web3Signer

                return Web3Signer(self._web3, to_checksum_address(account))
        return find_signer(account, Keystore(self.home / "keystore"), self.rpc(), ask_password)

    def contract(self, signer: Signer | None = None, rpc: Rpc | None = None) -> LedgerContract:
        """The contract, to read, or to write to where there is a signer; made sure of that it is a ledger.

        Args:
            rpc: The nodes, if they are to be asked in another way than usual.

        Raises:
            ForeignLedgerError: it is another contract than the ledger that is known here.
            GalaxyError: it, or the node, is not there.
        """
        from galaxy_chain.ledger.contract import LedgerContract
        from galaxy_chain.ledger.genuine import check_creation
        from galaxy_chain.transactions.manager import Transactions

        where = self.deployment()
        rpc = self.rpc() if rpc is None else rpc
        rpc.check_chain(where.chain_id)
        settings = self.transaction_settings
        transactions = None if signer is None else Transactions(rpc, signer, self.journal, settings)
        contract = LedgerContract(
            rpc,
            where.ledger,
            transactions,
            first_block=where.block,
            chain_id=where.chain_id,
            any_ledger=self._any_ledger,
        )
        if not self._any_ledger:
            check_creation(rpc, where.ledger, where.block)
        return contract

    def acting(self) -> LedgerContract:
        """The contract, to write to by the account.

        Raises:
            AccountError, GalaxyError: as `signer` and `contract`.
        """
        self.deployment()  # before anybody types a password in vain
        return self.contract(self.signer)

    def hosting(self, signer: Signer) -> LedgerContract:
        """The contract, to write to by one of several accounts of this process, which share the connections.

        Raises:
            GalaxyError: as `contract`.
        """
        with self._lock:
            if self._hosting is None:
                self._hosting = self.contract(signer)
            return self._hosting.by(signer)

    def signers(self, count: int, say: Callable[[str], None] = lambda message: None) -> list[Future[Signer]]:
        """What will be the account of each of so many clients; their keys are opened meanwhile.

        Args:
            count: How many clients there are.
            say: Takes how many keys are open, now and then.

        Raises:
            AccountError: there are not as many accounts as clients, or one of them can't be.
            GalaxyError: the node, or the ledger's file, is not there.
        """
        from galaxy_chain.exceptions import AccountError
        from galaxy_chain.transactions.accounts import Keystore
        from galaxy_chain.transactions.several import open_accounts, parse_accounts

        if self.accounts is None:
            raise AccountError(
                f"{count} clients need as many accounts: name them, accounts=… (--accounts), as dev:FIRST-LAST or a "
                "file with a name or an address a line"
            )
        self.hosted = count
        names = parse_accounts(self.accounts, count)
        self.deployment()  # before anybody types a password in vain
        return open_accounts(names, Keystore(self.home / "keystore"), self.rpc(), ask_password, say)

    @cached_property
    def name(self) -> str:
        """The ledger and its node."""
        return f"ledger {self.deployment().ledger} at {self.rpc().name}"

    @cached_property
    def closes_by(self) -> float:
        """Until when a program that ends waits for those of its threads that open a job here, by `time.monotonic`."""
        return time.monotonic() + CLOSING_SECONDS

    def place_of(self, ledger: LedgerContract) -> tuple[object, ...]:
        """What tells this ledger, as this process sees it, from others: nodes, folder and store."""
        nodes = id(self._web3) if self._web3 is not None else self._urls
        store = self.store_url, self.store_folder.absolute(), self._ipfs, self._gateways
        return ledger.chain_id, ledger.address, nodes, self.home.absolute(), store

    def store(self, contract: LedgerContract | None = None, job: int = 0) -> Store:
        """The content store.

        Args:
            contract: The ledger whose account writes, where the store is served by somebody; None to read.
            job: The job that it writes for; 0 for one that is not registered yet.

        Raises:
            ContentError: its folder can't be used.
            ConfigurationError: a URL is not valid.
        """
        if self.store_url is None:
            from galaxy_chain.store.open import open_store

            return open_store(self.store_folder, self._ipfs, self._gateways)
        from galaxy_chain.store.signed_request import Writer
        from galaxy_fl.content.http_store import http_store

        writer: Writer | None = None
        if contract is not None and contract.transactions is not None:
            writer = Writer(contract.transactions.signer, contract.rpc, job)
        return http_store(self.store_url, self.store_folder, writer)

    @property
    def transaction_settings(self) -> TransactionSettings:
        """How transactions are got in."""
        from galaxy_chain.transactions.manager import TransactionSettings

        return TransactionSettings(fee_cap=int(self._fee_cap * 10**9))

    @property
    def journal(self) -> Path:
        """The file of the accounts' transactions, which all programs of this home share."""
        return self.home / "transactions.sqlite"

    def metrics(self, ledger: str, job: int) -> Path:
        """The file of a server's metrics of a job."""
        return self.home / "metrics" / f"{ledger}-{job}.jsonl"

    def _read(self) -> LedgerContract:
        self.open()
        assert self._reading is not None
        return self._reading
