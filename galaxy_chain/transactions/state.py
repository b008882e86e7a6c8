"""What becomes of one transaction: a pure state machine, fed with what is seen of the chain, that says what to do.

It asks nobody, sends nothing and takes its time from a clock that it is given; `transactions.py` is the I/O around it.
After the send state of Optimism's transaction manager (op-service/txmgr/send_state.go).

    SIGNED ──Sent, Known──▶ PENDING ──Mined──▶ MINED ──enough confirmations──▶ Done, or Fail(REVERTED)
       ▲                       │ ▲                │
       └──────── Gone ─────────┘ └─ Known, Gone ──┘   (forgotten by the node, or reorganised out: the same bytes again)

In the first two a Tick may ask for a Bump, and in every state for the end when time is up. Only when another
transaction has used up the nonce for certain does it ask for a Resend with another one: so at most one nonce of an
intent can still get into a block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from math import inf

from galaxy_chain.transactions.fees import Fees
from galaxy_chain.transactions.refusals import Refusal

__all__ = [
    "Action",
    "Broadcast",
    "Bump",
    "Done",
    "Event",
    "Fail",
    "Gone",
    "Known",
    "Mined",
    "NonceTaken",
    "Phase",
    "Queued",
    "Reason",
    "Refused",
    "Resend",
    "Sent",
    "Tick",
    "TransactionSettings",
    "TransactionState",
    "Undecided",
]

SURE = 3
"""So many looks in a row have to find the nonce taken: behind one url there may be several nodes, some of them late."""
RESENDS = 10


@dataclass(frozen=True)
class TransactionSettings:
    """How a transaction is got into a block. The defaults suit development chains.

    Raises:
        ValueError: a value is out of range.
    """

    timeout: float = 180.0
    """Seconds until a transaction that is not confirmed is given up. Raise it for a slow chain."""
    bump_after: float = 30.0
    """Seconds in no block after which more is offered for gas: two or three blocks of the chain."""
    fee_cap: int = 500 * 10**9
    """Wei for a unit of gas; more is never offered. Raise it where gas is dearer."""
    confirmations: int = 1
    """Blocks, its own included, after which a transaction counts. 1 suits chains that do not reorganise; on a main
    chain take more than its usual reorganisations are deep (Ethereum: 3), and raise the timeout by as many blocks."""

    def __post_init__(self) -> None:
        for name, least in [("timeout", 0), ("bump_after", 0), ("fee_cap", 0), ("confirmations", 1)]:
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected {least} or more")


class Phase(Enum):
    """Where the newest bytes are, as far as is known."""

    SIGNED = auto()
    PENDING = auto()
    MINED = auto()


class Reason(Enum):
    """Why it ends without success."""

    TIMEOUT = auto()
    FEE_CAP = auto()
    """What a pool asks for, or what might get it in, is above the cap."""
    INSUFFICIENT_FUNDS = auto()
    REVERTED = auto()
    """It is in a block, and failed."""
    OVERTAKEN = auto()
    """Other programs of the account took the nonce again and again."""
    REFUSED = auto()
    """The node refuses it for a reason that waiting does not change."""


@dataclass(frozen=True)
class Sent:
    """A node took the newest bytes."""


@dataclass(frozen=True)
class Known:
    """A node has some of the signed bytes in its pool."""


@dataclass(frozen=True)
class Mined:
    """Some of the signed bytes are in a block; `confirmations` counts that block and those on it."""

    hash: str
    block: int
    succeeded: bool
    confirmations: int


@dataclass(frozen=True)
class Gone:
    """The nonce is due, and the node has none of the signed bytes."""


@dataclass(frozen=True)
class Queued:
    """An earlier nonce of the account is in no block yet: more fees would not help."""


@dataclass(frozen=True)
class NonceTaken:
    """The nonce is used, in a block with enough confirmations, and not by any of the signed bytes."""


@dataclass(frozen=True)
class Undecided:
    """The nonce is used, by none of the signed bytes, in a block that may still be reorganised out."""


@dataclass(frozen=True)
class Refused:
    """A node did not take the newest bytes."""

    refusal: Refusal


@dataclass(frozen=True)
class Tick:
    """Time has passed."""


Event = Sent | Known | Mined | Gone | Queued | NonceTaken | Undecided | Refused | Tick


@dataclass(frozen=True)
class Broadcast:
    """Send the newest bytes, as they are."""


@dataclass(frozen=True)
class Bump:
    """Sign it again with the same nonce and higher fees (see `TransactionState.bumped`), and broadcast that."""


@dataclass(frozen=True)
class Resend:
    """If it is still wanted, sign it with another nonce, and broadcast that."""


@dataclass(frozen=True)
class Done:
    """It is in, with enough confirmations."""

    hash: str


@dataclass(frozen=True)
class Fail:
    """It is given up.

    Attributes:
        live: It may get in all the same.
        hash: Of what is in a block, where that is why.
    """

    reason: Reason
    live: bool
    hash: str | None = None


Action = Broadcast | Bump | Resend | Done | Fail


class TransactionState:
    """One transaction. After an action that signs again, `bumped` or `resent` says what was signed.

    Args:
        settings: How it is got in.
        clock: Seconds, never going back.
        fees: What the newest bytes offer.
        resumed: The bytes are from an earlier process, or an earlier call, that may have broadcast them.
    """

    def __init__(
        self, settings: TransactionSettings, clock: Callable[[], float], fees: Fees, *, resumed: bool = False
    ) -> None:
        self.phase = Phase.SIGNED
        self.fees = fees
        self.end: Done | Fail | None = None
        self._settings = settings
        self._clock = clock
        self._exposed = resumed
        """Whether any node may have bytes with the present nonce."""
        self._blocked = False
        """Whether a node has another transaction in the place of this one."""
        self._limit: Reason | None = None
        """Why no more can be offered."""
        self._taken = 0
        self._resends = 0
        self._began = self._offered_at = clock()
        self._published_at = -inf

    def on(self, event: Event) -> Action | None:
        """What to do now; the end stays the end."""
        if self.end is None:
            action = self._on(event)
            if not isinstance(action, Done | Fail):
                return action
            self.end = action
        return self.end

    def offer(self, market: Fees) -> Fees | None:
        """Fees for a Bump: the market's or an eighth more, whichever is higher; None where the cap is in the way."""
        fees = self.fees.bumped(market, self._settings.fee_cap)
        if fees is None:
            self._limit = Reason.FEE_CAP
        return fees

    def bumped(self, fees: Fees) -> Broadcast:
        """It was signed again with the same nonce and these fees."""
        assert fees.outbids(self.fees), f"{fees} does not outbid {self.fees}"
        self.fees = fees
        self._offered_at = self._clock()
        return Broadcast()

    def resent(self, fees: Fees, *, exposed: bool = False) -> Broadcast:
        """It was signed again with another nonce and these fees; `exposed` if by another process, that sends it too."""
        self.phase = Phase.SIGNED
        self.fees = fees
        self._exposed, self._blocked, self._limit, self._taken = exposed, False, None, 0
        self._offered_at = self._clock()
        return Broadcast()

    def _on(self, event: Event) -> Action | None:
        if not isinstance(event, NonceTaken | Tick):
            self._taken = 0
        match event:
            case Sent():
                self.phase = Phase.PENDING
                self._exposed, self._blocked, self._limit = True, False, None
                self._published_at = self._clock()
            case Known():
                if self.phase is Phase.MINED:  # reorganised out, and back in the pool
                    self._offered_at = self._clock()
                self.phase = Phase.PENDING
                self._exposed, self._blocked = True, False
            case Mined():
                self.phase = Phase.MINED
                self._exposed = True
                if event.confirmations >= self._settings.confirmations:
                    return Done(event.hash) if event.succeeded else Fail(Reason.REVERTED, False, event.hash)
            case Gone():
                return self._gone()
            case Queued():
                self._offered_at = self._clock()
                if self.phase is Phase.MINED:  # a reorganisation took out earlier ones, too
                    self.phase = Phase.SIGNED
            case NonceTaken():
                self._taken += 1
                if self._taken >= SURE:
                    self._resends += 1
                    return Resend() if self._resends <= RESENDS else Fail(Reason.OVERTAKEN, False)
            case Refused():
                return self._refused(event.refusal)
            case Tick():
                return self._tick()
        return None

    def _gone(self) -> Broadcast | None:
        now = self._clock()
        reorganised, self.phase = self.phase is Phase.MINED, Phase.SIGNED
        # Nodes behind one url learn of it one after the other: a node that does not know it yet has not forgotten it.
        if not reorganised and now - self._published_at < self._settings.bump_after / 6:
            return None
        self._published_at = now
        return Broadcast()

    def _refused(self, refusal: Refusal) -> Action | None:
        match refusal:
            case Refusal.KNOWN:
                return self._on(Known())
            case Refusal.NONCE_TOO_LOW:
                self._exposed = True  # another process may have sent these bytes: the next look tells whose are in
            case Refusal.REPLACEMENT_UNDERPRICED:
                self._blocked = True
            case Refusal.UNDERPRICED:
                return self._limited() or Bump()
            case Refusal.INSUFFICIENT_FUNDS:
                self._limit = Reason.INSUFFICIENT_FUNDS
            case Refusal.OTHER:
                self._limit = Reason.REFUSED
        return self._limited()

    def _limited(self) -> Fail | None:
        """The end, where no more can be offered and nobody has what was offered."""
        return Fail(self._limit, False) if self._limit is not None and not self._exposed else None

    def _tick(self) -> Action | None:
        now = self._clock()
        if (limited := self._limited()) is not None:
            return limited
        if now - self._began >= self._settings.timeout:
            return Fail(self._limit or Reason.TIMEOUT, live=True)
        may_bump = self.phase is Phase.PENDING and not self._blocked and self._limit is None
        return Bump() if may_bump and now - self._offered_at >= self._settings.bump_after else None
