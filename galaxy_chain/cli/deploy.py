"""galaxy-chain deploy: a new ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.settings import AccountOption, FeeCapOption, HomeOption, JsonOption, LedgerOption, RpcOption
from galaxy_chain.place import DEFAULT_FEE_CAP, DEFAULT_HOME, DEFAULT_RPC, Place, ask_password

__all__ = ["deploy"]

if TYPE_CHECKING:
    from galaxy_chain.rpc.rpc import Rpc


def deploy(
    account: AccountOption = None,
    fee_cap: FeeCapOption = DEFAULT_FEE_CAP,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    json: JsonOption = False,
) -> None:
    """Deploy a ledger with its rules to a chain, and write the file that the other commands read."""
    from galaxy_chain.ledger.deployment import deploy as deploy_contracts
    from galaxy_chain.rpc.rpc import Rpc
    from galaxy_chain.transactions.accounts import Keystore, find_signer
    from galaxy_chain.transactions.manager import Transactions

    place = Place.of(rpc, home, ledger, fee_cap=fee_cap)
    node = Rpc(rpc)
    _keep(place, node)
    signer = find_signer(account, Keystore(home / "keystore"), node, ask_password)
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
    from galaxy_fl.exceptions import ConfigurationError

    if not place.ledger_file.exists():
        return
    known = place.deployment()
    if known.chain_id == node.number("eth_chainId") and not node.data("eth_getCode", known.ledger, "latest"):
        return
    raise ConfigurationError(
        f"{place.ledger_file} names the ledger {known.ledger} on chain {known.chain_id}, and one ledger holds any "
        "number of jobs: create yours there, or name a file of its own for another ledger with --ledger"
    )
