"""galaxy-chain job list."""

from __future__ import annotations

from galaxy_chain.cli.console import print_json, print_table
from galaxy_chain.cli.job_views import name_of
from galaxy_chain.cli.options import Json, Where
from galaxy_chain.ledger.structs import status_of

__all__ = ["list_jobs"]


def list_jobs(where: Where, json: Json = False) -> None:
    """List the jobs on the ledger."""
    ledger, store = where.connect(), where.existing()
    rows = []
    for number in range(1, ledger.jobs() + 1):
        job = ledger.job_of(number)
        rows.append(
            {
                "job": number,
                "name": name_of(store, job.terms.spec),
                "round": min(job.state.round, job.state.last_round),
                "rounds": job.state.last_round,
                "updates": job.state.updates,
                "status": status_of(job.state.round, job.state.last_round, job.state.status, job.state.cancelled),
                "owner": job.owner,
            }
        )
    if json:
        print_json(rows)
    else:
        print_table(("job", "name", "round", "of", "updates", "status", "owner"), [list(row.values()) for row in rows])
