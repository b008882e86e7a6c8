"""What the clients of one process remember together, and what somebody could slip in there."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator
from galaxy_chain.coordinators.shared_job import SharedJob
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.following.shared import SharedFollower
from galaxy_chain.ledger.events import ChunkAnswered
from galaxy_fl.aggregation import aggregate_files
from galaxy_fl.exceptions import RoundMovedOnError
from galaxy_fl.patience import Backoff
from tests.adversary.arena import events, fine_job
from tests.galaxy_chain.coordinators.test_answering import answered, demand, wait_until
from tests.galaxy_chain.coordinators.test_early import looking, of_tree, settle, update_file
from tests.galaxy_chain.federation import PARAMETERS, PATIENCE, SAMPLES, Federation, alter
from tests.galaxy_chain.verify.trees import FAN_IN, commit_tree, large

# A file that is altered after it was verified


def test_a_file_that_was_altered_since_it_was_verified_makes_no_wrong_model_right(federation, tmp_path):
    client, server = looking(federation), federation.serve()
    for index in range(2):
        federation.submit(index)
        settle(client)
    files = [update_file(federation, index) for index in range(2)]
    alter(files[0], at=2)
    federation.submit(2)
    settle(client)
    files.append(update_file(federation, 2))
    weights = [SAMPLES - index for index in range(3)]
    verifier, model = server.verifier, server.model(server.round())
    word = verifier.document.rule.rule_word
    aggregate_files(verifier.rule, word, model, files, weights, tmp_path / "wrong", PARAMETERS)
    alter(files[0], at=2)  # nobody sees it any more
    federation.commit(np.fromfile(tmp_path / "wrong", np.int32))
    with pytest.raises(RoundMovedOnError, match="has been challenged"):
        client.model(client.round())


def test_a_file_that_was_altered_since_it_was_verified_makes_no_wrong_partial_sum_right(federation):
    of_tree(federation)
    client = looking(federation)
    federation.submit(0)
    settle(client)
    file = update_file(federation, 0)
    alter(file, at=2)
    by = int(np.fromfile(file, np.int32)[0])
    federation.submit(*range(1, FAN_IN + 1))
    settle(client)
    alter(file, at=2)
    by -= int(np.fromfile(file, np.int32)[0])
    federation.submit(*range(FAN_IN + 1, len(federation.clients)))
    settle(client)

    def wrong(vectors, weights):
        vectors[0][0] += by * SAMPLES
        return 1

    commit_tree(federation, wrong)
    with pytest.raises(RoundMovedOnError, match="has been challenged"):
        client.model(client.round())


# Threads that look at two commits at once


def test_a_thread_that_reads_the_list_of_another_commit_gives_nobody_that_list(federation):
    large(federation, rounds=3)
    first = commit_tree(federation)
    federation.submit(*range(len(federation.clients)), seed=2)
    commit_tree(federation)
    first.round()
    nodes, (one, other) = first.verifier.nodes, (first.history.commits[number] for number in (1, 2))
    expected = nodes.contents(one)

    class Interrupted(bytes):
        """A digest: while it is compared, another thread looks at the other commit."""

        __hash__ = bytes.__hash__

        def __eq__(self, right: object) -> bool:
            nodes.contents(other)
            return super().__eq__(right)

    assert nodes.contents(replace(one, nodes_content=Interrupted(one.nodes_content))) == expected
    assert nodes.contents(other) != expected


# Participants that come and go


def test_those_who_have_gone_have_nobody_wait_longer(federation):
    with closing(SharedFollower(JobFollower(federation.ledger(), federation.job), Backoff(0.0, 1.0))) as shared:
        view = shared.view()
        for _ in range(100_000):
            passing = shared.view()
            passing.close()
            passing.close()  # as a program does that ends
        pausing = threading.Thread(target=view.pause, args=(0.0,), daemon=True)
        pausing.start()
        pausing.join(60)
        assert not pausing.is_alive()


def test_what_was_done_for_all_has_nobody_wait_longer(federation):
    with closing(SharedJob(federation.ledger(), federation.store, federation.job)) as shared:
        before = shared.follower._views
        assert shared.tend(shared.follower.history, lambda: True)
        assert shared.follower._views == before


# A client that can't pay


@pytest.fixture
def fine(federation: Federation) -> Federation:
    """A job of 19 chunks whose first round is committed."""
    federation.job = fine_job(federation)
    federation.submit(0, 1, 2)
    federation.commit()
    return federation


def test_where_the_client_that_answers_for_all_can_not_pay_another_answers(fine):
    with closing(SharedJob(fine.ledger(), fine.store, fine.job, poll=0.02)) as shared:
        clients = [
            LedgerClientCoordinator(fine.ledger(fine.clients[index]), fine.store, fine.job, PATIENCE, shared=shared)
            for index in range(3)
        ]
        for poor in fine.clients[:2]:
            fine.rpc.request("anvil_setBalance", poor, "0x0")
        demand(fine, 4, 7)
        fine.travel(1_600)
        for client in clients:
            client.answering._poll = 0.02
            client.begin()
        wait_until(lambda: sorted(answered(fine)) == [4, 7])
        assert {event.sender for event in events(fine, ChunkAnswered)} == {fine.clients[2]}
        for client in clients:
            client.close()
