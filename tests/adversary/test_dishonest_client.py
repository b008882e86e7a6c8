"""What clients can do to a round, and what they can't."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator
from galaxy_chain.exceptions import AlreadySubmittedError, ContentMismatchError, JobMismatchError, LedgerRefusedError
from galaxy_chain.ledger.events import RoundReopened
from galaxy_chain.ledger.structs import Model, Update
from galaxy_chain.verify.audit import Auditor
from galaxy_chain.verify.verifier import address_bytes
from galaxy_fl.exceptions import ContentMissingError, RoundMovedOnError
from galaxy_fl.rounds.coordinator import Phase
from galaxy_fl.vectors import commitment, tree_root
from tests.adversary.arena import events, finish, honest_root, looks, serve_round, server, stranger, tower
from tests.galaxy_chain.federation import CHUNK, DOCUMENT, PATIENCE, SAMPLES, made_up


def submit(federation, index, update, attempt=1):
    """An update of a client that takes what it says for granted."""
    client = federation.client(index)
    client.ledger.submit_update(federation.job, attempt, first_model(federation), update).transact()


def promise(federation, index, vector, content=None, weight=SAMPLES):
    """A commitment to a vector under a client's address, naming that or another content."""
    bound = commitment(tree_root(vector, CHUNK), address_bytes(federation.clients[index]))
    return Update(bound, federation.store.put((vector if content is None else content).data).digest, weight)


def entries(federation):
    """What is in."""
    return list(server(federation).history.entries)


def first_model(federation):
    """The root of the model that a job begins with."""
    return tree_root(federation.initial, CHUNK)


def earned(federation):
    """Which clients can claim for round 1: those whose update it includes."""
    history = server(federation).history
    included = {entry.client for entry in history.commits[1].included}
    assert included.isdisjoint(entry.client for entry in history.commits[1].excluded)
    return [client in included for client in federation.clients]


def excluded(federation):
    """Who was left out of round 1, after an honest server has served it."""
    serve_round(server(federation))
    assert looks(tower(federation)) == ["right"]
    return tuple(entry.client for entry in server(federation).history.commits[1].excluded)


def test_with_immediate_reveal_a_copycat_may_submit_what_it_has_downloaded(federation):
    """Not defended, and documented: commitments bind an update to its sender, not its idea."""
    federation.submit(0)
    (seen,) = entries(federation)
    stolen = made_up(100)
    assert federation.content(seen.update.content).read_bytes() == stolen.tobytes()
    submit(federation, 1, promise(federation, 1, stolen))
    federation.submit(2)
    assert excluded(federation) == ()


def test_a_commitment_of_another_does_not_open_under_the_thiefs_address(federation):
    federation.submit(0)
    (seen,) = entries(federation)
    submit(federation, 1, seen.update)
    federation.submit(2)
    honest = honest_root(federation, 1)
    looking = server(federation)
    with pytest.raises(ContentMismatchError, match="not what its client committed to"):
        looking.update(looking.round(), looking.updates(looking.round())[1])
    assert excluded(federation) == (federation.clients[1],)
    assert federation.ledger().job_of(federation.job).root == honest
    assert earned(federation) == [True, False, True]


def test_with_reveal_after_close_a_copycat_finds_nothing_to_copy(federation, tmp_path):
    federation.job = federation.register(DOCUMENT.model_copy(update={"reveal": "after-close"}))
    honest = []
    for index in (0, 2):
        ledger = federation.ledger(federation.clients[index])
        client = LedgerClientCoordinator(
            ledger, federation.store, federation.job, PATIENCE, own=tmp_path / f"own-{index}"
        )
        client.enter(SAMPLES)
        client.submit(client.round(), made_up(100 + index), SAMPLES)
        client.round()
        honest.append(client)
    first, second = entries(federation)
    for submission in (first, second):
        with pytest.raises(ContentMissingError):
            federation.content(submission.update.content)
    thief = federation.ledger(federation.clients[1])
    thief.join(federation.job, SAMPLES, bytes(32)).transact()
    thief.submit_update(federation.job, 1, first_model(federation), first.update).transact()
    for client in honest:
        client.round()  # the round is closed, and they reveal
    assert federation.content(first.update.content).read_bytes() == made_up(100).tobytes()
    root = honest_root(federation, 1)
    assert excluded(federation) == (federation.clients[1],)
    assert federation.ledger().job_of(federation.job).root == root


def test_clients_that_stay_silent_so_that_too_few_remain_have_the_round_reopened(federation):
    federation.submit(0)
    silent = promise(federation, 1, made_up(7))
    submit(federation, 1, replace(silent, content=b"\7" * 32))
    serving = server(federation)
    serving.enter()
    federation.travel(200 + 3 * 600)
    with pytest.raises(RoundMovedOnError, match="not the turn"):  # whoever has the updates has time to commit them
        serving.reopen(serving.round(), {})
    federation.travel(600)
    serve_round(serving)
    (reopened,) = events(federation, RoundReopened)
    assert reopened.sender == federation.server
    state = federation.ledger().job_of(federation.job).state
    assert (state.round, state.attempt, state.updates) == (1, 2, 0)
    # The same update again: nothing of the void attempt earns anything, nor does anybody have to train anew.
    federation.submit(0, 2)
    federation.travel(1_300)
    finish(federation, honest_root(federation))
    assert earned(federation) == [True, False, True]


def test_a_late_submission_of_a_void_attempt_lands_nowhere(federation):
    federation.submit(0)
    submit(federation, 1, replace(promise(federation, 1, made_up(7)), content=b"\7" * 32))
    late = federation.client(2)
    void = late.round()
    federation.travel(200 + 4 * 600)
    serve_round(server(federation))
    with pytest.raises(RoundMovedOnError, match="it is at attempt 2, not 1"):
        late.submit(void, made_up(8), SAMPLES)
    assert federation.ledger().job_of(federation.job).state.updates == 0
    # The very retry of what was in is harmless, whenever it comes.
    head = federation.ledger().job_of(federation.job).head
    submit(federation, 0, promise(federation, 0, made_up(100)))
    assert federation.ledger().job_of(federation.job).head == head


def test_one_that_submits_twice_has_its_first_update_taken(federation):
    federation.submit(0)
    with pytest.raises(AlreadySubmittedError):
        submit(federation, 0, promise(federation, 0, made_up(9)))
    federation.submit(1, 2)
    assert [entry.client for entry in entries(federation)] == federation.clients
    assert excluded(federation) == ()


@pytest.mark.parametrize("weight", [SAMPLES + 1, 0, 2**32 - 1])
def test_more_samples_than_declared_or_none_are_refused(federation, weight):
    with pytest.raises(LedgerRefusedError, match="were declared when joining") as caught:
        submit(federation, 0, promise(federation, 0, made_up(9), weight=weight))
    assert caught.value.name == "WeightOutOfRange"
    assert federation.ledger().job_of(federation.job).state.updates == 0


def test_one_that_never_reveals_is_excluded(federation):
    federation.submit(0, 1)
    submit(federation, 2, replace(promise(federation, 2, made_up(9)), content=b"\7" * 32))
    honest = honest_root(federation, 2)
    assert excluded(federation) == (federation.clients[2],)
    assert federation.ledger().job_of(federation.job).root == honest


def test_one_that_reveals_other_bytes_is_excluded(federation):
    federation.submit(0, 1)
    submit(federation, 2, promise(federation, 2, made_up(9), content=made_up(10)))
    honest = honest_root(federation, 2)
    assert excluded(federation) == (federation.clients[2],)
    assert federation.ledger().job_of(federation.job).root == honest


def test_one_that_reveals_something_of_another_length_is_excluded(federation):
    federation.submit(0, 1)
    submit(federation, 2, promise(federation, 2, made_up(9), content=made_up(10, 149)))
    honest = honest_root(federation, 2)
    assert excluded(federation) == (federation.clients[2],)
    assert federation.ledger().job_of(federation.job).root == honest


def test_an_outsider_gets_nowhere_in_a_closed_job(federation):
    federation.job = federation.register(open=False)
    federation.ledger(federation.owner).admit(federation.job, federation.clients).transact()
    federation.submit(0, 1, 2)
    outside = federation.ledger(stranger(federation))
    head = federation.ledger().job_of(federation.job).head
    attempts = {
        "NotAdmitted": ("join", SAMPLES, bytes(32)),
        "NotJoined": ("submitUpdate", 1, first_model(federation), promise(federation, 0, made_up(1))),
        "BondTooSmall": ("commitRound", 1, head, server(federation).history.initial, b"\0", b"", bytes(32), bytes(32)),
        "JobNotIdle": ("cancelJob",),
        "NotOwner": ("expel", federation.clients[0]),
    }
    for refused, (name, *arguments) in attempts.items():
        with pytest.raises(LedgerRefusedError) as caught:
            outside.function(name, federation.job, *arguments).transact()
        assert caught.value.name == refused
    with pytest.raises(LedgerRefusedError) as caught:
        outside.admit(federation.job, [stranger(federation)]).transact()
    assert caught.value.name == "NotOwner"
    state = federation.ledger().job_of(federation.job).state
    assert (state.round, state.updates, state.status) == (1, 3, 1)
    assert server(federation).round().phase is Phase.CLOSED
    finish(federation, honest_root(federation))


def test_one_that_gives_itself_weight_in_a_job_of_uniform_weights_is_refused_by_the_ledger(federation):
    document = DOCUMENT.model_copy(update={"weighting": "uniform"})
    federation.job = federation.register(document, max_weight=1)
    greedy = federation.ledger(federation.clients[2])
    with pytest.raises(LedgerRefusedError, match="samples can't be declared: the job's terms allow 1 to 1"):
        greedy.join(federation.job, 2, bytes(32)).transact()
    greedy.join(federation.job, 1, bytes(32)).transact()
    update = promise(federation, 2, made_up(102), weight=2)
    with pytest.raises(LedgerRefusedError) as caught:
        greedy.submit_update(federation.job, 1, first_model(federation), update).transact()
    assert caught.value.name == "WeightOutOfRange"


def test_nobody_takes_part_where_a_document_says_uniform_and_the_terms_allow_more(federation):
    federation.job = federation.register(DOCUMENT.model_copy(update={"weighting": "uniform"}), max_weight=2)
    for takes_part in (
        lambda: federation.client(0),
        lambda: federation.serve(),
        lambda: tower(federation),
        lambda: Auditor(federation.ledger(), federation.store, federation.job),
    ):
        with pytest.raises(JobMismatchError, match="all updates weigh the same, but its terms let one weigh up to 2"):
            takes_part()


def test_an_update_whose_content_has_the_digest_of_the_models_root_is_opened_as_what_it_is(federation):
    """With 16 parameters in two chunks an update has as many bytes as what a tree's root is the hash of."""
    initial = made_up(0, 16)
    leaves = b"".join(sha256(initial[first : first + 8].tobytes()).digest() for first in (0, 8))
    hostile = np.frombuffer(leaves, "<i4")
    content = federation.store.put(initial.data)
    ledger = federation.ledger(federation.owner)
    model = Model(tree_root(initial, 8), content.digest)
    document = DOCUMENT.model_copy(update={"layout": [{"name": "weight", "shape": [4, 4], "fraction_bits": 24}]})
    terms = federation.terms(document, parameters=16, chunk_parameters=8, max_clients=2)
    ledger.register_job(terms, model).transact()
    federation.job = ledger.jobs()
    for index, vector in enumerate((made_up(1, 16), hostile)):
        client = federation.client(index)
        client.submit(client.round(), vector, SAMPLES)
    assert federation.store.put(hostile.data).digest == model.root
    serving = federation.serve()
    serve_round(serving)
    serving.round()
    demander = federation.ledger(stranger(federation))
    demander.demand(federation.job, serving.history.commits[1].record, 0, 0, bytes(32), value=10**16).transact()
    serving.round()
    serving.round()
    at_stake = federation.ledger().account_of(federation.job, federation.server)
    assert (at_stake.demands, at_stake.balance) == (0, 10**16)
