"""The options that commands share.

Settings come from flags, then GALAXY_… variables, then galaxy.toml in the working directory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "LARGEST_JOB",
    "AccountOption",
    "AnyLedgerOption",
    "AnyTermsOption",
    "DataRootOption",
    "DeviceOption",
    "FeeCapOption",
    "GatewayOption",
    "HomeOption",
    "IpfsOption",
    "JsonOption",
    "LedgerOption",
    "MaxBondOption",
    "MaxDepositOption",
    "PollOption",
    "RpcOption",
    "StoreOption",
    "ThreadsOption",
    "amount",
    "check_address",
    "checksum",
]

RpcOption = Annotated[
    str,
    typer.Option(
        envvar="GALAXY_RPC",
        help="The Ethereum node; several with commas between: the next is asked when one fails.",
        rich_help_panel="Where",
        show_envvar=True,
    ),
]
HomeOption = Annotated[
    Path, typer.Option(envvar="GALAXY_HOME", help="The folder for all that is kept.", rich_help_panel="Where")
]
LedgerOption = Annotated[
    Path | None,
    typer.Option(envvar="GALAXY_LEDGER", help="The ledger's file [HOME/ledger.json].", rich_help_panel="Where"),
]
AnyLedgerOption = Annotated[
    bool,
    typer.Option(
        "--any-ledger",
        help="Take any contract for the ledger, whatever its code: it may keep your bond.",
        rich_help_panel="Where",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        envvar="GALAXY_STORE",
        help="The content store: a folder [HOME/store], or the URL of one that is served.",
        rich_help_panel="Where",
    ),
]
IpfsOption = Annotated[
    str | None,
    typer.Option(envvar="GALAXY_IPFS", help="The RPC of an IPFS node behind the folder.", rich_help_panel="Where"),
]
GatewayOption = Annotated[
    list[str] | None,
    typer.Option(
        envvar="GALAXY_GATEWAY", help="An IPFS gateway to read from where all else fails.", rich_help_panel="Where"
    ),
]
AccountOption = Annotated[
    str | None,
    typer.Option(
        envvar="GALAXY_ACCOUNT",
        help="A keystore's name or address, or dev:N for the node's N-th unlocked account; "
        "without it the key in GALAXY_KEY.",
    ),
]
FeeCapOption = Annotated[
    float,
    typer.Option(
        envvar="GALAXY_FEE_CAP", min=0, help="The most to offer for a unit of gas, in gwei; 0 where it is free."
    ),
]
MaxBondOption = Annotated[
    str, typer.Option(envvar="GALAXY_MAX_BOND", help='The largest bond to deposit in a job, like "2 ether".')
]
MaxDepositOption = Annotated[
    str,
    typer.Option(envvar="GALAXY_MAX_DEPOSIT", help='The most that a job\'s demands may cost, like "0.1 ether".'),
]
AnyTermsOption = Annotated[
    bool,
    typer.Option("--any-terms", help="Only warn of terms that cost money, or leave commits that can't be challenged."),
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


def amount(text: str) -> int:
    """An amount that is given as an option or an argument, in wei.

    Raises:
        ConfigurationError: it is none.
    """
    from galaxy_chain.jobs.file import wei
    from galaxy_fl.exceptions import ConfigurationError

    try:
        value = int(text) if text.isascii() and text.isdecimal() else wei(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r}: {error}") from error
    assert isinstance(value, int)
    return value


def check_address(text: str) -> None:
    """Makes sure that an argument is an address.

    Raises:
        ConfigurationError: it is not.
    """
    from eth_utils.address import is_address

    from galaxy_fl.exceptions import ConfigurationError

    if not is_address(text):
        raise ConfigurationError(f"{text!r} is no address: expected 0x and 40 hexadecimal digits")


def checksum(text: str) -> str:
    """An address that is given as an option or an argument, with checksum.

    Raises:
        ConfigurationError: it is none.
    """
    from eth_utils.address import to_checksum_address

    check_address(text)
    return to_checksum_address(text)
