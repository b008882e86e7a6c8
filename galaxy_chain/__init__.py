"""Galaxy's ledger layer: federated rounds on a blockchain that anyone can recompute to the bit.

What `__all__` lists here and in `galaxy_fl` is public; everything else is internal, and may change with any version.
"""

import typing as _typing

from galaxy_chain.exceptions import (
    AccountError,
    AlreadySubmittedError,
    AuditError,
    ContentMismatchError,
    ForeignLedgerError,
    InsufficientFundsError,
    JobCancelledError,
    JobMismatchError,
    KeyMissingError,
    LedgerRefusedError,
    NoLedgerError,
    NotAdmittedError,
    RpcError,
    TransactionError,
    TransactionFailedError,
    UnfitChainError,
    UnknownJobError,
    UnsoundTermsError,
    WrongChainError,
)
from galaxy_chain.pairings import prepare_later as _prepare_later
from galaxy_fl.lazily import lazily as _lazily

if _typing.TYPE_CHECKING:
    from galaxy_chain.place import Ledger

    __version__: str

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
    "Ledger",
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
    "__version__",
]

_HOMES = {"Ledger": "galaxy_chain.place"}

_prepare_later()

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _lazily(__name__, _HOMES)
