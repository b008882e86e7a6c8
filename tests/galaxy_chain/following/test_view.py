"""The pauses between looks at the chain."""

from __future__ import annotations

import pytest

from galaxy_chain.following.view import pauses_up_to


@pytest.mark.parametrize("poll", [0.01, 0.05, 1.0, 60.0, 3600.0])
def test_what_comes_is_seen_a_twentieth_of_its_time_later_at_most_or_by_the_longest_pause(poll):
    pauses, waited = pauses_up_to(poll), 0.0
    for number in range(1, 400):
        pause = pauses.after(number)
        assert pause <= poll
        assert pause <= 0.05 * waited + max(0.02, poll / 50) + 1e-9
        waited += pause
    assert pauses.after(400) == poll


def test_an_idle_node_is_asked_a_hundred_times_before_it_is_asked_once_a_second():
    pauses = pauses_up_to(1.0)
    assert sum(pauses.after(number) < 1.0 for number in range(1, 1000)) < 100
