"""The options that commands share, and what they open with them.

Settings come from flags, then GALAXY_… variables, then galaxy.toml in the working directory.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from galaxy_chain.deployment import Deployment
    from galaxy_chain.ledger.ledger import Ledger
    from galaxy_chain.store import LocalStore

__all__ = [
    "LARGEST_JOB",
    "AccountOption",
    "DataRootOption",
    "DeviceOption",
    "HomeOption",
    "JsonOption",
    "LedgerOption",
    "Place",
    "PollOption",
    "RpcOption",
    "StoreOption",
    "ThreadsOption",
    "check_address",
]

RpcOption = Annotated[
    str,
    typer.Option(envvar="GALAXY_RPC", help="The Ethereum node.", rich_help_panel="Where", show_envvar=True),
]
HomeOption = Annotated[
    Path, typer.Option(envvar="GALAXY_HOME", help="The folder for all that is kept.", rich_help_panel="Where")
]
LedgerOption = Annotated[
    Path | None,
    typer.Option(envvar="GALAXY_LEDGER", help="The ledger's file [HOME/ledger.json].", rich_help_panel="Where"),
]
StoreOption = Annotated[
    Path | None,
    typer.Option(envvar="GALAXY_STORE", help="The folder of the content store [HOME/store].", rich_help_panel="Where"),
]
AccountOption = Annotated[
    str | None,
    typer.Option(
        envvar="GALAXY_ACCOUNT",
        help="A keystore's name or address, or dev:N for the node's N-th unlocked account; "
        "without it the key in GALAXY_KEY.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

DataRootOption = Annotated[
    str | None,
    typer.Option(envvar="GALAXY_DATA_ROOT", help="Where downloaded data sets are.", rich_help_panel="Data"),
]
DeviceOption = Annotated[
    str, typer.Option(envvar="GALAXY_DEVICE", help="Of torch: cpu, cuda, mps, …", rich_help_panel="Data")
]
ThreadsOption = Annotated[
    int,
    typer.Option(
        envvar="GALAXY_THREADS", min=1, help="Of torch; more than 1 may change the last bits.", rich_help_panel="Data"
    ),
]
PollOption = Annotated[
    float,
    typer.Option(
        envvar="GALAXY_POLL", min=0.01, max=3600, help="Longest pause between two looks at the chain, in seconds."
    ),
]

LARGEST_JOB = 2**63 - 1
DEFAULT_RPC = "http://127.0.0.1:8545"
DEFAULT_HOME = Path(".galaxy")


def ask_password(name: str) -> str:
    """Asks on the terminal.

    Raises:
        AccountError: there is none.
    """
    from galaxy_chain.accounts import PASSWORD_VARIABLE
    from galaxy_chain.exceptions import AccountError

    if not sys.stdin.isatty():
        raise AccountError(f"there is no terminal to ask for the password of {name}: set {PASSWORD_VARIABLE}")
    return str(typer.prompt(f"Password of {name}", hide_input=True, err=True))


def check_address(text: str) -> None:
    """Makes sure that an argument is an address.

    Raises:
        ConfigurationError: it is not.
    """
    from eth_utils.address import is_address

    from galaxy_fl.exceptions import ConfigurationError

    if not is_address(text):
        raise ConfigurationError(f"{text!r} is no address: expected 0x and 40 hexadecimal digits")


@dataclass(frozen=True)
class Place:
    """Where a command works: a node, a ledger, a store, and the folder for all that is kept."""

    rpc_url: str
    home: Path
    ledger_file: Path
    store_folder: Path

    @classmethod
    def of(cls, rpc: str, home: Path, ledger: Path | None = None, store: Path | None = None) -> Place:
        """From the options of a command."""
        return cls(rpc, home, ledger or home / "ledger.json", store or home / "store")

    def deployment(self) -> Deployment:
        """What the ledger's file says.

        Raises:
            NoLedgerError, ConfigurationError: there is none, or it is not valid.
        """
        from galaxy_chain.deployment import Deployment

        return Deployment.read(self.ledger_file)

    def ledger(self) -> Ledger:
        """The ledger, to read.

        Raises:
            GalaxyError: it, or the node, is not there.
        """
        return self._ledger(None)

    def ledger_for(self, account: str | None) -> Ledger:
        """The ledger, to write to by an account.

        Raises:
            GalaxyError: it, the node or the account is not there.
        """
        from galaxy_chain.accounts import Keystore, find_signer
        from galaxy_chain.ledger.rpc import Rpc

        return self._ledger(find_signer(account, Keystore(self.home / "keystore"), Rpc(self.rpc_url), ask_password))

    def _ledger(self, signer: object) -> Ledger:
        from galaxy_chain.ledger.ledger import Ledger
        from galaxy_chain.ledger.rpc import Rpc
        from galaxy_chain.ledger.transactions import Transactions

        where = self.deployment()
        rpc = Rpc(self.rpc_url)
        rpc.check_chain(where.chain_id)
        transactions = None if signer is None else Transactions(rpc, signer)  # type: ignore[arg-type]
        return Ledger(rpc, where.ledger, transactions, first_block=where.block, chain_id=where.chain_id)

    def store(self) -> LocalStore:
        """The content store.

        Raises:
            ContentError: its folder can't be used.
        """
        from galaxy_chain.store import LocalStore

        return LocalStore(self.store_folder)

    def metrics(self, ledger: str, job: int) -> Path:
        """The file of a server's metrics of a job."""
        return self.home / "metrics" / f"{ledger}-{job}.jsonl"
