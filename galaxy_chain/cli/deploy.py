"""galaxy-chain deploy: a new ledger."""

from __future__ import annotations

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.options import Account, AtNode, Json
from galaxy_chain.ledger.deployment import deploy as deploy_contracts
from galaxy_chain.place import Place
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.manager import Transactions
from galaxy_fl.exceptions import ConfigurationError

__all__ = ["deploy"]


def deploy(at: AtNode, sender: Account, json: Json = False) -> None:
    """Deploy a ledger with its rules to a chain, and write the file that the other commands read."""
    place = at.place(sender)
    node = Rpc(at.rpc)
    _keep(place, node)
    signer = place.signer(sender.account)
    deployment, gas = deploy_contracts(node, Transactions(node, signer, place.journal, place.transaction_settings))
    deployment.write(place.ledger_file)
    if json:
        print_json(deployment.model_dump(mode="json") | {"gas": gas})
    else:
        console.print(
            f"ledger {deployment.ledger} on chain {deployment.chain_id}, {gas} gas; written to {place.ledger_file}"
        )


def _keep(place: Place, node: Rpc) -> None:
    """Makes sure that no other ledger's file is lost: without it nobody here would find that ledger and its jobs again.

    Raises:
        ConfigurationError: the file is of a ledger on another chain, or of one that is there; that of a development
            chain that has forgotten its ledger may go.
    """
    if not place.ledger_file.exists():
        return
    known = place.deployment()
    if known.chain_id == node.number("eth_chainId") and not node.data("eth_getCode", known.ledger, "latest"):
        return
    raise ConfigurationError(
        f"{place.ledger_file} names the ledger {known.ledger} on chain {known.chain_id}, and one ledger holds any "
        "number of jobs: create yours there, or name a file of its own for another ledger with --ledger"
    )
