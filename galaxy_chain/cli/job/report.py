"""galaxy-chain job report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galaxy_chain.cli.console import console, print_json
from galaxy_chain.cli.options import JobNumber, Json, Keys, Where
from galaxy_chain.verify.verdicts import Outcome, Verdict

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
    from galaxy_chain.report.file import check_destination, write_report

    path = Path(f"report-job-{job}.html") if to is None else to
    check_destination(path)  # before a node is asked
    keys.take(where.home)
    store, ledger = where.existing(), where.connect()

    def say(verdict: Verdict) -> None:
        if not json:
            because = f": {verdict.reason}" if verdict.reason else ""
            which = f"round {verdict.commit.record.round}, attempt {verdict.commit.attempt}"
            console.print(f"{which}: {verdict.outcome.value}{because}")

    written = write_report(where.at(), ledger, store, job, path, round, say)
    facts = written.facts
    standing = {outcome.name.lower(): facts.count(outcome) for outcome in Outcome}
    if facts.lacking:
        standing["unchecked"] = len(
            facts.history.commits
        )  # there are no verdicts, which is not to say nothing lacks one
    if json:
        print_json(
            {
                "job": job,
                "file": str(path),
                "sha256": written.sha256,
                "bytes": written.size,
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
    console.print(f"{path} is written: {written.size:,} bytes\nsha256 {written.sha256}")
