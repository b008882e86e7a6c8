"""What is decided about a transaction, against a model of an account's chain and of a node's pool."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from galaxy_chain.transactions.fees import Fees
from galaxy_chain.transactions.refusals import Refusal
from galaxy_chain.transactions.state import (
    RESENDS,
    SURE,
    Broadcast,
    Bump,
    Done,
    Event,
    Fail,
    Gone,
    Known,
    Mined,
    NonceTaken,
    Phase,
    Queued,
    Reason,
    Refused,
    Resend,
    Sent,
    Tick,
    TransactionSettings,
    TransactionState,
    Undecided,
)

MARKET = Fees(100, 10)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def state(clock: Clock, *, resumed: bool = False, **changed: float) -> TransactionState:
    terms = {"timeout": 100, "bump_after": 30, "fee_cap": 1000, "confirmations": 1} | changed
    return TransactionState(TransactionSettings(**terms), clock, MARKET, resumed=resumed)  # type: ignore[arg-type]


def test_in_a_block_is_done(clock):
    machine = state(clock)
    assert machine.on(Sent()) is None
    assert machine.on(Mined("0x1", 7, True, 1)) == Done("0x1")
    assert machine.on(Gone()) == Done("0x1"), "the end is the end"


def test_confirmations_are_waited_for(clock):
    machine = state(clock, confirmations=3)
    machine.on(Sent())
    for confirmations in (1, 2):
        assert machine.on(Mined("0x1", 7, True, confirmations)) is None
        assert machine.phase is Phase.MINED
    assert machine.on(Mined("0x1", 7, True, 3)) == Done("0x1")


def test_a_failure_in_a_block_is_the_end_once_it_is_confirmed(clock):
    machine = state(clock, confirmations=2)
    assert machine.on(Mined("0x1", 7, False, 1)) is None
    assert machine.on(Mined("0x1", 7, False, 2)) == Fail(Reason.REVERTED, False, "0x1")


def test_what_is_reorganised_out_is_sent_again_at_once(clock):
    machine = state(clock, confirmations=3)
    machine.on(Sent())
    machine.on(Mined("0x1", 7, True, 1))
    assert machine.on(Gone()) == Broadcast()


def test_what_is_reorganised_into_the_pool_is_not_bumped_at_once(clock):
    machine = state(clock, confirmations=3)
    machine.on(Sent())
    clock.now += 40
    machine.on(Mined("0x1", 7, True, 1))
    assert machine.on(Known()) is None
    assert machine.on(Tick()) is None


def test_what_a_node_has_forgotten_is_sent_again_but_not_at_every_look(clock):
    machine = state(clock)
    machine.on(Sent())
    assert machine.on(Gone()) is None, "the node that was asked may not have heard of it yet"
    clock.now += 5
    assert machine.on(Gone()) == Broadcast()
    assert machine.on(Gone()) is None


def test_bumps_are_made_in_time_until_the_cap(clock):
    machine, offers = state(clock, timeout=10_000), []
    machine.on(Sent())
    while True:
        assert machine.on(Tick()) is None
        clock.now += 30
        assert machine.on(Tick()) == Bump()
        if (fees := machine.offer(MARKET)) is None:
            break
        assert machine.bumped(fees) == Broadcast()
        machine.on(Sent())
        offers.append(fees)
    assert all(later.outbids(earlier) for earlier, later in zip([MARKET, *offers], offers, strict=False))
    assert 900 <= offers[-1].price <= 1000
    clock.now += 9000
    assert machine.on(Tick()) is None, "no more bumps"
    clock.now += 1000
    assert machine.on(Tick()) == Fail(Reason.FEE_CAP, live=True)


def test_what_waits_for_an_earlier_one_is_not_bumped(clock):
    machine = state(clock)
    machine.on(Sent())
    clock.now += 40
    machine.on(Queued())
    assert machine.on(Tick()) is None


def test_time_is_up(clock):
    machine = state(clock, bump_after=1000)
    machine.on(Sent())
    clock.now += 100
    assert machine.on(Tick()) == Fail(Reason.TIMEOUT, live=True)


def test_a_taken_nonce_has_to_be_seen_several_times_in_a_row(clock):
    machine = state(clock)
    machine.on(Sent())
    for _ in range(SURE - 1):
        assert machine.on(NonceTaken()) is None
        assert machine.on(Tick()) is None
    machine.on(Known())
    for _ in range(SURE - 1):
        assert machine.on(NonceTaken()) is None
    assert machine.on(NonceTaken()) == Resend()


def test_it_gives_way_to_other_programs_so_many_times(clock):
    machine = state(clock)
    for _ in range(RESENDS):
        assert machine.on(Refused(Refusal.NONCE_TOO_LOW)) is None, "it may be another process that sent these bytes"
        assert [machine.on(NonceTaken()) for _ in range(SURE)] == [None] * (SURE - 1) + [Resend()]
        assert machine.resent(MARKET) == Broadcast()
    assert [machine.on(NonceTaken()) for _ in range(SURE)][-1] == Fail(Reason.OVERTAKEN, live=False)


def test_what_another_process_has_sent_already_is_sent(clock):
    machine = state(clock)
    assert machine.on(Refused(Refusal.KNOWN)) is None
    assert machine.phase is Phase.PENDING
    machine = state(clock)
    machine.on(Refused(Refusal.NONCE_TOO_LOW))
    assert machine.on(Refused(Refusal.INSUFFICIENT_FUNDS)) is None, "it may be in a block already"


def test_a_dearer_one_in_its_place_is_not_outbid_but_waited_for(clock):
    machine = state(clock)
    assert machine.on(Refused(Refusal.REPLACEMENT_UNDERPRICED)) is None
    clock.now += 40
    assert machine.on(Gone()) == Broadcast()
    assert machine.on(Refused(Refusal.REPLACEMENT_UNDERPRICED)) is None
    assert machine.on(Tick()) is None


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [(Refusal.INSUFFICIENT_FUNDS, Reason.INSUFFICIENT_FUNDS), (Refusal.OTHER, Reason.REFUSED)],
)
def test_what_no_node_takes_ends_at_once_and_what_one_has_does_not(clock, refusal, reason):
    assert state(clock).on(Refused(refusal)) == Fail(reason, live=False)
    machine = state(clock)
    machine.on(Sent())
    assert machine.on(Refused(refusal)) is None
    clock.now += 100
    assert machine.on(Tick()) == Fail(reason, live=True)


def test_too_cheap_for_the_pool_is_bumped_until_the_cap(clock):
    machine = state(clock)
    bumps = 0
    while (action := machine.on(Refused(Refusal.UNDERPRICED))) == Bump():
        if (fees := machine.offer(Fees(1, 0))) is not None:
            machine.bumped(fees)
            bumps += 1
    assert action == Fail(Reason.FEE_CAP, live=False)
    assert bumps > 5


@pytest.mark.parametrize(
    "wrong", [{"confirmations": 0}, {"fee_cap": -1}, {"timeout": -1}, {"bump_after": float("nan")}]
)
def test_settings_out_of_range(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .* expected"):
        TransactionSettings(**wrong)


@dataclass(frozen=True)
class Bytes:
    """Something signed: by us, or by another program of the account."""

    hash: str
    nonce: int
    fees: Fees
    ours: bool


class Following(RuleBasedStateMachine):
    """One intent on a chain with a pool that forgets, other programs of the account, and reorganisations."""

    @initialize(
        confirmations=st.integers(1, 4),
        resumed=st.booleans(),
        faster=st.sampled_from(["nobody", "process", "miner"]),
    )
    def begin(self, confirmations: int, resumed: bool, faster: str) -> None:
        self.clock = Clock()
        self.terms = TransactionSettings(600, 30, 400, confirmations)
        self.state = TransactionState(self.terms, self.clock, MARKET, resumed=resumed)
        self.blocks: list[list[Bytes]] = [[] for _ in range(confirmations)]
        self.pool: dict[int, Bytes] = {}
        self.signed: list[Bytes] = []
        self.exposed: set[Bytes] = set()
        self.refusal: Refusal | None = None
        self.lies = 0
        self.others = 0
        self.faster = faster
        self.end: Done | Fail | None = None
        self._sign(0, MARKET)
        if resumed:
            self.exposed.add(self.signed[-1])  # it may have been sent to a node that has forgotten it
        else:
            self._carry_out(Broadcast())

    def _sign(self, nonce: int, fees: Fees) -> None:
        self.signed.append(Bytes(f"ours {len(self.signed)}", nonce, fees, True))

    @property
    def newest(self) -> Bytes:
        return self.signed[-1]

    def _count(self, confirmations: int = 1) -> int:
        return sum(map(len, self.blocks[: len(self.blocks) - confirmations + 1]))

    def _offer(self, offered: Bytes) -> Refusal | None:
        """What the pool makes of it."""
        if offered.nonce < self._count():
            return Refusal.NONCE_TOO_LOW
        placed = self.pool.get(offered.nonce)
        if placed is not None and not offered.fees.outbids(placed.fees):
            return Refusal.KNOWN if placed == offered else Refusal.REPLACEMENT_UNDERPRICED
        self.pool[offered.nonce] = offered
        return None

    def _another_process(self) -> None:
        """It follows the same intent, and is faster."""
        if self.faster != "nobody" and self.refusal is None and self._offer(self.newest) is None:
            self.exposed.add(self.newest)
            if self.faster == "miner":
                self.mine(empty=False)

    def _carry_out(self, action: object) -> None:
        while action is not None:
            match action:
                case Broadcast():
                    self._another_process()
                    refusal = self.refusal or self._offer(self.newest)
                    if refusal is None:
                        self.exposed.add(self.newest)
                    action = self.state.on(Sent() if refusal is None else Refused(refusal))
                case Bump():
                    fees = self.state.offer(MARKET)
                    if fees is None:
                        return
                    assert fees.outbids(self.newest.fees)
                    assert max(fees.price, fees.tip or 0) <= self.terms.fee_cap
                    self._sign(self.newest.nonce, fees)
                    action = self.state.bumped(fees)
                case Resend():
                    nonce = max(self._count(), self.newest.nonce + 1)
                    while nonce in self.pool:
                        nonce += 1
                    self._sign(nonce, MARKET)
                    action = self.state.resent(MARKET)
                case Done() | Fail():
                    self.end = action
                    return

    def _seen(self) -> Event:
        """What `Transactions` would see."""
        nonce = self.newest.nonce
        candidates = [each for each in self.signed if each.nonce == nonce]
        if self._count() < nonce:
            return Queued()
        if self._count() == nonce:
            return Known() if self.pool.get(nonce) in candidates else Gone()
        for number, block in enumerate(self.blocks):
            for each in candidates:
                if each in block:
                    return Mined(each.hash, number, True, len(self.blocks) - number)
        return NonceTaken() if self._count(self.terms.confirmations) > nonce else Undecided()

    @precondition(lambda self: self.end is None)
    @rule()
    def look(self) -> None:
        self.lies = 0
        self._carry_out(self.state.on(self._seen()) or self.state.on(Tick()))

    @precondition(lambda self: self.end is None and self.lies < SURE - 1 and not isinstance(self._seen(), NonceTaken))
    @rule(has_the_block=st.booleans())
    def look_at_a_node_that_is_late(self, has_the_block: bool) -> None:
        """It has no receipts yet, or not even the transaction."""
        self.lies += 1
        self._carry_out(self.state.on(NonceTaken() if has_the_block else Gone()))

    @rule(seconds=st.sampled_from([0.1, 6, 31, 200]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(empty=st.booleans())
    def mine(self, empty: bool) -> None:
        block: list[Bytes] = []
        while not empty and (due := self.pool.pop(self._count() + len(block), None)) is not None:
            block.append(due)
        self.blocks.append(block)
        for nonce in [nonce for nonce in self.pool if nonce < self._count()]:
            del self.pool[nonce]

    @rule(price=st.integers(10, 1000), ahead=st.integers(0, 1))
    def another_program_sends(self, price: int, ahead: int) -> None:
        self.others += 1
        self._offer(Bytes(f"other {self.others}", self._count() + ahead, Fees(price, price // 10), False))

    @rule()
    def the_pool_is_lost(self) -> None:
        self.pool.clear()

    @rule(faster=st.sampled_from(["nobody", "process", "miner"]))
    def broadcasts_are_outrun_by(self, faster: str) -> None:
        self.faster = faster

    @rule(refusal=st.sampled_from([None, None, Refusal.UNDERPRICED, Refusal.INSUFFICIENT_FUNDS, Refusal.OTHER]))
    def the_node_becomes(self, refusal: Refusal | None) -> None:
        self.refusal = refusal

    @precondition(lambda self: self.end is None and self.terms.confirmations > 1)
    @rule(data=st.data())
    def reorganise(self, data: st.DataObject) -> None:
        """Less deep than transactions are confirmed; what was in may get in again, or be replaced, or be lost."""
        depth = data.draw(st.integers(1, self.terms.confirmations - 1))
        gone = [each for block in self.blocks[-depth:] for each in block]
        del self.blocks[-depth:]
        if data.draw(st.booleans()):
            self.pool |= {each.nonce: each for each in gone}
        landable = sorted(self.exposed - set(gone), key=lambda each: each.hash)
        for _ in range(depth):
            block: list[Bytes] = []
            # An older version that a miner has kept may be what gets in now.
            fitting = [each for each in landable if each.nonce == self._count()]
            if fitting and data.draw(st.booleans()):
                block.append(data.draw(st.sampled_from(fitting)))
            self.blocks.append(block)
        self.blocks.append([])
        for nonce in [nonce for nonce in self.pool if nonce < self._count()]:
            del self.pool[nonce]

    @invariant()
    def never_two_nonces_that_can_get_in(self) -> None:
        settled = self._count(self.terms.confirmations)
        assert len({each.nonce for each in self.exposed if each.nonce >= settled}) <= 1

    @invariant()
    def never_in_twice(self) -> None:
        assert sum(each.ours for block in self.blocks for each in block) <= 1

    @invariant()
    def done_means_in(self) -> None:
        if isinstance(self.end, Done):
            number = next(n for n, block in enumerate(self.blocks) if self.end.hash in [each.hash for each in block])
            assert len(self.blocks) - number >= self.terms.confirmations

    @invariant()
    def given_up_for_good_means_not_in(self) -> None:
        if isinstance(self.end, Fail) and not self.end.live:
            settled = self._count(self.terms.confirmations)
            assert not any(each.nonce >= settled for each in self.exposed)

    def teardown(self) -> None:
        """Looked at long enough, it ends, whatever state it is in."""
        if hasattr(self, "state"):
            for _ in range(1000):
                if self.end is not None:
                    break
                self.look()
                self.clock.now += 1
            assert self.end is not None


Following.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestFollowing = Following.TestCase
