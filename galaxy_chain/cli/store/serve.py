"""galaxy-chain store serve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.options import AtLedger, Json, StoreOption
from galaxy_chain.cli.values import checksum
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.http_server import serve as run

if TYPE_CHECKING:
    from galaxy_chain.store.server import StoreServer

__all__ = ["serve"]


def serve(
    owner: Annotated[
        list[str],
        typer.Option(
            help="Address of an owner whose jobs are kept, and who may put what a job consists of before it is "
            "registered. Repeatable."
        ),
    ],
    at: AtLedger,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Others should come through a proxy with HTTPS.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on, or 0 for any free one.")] = 8550,
    url: Annotated[
        list[str] | None,
        typer.Option(
            help="URL by which others know the store, and which they sign; by default http://HOST:PORT. Repeatable."
        ),
    ] = None,
    quota: Annotated[int, typer.Option(min=1, help="Bytes that each job may keep.")] = 64 * 2**30,
    store: StoreOption = None,
    json: Json = False,
) -> None:
    """Serve the store over HTTP: anybody reads by content id, those who take part in a job write."""
    from galaxy_chain.store.server import StoreServer  # with a web framework, which no other command needs

    owners = [checksum(address) for address in owner]
    place = at.at(store=store)
    if place.store_url is not None:
        raise ConfigurationError(f"{place.store_url} is served already: name a folder with --store or GALAXY_STORE")
    ledger = place.contract(rpc=place.rpc(timeout=10, patience=10))  # somebody waits for the answer

    def ready(server: StoreServer) -> None:
        if json:
            print_json(
                {"url": server.url, "urls": server.urls, "ledger": ledger.address, "store": str(place.store_folder)}
            )
        else:
            console.print(f"store {place.store_folder} at {', '.join(server.urls)} for the ledger {ledger.address}")
            console.print("Ctrl-C ends it; interrupted uploads can be continued")

    run(StoreServer(place.store_folder, ledger, owners, quota, host, port, url or ()), ready)
