"""galaxy-chain job report."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Annotated

import typer

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.options import JobNumber, Json, Keys, Where
from galaxy_chain.verify.verdicts import Outcome, Verdict
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import replacing

__all__ = ["report"]


def report(
    job: JobNumber,
    where: Where,
    keys: Keys,
    to: Annotated[
        Path | None, typer.Option(help="File to write, ending in .html; by default report-job-JOB.html.")
    ] = None,
    round: Annotated[
        str | None,
        typer.Option(
            metavar="N|N-M|last",
            help="Rounds to recompute, several separated by commas; by default all. All rounds are in the report.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Write a report of a job, one HTML file to be filed: all hashes, every round recomputed, and how to check it.

    Needs no key, and none of the job's participants. The file runs nothing and asks the network for nothing. A file
    that is there is replaced. Its SHA-256 is printed: keep it apart from the file.
    """
    path = Path(f"report-job-{job}.html") if to is None else to
    _check_destination(path)
    keys.take(where.home)
    store, ledger, at = where.existing(), where.connect(), where.at()
    from galaxy_chain.report.facts import gather
    from galaxy_chain.report.page import render

    def say(verdict: Verdict) -> None:
        if not json:
            because = f": {verdict.reason}" if verdict.reason else ""
            which = f"round {verdict.commit.record.round}, attempt {verdict.commit.attempt}"
            console.print(f"{which}: {verdict.outcome.value}{because}")

    metrics = at.metrics(ledger.address, job)
    facts = gather(ledger, at.deployment(), store, job, where.home, metrics, round, say)
    content = render(facts, int(time.time()))
    with replacing(path) as new:
        new.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    standing = {outcome.name.lower(): facts.count(outcome) for outcome in Outcome}
    if json:
        print_json(
            {
                "job": job,
                "file": str(path),
                "sha256": digest,
                "bytes": len(content),
                "rounds": len(facts.history.commits),
                **standing,
                "lies": len(facts.lies),
                "lacking": facts.lacking or None,
            }
        )
        return
    if facts.lacking:
        console.print(f"no round could be recomputed: {facts.lacking}")
    console.print(
        f"job {job}: of {len(facts.history.commits)} rounds that are committed {standing['right']} are right, "
        f"{standing['wrong']} wrong, {standing['unchecked']} could not be checked"
    )
    console.print(f"{path} is written: {len(content):,} bytes\nsha256 {digest}")


def _check_destination(path: Path) -> None:
    """Make sure, before anything is recomputed, that a report can be written there.

    Raises:
        ConfigurationError: the ending is another, it is a folder, or there is none to put it into.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigurationError(f"{path} ends in {path.suffix!r}, but a report is HTML: let it end in .html")
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder: name a file")
    if not path.parent.is_dir():
        raise ConfigurationError(f"there is no folder {path.parent}: make it first, or name another file")
