"""A job's history, rebuilt from its events alone.

The fold is pure, and mirrors the contract: whatever the events make of it has to agree with every head, record and
amount that they name, or somebody lies. It needs no block's header and no view of the ledger.

    commit.py     commits, and what became of them
    facts.py      all that the events say, and what every part of the fold uses; as `LedgerStorage.sol`
    rounds.py     clients, their entries and rounds; as `Attempts.sol` and `Rounds.sol`
    money.py      rewards, bonds and the end of a job; as `Money.sol`
    disputes.py   demands, answers and their outcomes; as `Disputes.sol`
    history.py    the fold itself
"""

from galaxy_chain.following.history.commit import Commit, OpenDemand, Reopening, Superseding
from galaxy_chain.following.history.history import JobHistory

__all__ = ["Commit", "JobHistory", "OpenDemand", "Reopening", "Superseding"]
