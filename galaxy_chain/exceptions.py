"""What can go wrong on and around a ledger, and the exit code with which a command ends on it.

The tree of `galaxy_fl.exceptions` continues:

    GalaxyError
    ├── RpcError                   20   a node can't be reached or does not answer properly
    │   └── WrongChainError        21   the node is of another chain
    ├── NoLedgerError              22   there is no ledger at the address
    │   └── ForeignLedgerError     35   the contract there is another than the ledger that is known here
    ├── UnknownJobError            23   the ledger has no such job
    ├── AccountError               24   a key can't be found or opened
    ├── TransactionError           25   a transaction did not get in, or failed
    │   ├── TransactionFailedError 25   it failed in a block, after it had been tried out
    │   └── InsufficientFundsError 26   the account can't pay for it
    ├── LedgerRefusedError         27   the contract refused, with one of its own errors
    │   ├── NotAdmittedError       28   the client is not admitted
    │   └── AlreadySubmittedError  29   the client has another update in this attempt
    ├── JobMismatchError           30   terms, job document, rule and initial model do not belong together
    ├── AuditError                 31   the ledger or the content tells a lie
    ├── JobCancelledError          32   the job was cancelled, and ends without the round that it was at
    ├── UnsoundTermsError          34   a job's terms would cost money, or leave commits that nobody can challenge
    ├── UnfitChainError            36   a chain can't run the ledger
    └── ContentError                6   (of galaxy_fl)
        ├── KeyMissingError        37   content is sealed, and the key is not here
        └── ContentAlteredError     7   (of galaxy_fl)
            └── ContentMismatchError  33   the content is what its id says, but not what the ledger says of it
"""

from __future__ import annotations

from typing import Literal

from galaxy_fl.exceptions import ContentAlteredError, ContentError, GalaxyError

__all__ = [
    "AccountError",
    "AlreadySubmittedError",
    "AuditError",
    "ContentMismatchError",
    "ForeignLedgerError",
    "InsufficientFundsError",
    "JobCancelledError",
    "JobMismatchError",
    "KeyMissingError",
    "LedgerRefusedError",
    "NoLedgerError",
    "NotAdmittedError",
    "RpcError",
    "TransactionError",
    "TransactionFailedError",
    "UnfitChainError",
    "UnknownJobError",
    "UnsoundTermsError",
    "WrongChainError",
]


class RpcError(GalaxyError):
    """A node can't be reached, or its answer is not what the RPC promises."""

    exit_code = 20
    temporary = True


class WrongChainError(RpcError):
    """The node is of another chain than the ledger."""

    exit_code = 21
    temporary = False


class NoLedgerError(GalaxyError):
    """There is no code at the ledger's address, or no address is known."""

    exit_code = 22


class ForeignLedgerError(NoLedgerError):
    """The contract at the ledger's address is not the one that this version of Galaxy knows."""

    exit_code = 35


class UnknownJobError(GalaxyError):
    """The ledger has no job of that number."""

    exit_code = 23


class AccountError(GalaxyError):
    """An account's key can't be found, or can't be opened with the password given."""

    exit_code = 24


class TransactionError(GalaxyError):
    """A transaction was not included in time, or failed without saying why."""

    exit_code = 25


class TransactionFailedError(TransactionError):
    """A transaction failed in a block after it had been tried out: another came first, or the chain was reorganised."""


class InsufficientFundsError(TransactionError):
    """The account can't pay for the transaction."""

    exit_code = 26


ErrorName = Literal[
    "AlreadyCancelled", "AlreadyDemanded", "AlreadyJoined", "AlreadySubmitted", "AnswerTooLarge", "Barred",
    "BondLate", "BondTooSmall", "CommitIsRight", "CommitIsWrong", "DemandsOpen", "Expelled", "HeadChanged",
    "InvalidTerm", "JobNotIdle", "JobNotRunning", "JobNotSettled", "MalformedChunks", "MalformedEntries",
    "MalformedExcluded", "MalformedNodes", "MalformedOpenings", "MalformedSubmissions", "ModelNotKept", "NoSuchChunk",
    "NoSuchNode", "NotAdmitted", "NotAnnounced", "NotBuiltUpon", "NotDemanded", "NotJoined", "NotOwner",
    "NotSupersedable", "NotYet", "NothingToPay", "ParametersRefused", "PaymentRefused", "RoundClosed", "RoundOpen",
    "RuleMisbehaved", "SamplesOutOfRange", "SubmissionsHidden",
    "TooFewUpdates", "TooManyExcluded", "TooManyUnsettled", "UnknownJob", "UnknownRecord",
    "WeightOutOfRange", "WindowOpen", "WindowOver", "WrongAttempt", "WrongEntry", "WrongJoin", "WrongModel",
    "WrongNodeWeight", "WrongNodes", "WrongOpening", "WrongRound", "WrongSubmissions", "WrongValue",
]  # fmt: skip
"""The custom errors of `IGalaxyLedger.sol` and of the rules."""


class LedgerRefusedError(GalaxyError):
    """The contract refused a call.

    Attributes:
        name: The custom error.
        arguments: Its arguments by name.
    """

    exit_code = 27

    def __init__(self, message: str, name: ErrorName, arguments: dict[str, object]) -> None:
        super().__init__(message)
        self.name = name
        self.arguments = arguments


class NotAdmittedError(LedgerRefusedError):
    """The address is not admitted to the job, or has not joined it."""

    exit_code = 28


class AlreadySubmittedError(LedgerRefusedError):
    """The client has another update in this attempt."""

    exit_code = 29


class JobMismatchError(GalaxyError):
    """The terms, the job document, the rule's code and the initial model do not belong together."""

    exit_code = 30


class AuditError(GalaxyError):
    """What the ledger or a store says can't be true. The message names the round and the client or the chunk."""

    exit_code = 31


class JobCancelledError(GalaxyError):
    """The job was cancelled, and ends without the round that it was at."""

    exit_code = 32


class UnsoundTermsError(GalaxyError):
    """A job's terms would cost a participant money, or leave commits that nobody can challenge."""

    exit_code = 34


class UnfitChainError(GalaxyError):
    """A chain can't run the ledger."""

    exit_code = 36


class ContentMismatchError(ContentAlteredError):
    """Content is what its id says, but has not the root or the commitment that the ledger has of it."""

    exit_code = 33


class KeyMissingError(ContentError):
    """Content is sealed for a job's members, and the key that it opens with is not here: it may be sound."""

    exit_code = 37
