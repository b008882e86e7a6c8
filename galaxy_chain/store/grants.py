"""Who may write what: as the ledger says of a job, and as the operator says before there is one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from galaxy_chain.ledger.artifacts import rule_of_code
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.structs import Terms
from galaxy_chain.seal.sealing import sealed_size
from galaxy_chain.store.signed_request import NO_JOB
from galaxy_fl.aggregation import RULES, is_sum
from galaxy_fl.content import BLOCK_SIZE
from galaxy_fl.content.problems import Refused

__all__ = ["Grant", "Grants"]

_KEPT_SECONDS = 10.0
"""How long a grant holds without asking the ledger again. What is refused is asked every time: a client that has just
joined writes at once."""
_MOST_KEPT = 10_000
_LEDGER_SECONDS = 15.0


@dataclass(frozen=True)
class Grant:
    """That an account may write.

    Attributes:
        space: Whose quota counts: a job's number, or the address of an owner without a job.
        address: The account's, with checksum.
        vectors: Bytes that an update, a sum or a model has; none where there is no job yet, and anything goes.
        documents: Whether job documents and model sources may be put, too.
        sharers: How many have to share the quota; 1 for those who need not.
    """

    space: str
    address: str
    vectors: tuple[int, ...] = ()
    documents: bool = True
    sharers: int = 1

    def check(self, size: int) -> None:
        """Makes sure that content of this size may be put.

        Raises:
            Refused: it may not.
        """
        if not self.vectors or (self.documents and size <= BLOCK_SIZE):
            return
        # Whether the job is sealed its document says, not the ledger.
        if size in (*self.vectors, *map(sealed_size, self.vectors)):
            return
        documents = f", or of at most {BLOCK_SIZE} (documents, sources)" if self.documents else ""
        raise Refused(
            413,
            "size",
            f"content of {size} bytes does not belong to job {self.space}: it takes vectors of "
            f"{' or '.join(map(str, self.vectors))} bytes"
            f"{documents}",
        )


class Grants:
    """What accounts may write.

    Args:
        ledger: Of the jobs.
        owners: Addresses (with checksum) whose jobs are kept. They may put what a job consists of before there is one.
        clock: As `time.monotonic`.
    """

    def __init__(
        self, ledger: LedgerContract, owners: Collection[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger = ledger
        self._owners = frozenset(owners)
        self._clock = clock
        self._kept: dict[tuple[int, str], tuple[float, Grant]] = {}
        self._lock = threading.Lock()
        """A connection to a node is one thread's at a time."""

    def of(self, job: int, address: str) -> Grant:
        """What an account (with checksum) may write for a job, or for none.

        Raises:
            Refused: nothing.
            UnknownJobError: there is no such job.
            RpcError: the ledger can't be asked.
        """
        if job == NO_JOB:
            if address not in self._owners:
                raise Refused(
                    403,
                    "forbidden",
                    f"{address} may put nothing without a job: ask the store's operator for `--owner {address}`, or"
                    " name a job",
                )
            return Grant(address, address)
        with self.asking():
            until, grant = self._kept.get((job, address), (0.0, None))
            if grant is None or until < self._clock():
                grant = self._ask(job, address)
                if len(self._kept) >= _MOST_KEPT:
                    self._kept.clear()
                self._kept[job, address] = self._clock() + _KEPT_SECONDS, grant
            return grant

    @contextmanager
    def asking(self) -> Iterator[LedgerContract]:
        """Yields the ledger, to be asked by one thread at a time.

        Raises:
            Refused: others ask it for too long.
        """
        if not self._lock.acquire(timeout=_LEDGER_SECONDS):
            raise Refused(503, "ledger", "the ledger answers slowly: try again")
        try:
            yield self._ledger
        finally:
            self._lock.release()

    def check_kept(self, job: int, owner: str) -> None:
        """Makes sure that the jobs of this owner are kept here.

        Raises:
            Refused: they are not.
        """
        if owner not in self._owners:
            raise Refused(
                403,
                "forbidden",
                f"job {job} is of {owner}, whose jobs are not kept here: ask the store's operator for"
                f" `--owner {owner}`",
            )

    def _vectors(self, terms: Terms) -> tuple[int, ...]:
        """The sizes of a job's updates, sums and models: these are longer where its rule keeps moments."""
        rule = rule_of_code(self._ledger.rpc.data("eth_getCode", terms.rule, "latest"))
        widths = {4} if rule is None else {4, 4 * RULES[rule].lanes, *((8,) if is_sum(RULES[rule]) else ())}
        return tuple(width * terms.parameters for width in sorted(widths))

    def _ask(self, job: int, address: str) -> Grant:
        on_ledger = self._ledger.job_of(job)
        terms = on_ledger.terms
        self.check_kept(job, on_ledger.owner)
        vectors = self._vectors(terms)
        if address in (on_ledger.owner, terms.server):
            return Grant(str(job), address, vectors)
        account = self._ledger.account_of(job, address)
        if account.bond >= terms.bond and not account.barred:  # it may commit: nobody is named, or one takes over
            return Grant(str(job), address, vectors)
        if self._ledger.client_of(job, address).samples:
            return Grant(str(job), address, vectors, documents=False, sharers=terms.max_clients)
        raise Refused(
            403,
            "forbidden",
            f"{address} may put nothing into job {job}: it has not joined it, is not its server or its owner, and has"
            " no bond in it; join first",
        )
