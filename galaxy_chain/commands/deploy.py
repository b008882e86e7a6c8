"""galaxy-chain deploy: a new ledger."""

from __future__ import annotations

from galaxy_chain.commands.console import console, print_json
from galaxy_chain.commands.settings import AccountOption, FeeCapOption, HomeOption, JsonOption, LedgerOption, RpcOption
from galaxy_chain.place import DEFAULT_FEE_CAP, DEFAULT_HOME, DEFAULT_RPC, Place, ask_password

__all__ = ["deploy"]


def deploy(
    account: AccountOption = None,
    fee_cap: FeeCapOption = DEFAULT_FEE_CAP,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    json: JsonOption = False,
) -> None:
    """Deploy a ledger with its rules to a chain, and write the file that the other commands read."""
    from galaxy_chain.accounts import Keystore, find_signer
    from galaxy_chain.deployment import deploy as deploy_contracts
    from galaxy_chain.ledger.rpc import Rpc
    from galaxy_chain.ledger.transactions import Transactions

    place = Place.of(rpc, home, ledger, fee_cap=fee_cap)
    node = Rpc(rpc)
    signer = find_signer(account, Keystore(home / "keystore"), node, ask_password)
    deployment, gas = deploy_contracts(node, Transactions(node, signer, place.journal, place.transaction_settings))
    deployment.write(place.ledger_file)
    if json:
        print_json(deployment.model_dump(mode="json") | {"gas": gas})
    else:
        console.print(
            f"ledger {deployment.ledger} on chain {deployment.chain_id}, {gas} gas; written to {place.ledger_file}"
        )
