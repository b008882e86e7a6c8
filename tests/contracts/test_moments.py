"""A server that lies about what a rule remembers: every lane of a model is challenged, demanded and answered as one."""

from __future__ import annotations

import numpy as np
import pytest

from tests.contracts.ledger import Chain, Job
from tests.contracts.sums import ALTERATIONS
from tests.vectors.generate_optimizers import LANES

LIES = [(rule, lane) for rule, lanes in LANES.items() for lane in range(lanes)]
LAST = 2
"""The index of the last chunk, half of which is padding."""


@pytest.fixture(params=[16, 2], ids=["flat", "tree"])
def fan_in(request: pytest.FixtureRequest) -> int:
    """With which three entries make a round without nodes, and one with."""
    return int(request.param)


@pytest.fixture
def begun(chain: Chain, rule: str, fan_in: int) -> Job:
    """A job in its second round, whose moments are not zero, with the updates in."""
    job = Job(chain, rule_name=rule, fanIn=fan_in).prepare()
    job.collect()
    job.commit()
    job.collect()
    return job


@pytest.mark.parametrize("rule", LANES)
def test_an_honest_server_can_not_be_challenged(chain: Chain, begun: Job, rule: str) -> None:
    commit = begun.commit()
    assert commit.attempt.model.reshape(-1, begun.lanes)[:, 1:].any()
    for index in range(LAST + 1):
        refusal = begun.challenge_refusal(chain.accounts[8], commit, index)
        assert refusal == ("CommitIsRight", {"round": 2, "node": 0, "index": index})


@pytest.mark.parametrize(("rule", "lane"), LIES)
@pytest.mark.parametrize("index", [1, LAST])
def test_a_lie_in_any_lane_is_proved_by_its_chunk(chain: Chain, begun: Job, rule: str, lane: int, index: int) -> None:
    model = begun.aggregate()
    model[(8 * index + 3) * begun.lanes + lane] ^= 1
    commit = begun.commit(next=model)
    refusal = begun.challenge_refusal(chain.accounts[8], commit, 0)
    assert refusal == ("CommitIsRight", {"round": 2, "node": 0, "index": 0})
    begun.challenge(chain.accounts[8], commit, index)
    assert begun.chain.view("accountOf", begun.id, begun.server).barred


@pytest.mark.parametrize("rule", LANES)
def test_a_lie_about_a_moment_is_not_mended_by_the_round_after(chain: Chain, begun: Job, rule: str) -> None:
    """The later round follows from the lie and is right by itself; it falls with the wrong one."""
    model = begun.aggregate()
    model[1] += 1
    wrong = begun.commit(next=model)
    begun.collect()
    after = begun.commit()
    refusal = begun.challenge_refusal(chain.accounts[8], after, 0)
    assert refusal == ("CommitIsRight", {"round": 3, "node": 0, "index": 0})
    begun.challenge(chain.accounts[8], wrong, 0)


@pytest.mark.parametrize("rule", LANES)
def test_moments_that_forget_an_exclusion_are_wrong(chain: Chain, begun: Job, rule: str) -> None:
    everything = begun.aggregate().reshape(-1, begun.lanes)
    right = begun.aggregate(excluded=(1,)).reshape(-1, begun.lanes)
    mixed = np.concatenate([right[:, :1], everything[:, 1:]], axis=1).reshape(-1)
    commit = begun.commit(next=mixed, excluded=(1,))
    begun.challenge(chain.accounts[8], commit, 0)


@pytest.mark.parametrize("rule", LANES)
def test_what_is_not_zero_behind_the_last_parameter_is_wrong(chain: Chain, begun: Job, rule: str) -> None:
    model = begun.aggregate()
    longer = np.concatenate([model, np.zeros(4 * begun.lanes, "<i4")])
    longer[-1] = 1
    commit = begun.commit(next=longer)
    begun.challenge(chain.accounts[8], commit, LAST)


@pytest.mark.parametrize("rule", LANES)
def test_a_demanded_chunk_is_answered_with_all_its_lanes(chain: Chain, begun: Job, rule: str) -> None:
    commit = begun.commit()
    begun.demand(chain.accounts[8], commit, LAST)
    opening = commit.opened(LAST)[2][0]
    answered = begun.send(begun.server, "answer", commit.record, 0, LAST, commit.openings(LAST))
    assert answered.event("ChunkAnswered")["chunk"] == opening
    assert len(opening) == 4 * begun.lanes * 8 + 2 * 32


@pytest.mark.parametrize("rule", LANES)
def test_a_lie_can_not_be_answered(chain: Chain, begun: Job, rule: str) -> None:
    model = begun.aggregate()
    model[-1] ^= 1
    commit = begun.commit(next=model)
    begun.demand(chain.accounts[8], commit, LAST)
    refusal = begun.refusal(begun.server, "answer", commit.record, 0, LAST, commit.openings(LAST))
    assert refusal == ("CommitIsWrong", {"round": 2, "node": 0, "index": LAST})


@pytest.mark.parametrize("rule", LANES)
def test_a_partial_sum_that_is_wrong_is_found_below_right_moments(chain: Chain, rule: str) -> None:
    job = Job(chain, rule_name=rule, fanIn=2).prepare()
    job.collect()
    commit = job.commit(alter={1: ALTERATIONS["a lane"]})
    refusal = job.challenge_refusal(chain.accounts[8], commit, 1)
    assert refusal == ("CommitIsRight", {"round": 1, "node": 0, "index": 1})
    job.challenge(chain.accounts[8], commit, 1, node=1)
