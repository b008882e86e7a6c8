"""galaxy-chain store: what is in the content store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from galaxy_chain.cli.console import console, print_json, print_table
from galaxy_chain.cli.settings import (
    AnyLedgerOption,
    HomeOption,
    JsonOption,
    LedgerOption,
    RpcOption,
    StoreOption,
    check_address,
)
from galaxy_chain.place import DEFAULT_HOME, DEFAULT_RPC, Place

if TYPE_CHECKING:
    from galaxy_chain.web.server import StoreServer

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="The content store.")


@app.command("list")
def list_contents(home: HomeOption = DEFAULT_HOME, store: StoreOption = None, json: JsonOption = False) -> None:
    """List what is there."""
    opened = Place.of("", home, store=store).store()
    pins = opened.pins()
    rows = [{"cid": cid, "bytes": size, "pinned": cid in pins} for cid, size in sorted(opened.contents())]
    if json:
        print_json(rows)
    else:
        print_table(("cid", "bytes", "pinned"), [(r["cid"], r["bytes"], "yes" if r["pinned"] else "") for r in rows])


@app.command()
def verify(home: HomeOption = DEFAULT_HOME, store: StoreOption = None, json: JsonOption = False) -> None:
    """Hash everything that is there afresh."""
    from galaxy_fl.exceptions import ContentAlteredError

    count, wrong = 0, []
    for cid, error in Place.of("", home, store=store).store().verify():
        count += 1
        if error is not None:
            wrong.append(str(error))
        if json:
            print_json({"cid": cid, "right": error is None})
    if wrong:
        raise ContentAlteredError("\n".join(wrong))
    if not json:
        console.print(f"{count} contents, and all are what their ids say")


@app.command()
def gc(
    home: HomeOption = DEFAULT_HOME,
    store: StoreOption = None,
    grace: Annotated[float, typer.Option(min=0, help="Keep what was put in the last so many seconds.")] = 3600.0,
    json: JsonOption = False,
) -> None:
    """Remove what is not pinned."""
    report = Place.of("", home, store=store).store().gc(grace)
    if json:
        print_json({"removed": report.removed, "freed_bytes": report.freed_bytes})
    else:
        console.print(f"removed {report.removed} files, {report.freed_bytes} bytes")


@app.command()
def serve(
    owner: Annotated[
        list[str],
        typer.Option(
            help="The address of an owner whose jobs are kept, and who may put what a job consists of before there is"
            " one. May be given again."
        ),
    ],
    host: Annotated[str, typer.Option(help="Where to listen. Others should come through a proxy with HTTPS.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8550,
    url: Annotated[
        list[str] | None,
        typer.Option(
            help="What others call the store, and sign for; http://HOST:PORT unless it is given. May be given again."
        ),
    ] = None,
    quota: Annotated[int, typer.Option(min=1, help="Bytes that each job may keep.")] = 64 * 2**30,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    any_ledger: AnyLedgerOption = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Serve the store over HTTP: anybody reads by content id, those who take part in a job write."""
    from eth_utils.address import to_checksum_address

    from galaxy_chain.rpc.rpc import Rpc
    from galaxy_chain.web.server import StoreServer
    from galaxy_chain.web.server import serve as run
    from galaxy_fl.exceptions import ConfigurationError

    for address in owner:
        check_address(address)
    place = Place.of(rpc, home, ledger, store, any_ledger=any_ledger)
    if place.store_url is not None:
        raise ConfigurationError(f"{place.store_url} is served already: name a folder with --store or GALAXY_STORE")
    on = place.ledger_of(None, Rpc(rpc, timeout=10, patience=10))  # somebody waits for the answer

    def ready(server: StoreServer) -> None:
        if json:
            print_json({"url": server.url, "urls": server.urls, "ledger": on.address, "store": str(place.store_folder)})
        else:
            console.print(f"store {place.store_folder} at {', '.join(server.urls)} for the ledger {on.address}")
            console.print("Ctrl-C ends it; uploads go on where they were")

    owners = [to_checksum_address(address) for address in owner]
    run(StoreServer(place.store_folder, on, owners, quota, host, port, url or ()), ready)
