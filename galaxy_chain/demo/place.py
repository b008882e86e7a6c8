"""The folder of a demonstration."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from galaxy_chain.demo.chain import CHAIN_ID
from galaxy_fl.exceptions import ConfigurationError

__all__ = ["expect_own", "scratch"]

LAST_TRIES = 100
"""At removing a folder, 20 ms apart: processes that were killed may be about to write there."""


def expect_own(ledger_file: Path) -> None:
    """Make sure that a ledger's file may be replaced: it is of a demonstration, or there is none.

    Raises:
        ConfigurationError: it is of another chain, or can't be read.
    """
    if not ledger_file.exists():
        return
    from galaxy_chain.ledger.deployment import Deployment

    known = Deployment.read(ledger_file)
    if known.chain_id != CHAIN_ID:
        raise ConfigurationError(
            f"{ledger_file} is that of the ledger {known.ledger} on chain {known.chain_id}, and a demonstration would "
            "replace it: give it a folder of its own (--home)"
        )


@contextmanager
def scratch(home: Path) -> Iterator[Path]:
    """A folder in the demonstration's own, which is removed with all that participants have left there, however they
    end."""
    folder = Path(tempfile.mkdtemp(prefix=".demo-", dir=home))
    try:
        yield folder
    finally:
        for _ in range(LAST_TRIES):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(0.02)
