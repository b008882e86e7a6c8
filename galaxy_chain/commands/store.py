"""galaxy-chain store: what is in the content store."""

from __future__ import annotations

from typing import Annotated

import typer

from galaxy_chain.commands.console import console, print_json, print_table
from galaxy_chain.commands.settings import HomeOption, JsonOption, StoreOption
from galaxy_chain.place import DEFAULT_HOME, Place

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
