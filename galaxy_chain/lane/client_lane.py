"""How a client gets in: by its signature, which others hand in, or by its own transaction."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from galaxy_chain.exceptions import InsufficientFundsError
from galaxy_chain.following.history import JobHistory
from galaxy_chain.lane.inbox import inbox_of
from galaxy_chain.lane.kept import KeptEntries
from galaxy_chain.lane.messages import SignedJoin, SignedUpdate
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.signing import Domain, sign_join, sign_update
from galaxy_chain.ledger.structs import NEVER, Update
from galaxy_fl.content import Store
from galaxy_fl.exceptions import ConfigurationError, ContentError
from galaxy_fl.faults import fault_point
from galaxy_fl.patience import Backoff

__all__ = ["JOIN_SECONDS", "HandingIn", "Lane", "SignedLane"]

LOG = logging.getLogger(__name__)

JOIN_SECONDS = 3_600
"""How long a signature to join is valid."""
_REPEATED = Backoff(2.0, 30.0, jitter=0.3)
"""After which pauses something is handed in again: a store may have lost it."""


class Lane(StrEnum):
    """How a client joins and hands in."""

    AUTO = "auto"
    """It signs, and sends its own transaction where nobody hands that in."""
    SIGNED = "signed"
    """It signs, and sends nothing: for this it needs no ether."""
    DIRECT = "direct"
    """It sends its own transactions."""

    @classmethod
    def parse(cls, text: str) -> Lane:
        """From its name.

        Raises:
            ConfigurationError: there is none of that name.
        """
        try:
            return cls(text)
        except ValueError:
            raise ConfigurationError(f"{text!r} is not a lane: expected {', '.join(cls)}") from None


class SignedLane:
    """What a client of a job signs, keeps and hands in.

    Args:
        lane: Auto or signed.
        ledger: With the account's transactions.
        store: Whose inbox it is.
        job: The job's number.
        own: Where what was signed is kept.
        relay: Seconds to wait for a relay that looks into the inbox.
        key: Returns the public key that the client joins with; zero where the job is not sealed.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        lane: Lane,
        ledger: LedgerContract,
        store: Store,
        job: int,
        own: Path,
        relay: float,
        key: Callable[[], bytes] = lambda: bytes(32),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert ledger.transactions is not None
        self.lane = lane
        self.relay = relay
        self.clock = clock
        self._key = key
        self._ledger = ledger
        self._signer = ledger.transactions.signer
        self._job = job
        self._domain = Domain(ledger.chain_id, ledger.address)
        self._inbox = inbox_of(store, self._domain)
        self._kept = KeptEntries(own)
        self._said: set[str] = set()
        self._poor: int | None = None
        """What the account had when it could not pay."""

    def before(self, attempt: int, model: bytes) -> SignedUpdate | None:
        """The entry that this client has signed for an attempt on that model; None where it has signed none."""
        return self._kept.find(attempt, model)

    def signed(self, attempt: int, model: bytes, update: Update) -> SignedUpdate:
        """The one entry that this client signs for an attempt on that model: of this update, unless another was signed
        before. It is on disk when this returns."""
        if (before := self.before(attempt, model)) is not None:
            return before
        signature = sign_update(self._signer, self._ledger.rpc, self._domain, self._job, attempt, model, update)
        kept = self._kept.keep(attempt, SignedUpdate.of(self._signer.address, model, update, signature))
        fault_point("after-signed")
        return kept

    def forget(self, attempt: int) -> None:
        """Deletes what was signed for attempts up to that one."""
        self._kept.forget(attempt)

    def handing_in(self, attempt: int, signed: SignedUpdate) -> HandingIn:
        """Hands an update in, whenever `HandingIn.look` is called and it is time."""
        return HandingIn(self, lambda: self._inbox.hand_in(self._job, attempt, signed))

    def joining(self, samples: int, time: int) -> HandingIn:
        """Hands in that this client joins; signs it at `time`, in seconds of the chain."""
        join = self.join(samples, time)
        return HandingIn(self, lambda: self._inbox.ask_to_join(self._job, join))

    def join(self, samples: int, time: int) -> SignedJoin:
        """That this client joins, signed at `time`, in seconds of the chain."""
        deadline = time + JOIN_SECONDS
        key = self._key()
        signature = sign_join(self._signer, self._ledger.rpc, self._domain, self._job, samples, deadline, key)
        return SignedJoin(
            client=self._signer.address, samples=samples, key=key.hex(), deadline=deadline, signature=signature.hex()
        )

    @property
    def relayed(self) -> bool:
        """Whether a relay looks into the inbox."""
        try:
            return self._inbox.relayed(self._job)
        except ContentError:
            return False

    def may_pay(self) -> bool:
        """Whether this client sends transactions, and has more than when it could not pay for one."""
        if self.lane is not Lane.AUTO:
            return False
        return self._poor is None or self._balance() > self._poor

    def could_not_pay(self, error: InsufficientFundsError) -> None:
        """Remembers that, and says it."""
        self._poor = self._balance()
        self.say(f"it has no ether of its own, and waits for somebody to hand in what it has signed ({error})")

    def _balance(self) -> int:
        return self._ledger.rpc.number("eth_getBalance", self._signer.address, "latest")

    def say(self, what: str) -> None:
        """Says something, once."""
        if what not in self._said:
            self._said.add(what)
            LOG.warning("job %d: %s", self._job, what)


class HandingIn:
    """Something that is handed in again and again until it is in, because an inbox may lose it."""

    def __init__(self, lane: SignedLane, hand_in: Callable[[], None]) -> None:
        self._lane = lane
        self._hand_in = hand_in
        self._began = lane.clock()
        self._times = 0
        self._next = self._began
        self._closing: float | None = None
        """Since when the round was seen to close."""
        self._taken = False
        """Whether the inbox has it, as far as it says."""

    def look(self) -> None:
        """Hands it in if it is time."""
        now = self._lane.clock()
        if now < self._next:
            return
        self._times += 1
        self._next = now + _REPEATED.after(self._times)
        try:
            self._hand_in()
            self._taken = True
            fault_point("after-handing-in")
        except ContentError as error:
            self._taken = False
            self._lane.say(f"the inbox takes nothing: {error}")

    def is_overdue(self, history: JobHistory | None = None) -> bool:
        """Whether a client that can pay goes on by itself, so that nobody keeps it out: nobody takes or hands in what
        it has signed, a relay has had its time, or the round is about to close.

        Args:
            history: Of the job, for an update.
        """
        now = self._lane.clock()
        if not self._taken or not self._lane.relayed:
            return True
        if history is not None and history.closes_at != NEVER:
            self._closing = now if self._closing is None else self._closing
            # The relay may be about to send the next batch; three quarters of the time are for the own transaction.
            return now - self._closing >= history.terms.deadline / 4
        return now - self._began >= self._lane.relay
