"""galaxy-chain dashboard: a page that shows jobs as they happen, each commit recomputed."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.options import Json, Where
from galaxy_chain.place import DEFAULT_HOME, DEFAULT_RPC
from galaxy_fl.exceptions import ConfigurationError

if TYPE_CHECKING:
    from galaxy_chain.dashboard.ledger import Source
    from galaxy_chain.dashboard.server import Dashboard

__all__ = ["dashboard"]


def dashboard(
    where: Where,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Others than this machine take --public, and a proxy with HTTPS.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on, or 0 for any free one.")] = 8560,
    public: Annotated[
        bool, typer.Option("--public", help="Let others than this machine reach it, with all jobs and contents.")
    ] = False,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Name by which browsers ask for it, beside localhost and any address. Repeatable."),
    ] = None,
    reports: Annotated[
        Path | None,
        typer.Option(help="Folder with reports and metrics of participants, whose curves are shown, too."),
    ] = None,
    poll: Annotated[
        float,
        typer.Option(
            envvar="GALAXY_POLL",
            min=0.05,
            max=3600,
            help="Seconds between two looks at the chain.",
            rich_help_panel="Waiting",
        ),
    ] = 1.0,
    json: Json = False,
) -> None:
    """Serve a page that shows jobs as they happen, with every commit recomputed here. Needs no key."""
    if reports is not None and not reports.is_dir():
        lacks = "not a folder" if reports.exists() else "not there"
        raise ConfigurationError(
            f"the folder of reports {reports} is {lacks}: name the one that participants write into (--output)"
        )
    from galaxy_chain.dashboard.server import Dashboard  # with a web framework, which no other command needs
    from galaxy_fl.http_server import serve

    served = Dashboard(_source(where, reports, poll), host, port, name or (), public=public)

    def ready(server: Dashboard) -> None:
        if json:
            print_json({"url": server.url_of(), "ledger": server.watched.ledger.address})
            return
        console.print(f"dashboard of the ledger {server.watched.ledger.address} at {server.url_of()}")
        if server.watched.source.doubt is not None:
            console.print(f"warning: {server.watched.source.doubt}")
        console.print("Ctrl-C ends it")

    serve(served, ready)


def _source(where: Where, reports: Path | None, poll: float) -> Source:
    from galaxy_chain.dashboard.ledger import Source, doubt_of

    place = where.at()
    store = where.existing()
    ledger = place.contract(rpc=place.rpc(timeout=10, patience=3))  # somebody waits for the answer
    if place.store_url is not None:
        name, content, local = place.store_url, f"{place.store_url}/content/", None
    else:
        behind = [*([where.ipfs] if where.ipfs else []), *(where.gateway or [])]
        name = str(place.store_folder) + (f", and {', '.join(map(_shown, behind))}" if behind else "")
        content, local = "/api/content/", place.store_folder
    return Source(
        ledger=ledger,
        store=store,
        store_name=name,
        home=place.home,
        reports=reports,
        content=content,
        local=local,
        options=_options(where),
        poll=poll,
        doubt=doubt_of(ledger) if where.any_ledger else None,
    )


def _shown(url: str) -> str:
    from galaxy_chain.rpc.http import shown

    return shown(url)


def _options(where: Where) -> str:
    """The options with which other commands look at the same, without secrets, as a shell takes them."""
    named: list[tuple[str, str]] = []
    if where.rpc != DEFAULT_RPC:
        named.append(("--rpc", ",".join(_shown(url.strip()) for url in where.rpc.split(","))))
    if where.home != DEFAULT_HOME:
        named.append(("--home", str(where.home)))
    if where.ledger is not None:
        named.append(("--ledger", str(where.ledger)))
    if where.store is not None:
        named.append(("--store", where.store if "@" not in where.store else _shown(where.store)))
    if where.ipfs is not None:
        named.append(("--ipfs", _shown(where.ipfs)))
    named += [("--gateway", _shown(url)) for url in where.gateway or ()]
    said = "".join(f" {option} {quote(value)}" for option, value in named)
    return said + (" --any-ledger" if where.any_ledger else "")
