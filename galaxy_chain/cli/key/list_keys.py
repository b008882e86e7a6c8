"""galaxy-chain key list."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from galaxy_chain.cli.console import console, print_json, print_table
from galaxy_chain.cli.options import AtLedger, JobNumber, Json
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.seal.job_keys import JobKeys
from galaxy_chain.seal.vault import vault_of
from galaxy_chain.seal.wraps import holders

__all__ = ["list_keys"]


def list_keys(job: JobNumber, at: AtLedger, json: Json = False) -> None:
    """List a sealed job's epochs, and which accounts each key is shared with."""
    with closing(JobFollower(at.connect(), job)) as follower:
        history = follower.history
    lacking = JobKeys(vault_of(at.home), lambda: history).lacking()
    rows: list[dict[str, Any]] = []
    for number, (digest, wraps) in enumerate(history.epochs.items(), 1):
        having = {holder for each in wraps for holder in holders(each)}
        accounts = sorted(account for account, keys in history.keys.items() if having.intersection(keys))
        rows.append({"epoch": number, "key": digest.hex(), "here": number not in lacking, "shared_with": accounts})
    if json:
        print_json({"job": job, "epochs": rows})
    elif rows:
        print_table(
            ("epoch", "key", "here", "shared with"),
            [(row["epoch"], row["key"], "yes" if row["here"] else "no", ", ".join(row["shared_with"])) for row in rows],
        )
    else:
        console.print(f"job {job} has no keys: it is not sealed, or its owner has shared none yet")
