"""Every kind of lie is found, by somebody who has no key and asks no server."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from galaxy_chain.exceptions import AuditError, JobMismatchError
from galaxy_chain.following.window import LINKED
from galaxy_chain.ledger.structs import Model, Update
from galaxy_chain.ledger.submissions import show
from galaxy_chain.ledger.words import address_bytes
from galaxy_chain.verify.audit import AuditedMoney, Auditor
from galaxy_fl.content import LocalStore
from galaxy_fl.exceptions import ContentAlteredError, ContentMissingError
from galaxy_fl.vectors import commitment, tree_root
from tests.galaxy_chain.federation import CHUNK, PARAMETERS, SAMPLES, alter, made_up


def audit(federation):
    """With a store of its own, which remembers nothing of what it has verified before."""
    store = LocalStore(federation.store.root)
    return list(Auditor(federation.ledger(), store, federation.job).rounds())


@pytest.fixture
def finished(federation):
    federation.submit(0, 1, 2)
    federation.commit()
    federation.submit(0, 1, 2, seed=2)
    federation.commit(excluded=(1,))
    return federation


def history(federation):
    return Auditor(federation.ledger(), federation.store, federation.job).history


def test_an_honest_job_is_found_right(finished):
    first, second = audit(finished)
    assert (first.round, first.updates, first.excluded, first.server) == (1, 3, (), finished.server)
    assert (second.round, second.updates, second.excluded) == (2, 2, (finished.clients[1],))
    assert second.root == finished.ledger().job_of(finished.job).root


class Watched(LocalStore):
    """Remembers which contents were asked for by the thread that looks ahead."""

    def __init__(self, root, distant=()):
        super().__init__(root)
        self.distant = distant
        self.ahead = []

    def has(self, content):
        return content not in self.distant and super().has(content)

    def path(self, content):
        if threading.current_thread().name.startswith("auditing"):
            self.ahead.append(content)
        return super().path(content)


def test_models_on_this_machine_are_verified_ahead_and_no_others_are_fetched(finished):
    auditor = Auditor(finished.ledger(), near := Watched(finished.store.root), finished.job)
    models = [auditor.verifier.model_id(commit.record.next.content) for commit in auditor.history.commits.values()]
    assert [each.round for each in auditor.rounds()] == [1, 2]
    assert near.ahead == models
    far = Watched(finished.store.root, distant=models)
    assert [each.round for each in Auditor(finished.ledger(), far, finished.job).rounds()] == [1, 2]
    assert far.ahead == []


def test_a_job_that_has_only_begun_is_found_right(federation):
    assert audit(federation) == []
    federation.submit(0)
    assert audit(federation) == []


def test_an_audit_takes_in_what_has_happened_since_with_the_state(federation):
    federation.submit(0, 1, 2)
    federation.commit()
    auditor = Auditor(federation.ledger(), federation.store, federation.job)
    federation.submit(0, 1, 2, seed=2)
    federation.commit()
    assert [each.round for each in auditor.rounds()] == [1]
    assert [each.round for each in auditor.rounds()] == [1, 2]


def test_one_bit_altered_on_disk_is_found_wherever_it_is(finished):
    known = history(finished)
    vectors = [
        known.initial.content,
        *(commit.record.next.content for commit in known.commits.values()),
        *(entry.update.content for commit in known.commits.values() for entry in commit.included),
    ]
    document = finished.store.path(finished.store.put(finished.store.block(known.terms.spec)))
    for path in (document, *map(finished.content, vectors)):
        for at in (0, path.stat().st_size - 1):
            alter(path, at)
            with pytest.raises(ContentAlteredError, match="is no longer") as caught:
                audit(finished)
            assert caught.value.exit_code == 7
            alter(path, at)
    assert len(audit(finished)) == 2


def test_the_content_that_is_wrong_is_named(finished):
    submission = history(finished).commits[2].entries[0]
    alter(finished.content(submission.update.content))
    with pytest.raises(ContentAlteredError, match=f"^round 2: the update of {submission.client}: "):
        audit(finished)


def test_content_that_is_missing_or_of_another_length(finished):
    path = finished.content(history(finished).commits[1].record.next.content)
    good = path.read_bytes()
    path.chmod(0o644)
    for altered in (good[:-1], good + b"\0", b""):
        path.write_bytes(altered)
        with pytest.raises(ContentAlteredError, match="model after round 1"):
            audit(finished)
    path.unlink()
    with pytest.raises(ContentMissingError, match="model after round 1"):
        audit(finished)
    finished.store.put(good)
    assert len(audit(finished)) == 2


def test_an_excluded_update_is_not_needed(finished):
    finished.content(history(finished).commits[2].entries[1].update.content).unlink()
    assert len(audit(finished)) == 2


@pytest.mark.parametrize("index", [0, 64, PARAMETERS - 1])
def test_an_aggregate_wrong_by_one_step_in_one_parameter(federation, index):
    federation.submit(0, 1, 2)
    server = federation.serve()
    wrong = federation.aggregate(server, {})
    right = int(wrong[index])
    wrong[index] += 1
    federation.commit(wrong)
    said = rf"round 1: parameter {index} \(chunk {index // CHUNK}\) .* is {right + 1}, but its updates make {right}"
    with pytest.raises(AuditError, match=said) as caught:
        audit(federation)
    assert caught.value.exit_code == 31


def test_a_lie_in_a_later_round_leaves_the_earlier_ones_right(federation):
    federation.submit(0, 1, 2)
    federation.commit()
    federation.submit(0, 1, 2, seed=2)
    federation.commit(made_up(77))
    rounds = Auditor(federation.ledger(), federation.store, federation.job).rounds()
    assert next(rounds).round == 1
    with pytest.raises(AuditError, match="round 2: parameter 0"):
        next(rounds)


def dishonest(federation, update):
    """A client that hands in an update of its own making, a server that does not look."""
    client = federation.client(0)
    client.ledger.submit_update(federation.job, 1, tree_root(federation.initial, CHUNK), update).transact()
    federation.submit(1, 2)


def test_an_update_that_is_not_what_was_committed_to(federation):
    vector = made_up(1)
    content = federation.store.put(vector.data)
    someone_else = commitment(tree_root(vector, CHUNK), address_bytes(federation.clients[1]))
    dishonest(federation, Update(someone_else, content.digest, SAMPLES))
    federation.commit(made_up(5))
    with pytest.raises(
        AuditError,
        match=f"round 1: the update of {federation.clients[0]}: the content is what its id says, but not what its client committed to",
    ):
        audit(federation)


@pytest.mark.parametrize("honest", [True, False])
def test_an_update_with_other_content_than_it_committed_to(federation, honest):
    promised = commitment(tree_root(made_up(1), CHUNK), address_bytes(federation.clients[0]))
    content = federation.store.put(made_up(2).data)
    dishonest(federation, Update(promised, content.digest, SAMPLES))
    if honest:
        federation.commit(excluded=(0,))
        assert [found.excluded for found in audit(federation)] == [(federation.clients[0],)]
    else:
        federation.commit(made_up(5))
        with pytest.raises(AuditError, match="the content is what its id says, but not what its client committed to"):
            audit(federation)


def test_a_model_with_other_content_than_its_root(federation):
    federation.submit(0, 1, 2)
    server = federation.serve()
    right = federation.aggregate(server, {})
    content = federation.store.put(right.data)
    model = Model(b"\7" * 32, content.digest)
    server.ledger.commit_round(federation.job, 1, server.history.head, model, b"\0").transact()
    with pytest.raises(AuditError, match="the model after round 1: .* is not the one on the ledger, 0707"):
        audit(federation)


def test_an_initial_model_with_another_root(federation):
    content = federation.store.put(federation.initial.data)
    ledger = federation.ledger(federation.owner)
    ledger.register_job(federation.terms(), Model(b"\7" * 32, content.digest)).transact()
    federation.job = ledger.jobs()
    with pytest.raises(AuditError, match="the initial model: .* is not the one on the ledger"):
        audit(federation)


def test_a_job_that_does_not_fit_together(federation):
    federation.job = federation.register(rule=federation.deployment.rules["relay"])
    with pytest.raises(JobMismatchError):
        audit(federation)


def test_a_node_that_hides_the_last_commit(finished):
    auditor = Auditor(finished.ledger(), finished.store, finished.job)
    request = auditor.ledger.rpc.request
    stored = auditor.ledger.job_of(finished.job)
    assert stored.state.round == 3
    hidden = finished.rpc.request("eth_getLogs", {"address": auditor.ledger.address, "fromBlock": "0x0"})[-1]
    for _ in range(LINKED + 1):  # nearer to the head its absence shows in the block's bloom filter
        finished.rpc.request("evm_mine")

    def hiding(method, *parameters):
        answer = request(method, *parameters)
        return [log for log in answer if log != hidden] if method == "eth_getLogs" else answer

    auditor.ledger.rpc.request = hiding
    liar = Auditor(auditor.ledger, finished.store, finished.job)
    with pytest.raises(AuditError, match="the ledger's state is .* its events lead to"):
        list(liar.rounds())


def test_an_exclusion_of_what_is_there_and_right_is_named_and_one_of_what_is_missing_is_not(finished):
    first, second = audit(finished)
    assert first.objections == ()
    client = finished.clients[1]
    assert second.objections == (f"{client} was excluded, though its update is there and right",)
    finished.content(history(finished).commits[2].entries[1].update.content).unlink()
    assert audit(finished)[1].objections == ()


@pytest.mark.parametrize("missing", [True, False])
def test_a_reopening_is_named_and_so_is_that_there_was_no_need_of_it(federation, missing):
    federation.submit(0, 1)
    server = federation.serve()
    federation.travel(100 + 4 * 600 + 100)
    update = next(iter(server.history.entries)).update.content
    server.reopen(server.round(), {})
    if missing:
        federation.content(update).unlink()
    (reopening,) = Auditor(federation.ledger(), LocalStore(federation.store.root), federation.job).reopenings()
    assert (reopening.round, reopening.attempt, reopening.sender, reopening.updates) == (1, 1, federation.server, 2)
    expected = ("2 of 2 updates are there and right, and 2 make a round",)
    assert reopening.objections == (() if missing else expected)


@pytest.mark.parametrize("missing", [True, False])
def test_a_superseding_is_named_and_so_is_that_the_model_was_there(federation, missing):
    federation.submit(0, 1, 2)
    federation.commit()
    other = federation.serve(federation.node.accounts[5])
    commit = other.history.commits[1]
    federation.travel(7_300)
    if missing:
        federation.content(commit.record.next.content).unlink()
    other.ledger.supersede(federation.job, commit.record).transact()
    auditor = Auditor(federation.ledger(), LocalStore(federation.store.root), federation.job)
    (superseding,) = auditor.supersedings()
    assert (superseding.round, superseding.server, superseding.sender) == (1, federation.server, other.address)
    assert superseding.objections == (() if missing else ("its model is there and right",))
    assert [(each.server, each.barred, each.late) for each in auditor.servers()] == [(federation.server, False, True)]
    assert list(auditor.rounds()) == []


def test_a_commit_that_another_than_the_named_server_has_not_announced_is_named(federation):
    federation.ledger(federation.owner).fund(federation.job, value=1_000).transact()
    federation.submit(0, 1, 2)
    server = federation.serve()
    right = federation.aggregate(server, {})
    model = Model(tree_root(right, CHUNK), federation.store.put(right.data).digest)
    server.ledger.commit_round(federation.job, 1, server.history.head, model, b"\0").transact()
    (audited,) = audit(federation)
    assert audited.objections == (
        f"{federation.server} has not announced it, and so earns nothing with it: it may have copied it",
    )


def test_where_the_money_is(federation):
    federation.ledger(federation.owner).fund(federation.job, value=1_000).transact()
    federation.submit(0, 1, 2)
    federation.commit()
    federation.submit(0, 1, 2, seed=2)
    federation.commit()
    first, second = audit(federation)
    assert [(r.settled, r.reward, r.server_amount, r.client_amount) for r in (first, second)] == [
        (False, 500, 100, 133),
        (False, 500, 100, 133),
    ]
    money = Auditor(federation.ledger(), federation.store, federation.job).money()
    assert money == AuditedMoney(1_000, 1_000, 0, 0, 0, 0, 1_000)
    federation.travel(86_500)
    commit = history(federation).commits[1]
    federation.ledger(federation.clients[0]).claim(federation.job, commit.record, show(commit.blocks, [0])).transact()
    assert [audited.settled for audited in audit(federation)] == [True, False]
    money = Auditor(federation.ledger(), federation.store, federation.job).money()
    assert money == AuditedMoney(1_000, 1_000, 500, 233, 266, 1, 500)


def test_a_ledger_that_has_paid_somebody_else_than_its_events_say(federation):
    federation.submit(0, 1, 2)
    federation.commit()
    auditor = Auditor(federation.ledger(), federation.store, federation.job)
    account = auditor.ledger.account_of

    def more(job, address):
        stored = account(job, address)
        return replace(stored, balance=stored.balance + 1)

    auditor.ledger.account_of = more
    with pytest.raises(AuditError, match="the ledger's accounts is"):
        list(auditor.rounds())
