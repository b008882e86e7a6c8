"""galaxy-chain deploy: a new ledger."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from galaxy_chain.cli.console import confirmed, console, print_json
from galaxy_chain.cli.options import Account, AtNode, Json
from galaxy_chain.ledger.deployment import deploy as deploy_contracts
from galaxy_chain.place import Ledger
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.manager import Transactions
from galaxy_fl.exceptions import ConfigurationError

__all__ = ["deploy"]


def deploy(
    at: AtNode,
    sender: Account,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of another ledger without asking.")] = False,
    json: Json = False,
) -> None:
    """Deploy a ledger with its rules to a chain, and write the file that the other commands read.

    Asks before it replaces the file of another ledger; without a terminal it refuses.
    """
    place = at.at(sender)
    node = place.rpc()
    if not force:
        _keep(place, node)
    deployment, gas = deploy_contracts(
        node, Transactions(node, place.signer, place.journal, place.transaction_settings)
    )
    deployment.write(place.deployment_file)
    if json:
        print_json(deployment.model_dump(mode="json") | {"gas": gas})
    else:
        console.print(
            f"ledger {deployment.ledger} on chain {deployment.chain_id}, {gas} gas; written to {place.deployment_file}"
        )


def _keep(place: Ledger, node: Rpc) -> None:
    """Make sure that no other ledger's file is lost: without it nobody here finds that ledger and its jobs again.

    Raises:
        ConfigurationError: the file is not that of a development chain that has forgotten its ledger, and it is not to
            be replaced.
    """
    if not place.deployment_file.exists():
        return
    known = place.deployment()
    if known.chain_id == node.number("eth_chainId") and not node.data("eth_getCode", known.ledger, "latest"):
        return
    names = (
        f"{place.deployment_file} names the ledger {known.ledger} on chain {known.chain_id}, first block {known.block}"
    )
    if sys.stdin.isatty() and confirmed(f"{names}. Replace it?"):
        return
    raise ConfigurationError(
        f"{names}, and one ledger holds any number of jobs: create yours there, name a file of its own for another "
        "ledger with --ledger, or replace it with --force"
    )
