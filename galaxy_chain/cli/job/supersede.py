"""galaxy-chain job supersede."""

from __future__ import annotations

from galaxy_chain.cli.console import console
from galaxy_chain.cli.options import Account, AtLedger, JobNumber
from galaxy_chain.exceptions import LedgerRefusedError
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.following.turns import supersede_from
from galaxy_chain.shown import date
from galaxy_fl.exceptions import RoundMovedOnError

__all__ = ["supersede"]


def supersede(job: JobNumber, sender: Account, at: AtLedger) -> None:
    """Take back the newest commit because nobody builds upon it: its model is withheld. Needs a bond in the job.

    Servers do it by themselves. Nobody is slashed, but the server of that commit comes last until a later commit of its
    own is settled.
    """
    ledger = at.connect(sender)
    assert ledger.transactions is not None
    history = JobFollower(ledger, job).history
    number = history.round - 1
    begins = supersede_from(history, ledger.transactions.signer.address)
    if begins is None:
        raise RoundMovedOnError(
            f"job {job} has no commit that this account can supersede: only the newest can be, while it is not "
            "settled, not the last round's, not built upon by enough updates, and not the account's own; and not by an "
            "account that was proved wrong"
        )
    try:
        receipt = ledger.supersede(job, history.commits[number].record).transact()
    except LedgerRefusedError as error:
        if error.name != "WindowOpen":
            raise
        raise RoundMovedOnError(
            f"round {number} of job {job} can be superseded from {date(begins)} on, if nobody builds upon it until then"
        ) from error
    console.print(f"the commit of round {number} of job {job} is taken back, {receipt.gas_used} gas")
