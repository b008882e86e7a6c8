"""galaxy-chain store get."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from galaxy_chain.cli.options import AtStore
from galaxy_chain.cli.store.contents import Cid
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import replacing

__all__ = ["get"]


def get(
    cid: Cid,
    at: AtStore,
    file: Annotated[
        Path | None, typer.Argument(help="File to write, replaced if it exists; by default standard output.")
    ] = None,
) -> None:
    """Get verified content by its id."""
    if file is None and sys.stdout.isatty():
        raise ConfigurationError("content is bytes, not text: name a file, or redirect standard output")
    store = at.existing()
    path = store.path(store.identify(cid))
    if file is not None:
        with replacing(file) as new:
            shutil.copyfile(path, new)
        return
    with path.open("rb") as content:
        shutil.copyfileobj(content, sys.stdout.buffer)
        sys.stdout.buffer.flush()
