"""Revealing after the close: when, and never in vain a second time."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator, LedgerServerCoordinator, Patience
from galaxy_chain.coordinators.pending import Pending
from galaxy_chain.following import follower, view
from galaxy_fl.content import ContentId, LocalStore
from galaxy_fl.rounds.client import round_seed, run_client
from galaxy_fl.rounds.coordinator import Phase
from galaxy_fl.rounds.server import run_server
from galaxy_fl.training.results import TrainResult
from galaxy_fl.vectors import read_vector
from tests.galaxy_chain.federation import DOCUMENT, PARAMETERS, PATIENCE, SAMPLES, made_up
from tests.galaxy_fl.training.trained import write_trained


@pytest.fixture
def secret(federation):
    """A job that reveals after close."""
    federation.job = federation.register(DOCUMENT.model_copy(update={"reveal": "after-close"}), max_excluded=0)
    return federation


def client(federation, tmp_path, index, patience=PATIENCE):
    ledger = federation.ledger(federation.clients[index])
    return LedgerClientCoordinator(ledger, federation.store, federation.job, patience, own=tmp_path / f"own-{index}")


def handed_in(federation, tmp_path, *indices, patience=PATIENCE):
    """Clients that have handed in."""
    clients = [client(federation, tmp_path, index, patience) for index in indices]
    for index, each in zip(indices, clients, strict=True):
        each.enter(SAMPLES)
        each.submit(each.round(), made_up(100 + index), SAMPLES)
    return clients


def is_public(federation, seed):
    return federation.store.has(ContentId.of(made_up(seed).data))


def test_a_clock_that_is_ahead_reveals_nothing_early_and_blames_nobody(secret, tmp_path, monkeypatch):
    clients = handed_in(secret, tmp_path, 0, 1)
    server = secret.serve()
    ahead = SimpleNamespace(time=lambda: time.time() + 120, monotonic=time.monotonic)
    monkeypatch.setattr(view, "time", ahead)
    assert {each.round().phase for each in (*clients, server)} == {Phase.COLLECTING}
    assert not is_public(secret, 100)
    secret.travel(200)
    assert {each.round().phase for each in (*clients, server)} == {Phase.CLOSED}
    assert is_public(secret, 100)
    assert is_public(secret, 101)


def test_a_closing_that_is_not_confirmed_reveals_nothing_and_is_not_served(secret, tmp_path, monkeypatch):
    monkeypatch.setattr(follower.JobFollower, "final", -1)  # the embedded chain takes nothing back
    patient = Patience(poll=0.02, confirmations=3, content=0.05)
    first, *_ = handed_in(secret, tmp_path, 0, 1, 2, patience=patient)
    server = LedgerServerCoordinator(secret.ledger(secret.server), secret.store, secret.job, patient)
    for _ in range(2):
        assert (first.round().phase, server.round().phase) == (Phase.CLOSED, Phase.COLLECTING)
        assert not is_public(secret, 100)
        secret.rpc.request("evm_mine")
    assert (first.round().phase, server.round().phase) == (Phase.CLOSED, Phase.CLOSED)
    assert is_public(secret, 100)


def test_a_cancelled_job_reveals_what_its_last_round_is_made_of(secret, tmp_path):
    clients = handed_in(secret, tmp_path, 0, 1, 2)
    secret.ledger(secret.owner).cancel_job(secret.job).transact()
    assert {each.round().phase for each in clients} == {Phase.CLOSED}
    assert all(is_public(secret, seed) for seed in (100, 101, 102))


def test_in_a_cancelled_job_that_is_not_brought_to_its_end_nothing_is_revealed(secret, tmp_path):
    clients = handed_in(secret, tmp_path, 0)
    secret.ledger(secret.owner).cancel_job(secret.job).transact()
    secret.travel(2 * 7_200 + 100)
    assert {each.round().phase for each in clients} == {Phase.CANCELLED}
    clients[0].close()
    assert client(secret, tmp_path, 0).round().phase is Phase.CANCELLED
    assert not is_public(secret, 100)


class Seeded:
    """A trainer whose result is its seed's and its own."""

    def __init__(self, own):
        self._own = own
        self.seeds = []

    def train(self, task):
        self.seeds.append(task.seed)
        vector = read_vector(task.start, PARAMETERS) + np.int32(task.seed % 1000 + self._own)
        write_trained(task, vector)
        return TrainResult(samples=SAMPLES, loss=1.0, accuracy=None, seconds=0.0, batches=1)


class _Enough(BaseException):
    pass


def once(coordinator, trainer):
    """Takes part until there is nothing to do but wait."""

    def stop(round):
        raise _Enough

    with pytest.raises(_Enough):
        run_client(coordinator, trainer, SAMPLES, waiting=stop, folder=coordinator.kept)


@pytest.mark.parametrize("again", ["the same program", "started again"])
def test_what_was_revealed_in_vain_is_trained_anew_and_what_was_not_is_handed_in_again(secret, tmp_path, again):
    revealing, silent = client(secret, tmp_path, 0), client(secret, tmp_path, 1)
    trainers = Seeded(10_000), Seeded(20_000)
    for each, trainer in zip((revealing, silent), trainers, strict=True):
        once(each, trainer)
    server = secret.serve()
    first = [submission.update for submission in server.history.entries]
    secret.travel(200)
    revealing.round()
    secret.travel(2_500)
    closed = server.round()
    usable, unusable = server.gather(closed, server.updates(closed))
    assert [s.client for s in usable] == [secret.clients[0]]
    server.reopen(closed, unusable)
    if again == "started again":
        revealing.close()
        silent.close()
        revealing, silent = client(secret, tmp_path, 0), client(secret, tmp_path, 1)
    for each, trainer in zip((revealing, silent), trainers, strict=True):
        once(each, trainer)
    assert trainers[0].seeds == [round_seed(0, 1), round_seed(0, 1, 1)]
    assert trainers[1].seeds == [round_seed(0, 1)]
    server.round()
    second = [submission.update for submission in server.history.entries]
    assert second[0].content != first[0].content
    assert second[1] == first[1]
    secret.travel(1_300)  # the second attempt collects for twice as long
    for each in (revealing, silent):
        each.round()
    closed = server.round()
    assert server.gather(closed, server.updates(closed))[1] == {}


def test_a_program_that_died_while_it_revealed_takes_nothing_for_secret(tmp_path):
    pending, store = Pending(tmp_path / "pending", "me"), LocalStore(tmp_path / "store")
    content = pending.keep(3, b"\7" * 32, 5, made_up(1), store)

    class Dies(Exception):
        pass

    class Dying:
        def put(self, path):
            raise Dies

    with pytest.raises(Dies):
        pending.reveal(Dying(), 5, content.digest)
    again = Pending(tmp_path / "pending", "me")
    assert again.wasted(3, b"\7" * 32, 6) == 1
    again.reveal(store, 5, content.digest)
    assert np.array_equal(np.fromfile(store.path(content), "<i4"), made_up(1))


def test_the_same_attempt_on_another_model_takes_nothing_away(tmp_path):
    """A reorganisation brings an attempt's number again, on another model, and then takes that back."""
    pending, store = Pending(tmp_path / "pending", "me"), LocalStore(tmp_path / "store")
    one = pending.keep(2, b"\1" * 32, 5, made_up(1), store)
    other = pending.keep(2, b"\2" * 32, 5, made_up(2), store)
    pending.reveal(store, 5, one.digest)
    assert np.array_equal(np.fromfile(store.path(one), "<i4"), made_up(1))
    assert not store.has(other)
    assert pending.wasted(2, b"\2" * 32, 6) == 0


def test_run_server_serves_such_a_job(secret, tmp_path):
    secret.job = secret.register(DOCUMENT.model_copy(update={"reveal": "after-close"}), rounds=1, max_clients=2)
    clients = handed_in(secret, tmp_path, 0, 1)
    server = secret.serve()
    server.leave = True
    for each in clients:
        each.round()
    assert run_server(server).phase is Phase.FINISHED


def test_what_was_public_in_a_round_that_can_be_taken_back_is_not_forgotten(secret, tmp_path, monkeypatch):
    """A commit in a final block can be superseded, and its round collected again: what was revealed for it stays known."""
    secret.job = secret.register(DOCUMENT.model_copy(update={"reveal": "after-close"}), rounds=3)
    clients = handed_in(secret, tmp_path, 0, 1, 2)
    monkeypatch.setattr(follower.JobFollower, "final", 10**9)
    for number, forgotten in ((1, False), (2, True)):
        for each in clients:
            each.round()  # reveals
        secret.commit()
        if number == 2:
            secret.travel(87_000)
            secret.serve().round()  # settles round 1
        for index, each in enumerate(clients):
            each.submit(each.round(), made_up(1_000 * number + index), SAMPLES)
        root = clients[0].history.commits[1].record.previous_root
        assert [each._pending.wasted(1, root, 99) for each in clients] == [0 if forgotten else 1] * 3
