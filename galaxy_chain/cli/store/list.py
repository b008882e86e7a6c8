"""galaxy-chain store list."""

from __future__ import annotations

from galaxy_chain.cli.console import print_json, print_table
from galaxy_chain.cli.options import AtStore, Json

__all__ = ["list_contents"]


def list_contents(at: AtStore, json: Json = False) -> None:
    """List the contents of the store."""
    store = at.existing()
    pins = store.pins()
    rows = [{"cid": cid, "bytes": size, "pinned": cid in pins} for cid, size in sorted(store.contents())]
    if json:
        print_json(rows)
    else:
        print_table(("cid", "bytes", "pinned"), [(r["cid"], r["bytes"], "yes" if r["pinned"] else "") for r in rows])
