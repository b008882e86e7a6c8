"""No event is missed and none applied twice, whatever the chain does."""

from __future__ import annotations

import random
from typing import Any

import pytest

from galaxy_chain.exceptions import AuditError, RpcError, UnknownJobError
from galaxy_chain.ledger import follower as follower_module
from galaxy_chain.ledger.follower import JobFollower
from galaxy_chain.ledger.rpc import Rpc
from tests.galaxy_chain.federation import made_up


def fresh(federation):
    return JobFollower(federation.ledger(), federation.job).history


def test_it_says_whether_there_was_anything_new(federation):
    follower = JobFollower(federation.ledger(), federation.job)
    assert follower.poll() is False
    federation.rpc.request("evm_mine")
    assert follower.poll() is False
    federation.submit(0)
    assert follower.poll() is True
    assert follower.history == fresh(federation)
    assert follower.poll() is False


def test_it_knows_the_time_of_the_newest_block(federation):
    follower = JobFollower(federation.ledger(), federation.job)
    federation.travel(500)
    follower.poll()
    assert follower.time == federation.rpc.block("latest").time


def test_it_takes_one_job_only(federation):
    follower = JobFollower(federation.ledger(), federation.job)
    other = federation.register()
    assert follower.poll() is False
    assert JobFollower(federation.ledger(), other).history.job == other


def test_many_blocks_are_taken_in_several_requests(federation, monkeypatch):
    federation.submit(0, 1)
    whole = fresh(federation)
    monkeypatch.setattr(follower_module, "BLOCKS_A_REQUEST", 1)
    assert fresh(federation) == whole


def test_a_reorganisation_takes_back_what_was_applied(federation):
    federation.submit(0)
    snapshot = federation.rpc.request("evm_snapshot")
    follower = JobFollower(federation.ledger(), federation.job)
    federation.submit(1, 2)
    federation.commit()
    follower.poll()
    assert follower.history.round == 2
    federation.rpc.request("evm_revert", snapshot)
    assert follower.poll() is True
    assert follower.history == fresh(federation)
    assert (follower.history.round, len(follower.history.submissions)) == (1, 1)


def test_a_reorganisation_to_a_longer_branch_is_noticed(federation):
    snapshot = federation.rpc.request("evm_snapshot")
    federation.submit(0)
    follower = JobFollower(federation.ledger(), federation.job)
    federation.rpc.request("evm_revert", snapshot)
    federation.submit(1, 2, seed=3)
    federation.rpc.request("evm_mine")
    assert follower.poll() is True
    assert follower.history == fresh(federation)
    assert [s.client for s in follower.history.submissions] == federation.clients[1:]


@pytest.mark.parametrize("seed", range(3))
def test_no_event_is_missed_or_doubled_over_random_reorganisations(federation, seed):
    chance = random.Random(seed)
    follower = JobFollower(federation.ledger(), federation.job)
    snapshot = None
    for number in range(12):
        waiting = [
            c for c in range(3) if federation.clients[c] not in {s.client for s in fresh(federation).submissions}
        ]
        match chance.choice(["submit", "submit", "mine", "snapshot", "revert"]):
            case "submit" if waiting:
                federation.submit(chance.choice(waiting), seed=number)
            case "snapshot":
                snapshot = federation.rpc.request("evm_snapshot")
            case "revert" if snapshot is not None:
                federation.rpc.request("evm_revert", snapshot)
                snapshot = None
            case _:
                federation.rpc.request("evm_mine")
        if chance.random() < 0.6:
            follower.poll()
            assert follower.history == fresh(federation)


class Interrupted(Rpc):
    """A node that does something of its own between two requests."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.before: dict[str, Any] = {}

    def request(self, method: str, *parameters: Any) -> Any:
        if action := self.before.pop(method, None):
            action()
        return super().request(method, *parameters)


def interrupted(federation):
    ledger = federation.ledger()
    ledger.rpc = rpc = Interrupted(federation.node.url)
    return JobFollower(ledger, federation.job), rpc


def test_a_reorganisation_in_the_middle_of_a_poll_is_no_contradiction(federation):
    federation.submit(0)
    snapshot = federation.rpc.request("evm_snapshot")
    federation.submit(1, 2)
    follower, rpc = interrupted(federation)
    federation.commit()
    federation.submit(0, 1, seed=2)

    def reorganise():
        federation.rpc.request("evm_revert", snapshot)
        federation.submit(2, 1, seed=5)
        federation.commit()
        federation.submit(1, 2, seed=6)
        federation.rpc.request("evm_mine")

    rpc.before["eth_getLogs"] = reorganise
    follower.poll()
    follower.poll()
    assert follower.history == fresh(federation)


def test_a_failing_node_loses_nothing(federation):
    follower, rpc = interrupted(federation)
    federation.submit(0, 1)

    def fail():
        raise RpcError("the node is down")

    rpc.before["eth_getLogs"] = fail
    with pytest.raises(RpcError):
        follower.poll()
    follower.poll()
    assert follower.history == fresh(federation)


def test_a_malformed_log_among_good_ones_loses_nothing(federation):
    follower, rpc = interrupted(federation)
    federation.submit(0, 1)
    request = rpc.request

    def malformed(method, *parameters):
        answer = request(method, *parameters)
        if method == "eth_getLogs":
            rpc.request = request
            return [*answer[:1], {**answer[1], "data": "0x"}]
        return answer

    rpc.request = malformed
    with pytest.raises(RpcError, match=r"."):
        follower.poll()
    follower.poll()
    assert follower.history == fresh(federation)


def test_a_node_that_hides_a_submission_is_caught(federation):
    follower, rpc = interrupted(federation)
    federation.submit(0, 1, 2)
    federation.commit(made_up(5))
    request = rpc.request

    def hiding(method, *parameters):
        answer = request(method, *parameters)
        return [answer[0], *answer[2:]] if method == "eth_getLogs" else answer

    rpc.request = hiding
    with pytest.raises(AuditError, match="commit names the head"):
        follower.poll()


def test_a_job_that_does_not_exist_is_an_error(federation):
    with pytest.raises(UnknownJobError, match="there is no job 999"):
        JobFollower(federation.ledger(), 999)


def test_a_first_block_after_the_registration_is_an_error(federation):
    ledger = federation.ledger()
    ledger.first_block = federation.rpc.number("eth_blockNumber") + 1
    with pytest.raises(UnknownJobError, match="first block is wrong"):
        JobFollower(ledger, federation.job)
