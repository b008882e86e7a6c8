"""Which node is asked next: the clock and the dice are the test's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from galaxy_chain.rpc.rotation import BACKOFF, Rotation


def always(value: float):
    return lambda: value


def test_the_first_node_is_asked_for_as_long_as_it_answers():
    rotation = Rotation(3, always(1))
    for now in range(5):
        assert (rotation.current, rotation.wait(now)) == (0, 0)
        rotation.answered()


def test_the_next_node_is_asked_at_once_and_stays_the_one():
    rotation = Rotation(2, always(1))
    rotation.failed(10)
    assert (rotation.current, rotation.wait(10)) == (1, 0)
    rotation.answered()
    assert (rotation.current, rotation.wait(1000)) == (1, 0)


def test_where_all_fail_the_pauses_double_up_to_a_bound():
    rotation = Rotation(1, always(1))
    waits = []
    for _ in range(9):
        rotation.failed(0)
        waits.append(rotation.wait(0))
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    rotation.answered()
    rotation.failed(0)
    assert rotation.wait(0) == 0.1


def test_the_node_that_is_ready_first_is_next():
    rotation = Rotation(3, always(1))
    rotation.failed(0, retry_after=30)
    rotation.failed(0, retry_after=5)
    rotation.failed(0, retry_after=9)
    assert (rotation.current, rotation.wait(0)) == (1, 5)
    rotation.failed(5, retry_after=60)
    assert (rotation.current, rotation.wait(5)) == (2, 4)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_anything_up_to_the_bound(failures, chance):
    assert BACKOFF.after(failures, always(chance)) == chance * min(5.0, 0.1 * 2 ** min(failures - 1, 16))


@given(st.integers(1, 4), st.lists(st.tuples(st.booleans(), st.floats(0, 60), st.floats(0, 10))))
def test_no_node_is_asked_before_it_wants_to_be(nodes, happenings):
    rotation, now, not_before = Rotation(nodes, always(0.5)), 0.0, {}
    for fails, retry_after, passes in happenings:
        now += rotation.wait(now)
        assert now >= not_before.get(rotation.current, 0) - 1e-6
        if fails:
            not_before[rotation.current] = now + retry_after
            rotation.failed(now, retry_after)
        else:
            rotation.answered()
        now += passes
