"""A private job on a ledger: noised updates are aggregated, audited and counted as ever."""

from __future__ import annotations

import threading
import time

import numpy as np

from galaxy_chain.coordinators import LedgerClientCoordinator
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.jobs.published import Published, published
from galaxy_chain.verify.audit import Auditor
from galaxy_fl.jobs.privacy import ExamplePrivacy, UpdatePrivacy
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.participants.events import Exhausted, Spent
from galaxy_fl.participants.guard import Guard
from galaxy_fl.privacy.accountant import epsilon_of, mechanism_of
from galaxy_fl.rounds.client import run_client
from galaxy_fl.rounds.coordinator import Phase
from galaxy_fl.training.results import TrainResult
from galaxy_fl.vectors import read_vector
from tests.galaxy_chain.federation import DOCUMENT, PARAMETERS, PATIENCE, SAMPLES
from tests.galaxy_fl.training.trained import write_trained

PRIVACY = UpdatePrivacy(clip=1.0, noise_multiplier=2.0, delta=1e-5)
ONE = mechanism_of(PRIVACY, TrainSpecification(), SAMPLES)


class Adding:
    """A trainer that adds the same to every parameter."""

    def train(self, task):
        vector = read_vector(task.start, PARAMETERS) + np.int32(1000)
        write_trained(task, vector)
        return TrainResult(samples=SAMPLES, loss=1.0, accuracy=None, seconds=0.0, batches=1)


def test_a_private_job_is_audited_and_goes_on_without_a_client_whose_budget_is_spent(federation, tmp_path):
    document = DOCUMENT.model_copy(update={"privacy": PRIVACY})
    federation.job = federation.register(document, deadline=5, max_clients=2, min_clients=2)
    heard: dict[int, list] = {0: [], 1: [], 2: []}

    def take_part(index, stop_at):
        ledger = federation.ledger(federation.clients[index])
        own = tmp_path / f"own-{index}"
        client = LedgerClientCoordinator(ledger, federation.store, federation.job, PATIENCE, own=own)
        guard = Guard(client.job, SAMPLES, client.kept / "spent.json", stop_at, heard[index].append)
        run_client(client, Adding(), SAMPLES, folder=client.kept, guard=guard)

    def thread(index, stop_at=None):
        started = threading.Thread(target=take_part, args=(index, stop_at), daemon=True)
        started.start()
        return started

    def serve():
        while server.round().phase is not Phase.CLOSED:
            time.sleep(0.02)
        federation.commit()

    one = epsilon_of([ONE], 1e-5)
    server = federation.serve()
    threads = [thread(0, one), thread(1)]
    serve()
    while not heard[0] or not isinstance(heard[0][-1], Exhausted):
        time.sleep(0.02)
    threads.append(thread(2))  # takes the place of the one that has stopped
    serve()
    for each in threads:
        each.join(60)
        assert not each.is_alive()
    assert [type(event) for event in heard[0]] == [Spent, Exhausted]
    assert {type(event) for event in heard[1]} == {Spent}
    ledger = federation.ledger()
    history = JobFollower(ledger, federation.job).history
    found = published(history, document)
    assert found[federation.clients[0]] == Published(1, one)
    assert found[federation.clients[1]] == Published(2, epsilon_of([ONE] * 2, 1e-5))
    assert len(list(Auditor(ledger, federation.store, federation.job).rounds())) == 2  # each recomputed, and right
    examples = DOCUMENT.model_copy(update={"privacy": ExamplePrivacy(max_grad_norm=1, noise_multiplier=2, delta=1e-5)})
    one = mechanism_of(examples.privacy, examples.train, SAMPLES)
    assert published(history, examples)[federation.clients[0]] == Published(1, epsilon_of([one], 1e-5))
