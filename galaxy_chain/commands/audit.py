"""galaxy-chain audit: recompute a job."""

from __future__ import annotations

from galaxy_chain.commands.console import console, print_json, short
from galaxy_chain.commands.job import JobArgument
from galaxy_chain.commands.settings import (
    DEFAULT_HOME,
    DEFAULT_RPC,
    HomeOption,
    JsonOption,
    LedgerOption,
    Place,
    RpcOption,
    StoreOption,
)

__all__ = ["audit"]


def audit(
    job: JobArgument,
    rpc: RpcOption = DEFAULT_RPC,
    home: HomeOption = DEFAULT_HOME,
    ledger: LedgerOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Recompute every round of a job from the ledger's events and the content, to the bit. Needs no key."""
    from galaxy_chain.audit import Auditor

    place = Place.of(rpc, home, ledger, store)
    auditor = Auditor(place.ledger(), place.store(), job)
    count = 0
    for audited in auditor.rounds():
        count += 1
        if json:
            print_json(
                {
                    "round": audited.round,
                    "updates": audited.updates,
                    "excluded": list(audited.excluded),
                    "server": audited.server,
                    "model": audited.root.hex(),
                    "right": True,
                }
            )
        else:
            excluded = f", {len(audited.excluded)} excluded" if audited.excluded else ""
            console.print(
                f"round {audited.round}: right: {audited.updates} updates{excluded} by {short(audited.server)} make "
                f"the model {short(audited.root)}"
            )
    if not json:
        console.print(f"job {job}: {count} of {auditor.history.terms.rounds} rounds are committed, and all are right")
