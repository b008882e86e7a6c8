"""What commands of a sealed job's owner have in common."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from galaxy_chain.following.follower import JobFollower
from galaxy_chain.following.history import JobHistory
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.seal.owner import KeyKeeper
from galaxy_chain.seal.vault import vault_of

__all__ = ["owned"]


def owned(ledger: LedgerContract, job: int, home: Path) -> tuple[KeyKeeper, JobHistory]:
    """What shares a job's keys, as the ledger's account, and what the job's events say by now."""
    with closing(JobFollower(ledger, job)) as follower:
        return KeyKeeper(ledger, job, vault_of(home)), follower.history
