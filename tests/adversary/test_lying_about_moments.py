"""Servers that lie about what a server optimizer remembers, or about the step that it takes.

`tests/contracts/test_moments.py` has what the ledger says of each; here the programs find it.
"""

from __future__ import annotations

import numpy as np
import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator
from galaxy_chain.verify.audit import Auditor, WrongAggregateError
from galaxy_chain.verify.challenge import challenge
from galaxy_chain.verify.how import Verify
from galaxy_chain.verify.verifier import Unexplained
from galaxy_fl.content import LocalStore
from galaxy_fl.exceptions import JobDocumentError, RoundMovedOnError
from galaxy_fl.jobs.document import RuleChoice
from galaxy_fl.jobs.first_model import first_model, read_weights
from tests.adversary.arena import (
    OffByOne,
    finish,
    found,
    honest_root,
    looks,
    punished,
    serve_round,
    server,
    stranger,
    tower,
)
from tests.galaxy_chain.federation import CHUNK, DOCUMENT, PARAMETERS, PATIENCE, SAMPLES, Federation, made_up
from tests.galaxy_chain.verify.trees import commit_tree, large, off
from tests.vectors.generate_optimizers import LANES

WRONG = 77
"""A parameter of chunk 1."""
OFTEN = [("fedavgm", 1), ("fedadam", 0), ("fedadam", 3)]
LIES = [
    pytest.param(rule, lane, marks=[] if (rule, lane) in OFTEN else pytest.mark.extended)
    for rule, lanes in LANES.items()
    for lane in range(lanes)
]
ADAM = ["fedadam", pytest.param("fedavgm", marks=pytest.mark.extended)]


@pytest.fixture
def optimized(federation: Federation, rule: str) -> Federation:
    """A job whose first round is committed, so that there are moments, and whose second has its updates."""
    federation.document = DOCUMENT.model_copy(update={"rule": RuleChoice(name=rule), "averaged": []})
    federation.job = federation.register()
    federation.submit(0, 1, 2)
    federation.commit()
    federation.submit(0, 1, 2, seed=2)
    return federation


def lying(lane: int, lanes: int) -> type[OffByOne]:
    """A server that has one lane of one parameter wrong."""
    return type("Lying", (OffByOne,), {"wrong": lanes * WRONG + lane})


@pytest.mark.parametrize(("rule", "lane"), LIES)
def test_a_lie_in_any_lane_is_challenged_by_the_watchtower(optimized, rule, lane):
    honest = honest_root(optimized)
    serve_round(server(optimized, lying(lane, LANES[rule])))
    assert found(tower(optimized).look()) == [("right", None), ("challenged", WRONG // CHUNK)]
    punished(optimized, optimized.node.accounts[6], round=2)
    finish(optimized, honest)


@pytest.mark.parametrize("how", ["full", "sample:3"])
@pytest.mark.parametrize("rule", ADAM)
def test_a_wrong_moment_is_challenged_by_a_client_before_it_trains(optimized, rule, how):
    optimized.job = optimized.register()  # whose first round is not the last
    optimized.submit(0, 1, 2)
    serve_round(server(optimized, lying(1, LANES[rule])))
    client = LedgerClientCoordinator(
        optimized.ledger(optimized.clients[0]), optimized.store, optimized.job, PATIENCE, verify=Verify.parse(how)
    )
    client.enter(SAMPLES)
    with pytest.raises(RoundMovedOnError, match="round 1 was committed wrongly, and has been challenged"):
        client.model(client.round())
    punished(optimized, optimized.clients[0])


@pytest.mark.parametrize("rule", ADAM)
def test_a_wrong_moment_is_named_and_challenged_by_an_audit(optimized, rule):
    serve_round(server(optimized, lying(1, LANES[rule])))
    auditor = Auditor(optimized.ledger(stranger(optimized)), LocalStore(optimized.store.root), optimized.job)
    with pytest.raises(WrongAggregateError, match=f"round 2: moment 1 of parameter {WRONG} .chunk 1. ") as caught:
        list(auditor.rounds())
    wrong = caught.value
    challenge(auditor.ledger, auditor.verifier, optimized.job, auditor.history, wrong.commit, 0, wrong.chunk)
    punished(optimized, stranger(optimized), round=2)


@pytest.mark.parametrize("rule", ADAM)
def test_an_honest_job_is_right_for_all_and_its_clients_get_the_weights(optimized, rule):
    optimized.commit()
    assert looks(tower(optimized)) == ["right", "right"]
    auditor = Auditor(optimized.ledger(), LocalStore(optimized.store.root), optimized.job)
    assert len(list(auditor.rounds())) == 2
    client = optimized.client(0)
    path = client.model(client.round())
    assert path.stat().st_size == 4 * LANES[rule] * PARAMETERS
    weights = np.fromfile(path, "<i4").reshape(PARAMETERS, -1)[:, 0]
    assert np.array_equal(read_weights(optimized.document, path), weights)


@pytest.mark.parametrize("rule", ADAM)
def test_moments_that_forget_an_exclusion_are_challenged(optimized, rule):
    serving = server(optimized)
    everybody = optimized.aggregate(serving, {}).reshape(PARAMETERS, -1)
    left_out = [s for s in serving.updates(serving.round()) if s.client == optimized.clients[1]]
    right = optimized.aggregate(serving, dict.fromkeys(left_out, "")).reshape(PARAMETERS, -1)
    mixed = np.concatenate([right[:, :1], everybody[:, 1:]], axis=1).reshape(-1)
    optimized.commit(mixed, excluded=(1,))
    assert looks(tower(optimized)) == ["right", "challenged"]
    punished(optimized, optimized.node.accounts[6], round=2)


@pytest.mark.parametrize("rule", ADAM)
def test_what_a_hidden_update_can_not_have_made_is_demanded(optimized, rule):
    lie = optimized.aggregate(server(optimized), {})
    lie[LANES[rule] * (CHUNK + 3)] += 1  # the step does not follow from the moments, whatever these are
    optimized.commit(lie)
    watching = tower(optimized)
    commit = watching.history.commits[2]
    optimized.content(commit.entries[2].update.content).unlink()
    assert watching.verifier.unexplained(watching.history, commit) == Unexplained((optimized.clients[2],), (1,))
    assert found(watching.look()) == [("right", None), ("demanded", 1)]
    optimized.travel(3_100)
    assert looks(watching) == ["expired"]
    assert optimized.ledger().account_of(optimized.job, optimized.server).barred


@pytest.mark.parametrize("rule", ADAM)
def test_a_withheld_model_is_demanded_with_its_moments_and_made_again(optimized, rule):
    serving = server(optimized)
    serve_round(serving)
    commit = serving.history.commits[2]
    optimized.content(commit.record.next.content, LANES[rule]).unlink()
    assert looks(tower(optimized)) == ["right", "right"]  # it follows from the updates
    assert optimized.content(commit.record.next.content, LANES[rule]).exists()


@pytest.mark.parametrize("rule", ADAM)
def test_lies_in_a_tree_and_above_it_are_challenged(federation, rule):
    federation.document = DOCUMENT.model_copy(update={"rule": RuleChoice(name=rule), "averaged": []})
    many = large(federation)

    def moment_off(path):
        model = np.fromfile(path, "<i4")
        model[LANES[rule] * WRONG + 1] += 1
        path.write_bytes(model.tobytes())

    honest = honest_root(many)
    commit_tree(many, final=moment_off)
    assert found(tower(many).look()) == [("challenged", WRONG // CHUNK)]
    punished(many, many.node.accounts[6])
    finish(many, honest)


@pytest.mark.parametrize("rule", ADAM)
def test_a_wrong_partial_sum_below_right_moments_is_challenged(federation, rule):
    federation.document = DOCUMENT.model_copy(update={"rule": RuleChoice(name=rule), "averaged": []})
    many = large(federation)
    commit_tree(many, off(1))
    (finding,) = tower(many).look()
    assert (finding.verdict, finding.node, finding.chunk) == ("challenged", 1, 1)
    punished(many, many.node.accounts[6])


@pytest.mark.parametrize("rule", ["fedadam"])
def test_a_job_that_begins_with_moments_is_taken_part_in_by_nobody(federation, rule):
    document = DOCUMENT.model_copy(update={"rule": RuleChoice(name=rule), "averaged": []})
    model = first_model(document, federation.initial).copy()
    model[4 * 9 + 1] = 1
    federation.job = federation.register(document, model=model)
    reason = "begins with has moments .1, 0, 0. at parameter 9"
    client = federation.client(0)
    with pytest.raises(JobDocumentError, match=reason):
        client.model(client.round())
    serving = federation.serve()
    with pytest.raises(JobDocumentError, match=reason):
        serving.model(serving.round())


@pytest.mark.parametrize("rule", ["fedavgm"])
def test_a_model_that_has_the_bytes_of_its_own_sum_is_challenged(federation, rule):
    """With two lanes a model's chunk is as long as a sum's, so both are one content, with one root."""
    federation.document = DOCUMENT.model_copy(update={"rule": RuleChoice(name=rule), "averaged": []})
    many = large(federation)

    def as_sum(path):
        sums = np.zeros(PARAMETERS, "<i8")
        for index in range(len(many.clients)):
            sums += (SAMPLES - index) * made_up(100 + index).astype("<i8")
        path.write_bytes(sums.tobytes())

    liar = commit_tree(many, final=as_sum)
    commit = liar.history.commits[1]
    assert commit.record.next.root == commit.nodes[-1].root
    assert [verdict for verdict, _ in found(tower(many).look())] == ["challenged"]
    punished(many, many.node.accounts[6])
