"""Clients of one operator in one process: what one of them has verified or done counts for all."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator, Patience, answering, base
from galaxy_chain.coordinators.shared_job import SharedJob
from galaxy_chain.exceptions import JobMismatchError
from galaxy_chain.jobs.terms import Concern
from galaxy_chain.verify.faults import Kind
from galaxy_chain.verify.how import Verify
from galaxy_chain.verify.inspection import Withheld
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.exceptions import RoundMovedOnError
from galaxy_fl.jobs.document import RuleChoice
from galaxy_fl.rounds.coordinator import Phase
from tests.adversary.arena import OffByOne, punished, serve_round, server
from tests.galaxy_chain.federation import DOCUMENT, PATIENCE, SAMPLES, made_up
from tests.galaxy_chain.verify.trees import CLIENTS, commit_tree, large, model_off, off

HOURS = Patience(poll=3_600, content=0.05)


def shared_job(federation, **options):
    return SharedJob(federation.ledger(), federation.store, federation.job, poll=0.02, **options)


def client_of(federation, index, shared, how="branch", patience=PATIENCE):
    client = LedgerClientCoordinator(
        federation.ledger(federation.clients[index]), federation.store, federation.job, patience,
        verify=Verify.parse(how), withheld=Withheld.WAIT, shared=shared,
    )  # fmt: skip
    client.enter(SAMPLES)
    return client


@pytest.fixture
def read(monkeypatch):
    """How often each vector was read to be verified."""
    counts: Counter[str] = Counter()
    plain = Verifier.read

    def counted(self, path):
        counts[path.name] += 1
        return plain(self, path)

    monkeypatch.setattr(Verifier, "read", counted)
    return counts


@pytest.mark.parametrize("how", ["branch", "full"])
def test_clients_of_a_process_verify_the_union_of_what_each_has_to_verify_once(federation, read, how):
    large(federation)
    commit_tree(federation)
    read.clear()
    with closing(shared_job(federation)) as shared:
        clients = [client_of(federation, index, shared, how) for index in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as threads:
            list(threads.map(lambda client: client.model(client.round()), clients))
    updates = {federation.store.path(clients[0].verifier.content_id(entry.update.content)).name
               for entry in clients[0].history.commits[1].entries}  # fmt: skip
    assert {name: read[name] for name in updates} == dict.fromkeys(updates, 1)


def test_a_flat_round_is_recomputed_once_for_all_clients_of_a_process(federation, read):
    federation.submit(0, 1, 2)
    federation.commit()
    read.clear()
    with closing(shared_job(federation)) as shared:
        for index in range(3):
            client = client_of(federation, index, shared)
            client.model(client.round())
            if index == 0:
                alone = dict(read)
    assert alone
    assert dict(read) == alone


def test_a_lie_is_found_by_all_and_challenged_by_one(federation):
    federation.submit(0, 1, 2)
    serve_round(server(federation, OffByOne))
    challenged = []
    with closing(shared_job(federation)) as shared:
        clients = [client_of(federation, index, shared) for index in range(3)]
        for client in clients:
            client.challenged = lambda commit, node, chunk: challenged.append(chunk)

        rounds = [client.round() for client in clients]  # before any of them challenges, which takes the commit back
        assert [round.number for round in rounds] == [2, 2, 2]

        def verify(client, round):
            with pytest.raises(RoundMovedOnError):
                client.model(round)

        with ThreadPoolExecutor(3) as threads:
            list(threads.map(verify, clients, rounds))
        assert [client.round().number for client in clients] == [1, 1, 1]
    assert len(challenged) == 1
    punished(federation, *(each for each in federation.clients if federation.ledger().account_of(
        federation.job, each).balance), round=1)  # fmt: skip


@pytest.mark.parametrize("lie", ["in a node", "in the next model", "in a flat round"])
def test_whoever_waits_for_what_another_looks_at_is_told_what_is_wrong(federation, monkeypatch, lie):
    if lie == "in a flat round":
        federation.submit(0, 1, 2)
        serve_round(server(federation, OffByOne))
    else:
        large(federation)
        commit_tree(federation, *([off(1)] if lie == "in a node" else [None, model_off]))
    history = federation.serve().history
    commit = history.commits[1]
    with closing(shared_job(federation)) as shared:
        all_asked = threading.Barrier(CLIENTS)
        plain, first = Verifier.read, threading.Lock()

        def read_late(self, path):
            if first.acquire(blocking=False):
                threading.Event().wait(0.2)  # more than the others need to ask; where not, they look for themselves
            return plain(self, path)

        monkeypatch.setattr(Verifier, "read", read_late)

        def look(_):
            all_asked.wait()
            return shared.checks.whole(history, commit, lambda: list(shared.checks.everything(history, commit)))

        def look_at_nodes(_):
            all_asked.wait()
            return list(shared.checks.everything(history, commit))

        with ThreadPoolExecutor(CLIENTS) as threads:
            found = [*threads.map(look, range(CLIENTS)), *threads.map(look_at_nodes, range(CLIENTS))]
    assert all(faults and faults[0].kind is Kind.PROVED for faults in found)
    assert len({(fault.node, fault.chunk) for faults in found for fault in faults}) == len(found[0])


def test_content_that_is_gone_is_not_taken_for_verified(federation):
    federation.submit(0, 1, 2)
    federation.commit()
    with closing(shared_job(federation)) as shared:
        client = client_of(federation, 0, shared)
        path = client.model(client.round())
        path.unlink()  # as gc does with what nobody pins
        other = client_of(federation, 1, shared)
        assert other.model(other.round()).exists()  # recomputed, and put back
        assert path.exists()


def test_an_update_of_one_wakes_no_other_and_a_commit_wakes_all(federation):
    with closing(shared_job(federation)) as shared:
        clients = [client_of(federation, index, shared, patience=HOURS) for index in range(3)]
        seen = [client.round() for client in clients]
        looks = [Counter[str]() for _ in clients]
        for client, counts in zip(clients, looks, strict=True):
            client.looked = lambda counts=counts: counts.update(["look"])
        with ThreadPoolExecutor(3) as threads:
            waits = [threads.submit(client.wait, round) for client, round in zip(clients, seen, strict=True)]
            federation.submit(0)
            federation.submit(1)
            wait_until(lambda: len(shared.follower.history.entries) == 2)
            assert [wait.done() for wait in waits] == [False] * 3
            assert [counts["look"] for counts in looks] == [0, 0, 0]
            federation.submit(2)
            federation.commit()
            for wait in waits:
                now = wait.result(60)
                assert now.number == 2 or now.phase is Phase.CLOSED


def test_what_a_client_waits_for_wakes_it(federation):
    with closing(shared_job(federation)) as shared:
        one, other = (shared.view() for _ in range(2))
        woken = threading.Event()

        def wait():
            one.pause(3_600, lambda history: history.has_entry(federation.clients[1]))
            woken.set()

        waiter = threading.Thread(target=wait)
        waiter.start()
        federation.submit(0)
        wait_until(lambda: len(shared.follower.history.entries) == 1)
        assert not woken.is_set()
        federation.submit(1)
        assert woken.wait(60)
        waiter.join()
        other.poll()
        assert len(other.history.entries) == 2


@pytest.mark.parametrize("late", [False, True])
def test_a_closed_round_is_news_only_where_something_is_to_be_revealed(federation, late):
    with closing(shared_job(federation)) as shared:
        assert not shared.follower.reveals_late
        shared.follower.reveals_late = late
        view, woken = shared.view(), threading.Event()
        view.poll()

        def wait():
            view.pause(3_600)
            woken.set()

        waiter = threading.Thread(target=wait)
        waiter.start()
        federation.submit(0, 1, 2)
        wait_until(lambda: len(shared.follower.history.entries) == 3)
        shared.follower.look()
        assert late is False or woken.wait(60)
        assert late is True or not woken.is_set()
        federation.commit()
        waiter.join(60)
        assert woken.is_set()


def test_what_a_reorganisation_takes_away_wakes_all(federation):
    with closing(shared_job(federation)) as shared:
        view = shared.view()
        snapshot = federation.rpc.request("evm_snapshot")
        federation.submit(0)
        view.poll()
        waiter = threading.Thread(target=view.pause, args=(3_600,))
        waiter.start()
        federation.rpc.request("evm_revert", snapshot)
        for _ in range(5):
            federation.rpc.request("evm_mine")
        waiter.join(60)
        assert not waiter.is_alive()


def test_whoever_closes_it_wakes_who_waits_for_nothing(federation):
    shared = shared_job(federation)
    waiter = threading.Thread(target=shared.view().pause, args=(0.01,))
    waiter.start()
    waiter.join(60)
    shared.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("looks at job")]


def test_one_client_answers_for_all_and_another_when_it_is_gone(federation, monkeypatch):
    followers: list[object] = []
    monkeypatch.setattr(answering, "JobFollower", lambda *arguments: followers.append(arguments))
    with closing(shared_job(federation)) as shared:
        clients = [client_of(federation, index, shared) for index in range(3)]
        for client in clients:
            client.begin()
        assert [client.answering.running for client in clients] == [True, False, False]
        clients[1].close()
        clients[0].close()
        clients[1].round()
        assert not clients[1].answering.running
        clients[2].round()
        assert [client.answering.running for client in clients] == [True, False, True]
        clients[2].close()
    assert not followers, "whoever takes over fetches all of the job's events again"


def test_what_is_due_once_is_done_by_one(federation):
    with closing(shared_job(federation)) as shared:
        view = shared.view()
        assert shared.tend(view.history, lambda: True)
        federation.submit(0)
        shared.view().poll()
        assert not shared.tend(view.history, lambda: True)  # it has to look first
        view.poll()

        def look() -> bool:
            assert not shared.tend(view.history, lambda: True)  # meanwhile nobody else
            return False

        assert not shared.tend(view.history, look)


def test_a_job_that_can_not_be_taken_part_in_is_refused_before_any_client_begins(federation):
    other = DOCUMENT.model_copy(update={"rule": RuleChoice(name="coordinate_median")})
    federation.job = federation.register(other, rule=federation.deployment.rules["weighted_mean"])
    with pytest.raises(JobMismatchError):
        shared_job(federation)


def wait_until(condition):
    for _ in range(6_000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come")


def test_what_the_terms_are_warned_of_is_said_once_for_all_clients(federation, monkeypatch, caplog):
    seconds = iter(range(12, 100))

    def concerned(*args, **options):
        which = next(seconds)
        return [Concern("deadline", f"deadline is short at {which} s a block"), Concern("bond", "bond is small")]

    monkeypatch.setattr(base, "accept_terms", concerned)
    with closing(shared_job(federation)) as shared:
        for index in range(3):
            client_of(federation, index, shared)
    assert [record.message.partition(": ")[2] for record in caplog.records if "job" in record.message] == [
        "deadline is short at 12 s a block",
        "bond is small",
    ]


def test_an_update_is_handed_in_as_ever(federation):
    with closing(shared_job(federation)) as shared:
        client = client_of(federation, 0, shared)
        round = client.round()
        assert client.submit(round, made_up(1), SAMPLES) > 21_000
        assert not client.wants_update(client.round())
