"""Clients and servers of a ledger's job, step by step."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from galaxy_chain.coordinators import LedgerServerCoordinator, base
from galaxy_chain.coordinators.keep import Keep
from galaxy_chain.exceptions import (
    AlreadySubmittedError,
    JobMismatchError,
    LedgerRefusedError,
    NotAdmittedError,
    UnknownJobError,
)
from galaxy_chain.following import view
from galaxy_chain.ledger.contract import ContractCall, LedgerContract
from galaxy_chain.ledger.structs import Model, Status
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_chain.transactions.manager import Transactions
from galaxy_chain.verify.audit import Auditor
from galaxy_chain.verify.challenge import challenge
from galaxy_fl.content import ContentId
from galaxy_fl.exceptions import (
    ConfigurationError,
    ContentAlteredError,
    ContentError,
    ContentMissingError,
    RoundMovedOnError,
)
from galaxy_fl.jobs.document import RuleChoice, SourceModel, source_id
from galaxy_fl.rounds.coordinator import Origin, Phase, Previous
from galaxy_fl.vectors import tree_root
from tests.galaxy_chain.federation import CHUNK, DOCUMENT, PATIENCE, SAMPLES, alter, made_up


def test_a_job_from_its_first_round_to_its_last(federation):
    server = federation.serve()
    for number in (1, 2):
        round = server.round()
        assert (round.number, round.attempt, round.phase, round.updates) == (number, number, Phase.COLLECTING, 0)
        federation.submit(0, 1, 2, seed=number)
        round = server.round()
        assert (round.phase, round.updates) == (Phase.CLOSED, 3)
        assert [(s.client, s.weight) for s in server.updates(round)] == [
            (client, SAMPLES - index) for index, client in enumerate(federation.clients)
        ]
        for index, submitted in enumerate(server.updates(round)):
            assert np.array_equal(np.fromfile(server.update(round, submitted), "<i4"), made_up(100 * number + index))
        federation.commit()
    round = server.round()
    assert (round.phase, round.over, round.number) == (Phase.FINISHED, True, 3)
    assert tree_root(np.fromfile(server.model(round), "<i4"), CHUNK) == federation.ledger().job_of(federation.job).root


def test_a_client_wants_one_update_an_attempt_even_if_it_is_started_again(federation):
    client = federation.client(0)
    round = client.round()
    assert client.wants_update(round)
    gas = client.submit(round, made_up(1), SAMPLES)
    assert gas > 21_000
    assert not client.wants_update(client.round())
    assert not federation.client(0).wants_update(client.round())
    federation.submit(1, 2)
    federation.commit()
    assert client.wants_update(client.round())


def test_a_client_that_waits_is_woken_by_the_next_update_and_the_next_round(federation):
    client = federation.client(0)
    found = [client.round()]

    def wait():
        while found[-1].number == 1:
            found.append(client.wait(found[-1]))

    waiter = threading.Thread(target=wait)
    waiter.start()
    federation.submit(0, 1, 2)
    federation.commit()
    waiter.join(300)
    assert found[-1].number == 2
    assert [round.updates for round in found[:-1]] == sorted({round.updates for round in found[:-1]})


def test_another_update_of_the_same_client_is_refused_and_the_first_one_stands(federation):
    first, second = federation.client(0), federation.client(0)
    round = first.round()
    first.submit(round, made_up(1), SAMPLES)
    second.submit(round, made_up(1), SAMPLES)  # the very same is a retry
    with pytest.raises(AlreadySubmittedError, match="another update is in already") as caught:
        second.submit(round, made_up(2), SAMPLES)
    assert caught.value.exit_code == 29
    federation.submit(1, 2)
    federation.commit()


def test_an_update_that_is_too_late_is_wanted_no_more(federation):
    client = federation.client(0)
    round = client.round()
    federation.submit(1, 2)
    federation.travel(200)
    federation.commit()
    with pytest.raises(RoundMovedOnError):
        client.submit(round, made_up(1), SAMPLES)
    assert client.round().number == 2
    assert client.wants_update(client.round())


def test_a_client_sees_that_a_round_is_closed_and_is_refused_if_it_does_not_look(federation):
    client = federation.client(0)
    round = client.round()
    assert client.wants_update(round)
    federation.submit(1, 2)
    federation.travel(200)
    assert not client.wants_update(client.round())
    with pytest.raises(RoundMovedOnError, match="takes no more updates"):
        client.submit(round, made_up(1), SAMPLES)
    assert not client.wants_update(client.round())


def test_a_client_that_is_not_admitted_pays_nothing_and_can_be_admitted_later(federation):
    federation.job = federation.register(open=False)
    before = federation.rpc.number("eth_getBalance", federation.clients[0], "latest")
    with pytest.raises(NotAdmittedError, match=f"galaxy-chain job admit {federation.job} {federation.clients[0]}"):
        federation.client(0)
    assert federation.rpc.number("eth_getBalance", federation.clients[0], "latest") == before
    federation.ledger(federation.owner).admit(federation.job, [federation.clients[0]]).transact()
    assert federation.client(0).wants_update(federation.client(0).round())


def test_more_samples_than_a_client_joined_with(federation):
    client = federation.client(0)
    client.enter(SAMPLES - 1)
    with pytest.raises(ConfigurationError, match="joined job .* with 40 samples, but the data set now has 41"):
        client.enter(SAMPLES + 1)


def test_the_ledger_is_asked_only_about_one_that_has_joined_or_has_to_be_admitted(federation, monkeypatch):
    asked, client_of = [], LedgerContract.client_of
    monkeypatch.setattr(LedgerContract, "client_of", lambda *about: asked.append(about[2]) or client_of(*about))
    federation.client(0)
    assert asked == []
    federation.client(0)
    assert asked == [federation.clients[0]]
    federation.job = federation.register(open=False)
    federation.ledger(federation.owner).admit(federation.job, [federation.clients[1]]).transact()
    federation.client(1)
    assert asked == federation.clients[:2]


def test_two_processes_of_one_client_may_join_at_once(federation):
    first, second = federation.client(0), federation.client(1)
    second.ledger = first.ledger
    errors = []

    def enter(client):
        try:
            client.enter(SAMPLES)
        except Exception as error:
            errors.append(error)

    federation.job = federation.register()
    for each in (first, second):
        each.number = federation.job
    threads = [threading.Thread(target=enter, args=(each,)) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.parametrize("how", ["missing", "truncated", "altered"])
def test_a_model_that_can_not_be_had_loses_nothing(federation, how):
    client = federation.client(0)
    path = federation.content(client.history.initial.content)
    good = path.read_bytes()
    path.chmod(0o644)
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(good[:-4])
    else:
        alter(path)
    with pytest.raises(ContentMissingError if how == "missing" else ContentAlteredError):
        client.model(client.round())
    federation.store.put(good)
    assert client.model(client.round()).read_bytes() == good


def test_a_model_that_comes_late_is_waited_for(federation):
    client = federation.client(0)
    path = federation.content(client.history.initial.content)
    good = path.read_bytes()
    path.unlink()
    client.patience = PATIENCE.__class__(poll=0.02, content=30)
    timer = threading.Timer(0.3, federation.store.put, [good])
    timer.start()
    assert client.model(client.round()).read_bytes() == good


def test_a_model_of_another_root_than_the_ledgers_is_refused(federation):
    content = federation.store.put(made_up(9).data)
    ledger = federation.ledger(federation.owner)
    ledger.register_job(federation.terms(), Model(b"\7" * 32, content.digest)).transact()
    federation.job = ledger.jobs()
    client = federation.client(0)
    with pytest.raises(ContentAlteredError, match="is not the one on the ledger"):
        client.model(client.round())


@pytest.mark.parametrize("how", ["missing", "altered"])
def test_an_update_that_can_not_be_had_is_excluded_where_the_job_allows_it(federation, how):
    federation.submit(0, 1, 2)
    server = federation.serve()
    round = server.round()
    first, *others = server.updates(round)
    path = federation.content(next(iter(server.history.entries)).update.content)
    path.unlink() if how == "missing" else alter(path)
    with pytest.raises(ContentError):
        server.update(round, first)
    assert server.enough(len(others))
    federation.commit(excluded=(0,))
    assert server.round().number == 2
    assert [entry.client for entry in server.history.commits[1].excluded] == [federation.clients[0]]


def lose(federation, *indices):
    """The contents of these entries of the current attempt; nobody has them any more."""
    entries = list(federation.serve().history.entries)
    for index in indices:
        federation.content(entries[index].update.content).unlink()


def test_more_unusable_updates_than_may_be_left_out_are_waited_for_until_any_number_may(federation):
    federation.job = federation.register(max_excluded=0)
    federation.submit(0, 1, 2)
    lose(federation, 0)
    server = federation.serve()
    round = server.round()
    with pytest.raises(ContentError, match=r"1 of 3 updates can't be used, but the job lets .* leave out 0 until"):
        server.gather(round, server.updates(round))
    with pytest.raises(LedgerRefusedError, match="1 updates are left out, but before .* no more than 0 may be"):
        federation.commit(excluded=(0,))
    federation.travel(1_100)
    server.round()
    with pytest.raises(ContentError):
        server.gather(round, server.updates(round))
    federation.travel(200)
    usable, unusable = server.gather(server.round(), server.updates(round))
    assert [[s.client for s in found] for found in (usable, unusable)] == [
        federation.clients[1:],
        federation.clients[:1],
    ]
    federation.commit(excluded=(0,))
    assert server.round().number == 2


def test_too_few_usable_updates_reopen_the_round_once_nobody_else_commits_it(federation):
    federation.submit(0, 1)
    federation.travel(200)
    lose(federation, 0)
    server = federation.serve()
    round = server.round()
    assert round.phase is Phase.CLOSED
    assert not server.enough(1)
    federation.travel(1_500)
    server.round()
    with pytest.raises(ContentError, match="the job needs 2, and is not collected again before"):
        server.gather(round, server.updates(round))
    with pytest.raises(RoundMovedOnError, match="it is not the turn of"):
        server.reopen(round, {})
    federation.travel(1_000)
    usable, unusable = server.gather(server.round(), server.updates(round))
    assert (len(usable), len(unusable)) == (1, 1)
    server.reopen(round, unusable)
    after = server.round()
    assert (after.number, after.attempt, after.phase, after.updates) == (1, 2, Phase.COLLECTING, 0)
    federation.submit(0, 1, 2, seed=2)
    federation.commit()


def test_a_server_beaten_to_it_looks_again(federation, tmp_path):
    federation.submit(0, 1, 2)
    server = federation.serve()
    round = server.round()
    federation.commit(account=federation.clients[0])
    path = tmp_path / "next"
    path.write_bytes(made_up(1).tobytes())
    with pytest.raises(RoundMovedOnError, match="the round has moved on"):
        server.commit(round, path, {})
    server.round()
    with pytest.raises(RoundMovedOnError, match="no longer at 1"):
        server.updates(round)


def test_a_bond_is_paid_once_and_topped_up(federation):
    federation.serve()
    federation.serve()
    assert federation.ledger().account_of(federation.job, federation.server).bond == 10**18
    ledger = federation.ledger(federation.clients[0])
    ledger.deposit_bond(federation.job, value=10**17).transact()
    federation.serve(federation.clients[0])
    assert ledger.account_of(federation.job, federation.clients[0]).bond == 10**18


def test_a_bond_that_was_withdrawn_is_deposited_again_and_again(federation, tmp_path):
    ledger = federation.ledger(federation.server)
    # One journal for all of its lives, as a program has it.
    ledger.transactions = Transactions(federation.rpc, NodeSigner(federation.server), tmp_path / "journal.sqlite")
    for _ in range(3):
        server = LedgerServerCoordinator(ledger, federation.store, federation.job, PATIENCE)
        server.enter()
        server.enter()
        assert ledger.account_of(federation.job, federation.server).bond == 10**18
        ledger.withdraw_bond(federation.job).transact()
        assert ledger.account_of(federation.job, federation.server).bond == 0
        server.enter()  # the same program goes on
        assert ledger.account_of(federation.job, federation.server).bond == 10**18
        ledger.withdraw_bond(federation.job).transact()


def refute(federation, server):
    """Somebody proves the first commit wrong."""
    ledger = federation.ledger(federation.node.accounts[7])
    history = server.history
    assert challenge(ledger, server.verifier, federation.job, history, history.commits[1], 0, 0) is not None


def test_a_barred_server_is_told_before_it_works(federation):
    federation.submit(0, 1, 2)
    federation.commit(made_up(5))
    server = LedgerServerCoordinator(federation.ledger(federation.server), federation.store, federation.job, PATIENCE)
    refute(federation, server)
    with pytest.raises(LedgerRefusedError, match="was proved wrong in this job and is barred from it"):
        server.enter()
    assert server.round().phase is Phase.CLOSED
    federation.commit(account=federation.clients[1])


def test_a_round_closes_when_its_time_is_over(federation):
    federation.submit(0, 1)
    server = federation.serve()
    assert server.round().phase is Phase.COLLECTING
    federation.travel(200)
    assert server.round().phase is Phase.CLOSED


def test_a_cancelled_job_goes_on_to_the_round_in_which_that_was(federation):
    federation.job = federation.register(rounds=5)
    client = federation.client(0)
    federation.submit(0, 1, 2)
    federation.commit()
    federation.ledger(federation.owner).cancel_job(federation.job).transact()
    assert client.round().phase is Phase.COLLECTING
    assert client.rounds == 2
    federation.submit(0, 1, 2, seed=2)
    federation.commit()
    round = client.round()
    assert (round.phase, round.number, round.over) == (Phase.FINISHED, 3, True)


def test_a_cancelled_job_that_nobody_brings_to_its_end_is_over_once_it_is_idle(federation):
    client, server = federation.client(0), federation.serve()
    federation.ledger(federation.owner).cancel_job(federation.job).transact()
    federation.travel(2 * 7_200 - 100)
    assert {each.round().phase for each in (client, server)} == {Phase.COLLECTING}
    federation.travel(200)
    for _ in range(2):
        assert {each.round().phase for each in (client, server)} == {Phase.CANCELLED}
        assert client.round().over
        if client.history.status is Status.RUNNING:
            federation.ledger(federation.owner).finalize_job(federation.job).transact()


def test_a_cancelled_job_in_which_rounds_are_not_settled_is_over_only_when_they_are(federation):
    federation.submit(0, 1, 2)
    federation.commit()
    federation.ledger(federation.owner).cancel_job(federation.job).transact()
    federation.travel(2 * 7_200 + 100)
    client = federation.client(0)
    assert client.round().phase is Phase.COLLECTING
    federation.travel(86_400)
    federation.serve().round()  # settles
    assert client.round().phase is Phase.COLLECTING
    federation.travel(2 * 7_200 + 100)
    assert client.round().phase is Phase.CANCELLED


def test_while_too_many_rounds_are_not_settled_a_server_waits_and_then_settles(federation):
    federation.job = federation.register(rounds=3, max_unsettled=1)
    federation.submit(0, 1, 2)
    federation.commit()
    federation.submit(0, 1, 2, seed=2)
    server = federation.serve()
    assert server.round().phase is Phase.COLLECTING
    federation.travel(86_500)
    assert server.round().phase is Phase.CLOSED
    assert server.history.settled == 1
    federation.commit()
    assert server.round().number == 3


def test_a_stand_in_settles_what_the_committer_does_not(federation):
    federation.job = federation.register(rounds=3)
    federation.submit(0, 1, 2)
    federation.commit()
    federation.submit(0, 1, 2, seed=2)
    other = federation.serve(federation.clients[0])
    federation.travel(86_500)
    other.round()
    assert other.history.settled == 0
    federation.travel(600)
    other.round()
    assert other.history.settled == 1


def test_a_takeover_is_announced_and_earns_its_share(federation):
    federation.job = federation.register(server=federation.server, pool=10**18)
    federation.submit(0, 1, 2)
    stand_in = LedgerServerCoordinator(
        federation.ledger(federation.clients[0]), federation.store, federation.job, PATIENCE, takeover=True
    )
    stand_in.enter()
    assert stand_in.round().phase is Phase.COLLECTING
    federation.travel(700)
    assert stand_in.round().phase is Phase.CLOSED
    path = federation.store.root.parent / "next"
    path.unlink(missing_ok=True)
    path.write_bytes(federation.aggregate(stand_in, {}).tobytes())
    stand_in.commit(stand_in.round(), path, {})
    stand_in.round()
    record = stand_in.history.commits[1].record
    assert (record.server, record.share) == (federation.clients[0], 2_000)


def test_a_commit_that_earns_nothing_is_not_announced(federation):
    server = federation.serve()
    before = federation.rpc.number("eth_getTransactionCount", federation.server, "latest")
    federation.submit(0, 1, 2)
    federation.commit()
    assert federation.rpc.number("eth_getTransactionCount", federation.server, "latest") == before + 1
    server.round()
    assert server.history.commits[1].record.share == 0


@pytest.fixture
def withheld(federation):
    """A job in which the first round's model is withheld, and so are the updates that it was made of."""
    federation.job = federation.register(rounds=3, pool=10**18)
    federation.submit(0, 1, 2)
    federation.commit()
    history = federation.serve().history
    contents = [history.model.content, *(entry.update.content for entry in history.commits[1].included)]
    federation.hidden = {digest: federation.content(digest).read_bytes() for digest in contents}
    for digest in contents:
        federation.content(digest).unlink()
    return federation


def test_a_commit_whose_model_can_not_be_had_is_superseded_and_its_round_committed_by_another(withheld):
    own, other = withheld.serve(), withheld.serve(withheld.clients[0])
    withheld.travel(7_000)
    assert other.round().number == 2
    withheld.travel(300)
    assert own.round().number == 2, "not its own"
    round = other.round()
    assert (round.number, round.phase) == (1, Phase.CLOSED)
    assert other.history.account(withheld.server).late
    for update in list(withheld.hidden.values())[1:]:
        withheld.store.put(update)
    assert own.round().phase is Phase.COLLECTING, "its committer is late"
    withheld.commit(account=withheld.clients[0])
    assert other.round().number == 2


def test_a_commit_whose_model_is_there_is_not_superseded_because_its_clients_are_slow(withheld):
    for content in withheld.hidden.values():
        withheld.store.put(content)
    other = withheld.serve(withheld.clients[0])
    withheld.travel(7_300)
    assert other.round().number == 2
    assert other.history.superseded == set()


def test_a_model_that_can_be_recomputed_is_provided_instead_of_superseded(withheld):
    model, *updates = withheld.hidden.values()
    for content in updates:
        withheld.store.put(content)
    other = withheld.serve(withheld.clients[0])
    withheld.travel(7_300)
    assert other.round().number == 2
    assert withheld.content(other.history.model.content).read_bytes() == model


def test_a_store_that_fails_supersedes_nothing(withheld):
    other = withheld.serve(withheld.clients[0])
    objects, away = withheld.store.root / "objects", withheld.store.root.parent / "away"
    objects.rename(away)
    objects.mkdir()
    withheld.travel(7_300)
    assert other.round().number == 2
    objects.rmdir()
    away.rename(objects)
    assert other.round().number == 1


def test_a_client_waits_for_a_withheld_model_until_it_is_superseded(withheld):
    client, other = withheld.client(0), withheld.serve(withheld.clients[1])
    found = []

    def wait():
        with pytest.raises(RoundMovedOnError) as caught:
            client.model(client.round())
        found.append(caught.value)

    waiter = threading.Thread(target=wait)
    waiter.start()
    withheld.travel(7_300)
    other.round()
    waiter.join(300)
    assert len(found) == 1


def test_a_job_whose_model_is_withheld_for_good_is_ended_by_its_clients_who_get_out_what_they_have_earned(withheld):
    client = withheld.client(0)
    round = client.round()
    withheld.travel(2 * 7_200 + 5_000)
    client.round()
    assert not client.history.cancelled, "idle, but its servers have more time than that"
    withheld.travel(7_200)
    client.round()
    assert (client.history.cancelled, client.history.last_round) == (True, 2)
    withheld.travel(70_000)
    client.round()
    assert client.history.settled == 1
    withheld.travel(2 * 7_200 + 10)
    with pytest.raises(RoundMovedOnError, match="has ended without its round 2"):
        client.model(round)
    paid = []
    client.paid = paid.append
    assert client.stay(client.round()).phase is Phase.CANCELLED
    reward = 10**18 // 3
    assert paid == [(reward - reward * 2_000 // 10_000) // 3]


def test_a_job_whose_server_is_gone_is_ended_by_its_clients(federation):
    federation.submit(0, 1, 2)
    client = federation.client(1)
    federation.travel(3 * 7_200 + 100 + 2_500)
    client.round()
    assert client.history.cancelled
    federation.travel(2 * 7_200 + 100)
    assert client.round().phase is Phase.CANCELLED


def test_a_job_that_waits_for_more_clients_is_ended_by_nobody_but_its_owner(federation):
    federation.submit(0)
    client = federation.client(0)
    federation.travel(10 * 7_200)
    assert client.round().phase is Phase.COLLECTING
    assert not client.history.cancelled


def test_a_clients_clock_that_is_ahead_closes_no_round(federation, monkeypatch):
    federation.submit(0, 1)
    client = federation.client(2)
    monkeypatch.setattr(view, "time", SimpleNamespace(time=lambda: time.time() + 10**6, monotonic=time.monotonic))
    round = client.round()
    assert client.wants_update(round)
    client.submit(round, made_up(3), SAMPLES)


def test_where_the_chain_stands_still_a_client_that_is_refused_does_not_try_again_and_again(federation):
    federation.submit(0, 1)
    client = federation.client(2)
    federation.rpc.request("evm_increaseTime", 200)  # the next block closes the round; there is none yet
    round = client.round()
    assert client.wants_update(round)
    with pytest.raises(RoundMovedOnError, match="takes no more updates"):
        client.submit(round, made_up(3), SAMPLES)
    assert not client.wants_update(client.round())
    federation.rpc.request("evm_mine")
    assert client.round().phase is Phase.CLOSED


def test_a_servers_clock_that_is_ahead_costs_one_aggregation_and_no_gas(federation, monkeypatch):
    federation.submit(0, 1)
    server = federation.serve()
    before = federation.rpc.number("eth_getTransactionCount", federation.server, "latest")
    monkeypatch.setattr(view, "time", SimpleNamespace(time=lambda: time.time() + 10**6, monotonic=time.monotonic))
    round = server.round()
    assert round.phase is Phase.CLOSED
    path = federation.store.root.parent / "next"
    path.unlink(missing_ok=True)
    path.write_bytes(federation.aggregate(server, {}).tobytes())
    with pytest.raises(RoundMovedOnError, match="still takes updates"):
        server.commit(round, path, {})
    assert server.round().phase is Phase.COLLECTING
    federation.travel(200)
    server.commit(server.round(), path, {})
    assert federation.rpc.number("eth_getTransactionCount", federation.server, "latest") == before + 1


def test_who_was_expelled_is_told_how_to_get_its_pay(federation):
    client = federation.client(0)
    federation.ledger(federation.owner).expel(federation.job, federation.clients[0]).transact()
    with pytest.raises(LedgerRefusedError, match="`galaxy-chain claim` and `galaxy-chain withdraw`"):
        client.submit(client.round(), made_up(3), SAMPLES)


def test_a_server_that_dies_between_its_announcement_and_its_commit_has_its_share_all_the_same(federation, monkeypatch):
    federation.job = federation.register(pool=10**18)
    federation.submit(0, 1, 2)
    server = federation.serve()

    class Dies(BaseException):
        pass

    def dies(call, once=None):
        if call.name == "commitRound":
            raise Dies
        return begin(call, once)

    begin = ContractCall.begin
    path = federation.store.root.parent / "next"
    path.unlink(missing_ok=True)
    path.write_bytes(federation.aggregate(server, {}).tobytes())
    with monkeypatch.context() as patched:
        patched.setattr(ContractCall, "begin", dies)
        with pytest.raises(Dies):
            server.commit(server.round(), path, {})
    federation.commit()
    assert federation.serve().history.commits[1].record.share == 2_000


def test_an_announcement_counts_before_the_commit_is_sent(federation, monkeypatch):
    """The ledger would take a commit in a block of the announcement's time, and pay no share for it."""
    federation.job = federation.register(pool=10**18)
    federation.submit(0, 1, 2)
    server = federation.serve()
    begin, seen = ContractCall.begin, []

    def noted(call, once=None):
        seen.append((call.name, time.monotonic()))
        return begin(call, once)

    monkeypatch.setattr(ContractCall, "begin", noted)
    path = federation.store.root.parent / "next"
    path.unlink(missing_ok=True)
    path.write_bytes(federation.aggregate(server, {}).tobytes())
    server.commit(server.round(), path, {})
    (first, announced), (second, committed) = seen
    assert (first, second) == ("announce", "commitRound")
    assert committed - announced >= 1, "a block in between would have done, but none came"


def test_a_late_server_that_may_not_commit_has_the_round_collected_again(withheld):
    own, other = withheld.serve(), withheld.serve(withheld.clients[0])
    withheld.travel(7_300)
    other.round()
    withheld.travel(2_300)
    assert own.round().phase is Phase.COLLECTING
    withheld.travel(200)
    round = own.round()
    assert (round.number, round.updates) == (1, 0)
    assert [each.sender for each in own.history.reopened] == [withheld.server]


def test_demands_on_a_void_commit_are_ended_for_they_lock_the_bond(federation):
    federation.submit(0, 1, 2)
    federation.commit(made_up(5))
    federation.submit(0, 1, 2, seed=2)
    federation.commit(account=federation.clients[0])
    server = federation.serve(federation.clients[0])
    ledger = federation.ledger(federation.clients[1])
    server.answering.look = lambda *arguments: None
    server.round()
    ledger.demand(federation.job, server.history.commits[2].record, 0, 1, bytes(32), value=10**16).transact()
    refute(federation, server)
    server.round()
    assert server.history.account(federation.clients[0]).demands == 0
    assert server.history.account(federation.clients[1]).balance >= 10**16


def test_a_client_weighs_no_more_than_the_job_lets_it(federation, caplog):
    federation.job = federation.register(max_weight=30)
    client = federation.client(0)
    assert federation.ledger().client_of(federation.job, client.address).samples == 30
    assert "40 samples are more than an update may weigh" in caplog.text
    client.enter(SAMPLES)
    client.submit(client.round(), made_up(1), SAMPLES)
    client.round()
    assert [entry.update.weight for entry in client.history.entries] == [30]


def test_all_that_an_audit_needs_is_pinned_by_the_server(federation):
    federation.submit(0, 1, 2)
    federation.commit(excluded=(1,))
    assert federation.store.gc(0).removed == 1
    assert len(list(Auditor(federation.ledger(), federation.store, federation.job).rounds())) == 1


def play_round(federation, number, keep=Keep(), account=None):
    """All clients submit, and a server commits; what the round needs, by its content ids."""
    federation.submit(0, 1, 2, seed=number)
    ledger = federation.ledger(account or federation.server)
    server = LedgerServerCoordinator(ledger, federation.store, federation.job, PATIENCE, keep=keep)
    server.enter()
    path = federation.store.root.parent / "next"
    path.unlink(missing_ok=True)
    path.write_bytes(federation.aggregate(server, {}).tobytes())
    server.commit(server.round(), path, {})
    server.round()
    commit = server.history.commits[number]
    digests = [commit.previous.content, commit.record.next.content, *(s.update.content for s in commit.entries)]
    return {server.verifier.content_id(digest).cid for digest in digests}


def always_pinned(federation):
    """The job's document, and the model that it starts from."""
    history = federation.serve().history
    return {ContentId(history.terms.spec, len(DOCUMENT.to_bytes())).cid} | {
        ContentId(history.initial.content, 4 * history.terms.parameters).cid
    }


def test_what_only_settled_rounds_need_is_let_go_and_the_last_round_can_be_answered_for(federation):
    federation.job = federation.register(rounds=3)
    first, second = play_round(federation, 1, Keep(1)), play_round(federation, 2, Keep(1))
    assert federation.store.pins() == always_pinned(federation) | first | second
    federation.travel(90_000)
    third = play_round(federation, 3, Keep(1))
    assert federation.store.pins() == always_pinned(federation) | third
    assert federation.store.gc(0).removed == 7  # six updates and the model after round 1

    server, ledger = federation.serve(), federation.ledger(federation.clients[0])
    commit = server.history.commits[3]
    ledger.demand(federation.job, commit.record, 0, 2, bytes(32), value=10**16).transact()
    server.round()
    server.round()
    assert list(server.history.answers) == [commit.word]


def test_rounds_stay_as_the_policy_says_and_all_of_them_without_one(federation):
    federation.job = federation.register(rounds=4, max_unsettled=4)
    rounds = [play_round(federation, number) for number in (1, 2, 3)]
    federation.travel(90_000)
    rounds.append(play_round(federation, 4, Keep(3)))
    assert federation.store.pins() == always_pinned(federation).union(*rounds[1:])


def test_a_server_that_stays_lets_go_at_the_end(federation):
    last = [play_round(federation, number) for number in (1, 2)][-1]
    federation.travel(90_000)
    server = LedgerServerCoordinator(
        federation.ledger(federation.server), federation.store, federation.job, PATIENCE, keep=Keep(1)
    )
    assert server.stay(server.round()).over
    assert federation.store.pins() == always_pinned(federation) | last


def standing_by(federation, **settings):
    ledger = federation.ledger(federation.clients[0])
    return LedgerServerCoordinator(ledger, federation.store, federation.job, PATIENCE, takeover=True, **settings)


def test_who_stands_in_for_a_server_stays_until_its_last_commit_can_not_be_taken_back(federation):
    federation.job = federation.register(rounds=1, server=federation.server)
    federation.submit(0, 1, 2)
    federation.commit(made_up(5))
    server = standing_by(federation)
    over = server.round()
    assert over.phase is Phase.FINISHED
    last = server.history.commits[1].record.time
    assert server.stays_until() == last + server.terms.challenge_seconds
    finder = threading.Timer(0.2, refute, (federation, server))
    finder.start()
    assert server.stay(over).phase is Phase.CLOSED
    finder.join()


def test_who_stands_in_for_a_server_stays_as_long_as_a_demand_is_open(federation):
    federation.job = federation.register(rounds=1, server=federation.server)
    federation.submit(0, 1, 2)
    federation.commit()
    server = standing_by(federation)
    server.round()
    record, ledger = server.history.commits[1].record, federation.ledger(federation.clients[1])
    federation.travel(86_000)
    ledger.demand(federation.job, record, 0, 1, bytes(32), value=10**16).transact()
    federation.travel(1_000)
    over = server.round()
    assert server.stays_until() == record.time + server.terms.challenge_seconds  # which is over
    federation.travel(3_000)
    expiring = threading.Timer(0.2, lambda: ledger.expire(federation.job, record, 0, 1).transact())
    expiring.start()
    assert server.stay(over).phase is Phase.CLOSED
    expiring.join()


def test_who_stands_in_for_a_server_leaves_when_its_windows_are_over_or_is_told_to(federation):
    federation.job = federation.register(rounds=1, server=federation.server)
    federation.submit(0, 1, 2)
    federation.commit()
    leaving = standing_by(federation, leave=True)
    assert leaving.stay(leaving.round()).over
    staying = standing_by(federation)
    federation.travel(90_000)
    assert staying.stay(staying.round()).over
    assert staying.stays_until() is None


def test_nothing_is_let_go_from_a_round_that_owes_an_answer_on(federation):
    other = federation.node.accounts[7]  # none of those that take part: a client answers for its own commits at once
    federation.job = federation.register(rounds=4, max_unsettled=4)
    rounds = [play_round(federation, 1, account=other)]
    record = federation.serve().history.commits[1].record
    federation.travel(86_000)
    federation.ledger(federation.clients[1]).demand(federation.job, record, 0, 0, bytes(32), value=10**16).transact()
    rounds.append(play_round(federation, 2, Keep(1)))
    federation.travel(
        500
    )  # the window is over, and the demand still open: others answer in the second half of its time
    rounds.append(play_round(federation, 3, Keep(1)))
    assert federation.store.pins() == always_pinned(federation).union(*rounds)
    federation.serve(other).round()  # answers
    federation.serve(other).round()  # settles
    rounds.append(play_round(federation, 4, Keep(1)))
    assert federation.store.pins() == always_pinned(federation).union(*rounds[1:])


def test_no_such_job_and_a_job_that_does_not_fit_together(federation):
    federation.job = 999
    with pytest.raises(UnknownJobError, match="there is no job 999.*galaxy-chain job list"):
        federation.serve()
    federation.job = federation.register(rule=federation.deployment.rules["relay"])
    with pytest.raises(JobMismatchError):
        federation.client(0)


def test_in_a_distillation_clients_go_on_from_their_own_updates_and_learn_from_the_others(federation):
    document = DOCUMENT.model_copy(update={"rule": RuleChoice(name="relay"), "distillation_alpha": 0.5})
    federation.job = federation.register(document)
    client = federation.client(0)
    assert client.previous(client.round()) == Previous(None, [])
    federation.submit(0, 1, 2)
    federation.commit(next_model=federation.initial, excluded=(1,))
    client = federation.client(0)
    previous = client.previous(client.round())
    assert np.array_equal(np.fromfile(previous.own, "<i4"), made_up(100))
    assert [np.fromfile(peer, "<i4")[0] for peer in previous.peers] == [made_up(102)[0]]
    left_out = federation.client(1)
    previous = left_out.previous(left_out.round())
    assert np.array_equal(np.fromfile(previous.own, "<i4"), made_up(101))
    assert len(previous.peers) == 2


def test_what_can_not_be_had_teaches_nobody(federation):
    document = DOCUMENT.model_copy(update={"rule": RuleChoice(name="relay"), "distillation_alpha": 0.5})
    federation.job = federation.register(document)
    federation.submit(0, 1, 2)
    federation.commit(next_model=federation.initial)
    client = federation.client(0)
    submission = client.history.commits[1].entries[1]
    federation.content(submission.update.content).unlink()
    assert len(client.previous(client.round()).peers) == 1


def test_a_job_that_brings_its_model_gives_its_source_and_its_owner(federation):
    source = b"class Net: ..."
    document = DOCUMENT.model_copy(update={"model": SourceModel(source=source_id(source), class_name="Net")})
    federation.job = federation.register(document)
    client = federation.client(0)
    assert client.job_id == str(federation.job)
    assert client.origin == Origin(own=False, name=federation.owner)
    with pytest.raises(ContentMissingError):
        client.source()
    federation.store.put(source)
    assert client.source() == source
    federation.clients[0] = federation.owner
    assert federation.client(0).origin.own


def test_one_look_that_took_long_puts_the_next_off_for_seconds_alone(federation, monkeypatch):
    now, paused, server = [0.0], list[float](), federation.serve()
    seen = server.round()
    rounds = iter([seen, seen, replace(seen, updates=1), replace(seen, updates=2)])

    def slow():
        now[0] += 300.0
        return next(rounds)

    monkeypatch.setattr(base, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(server, "round", slow)
    monkeypatch.setattr(server._follower, "pause", paused.append)
    assert server.wait(seen).updates == 1
    assert len(paused) == 3
    assert max(paused) <= 10.0
    # What was seen last has taken long, too, but it was news: it is followed up soon, and not in a tight loop.
    assert server.wait(replace(seen, updates=1)).updates == 2
    assert PATIENCE.poll / 50 <= paused[3] <= PATIENCE.poll
