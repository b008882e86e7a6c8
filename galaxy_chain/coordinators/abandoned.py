"""When a job counts as abandoned, so that whoever has stayed cancels it: then it ends, and all get what is due."""

from __future__ import annotations

from galaxy_chain.following.history import JobHistory
from galaxy_chain.following.turns import cancel_from, idle_from
from galaxy_chain.ledger.structs import NEVER
from galaxy_chain.verify.verifier import Verifier

__all__ = ["is_abandoned"]


def is_abandoned(
    verifier: Verifier, history: JobHistory, account: str, time: int, keyless_since: int | None = None
) -> bool:
    """Whether nobody brings the current round to its end, though its clients have done their part, or can't.

    Either the round has enough updates and no server commits it, or the model that it starts from is withheld, or the
    job is sealed and its owner has kept this account, which has an update in it, waiting for a key for twice as long as
    idleness takes; newcomers, which have nothing in it, wait. A round
    with too few updates is not abandoned: more clients may join, and its owner can cancel it. Nobody is hurried: the
    job has been idle for half as long again as the ledger asks for.

    Args:
        verifier, history: Of the job.
        account: Of who would cancel.
        time: The chain's, in seconds.
        keyless_since: Since when the account waits for a key; None where it has all.
    """
    if cancel_from(history, account) is None or time < idle_from(history) + history.terms.idle_seconds:
        return False
    if keyless_since is not None and time >= keyless_since + 2 * history.terms.idle_seconds:
        return any(entry.client == account for commit in history.commits.values() for entry in commit.entries)
    newest = history.commits.get(history.round - 1)
    return history.closes_at != NEVER or (newest is not None and verifier.withheld(history, newest) is not None)
