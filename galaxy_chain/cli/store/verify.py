"""galaxy-chain store verify."""

from __future__ import annotations

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.options import AtStore, Json
from galaxy_fl.exceptions import ContentAlteredError

__all__ = ["verify"]


def verify(at: AtStore, json: Json = False) -> None:
    """Hash all contents of the store afresh."""
    count, wrong = 0, []
    for cid, error in at.existing().verify():
        count += 1
        if error is not None:
            wrong.append(str(error))
        if json:
            print_json({"cid": cid, "right": error is None})
    if wrong:
        raise ContentAlteredError("\n".join(wrong))
    if not json:
        console.print(f"{count} contents, and all are what their ids say")
