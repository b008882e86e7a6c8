from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_chain.coordinators.keep import Keep
from galaxy_fl.content import ContentId
from galaxy_fl.exceptions import ConfigurationError


def content(number: int) -> ContentId:
    return ContentId(number.to_bytes(32, "big"), 1)


def needs(*numbers: int) -> frozenset[ContentId]:
    return frozenset(map(content, numbers))


# Round n goes from model n-1 to model n with the update 100 + n.
ROUNDS = {number: needs(number - 1, number, 100 + number) for number in (1, 2, 3, 4)}


@pytest.mark.parametrize(
    ("policy", "settled", "gone"),
    [
        ("all", 4, needs()),
        ("audited", 0, needs()),
        ("audited", 2, needs(0, 1, 101, 102)),
        ("audited", 4, needs(0, 1, 2, 101, 102, 103)),
        ("last:1", 4, needs(0, 1, 2, 101, 102, 103)),
        ("last:3", 4, needs(0, 101)),
        ("last:3", 0, needs()),
        ("last:9", 4, needs()),
    ],
)
def test_what_only_old_and_settled_rounds_need_is_let_go(policy, settled, gone):
    assert Keep.parse(policy).let_go(ROUNDS, settled) == gone


def test_nothing_is_let_go_before_the_first_round():
    assert Keep.parse("audited").let_go({}, 0) == frozenset()


@given(
    rounds=st.dictionaries(st.integers(1, 20), st.frozensets(st.integers(0, 30)).map(lambda c: needs(*c)), min_size=1),
    settled=st.integers(0, 20),
    last=st.integers(1, 20),
)
def test_no_round_that_stays_or_can_be_challenged_loses_anything(rounds, settled, last):
    gone = Keep(last).let_go(rounds, settled)
    newest = max(rounds)
    for number, contents in rounds.items():
        if number > settled or number > newest - last:
            assert not gone & contents


@pytest.mark.parametrize("text", ["", "none", "last", "last:", "last:0", "last:-1", "last:1.5", "last:٣", "ALL"])
def test_other_policies_are_refused(text):
    with pytest.raises(ConfigurationError, match="expected all, last:N"):
        Keep.parse(text)
