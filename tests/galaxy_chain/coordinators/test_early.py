"""What is verified and summed while updates come in saves work, and changes nothing of what comes out."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator, LedgerServerCoordinator
from galaxy_chain.coordinators.summing_up import SummingUp
from galaxy_chain.ledger.structs import Update
from galaxy_chain.ledger.words import address_bytes
from galaxy_chain.verify.early import LARGE_SETTLES, MOST_TRIES, SETTLES, Early
from galaxy_chain.verify.how import BRANCH, Verify
from galaxy_fl.content import ContentId, LocalStore
from galaxy_fl.content.finished import LARGE
from galaxy_fl.exceptions import RoundMovedOnError
from galaxy_fl.rounds.coordinator import Phase
from galaxy_fl.vectors import commitment, tree_root
from tests.adversary.arena import honest_root
from tests.galaxy_chain.federation import CHUNK, PARAMETERS, PATIENCE, SAMPLES, Federation, alter, made_up, said
from tests.galaxy_chain.verify.trees import FAN_IN

LONG = 300.0


def settle(coordinator: LedgerClientCoordinator | LedgerServerCoordinator) -> None:
    """Has a coordinator look, until nothing is left to be done early."""
    early, until = coordinator.early, time.monotonic() + LONG
    assert early is not None
    early.settles = 0.0
    while True:
        seen = coordinator.round()
        sees_all = seen.phase is Phase.CLOSED and isinstance(coordinator, LedgerServerCoordinator)
        if not early._threads and (sees_all or early._idle_until > time.monotonic()):
            return
        assert time.monotonic() < until, "it never ends"
        time.sleep(0.01)


def looking(federation: Federation, index: int = 0, **options: object) -> LedgerClientCoordinator:
    """A client that has joined."""
    client = LedgerClientCoordinator(
        federation.ledger(federation.clients[index]),
        federation.store,
        federation.job,
        PATIENCE,
        limits=federation.limits,
        **options,  # type: ignore[arg-type]
    )
    client.enter(SAMPLES)
    return client


def of_tree(federation: Federation, clients: int = 6, **terms: int) -> Federation:
    """The same with a job of more clients, of whom two make a node, and no entries yet."""
    federation.clients = [*federation.clients[:3], *federation.node.accounts[10:13]][:clients]
    federation.job = federation.register(fan_in=FAN_IN, min_clients=3, max_clients=clients, **terms)
    return federation


def test_large_updates_are_verified_before_their_round_is_closed(federation: Federation) -> None:
    """A store remembers at once that it has hashed one: nothing is gained by waiting until it would remember any."""
    server = federation.serve()
    assert server.early.settles == SETTLES
    server.verifier.terms = replace(server.terms, parameters=LARGE // 4)
    assert Early(server.verifier, lambda sight, right: ()).settles == LARGE_SETTLES
    path = federation.store.root.parent / "large"
    path.write_bytes(bytes(LARGE))
    content = federation.store.put(path)
    time.sleep(LARGE_SETTLES)
    other = LocalStore(federation.store.root)
    other.path(content)
    assert content in other._known.verified


def close(federation: Federation, server: LedgerServerCoordinator) -> bytes:
    """Commits as the server's loop does, and returns the root."""
    round = server.round()
    assert round.phase is Phase.CLOSED
    usable, unusable = server.gather(round, server.updates(round))
    path = federation.store.root.parent / "next"
    path.unlink(missing_ok=True)
    server.aggregate(round, usable, path)
    return server.commit(round, path, unusable).model


def update_file(federation: Federation, index: int, seed: int = 1) -> Path:
    """The file of an update in the store."""
    return federation.store.path(ContentId.of(made_up(100 * seed + index).data))


# Clients


@pytest.mark.parametrize("how", [BRANCH, Verify()])
def test_what_a_client_has_verified_as_it_came_in_it_does_not_need_any_more(federation, how):
    client, late = looking(federation, verify=how), looking(federation, 1, verify=how)
    for index in range(3):
        federation.submit(index)
        settle(client)
    files = [update_file(federation, index) for index in range(3)]
    federation.commit()
    for file in files:
        file.unlink()
    client.model(client.round())
    (commit,) = client.history.commits.values()
    assert client._inspection._verified.has(commit.word, Verify())
    late.model(late.round())  # which goes on without
    assert not late._inspection._verified.has(commit.word, Verify())


def test_a_client_that_has_verified_all_updates_finds_a_wrong_commit(federation):
    client = looking(federation)
    federation.submit(0, 1, 2)
    settle(client)
    wrong = federation.aggregate(federation.serve(), {})
    wrong[PARAMETERS - 1] += 1
    federation.commit(wrong)
    with pytest.raises(RoundMovedOnError, match="has been challenged"):
        client.model(client.round())


def test_an_update_that_was_verified_and_is_excluded_is_no_part_of_what_a_client_expects(federation):
    client = looking(federation)
    federation.submit(0, 1, 2)
    settle(client)
    federation.commit(excluded=(1,))
    client.model(client.round())
    (commit,) = client.history.commits.values()
    assert client._inspection._verified.has(commit.word, Verify())
    with_it = client._inspection.checks.flat_key(
        commit.previous.root,
        [(entry.update.commitment, entry.update.weight, False) for entry in commit.entries],
        commit.record.next.root,
    )
    assert with_it not in client._inspection.checks._cache


def test_a_model_that_is_altered_is_found_although_its_root_was_known_before_it_was_there(federation):
    client = looking(federation)
    federation.submit(0, 1, 2)
    settle(client)
    federation.commit()
    alter(federation.content(federation.client(0).history.model.content))
    path = client.model(client.round())
    assert tree_root(np.fromfile(path, "<i4"), CHUNK) == client.history.model.root


def test_updates_of_another_past_are_not_mistaken_for_those_of_this_one(federation):
    client, server = looking(federation), federation.serve()
    before = federation.rpc.request("evm_snapshot")
    federation.submit(0, 1, 2)
    for each in (client, server):
        settle(each)
    assert federation.rpc.request("evm_revert", before) is True
    federation.submit(2, 1, seed=2)
    settle(client)
    federation.submit(0, seed=1)  # the very same as before, in another place
    for each in (client, server):
        settle(each)
    expected = honest_root(federation)
    assert close(federation, server) == expected
    client.model(client.round())
    (commit,) = client.history.commits.values()
    assert [entry.client for entry in commit.entries] == [federation.clients[index] for index in (2, 1, 0)]
    assert client._inspection._verified.has(commit.word, Verify())


def test_a_client_of_a_tree_verifies_its_own_branch_early_and_no_other(federation):
    many = of_tree(federation)
    client = looking(many, 2)
    for index in range(6):
        many.submit(index)
        settle(client)
    assert client.early is not None
    wanted = {entry.client for entry in client.early._verified}
    assert set(many.clients[2:4]) <= wanted <= set(many.clients[:4])  # while the round was flat, all
    server = many.serve()
    close(many, server)
    client.model(client.round())
    (commit,) = client.history.commits.values()
    tree = client._inspection.checks.tree(client.history, commit)
    place = client.verifier.nodes.place(commit, 2)
    assert tree._key(place) in client._inspection.checks._cache


# Servers


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (5, 3, 1, 0, 2, 4), (2, 0, 5, 4, 1, 3)])
def test_whatever_the_order_of_arrival_the_model_is_that_of_a_server_that_came_late(federation, order):
    many = of_tree(federation)
    server = many.serve()
    for index in order:
        many.submit(index)
        settle(server)
    assert len(server.summing_up._made) == 3  # nodes 1 and 2, and 4 above them; the last two came with the end
    late = SummingUp(server.verifier)
    round = server.round()
    usable, _ = server.gather(round, server.updates(round))
    by_client = {submitted.client: path for submitted, path in usable.items()}
    theirs = federation.store.root.parent / "theirs"
    tree = late.sum_up(server.history, server.model(round), by_client, theirs)
    assert close(many, server) == tree_root(server.verifier.read(theirs), CHUNK) == honest_root_of(server)
    (commit,) = server.history.commits.values()
    assert commit.nodes == tree.nodes


def honest_root_of(server: LedgerServerCoordinator) -> bytes:
    """The root of the newest model by Python's integers."""
    server.round()
    (commit,) = server.history.commits.values()
    model = server.verifier.read(server.verifier.model(commit.previous, "")).tolist()
    updates = [server.verifier.read(server.verifier.update(entry, "")).tolist() for entry in commit.included]
    weights = [entry.update.weight for entry in commit.included]
    total = sum(weights)
    sums = [sum(w * u[at] for w, u in zip(weights, updates, strict=True)) for at in range(PARAMETERS)]
    made = [min(2**31 - 1, max(-(2**31), m + (s + total // 2) // total)) for m, s in zip(model, sums, strict=True)]
    return tree_root(np.array(made, np.int32), CHUNK)


def test_an_update_that_is_gone_after_it_was_summed_is_in_no_sum(federation):
    many = of_tree(federation, max_excluded=2)
    server = many.serve()
    for index in range(6):
        many.submit(index)
        settle(server)
    alter(update_file(many, 1))
    assert close(many, server) == honest_root_of(server)
    (commit,) = server.history.commits.values()
    assert [entry.client for entry in commit.excluded] == [many.clients[1]]


def test_a_server_that_starts_again_sums_the_same(federation):
    many = of_tree(federation)
    first = many.serve()
    for index in range(5):
        many.submit(index)
    settle(first)
    first.close()
    again = many.serve()
    many.submit(5)
    assert close(many, again) == honest_root_of(again)


def test_nodes_of_another_past_are_not_summed_into_this_one(federation):
    many = of_tree(federation)
    server = many.serve()
    for index in range(6):  # so that all have joined
        looking(many, index)
    before = many.rpc.request("evm_snapshot")
    many.submit(0, 1, 2, 3, 4)
    settle(server)
    past = dict(server.summing_up._made)
    assert len(past) == 3
    assert many.rpc.request("evm_revert", before) is True
    many.submit(1, 0, 2, 3, 5)
    settle(server)
    assert len(server.summing_up._made) == len(past) + 1  # another order of the same two has the same sum above it
    many.submit(4)
    assert close(many, server) == honest_root_of(server)


# Strangers


class Counting(LocalStore):
    """A store that counts how often each content was asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked = Counter[ContentId]()

    def path(self, content: ContentId) -> Path:
        self.asked[content] += 1
        return super().path(content)


def submit_other(federation: Federation, index: int, update: Update) -> None:
    """Hands in whatever it is."""
    client = federation.client(index)
    round = client.round()
    model = client.history.model.root
    client.ledger.submit_update(federation.job, round.attempt, model, update).transact()


def test_whoever_promises_what_is_not_there_has_nobody_look_for_ever_and_keeps_nobody_else_waiting(federation):
    federation.job = federation.register(min_clients=3)
    store, now = Counting(federation.store.root), [0.0]
    server = LedgerServerCoordinator(federation.ledger(federation.server), store, federation.job, PATIENCE)
    server.early = Early(server.verifier, server.summing_up.next_nodes, clock=lambda: now[0])
    other = federation.store.put(made_up(7).data)
    root = tree_root(made_up(8), CHUNK)
    for index, digest in ((0, other.digest), (1, bytes([1]) * 32)):
        promised = commitment(root, address_bytes(federation.clients[index]))
        submit_other(federation, index, Update(promised, digest, SAMPLES))
    looks = 3 * MOST_TRIES
    for _ in range(looks):
        for _ in range(3):  # of which two change nothing
            server.round()
            while server.early._threads:
                time.sleep(0.01)
        now[0] += 100.0
    missing = ContentId(bytes([1]) * 32, 4 * PARAMETERS)
    assert store.asked[other] == MOST_TRIES
    assert MOST_TRIES < store.asked[missing] <= looks
    assert not server.early._verified


def test_threads_end_with_what_they_do(federation):
    client = looking(federation)
    federation.submit(0, 1)
    settle(client)
    for _ in range(10):
        client.round()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("early")]
    client.close()
    federation.submit(2)
    assert client.early is not None
    client.early.look(bytes(32), True, lambda: client._sight(client.history, closed=True))
    assert not client.early._threads


def test_nothing_is_said_of_what_is_not_there_yet(federation, caplog):
    client = looking(federation)
    root = tree_root(made_up(8), CHUNK)
    submit_other(
        federation, 1, Update(commitment(root, address_bytes(federation.clients[1])), bytes([1]) * 32, SAMPLES)
    )
    settle(client)
    assert said(caplog) == []
