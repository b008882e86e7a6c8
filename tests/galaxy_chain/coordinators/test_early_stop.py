"""A server that is its job's owner ends it early by the ledger's own way, and nobody loses what is due."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator, LedgerServerCoordinator
from galaxy_chain.jobs.creation import create_job
from galaxy_chain.jobs.file import JobFile
from galaxy_chain.verify.audit import Auditor
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.participants.aim import Aim
from galaxy_fl.participants.data import LocalData
from galaxy_fl.participants.events import Committed, Ending, Finished, Trained
from galaxy_fl.participants.job_client import JobClient
from galaxy_fl.participants.job_server import JobServer
from galaxy_fl.rounds.coordinator import Phase
from galaxy_fl.trust import Trust
from tests.galaxy_chain.federation import PATIENCE


def test_its_owner_ends_a_job_with_the_round_that_is_under_way(federation):
    federation.job = federation.register(rounds=5, pool=10**17)
    client = federation.client(0)
    server = federation.serve(federation.owner)
    server.check_may_end()
    federation.submit(0, 1, 2)
    federation.commit(account=federation.owner)
    assert server.end() == 2
    assert server.end() == 2  # again, as after a crash: nothing more is sent
    # The round under way is played and allotted as it would have been; what is left of the pool is the owner's.
    assert (client.round().phase, client.rounds, client.planned) == (Phase.COLLECTING, 2, 5)
    federation.submit(0, 1, 2, seed=2)
    federation.commit(account=federation.owner)
    server.round()
    assert [commit.record.reward for commit in server.history.commits.values()] == [10**17 // 5] * 2
    assert client.round().phase is Phase.FINISHED
    assert server.end() == 2  # of a job that is over


def test_somebody_elses_cancelling_is_as_good(federation):
    federation.job = federation.register(rounds=5)
    server = federation.serve(federation.owner)
    server.round()
    federation.ledger(federation.owner).cancel_job(federation.job).transact()
    assert server.end() == 1


def test_a_server_that_is_not_the_owner_is_refused_before_it_stakes_anything(federation, tmp_path):
    ledger = federation.ledger(federation.server)
    server = LedgerServerCoordinator(ledger, federation.store, federation.job, PATIENCE)
    participant = JobServer(
        server, LocalData(None, "digits"), Trust(), output=tmp_path, aim=Aim.of("loss", "loss<=0.1"), alone=True
    )
    with closing(server), pytest.raises(ConfigurationError) as refused:
        participant.run()
    assert f"can be ended early by its owner {federation.owner} alone" in str(refused.value)
    assert f"`galaxy-chain job cancel {federation.job}`" in str(refused.value)
    assert server.history.account(federation.server).bond == 0
    # Keeping the best model alone takes nobody's permission.
    assert not Aim.of("loss").stops


JOB = """\
name = "early"
[model]
builtin = "mlp"
[train]
learning_rate = 0.1
[terms]
rounds = 30
open = true
min_clients = 1
max_clients = 1
reward = "0.1 ether"
challenge_seconds = 90000
"""


def test_a_job_on_a_ledger_ends_early_with_its_best_model_and_its_audit(federation, tmp_path):
    (tmp_path / "job.toml").write_text(JOB)
    owner, client = federation.ledger(federation.owner), federation.ledger(federation.clients[0])
    rules = federation.deployment.rules
    job = create_job(owner, rules, federation.store, JobFile.read(tmp_path / "job.toml"), tmp_path).job
    heard: dict[str, list] = {"server": [], "client": []}
    serving = JobServer(
        LedgerServerCoordinator(owner, federation.store, job, PATIENCE, leave=True),
        LocalData(None, "digits"),
        Trust(),
        output=tmp_path / "server",
        listeners=[lambda event, job: heard["server"].append(event)],
        aim=Aim.of("accuracy", "accuracy>=0.3"),
        alone=True,
    )
    training = JobClient(
        LedgerClientCoordinator(client, federation.store, job, PATIENCE, leave=True),
        LocalData("digits", None, shard="1/8"),
        Trust(),
        output=tmp_path / "client",
        listeners=[lambda event, job: heard["client"].append(event)],
        alone=True,
    )
    ends = []
    threads = [threading.Thread(target=lambda each=each: ends.append(each.run())) for each in (serving, training)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
        assert not thread.is_alive()
    accuracies = [event.accuracy for event in heard["server"] if isinstance(event, Committed)]
    met = next(number for number, accuracy in enumerate(accuracies, 1) if accuracy >= 0.3)
    assert len(accuracies) == met + 1 < 30  # the round that was under way was the last
    [ending] = [event for event in heard["server"] if isinstance(event, Ending)]
    assert (ending.round, ending.last) == (met, met + 1)
    assert sum(isinstance(event, Trained) and event.gas is not None for event in heard["client"]) == met + 1
    [finished] = [event for event in heard["client"] if isinstance(event, Finished)]
    assert (finished.rounds, finished.planned) == (met + 1, 30)
    served = next(end for end in ends if end.best_model is not None)
    assert served.best_round == accuracies.index(max(accuracies)) + 1
    assert [end.cancelled for end in ends] == [False, False]
    assert [audited.round for audited in Auditor(owner, federation.store, job).rounds()] == list(range(1, met + 2))
