"""The options that commands share, in groups: a command takes a group as one parameter (`commands.ungrouped`).

Settings come from flags, then GALAXY_… variables, then galaxy.toml in the working directory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galaxy_chain.place import DEFAULT_FEE_CAP, DEFAULT_HOME, DEFAULT_RPC, Ledger
from galaxy_fl.exceptions import ConfigurationError

if TYPE_CHECKING:
    from galaxy_chain.ledger.contract import LedgerContract
    from galaxy_fl.content import Store

__all__ = [
    "Account",
    "AtLedger",
    "AtNode",
    "AtStore",
    "Home",
    "JobNumber",
    "JobOption",
    "Json",
    "Keys",
    "Polling",
    "StoreOption",
    "Where",
    "accounts",
]


def _job_number(number: int | None) -> int | None:
    if number is not None and not 1 <= number < 2**63:
        raise typer.BadParameter(f"{number} is not the number of a job: the first is 1")
    return number


def accounts(context: typer.Context, incomplete: str) -> list[str]:
    """The names of keystore files, for a shell that completes."""
    home = Path(context.params.get("home") or DEFAULT_HOME)
    names = sorted(path.name.removesuffix(".json") for path in (home / "keystore").glob("[!.]*"))
    return [name for name in names if name.startswith(incomplete)]


JobNumber = Annotated[int, typer.Argument(callback=_job_number, help="Job number.")]
JobOption = Annotated[int, typer.Option("--job", callback=_job_number, help="Job number.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
StoreOption = Annotated[
    str | None,
    typer.Option(
        envvar="GALAXY_STORE",
        help="Content store: a folder, by default HOME/store, or the URL of one that is served.",
        rich_help_panel="Where",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Account:
    """Who sends the transactions of a command."""

    account: Annotated[
        str | None,
        typer.Option(
            envvar="GALAXY_ACCOUNT",
            autocompletion=accounts,
            help="Name or address of a keystore file, or dev:N for the node's N-th unlocked account. Without it the "
            "key in GALAXY_KEY.",
            rich_help_panel="Account",
        ),
    ] = None
    fee_cap: Annotated[
        float,
        typer.Option(
            envvar="GALAXY_FEE_CAP",
            min=0,
            help="The most to offer for a unit of gas, in gwei. Set it to 0 where gas is free.",
            rich_help_panel="Account",
        ),
    ] = DEFAULT_FEE_CAP


@dataclass(frozen=True, kw_only=True)
class Polling:
    """How a command that follows a job waits."""

    poll: Annotated[
        float,
        typer.Option(
            envvar="GALAXY_POLL",
            min=0.01,
            max=3600,
            help="Longest pause between two looks at the chain, in seconds.",
            rich_help_panel="Waiting",
        ),
    ] = 1.0
    content_timeout: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds to wait for missing content before it counts as withheld.",
            rich_help_panel="Waiting",
        ),
    ] = 10.0


_PARAMETERS = {"rpc": "nodes", "ledger": "deployment", "gateway": "gateways"}
"""What `galaxy_chain.Ledger` calls these options."""


@dataclass(frozen=True, kw_only=True)
class Home:
    """Where a command keeps what it keeps."""

    home: Annotated[
        Path, typer.Option(envvar="GALAXY_HOME", help="Folder for everything that is kept.", rich_help_panel="Where")
    ] = DEFAULT_HOME

    def at(self, account: Account | None = None, **more: Any) -> Ledger:
        """The ledger that the options name, and its account where there is one."""
        return Ledger(
            **{_PARAMETERS.get(name, name): value for name, value in vars(self).items()},
            **({} if account is None else vars(account)),
            **more,
        )


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The keys of a job that is sealed, where they are not those of a member."""

    keys: Annotated[
        Path | None,
        typer.Option(
            help="File with the keys of a sealed job, as `galaxy-chain key export` writes it; they are kept in "
            "HOME/keys.",
            rich_help_panel="Where",
        ),
    ] = None

    def take(self, home: Path) -> None:
        """Keeps the keys of the file, where there is one.

        Raises:
            ConfigurationError: it can't be read.
        """
        if self.keys is not None:
            from galaxy_chain.seal.vault import vault_of

            vault_of(home).read(self.keys)


@dataclass(frozen=True, kw_only=True)
class AtNode(Home):
    """A node, and the file of a ledger."""

    rpc: Annotated[
        str,
        typer.Option(
            envvar="GALAXY_RPC",
            help="URL of the Ethereum node. With several, separated by commas, the next is asked when one fails.",
            rich_help_panel="Where",
            show_envvar=True,
        ),
    ] = DEFAULT_RPC
    ledger: Annotated[
        Path | None,
        typer.Option(
            envvar="GALAXY_LEDGER", help="File of the ledger, by default HOME/ledger.json.", rich_help_panel="Where"
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class AtLedger(AtNode):
    """A ledger."""

    any_ledger: Annotated[
        bool,
        typer.Option(
            "--any-ledger",
            help="Accept any contract as the ledger, whatever its code: it may keep your bond.",
            rich_help_panel="Where",
        ),
    ] = False

    def connect(self, account: Account | None = None) -> LedgerContract:
        """The ledger, to read, or to write to by an account."""
        at = self.at(account)
        return at.contract() if account is None else at.acting()


@dataclass(frozen=True, kw_only=True)
class AtStore(Home):
    """A content store."""

    store: StoreOption = None
    ipfs: Annotated[
        str | None,
        typer.Option(
            envvar="GALAXY_IPFS", help="URL of the RPC of an IPFS node behind the folder.", rich_help_panel="Where"
        ),
    ] = None
    gateway: Annotated[
        list[str] | None,
        typer.Option(
            envvar="GALAXY_GATEWAY",
            help="URL of an IPFS gateway to read from where everything else fails. Repeatable.",
            rich_help_panel="Where",
        ),
    ] = None

    def contents(self, ledger: LedgerContract | None = None, job: int = 0) -> Store:
        """The content store, to read, or to write to for a job by the ledger's account."""
        return self.at().store(ledger, job)

    def existing(self) -> Store:
        """The content store, only to read.

        Raises:
            ConfigurationError: it is a folder that is named and not there, and nothing else to read from is named.
        """
        at = self.at()
        if self.store is not None and at.store_url is None and not (self.ipfs or self.gateway):
            folder = at.store_folder
            if not folder.is_dir():
                raise ConfigurationError(
                    f"the store {folder} is not there, and would only be read: name one that is, a folder or a URL, "
                    "with --store or GALAXY_STORE"
                )
        return self.contents()


@dataclass(frozen=True, kw_only=True)
class Where(AtStore, AtLedger):
    """A ledger and a content store."""
