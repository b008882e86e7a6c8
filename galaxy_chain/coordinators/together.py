"""What the clients of one process send together: one transaction for all that are ready, by one of their accounts.

All of them are one operator's, so it does not matter whose account pays; and a hundred entries in one call take a third
of the gas of a hundred calls, and much less of everybody's time. Nothing depends on it: whatever is not in after that,
its client sends by itself, and hears why it can't.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

from galaxy_chain.coordinators.gathering import Gathering
from galaxy_chain.exceptions import InsufficientFundsError, LedgerRefusedError
from galaxy_chain.ledger.contract import ContractCall, LedgerContract
from galaxy_chain.ledger.events import BalanceWithdrawn, ClientJoined, UpdatesSubmitted
from galaxy_chain.ledger.signing import Domain, sign_join, sign_update
from galaxy_chain.ledger.structs import JoinBySignature, Update
from galaxy_chain.ledger.submissions import Entry, pack_block, unpack_entries
from galaxy_chain.transactions.manager import Receipt, Signer
from galaxy_fl.exceptions import GalaxyError

__all__ = ["Sent", "Together"]

LOG = logging.getLogger(__name__)

What = TypeVar("What", bound=Hashable)
Part = TypeVar("Part")


@dataclass(frozen=True)
class Sent:
    """What has become of one client's part of a transaction.

    Attributes:
        receipt: Of the transaction, with this client's part of its gas and cost.
        amount: What was paid out to the client, in wei; 0 where it was not about that.
    """

    receipt: Receipt
    amount: int = 0


@dataclass(frozen=True)
class _Wanted(Generic[What, Part]):
    """What a client wants to be in a transaction.

    Attributes:
        ledger: With the client's transactions.
        what: By which it is found in the events of the transaction.
        part: What goes into the call.
        once: As `ContractCall.begin` has it, for the transaction that this one is the first of.
    """

    ledger: LedgerContract
    what: What
    part: Part
    once: str | None = None


@dataclass(frozen=True)
class _Signed:
    """An entry that its client has signed for an attempt on the model with that root."""

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
        def submit(ledger: LedgerContract, parts: Sequence[_Signed]) -> ContractCall:
            entries, signatures = pack_block(part.entry for part in parts), b"".join(part.signature for part in parts)
            return ledger.submit_updates(job, parts[0].attempt, parts[0].model, entries, signatures)

        def submitted(ledger: LedgerContract, receipt: Receipt) -> Mapping[Entry, int]:
            found = ledger.emitted(UpdatesSubmitted, receipt)
            return {entry: 0 for event in found for entry in unpack_entries(event.entries)}

        def join(ledger: LedgerContract, parts: Sequence[JoinBySignature]) -> ContractCall:
            return ledger.join_by_signatures(job, parts)

        def joined(ledger: LedgerContract, receipt: Receipt) -> Mapping[str, int]:
            return {event.client: 0 for event in ledger.emitted(ClientJoined, receipt)}

        def withdraw(ledger: LedgerContract, parts: Sequence[str]) -> ContractCall:
            return ledger.withdraw_for(job, parts)

        def withdrawn(ledger: LedgerContract, receipt: Receipt) -> Mapping[str, int]:
            return {event.account: event.amount for event in ledger.emitted(BalanceWithdrawn, receipt)}

        self._job = job
        self._expected = expected
        self._updates = _Kind(expected, submit, submitted)
        self._joins = _Kind(expected, join, joined)
        self._balances = _Kind(expected, withdraw, withdrawn)

    def submit(self, ledger: LedgerContract, attempt: int, model: bytes, update: Update) -> Receipt | None:
        """Hand a client's update in with those of others.

        Args:
            ledger: With the client's transactions.
            attempt, model: What it was trained for: an attempt, on the model with that root.

        Returns:
            The transaction that it is in with; None where it is not in: then the client submits it by itself.
        """

        def sign(signer: Signer, domain: Domain) -> bytes:
            return sign_update(signer, ledger.rpc, domain, self._job, attempt, model, update)

        if (signature := self._signature(ledger, sign)) is None:
            return None
        entry = Entry(_address(ledger), update)
        once = f"{self._job} {attempt} {model.hex()} {entry.client}"
        wanted = _Wanted(ledger, entry, _Signed(attempt, model, entry, signature), once)
        sent = self._updates.send((attempt, model), wanted)
        return None if sent is None else sent.receipt

    def join(self, ledger: LedgerContract, samples: int, key: bytes, deadline: int) -> bool:
        """Join with others, and tell whether the client has joined; if not, it joins by itself.

        Args:
            ledger: With the client's transactions.
            samples, key: As `LedgerContract.join` has them.
            deadline: Until when the signature is valid, in seconds of the chain.
        """

        def sign(signer: Signer, domain: Domain) -> bytes:
            return sign_join(signer, ledger.rpc, domain, self._job, samples, deadline, key)

        if (signature := self._signature(ledger, sign)) is None:
            return False
        client = _address(ledger)
        part = JoinBySignature(client, samples, key, deadline, signature)
        return self._joins.send(None, _Wanted(ledger, client, part, f"{self._job} {client}")) is not None

    def withdraw(self, ledger: LedgerContract) -> int:
        """Have a client's balance paid out with those of others: what was, in wei; 0 for nothing, then the client
        withdraws by itself."""
        if self._expected() < 2:
            return 0
        account = _address(ledger)
        sent = self._balances.send(None, _Wanted(ledger, account, account))
        return 0 if sent is None else sent.amount

    def _signature(self, ledger: LedgerContract, sign: Callable[[Signer, Domain], bytes]) -> bytes | None:
        """A client's signature; None where there are no others to go with, or its account does not sign."""
        if self._expected() < 2:
            return None
        assert ledger.transactions is not None
        try:
            return sign(ledger.transactions.signer, Domain(ledger.chain_id, ledger.address))
        except GalaxyError as error:  # a node may sign transactions and nothing else
            LOG.debug("job %d: %s signs nothing but transactions: %s", self._job, _address(ledger), error)
            return None


class _Kind(Generic[What, Part]):
    """What several clients want of one function of the ledger.

    Args:
        expected: How many clients there are.
        call: Of that function, with all their parts.
        found: What its events say has come of it, with an amount in wei.
    """

    def __init__(
        self,
        expected: Callable[[], int],
        call: Callable[[LedgerContract, Sequence[Part]], ContractCall],
        found: Callable[[LedgerContract, Receipt], Mapping[What, int]],
    ) -> None:
        self._call = call
        self._found = found
        self._gathering = Gathering[_Wanted[What, Part], Sent](self._begin, expected)

    def send(self, key: Hashable, wanted: _Wanted[What, Part]) -> Sent | None:
        """Send it with all of the same key; None where nothing has come of it."""
        return self._gathering.hand_in(key, wanted)

    def _begin(
        self, wanted: Sequence[_Wanted[What, Part]], payers: Sequence[LedgerContract] | None = None
    ) -> Callable[[], Sequence[Sent | None]]:
        """Sends it by the first account that can pay, each of theirs in turn, without what the ledger refuses."""
        left = list(wanted)
        payers = [each.ledger for each in wanted] if payers is None else payers
        while len(left) > 1 and payers:
            try:
                wait = self._call(payers[0], [each.part for each in left]).begin(wanted[0].once)
            except InsufficientFundsError:
                payers = payers[1:]
            except GalaxyError as error:
                LOG.debug("%d clients of this process don't go together: %s", len(left), error)
                place = error.arguments.get("place") if isinstance(error, LedgerRefusedError) else None
                if not isinstance(place, int) or place >= len(left):
                    break
                left.pop(place)
            else:
                return partial(self._results, wanted, payers, wait)
        return lambda: [None] * len(wanted)

    def _results(
        self, wanted: Sequence[_Wanted[What, Part]], payers: Sequence[LedgerContract], wait: Callable[[], Receipt]
    ) -> Sequence[Sent | None]:
        """What has become of each."""
        try:
            receipt = wait()
            found = self._found(payers[0], receipt)
        except InsufficientFundsError:
            return self._begin(wanted, payers[1:])()
        except GalaxyError as error:
            LOG.debug("%d clients of this process don't go together: %s", len(wanted), error)
            return [None] * len(wanted)
        results: list[Sent | None] = []
        gas, fee, shares = receipt.gas_used, receipt.fee, sum(each.what in found for each in wanted)
        for each in wanted:
            if each.what not in found:
                results.append(None)
                continue
            part = replace(receipt, gas_used=gas // shares, fee=fee // shares)
            gas, fee, shares = gas - part.gas_used, fee - part.fee, shares - 1
            results.append(Sent(part, found[each.what]))
        return results


def _address(ledger: LedgerContract) -> str:
    assert ledger.transactions is not None
    return ledger.transactions.signer.address
