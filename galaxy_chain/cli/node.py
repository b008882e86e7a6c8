"""galaxy-chain node: the embedded development chain."""

from __future__ import annotations

from typing import Annotated

import typer

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.options import Json
from galaxy_chain.node import DEFAULT_CHAIN_ID, DEVELOPMENT_MNEMONIC, Node
from galaxy_fl.http_server import serve

__all__ = ["node"]


def node(
    host: Annotated[
        str, typer.Option(help="Address to listen on. The accounts are unlocked: keep it local.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on, or 0 for any free one.")] = 8545,
    accounts: Annotated[int, typer.Option(min=1, max=10_000, help="Number of unlocked accounts.")] = 10,
    chain_id: Annotated[int, typer.Option(min=1, help="Chain ID.")] = DEFAULT_CHAIN_ID,
    mnemonic: Annotated[
        str, typer.Option(help="Mnemonic of the accounts. Anybody knows the default.")
    ] = DEVELOPMENT_MNEMONIC,
    json: Json = False,
) -> None:
    """Run the embedded development chain. It forgets everything when it ends."""

    def ready(node: Node) -> None:
        if json:
            print_json({"url": node.url, "chain_id": node.chain_id, "accounts": node.accounts})
            return
        console.print(f"Ethereum JSON-RPC at {node.url}, chain id {node.chain_id}, nothing is kept")
        console.print("unlocked accounts, 10,000 ether each:")
        for index, address in enumerate(node.accounts):
            console.print(f"  dev:{index:<3} {address}")
        console.print("Ctrl-C ends it")

    serve(Node(host, port, accounts=accounts, chain_id=chain_id, mnemonic=mnemonic), ready)
