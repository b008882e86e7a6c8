"""What the clients of one process send together: one transaction for all that are ready, by one of their accounts.

All of them are one operator's, so it does not matter whose account pays; and a hundred entries in one call take a third
of the gas of a hundred calls, and much less of everybody's time. Nothing depends on it: whatever is not in after that,
its client sends by itself, and hears why it can't.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from galaxy_chain.coordinators.gathering import Gathering
from galaxy_chain.exceptions import InsufficientFundsError, LedgerRefusedError
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.events import UpdatesSubmitted
from galaxy_chain.ledger.signing import Domain, sign_update
from galaxy_chain.ledger.structs import Update
from galaxy_chain.ledger.submissions import Entry, pack_block, unpack_entries
from galaxy_chain.transactions.manager import Receipt
from galaxy_fl.exceptions import GalaxyError

__all__ = ["Together"]

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Submission:
    """An entry that its client has signed for an attempt on the model with that root."""

    ledger: LedgerContract
    attempt: int
    model: bytes
    entry: Entry
    signature: bytes


class Together:
    """What the clients of one process send to one job.

    Args:
        job: Its number.
        expected: How many clients there are.
    """

    def __init__(self, job: int, expected: Callable[[], int]) -> None:
        self._job = job
        self._expected = expected
        self._submissions = Gathering[_Submission, Receipt](self._begin, expected)

    def submit(self, ledger: LedgerContract, attempt: int, model: bytes, update: Update) -> Receipt | None:
        """Hand a client's update in with those of others.

        Args:
            ledger: With the client's transactions.
            attempt, model: What it was trained for: an attempt, on the model with that root.

        Returns:
            The transaction that it is in with, and this client's part of the gas; None where it is not in: then the
            client submits it by itself.
        """
        if self._expected() < 2:
            return None
        assert ledger.transactions is not None
        signer, domain = ledger.transactions.signer, Domain(ledger.chain_id, ledger.address)
        try:
            signature = sign_update(signer, ledger.rpc, domain, self._job, attempt, model, update)
        except GalaxyError as error:  # a node may sign transactions and nothing else
            LOG.debug("job %d: %s signs no update: %s", self._job, signer.address, error)
            return None
        entry = Entry(signer.address, update)
        return self._submissions.hand_in((attempt, model), _Submission(ledger, attempt, model, entry, signature))

    def _begin(
        self, submissions: Sequence[_Submission], payers: Sequence[LedgerContract] | None = None
    ) -> Callable[[], list[Receipt | None]]:
        """Sends submissions by the first account that can pay, each of theirs in turn, without what the ledger
        refuses."""
        first, left = submissions[0], list(submissions)
        payers = [each.ledger for each in submissions] if payers is None else payers
        while len(left) > 1 and payers:
            entries, signatures = pack_block(each.entry for each in left), b"".join(each.signature for each in left)
            call = payers[0].submit_updates(self._job, first.attempt, first.model, entries, signatures)
            try:
                wait = call.begin(f"{self._job} {first.attempt} {first.model.hex()} {first.entry.client}")
            except InsufficientFundsError:
                payers = payers[1:]
            except GalaxyError as error:
                self._say(error)
                place = error.arguments.get("place") if isinstance(error, LedgerRefusedError) else None
                if not isinstance(place, int) or place >= len(left):
                    break
                left.pop(place)
            else:
                return partial(self._results, submissions, payers, wait)
        return lambda: [None] * len(submissions)

    def _results(
        self, submissions: Sequence[_Submission], payers: Sequence[LedgerContract], wait: Callable[[], Receipt]
    ) -> list[Receipt | None]:
        """What has become of each."""
        try:
            receipt = wait()
            events = payers[0].emitted(UpdatesSubmitted, receipt)
        except InsufficientFundsError:
            return self._begin(submissions, payers[1:])()
        except GalaxyError as error:
            self._say(error)
            return [None] * len(submissions)
        there = {entry for event in events for entry in unpack_entries(event.entries)}
        found: list[Receipt | None] = []
        gas, fee, shares = receipt.gas_used, receipt.fee, len(there)
        for each in submissions:
            if each.entry not in there:
                found.append(None)
                continue
            part = replace(receipt, gas_used=gas // shares, fee=fee // shares)
            gas, fee, shares = gas - part.gas_used, fee - part.fee, shares - 1
            found.append(part)
        return found

    def _say(self, error: GalaxyError) -> None:
        LOG.debug("job %d: clients of this process don't submit together: %s", self._job, error)
