"""Where a participant works: a node, a ledger, a content store, and the folder for all that is kept."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from galaxy_fl.exceptions import ConfigurationError

if TYPE_CHECKING:
    from galaxy_chain.ledger.contract import LedgerContract
    from galaxy_chain.ledger.deployment import Deployment
    from galaxy_chain.rpc.rpc import Rpc
    from galaxy_chain.transactions.manager import Signer, TransactionSettings
    from galaxy_fl.content import Store

__all__ = ["DEFAULT_FEE_CAP", "DEFAULT_HOME", "DEFAULT_RPC", "Place", "ask_password"]

DEFAULT_RPC = "http://127.0.0.1:8545"
DEFAULT_HOME = Path(".galaxy")
DEFAULT_FEE_CAP = 500.0


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


@dataclass(frozen=True)
class Place:
    """Where a participant works: a node, a ledger, a store, and the folder for everything that is kept.

    Attributes:
        rpc_url: URL of the node, or several separated by commas.
        home: The folder.
        ledger_file: File that `galaxy-chain deploy` has written.
        store_folder: Folder of the content store, or of the copies of one that is elsewhere.
        store_url: URL of a content store that is served; None for the folder.
        ipfs: URL of the RPC of an IPFS node behind the folder.
        gateways: URLs of IPFS gateways to read from.
        fee_cap: The most to offer for a unit of gas, in gwei.
        any_ledger: Whether any contract is accepted as the ledger, whatever its code, and however it was made.
    """

    rpc_url: str
    home: Path
    ledger_file: Path
    store_folder: Path
    store_url: str | None = None
    ipfs: str | None = None
    gateways: tuple[str, ...] = ()
    fee_cap: float = DEFAULT_FEE_CAP
    any_ledger: bool = False

    @classmethod
    def of(
        cls,
        *,
        rpc: str = DEFAULT_RPC,
        home: Path = DEFAULT_HOME,
        ledger: Path | None = None,
        store: str | Path | None = None,
        ipfs: str | None = None,
        gateway: Sequence[str] | None = None,
        fee_cap: float = DEFAULT_FEE_CAP,
        any_ledger: bool = False,
    ) -> Place:
        """The place that settings name, as the command line and the blockchain mode call them.

        Raises:
            ConfigurationError: two kinds of stores are named.
        """
        url = store if isinstance(store, str) and store.startswith(("http://", "https://")) else None
        if url is not None and (ipfs or gateway):
            raise ConfigurationError(f"the store is at {url}, so there is nothing to get by IPFS: name one of them")
        folder = home / "store" if store is None or url is not None else Path(store)
        return cls(
            rpc, home, ledger or home / "ledger.json", folder, url, ipfs, tuple(gateway or ()), fee_cap, any_ledger
        )

    def deployment(self) -> Deployment:
        """The content of the ledger's file.

        Raises:
            NoLedgerError, ConfigurationError: the file is missing, or not valid.
        """
        from galaxy_chain.ledger.deployment import Deployment

        return Deployment.read(self.ledger_file)

    def ledger(self) -> LedgerContract:
        """The ledger, to read.

        Raises:
            GalaxyError: the ledger or the node is not there.
        """
        return self.ledger_of(None)

    def ledger_for(self, account: str | None) -> LedgerContract:
        """The ledger, to write to by an account.

        Raises:
            GalaxyError: the ledger, the node or the account is not there.
        """
        self.deployment()  # before anybody types a password in vain
        return self.ledger_of(self.signer(account))

    def signer(self, account: str | None) -> Signer:
        """The account of that name, address or `dev:N`; None for the key in GALAXY_KEY.

        Its password is asked for on the terminal where the environment has none.

        Raises:
            AccountError: there is no such account, or its key cannot be opened.
            RpcError: the node fails.
        """
        from galaxy_chain.rpc.rpc import Rpc
        from galaxy_chain.transactions.accounts import Keystore, find_signer

        return find_signer(account, Keystore(self.home / "keystore"), Rpc(self.rpc_url), ask_password)

    def ledger_of(self, signer: Signer | None, rpc: Rpc | None = None) -> LedgerContract:
        """The ledger, once its code is known to be a ledger's; to write to where there is a signer.

        Args:
            rpc: The node, if it is to be asked in another way than usual.

        Raises:
            ForeignLedgerError: the contract is not the ledger that is known here.
            GalaxyError: the ledger or the node is not there.
        """
        from galaxy_chain.ledger.contract import LedgerContract
        from galaxy_chain.ledger.genuine import check_creation
        from galaxy_chain.rpc.rpc import Rpc
        from galaxy_chain.transactions.manager import Transactions

        where = self.deployment()
        rpc = Rpc(self.rpc_url) if rpc is None else rpc
        rpc.check_chain(where.chain_id)
        settings = self.transaction_settings
        transactions = None if signer is None else Transactions(rpc, signer, self.journal, settings)
        ledger = LedgerContract(
            rpc,
            where.ledger,
            transactions,
            first_block=where.block,
            chain_id=where.chain_id,
            any_ledger=self.any_ledger,
        )
        if not self.any_ledger:
            check_creation(rpc, where.ledger, where.block)
        return ledger

    def store(self, ledger: LedgerContract | None = None, job: int = 0) -> Store:
        """The content store.

        Args:
            ledger: Ledger whose account writes where the store is served by somebody; None to read.
            job: Number of the job to write for; 0 for one that is not registered yet.

        Raises:
            ContentError: the folder cannot be used.
            ConfigurationError: a URL is not valid.
        """
        if self.store_url is None:
            from galaxy_chain.store.open import open_store

            return open_store(self.store_folder, self.ipfs, self.gateways)
        from galaxy_chain.store.signed_request import Writer
        from galaxy_fl.content.http_store import http_store

        writer: Writer | None = None
        if ledger is not None and ledger.transactions is not None:
            writer = Writer(ledger.transactions.signer, ledger.rpc, job)
        return http_store(self.store_url, self.store_folder, writer)

    @property
    def transaction_settings(self) -> TransactionSettings:
        """How transactions are sent."""
        from galaxy_chain.transactions.manager import TransactionSettings

        return TransactionSettings(fee_cap=int(self.fee_cap * 10**9))

    @property
    def journal(self) -> Path:
        """The journal of the accounts' transactions, which all programs of this home share."""
        return self.home / "transactions.sqlite"

    def metrics(self, ledger: str, job: int) -> Path:
        """The file of a server's metrics of a job."""
        return self.home / "metrics" / f"{ledger}-{job}.jsonl"
