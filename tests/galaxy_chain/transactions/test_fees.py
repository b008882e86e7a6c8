"""What is offered for gas, and what nodes say to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_chain.transactions.fees import Fees
from galaxy_chain.transactions.refusals import Refusal

WEI = st.integers(0, 10**15)


@st.composite
def offers(draw: st.DrawFn, legacy: bool) -> Fees:
    tip = None if legacy else draw(WEI)
    return Fees(draw(WEI) + (tip or 0), tip)


@given(st.booleans().flatmap(lambda legacy: st.tuples(offers(legacy), offers(legacy))), st.integers(1, 10**16))
def test_a_bump_outbids_follows_the_market_and_keeps_the_cap(pair, cap):
    old, market = pair
    new = old.bumped(market, cap)
    if new is None:
        assert 10 * cap < 12 * max(old.price, 10), "there was room under the cap"
        return
    assert new.outbids(old)
    assert 10 * new.price >= 11 * old.price
    assert (new.tip is None) == (old.tip is None)
    assert new.price <= cap
    assert new.price >= min(market.price, cap)
    if new.tip is not None:
        assert old.tip is not None
        assert new.price >= new.tip
        assert 10 * new.tip >= 11 * old.tip


def test_the_cap_is_used_up_as_long_as_that_is_enough_to_outbid():
    assert Fees(100, 10).bumped(Fees(1000, 10), 110) == Fees(110, 12)
    assert Fees(100, 10).bumped(Fees(1000, 10), 109) is None
    assert Fees(100, None).bumped(Fees(1000, None), 110) == Fees(110, None)


def test_the_fields_of_each_kind():
    assert Fees(5, 2).fields() == {"type": 2, "maxFeePerGas": 5, "maxPriorityFeePerGas": 2}
    assert Fees(5, None).fields() == {"gasPrice": 5}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("already known", Refusal.KNOWN),
        ("transaction already imported", Refusal.KNOWN),
        ("AlreadyKnown", Refusal.KNOWN),
        ("Known transaction", Refusal.KNOWN),
        ("nonce too low: next nonce 5, tx nonce 4", Refusal.NONCE_TOO_LOW),
        ("OldNonce", Refusal.NONCE_TOO_LOW),
        ("replacement transaction underpriced", Refusal.REPLACEMENT_UNDERPRICED),
        ("ReplacementNotAllowed", Refusal.REPLACEMENT_UNDERPRICED),
        ("transaction underpriced: tip needed 1, tip permitted 0", Refusal.UNDERPRICED),
        ("max fee per gas less than block base fee: address 0x1", Refusal.UNDERPRICED),
        ("txpool is full", Refusal.UNDERPRICED),
        ("FeeTooLow, MaxFeePerGas too low", Refusal.UNDERPRICED),
        ("Gas price below configured minimum gas price", Refusal.UNDERPRICED),
        ("insufficient funds for gas * price + value: balance 0", Refusal.INSUFFICIENT_FUNDS),
        ("Insufficient funds for gas * price + value", Refusal.INSUFFICIENT_FUNDS),
        ("Upfront cost exceeds account balance", Refusal.INSUFFICIENT_FUNDS),
        ("intrinsic gas too low", Refusal.OTHER),
        ("exceeds block gas limit", Refusal.OTHER),
        ("", Refusal.OTHER),
    ],
)
def test_what_nodes_mean(said, meant):
    assert Refusal.of(said) is meant
