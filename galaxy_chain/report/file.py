"""Making the file of a report: where it may be, and what was written."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.place import Ledger
from galaxy_chain.report.facts import Facts, gather
from galaxy_chain.verify.verdicts import Verdict
from galaxy_fl.content import Store
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import replacing

__all__ = ["Written", "check_destination", "write_report"]


@dataclass(frozen=True)
class Written:
    """A report that was written: what it says, how many bytes it has, and its SHA-256 in hexadecimal."""

    facts: Facts
    size: int
    sha256: str


def write_report(
    at: Ledger,
    ledger: LedgerContract,
    store: Store,
    job: int,
    path: Path,
    rounds: str | None = None,
    say: Callable[[Verdict], None] = lambda verdict: None,
) -> Written:
    """Recompute a job, and write its report, whole or not at all. A file that is there is replaced.

    Args:
        at: Says where everything else is.
        ledger, store: To read.
        rounds, say: As `gather` takes them.

    Raises:
        ConfigurationError: as `check_destination`.
        GalaxyError: as `gather`.
        OSError: the file can't be written.
    """
    check_destination(path)
    from galaxy_chain.report.page import render  # which has the templates' engine

    metrics = at.metrics(ledger.address, job)
    folders = {"STORE": at.store_folder, "HOME": at.home}
    facts = gather(ledger, at.deployment(), store, job, at.home, metrics, rounds, folders, say)
    content = render(facts, int(time.time()))
    with replacing(path) as new:
        new.write_bytes(content)
    return Written(facts, len(content), hashlib.sha256(content).hexdigest())


def check_destination(path: Path) -> None:
    """Make sure, before anything is recomputed, that a report can be written there.

    Raises:
        ConfigurationError: the ending is another, it is a folder, or there is none that it can be put into.
    """
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder: name a file that ends in .html")
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigurationError(f"{path} ends in {path.suffix!r}, but a report is HTML: let it end in .html")
    if not path.parent.is_dir():
        raise ConfigurationError(f"there is no folder {path.parent}: make it first, or name another file")
    if not os.access(path.parent, os.W_OK):
        raise ConfigurationError(f"nothing can be written into {path.parent}: name a file in another folder")
