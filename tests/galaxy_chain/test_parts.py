"""A job with personal and frozen tensors: in a folder, at a cluster's server and on a ledger, the same to the bit."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import galaxy_chain
import galaxy_fl as galaxy
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.verify.export import export_model
from galaxy_fl.content import LocalStore
from galaxy_fl.jobs.document import source_id
from galaxy_fl.modes.job_folder import JobsFolder
from tests.galaxy_fl.core import models
from tests.galaxy_fl.core.models import Net

JOB = galaxy.Job(
    Net,
    rounds=2,
    train=galaxy.Train(loss="nll", learning_rate=0.1, batch_size=16, seed=3),
    personal=["norm.*"],
    frozen=["hidden.bias"],
)
SHARED = {"hidden.weight", "out.weight", "out.bias"}
SOURCE = source_id(Path(models.__file__).read_bytes())
COMMON = {"test_data": "digits", "trust": [SOURCE]}


class Participants:
    """A server and two clients, each with a folder for what it leaves."""

    def __init__(self, folder, server, clients):
        self.said = {name: [] for name in ("server", "1", "2")}
        listeners = {name: {"listeners": [self._listener(name)]} for name in self.said}
        outputs = {name: {"output": folder / f"of-{name}"} for name in self.said}
        self.server = galaxy.Server(**server, **COMMON, **listeners["server"], **outputs["server"])
        self.clients = [
            galaxy.Client(
                **clients[number - 1],
                **COMMON,
                **listeners[str(number)],
                **outputs[str(number)],
                data="digits",
                shard=f"{number}/8",
                name=str(number),
            )
            for number in (1, 2)
        ]

    def _listener(self, name):
        return lambda event, job: self.said[name].append(event)

    def run(self):
        """The final models: the server's, and those of the clients."""
        outcomes = [[], [], []]
        run = [self.server, *self.clients]
        threads = [
            threading.Thread(target=lambda number=number: outcomes[number].extend(run[number].run()), daemon=True)
            for number in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), self.said
        paths = [outcome.final_model for (outcome,) in outcomes]
        for path in paths:
            assert load_file(f"{path}.safetensors").keys() == Net().state_dict().keys()
        return [torch.load(path, weights_only=True) for path in paths]

    def notes(self, name):
        return [event.message for event in self.said[name] if isinstance(event, galaxy.events.Noted)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def in_a_folder(folder):
    at = {"at": folder / "standalone"}
    galaxy.submit(JOB, clients=2, **at)
    return Participants(folder / "standalone", at, [at, at])


def at_a_cluster(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = f"http://127.0.0.1:{taken.getsockname()[1]}"
    galaxy.submit(JOB, clients=2, at=folder / "server")
    clients = [{"at": at, "folder": folder / "clients"}] * 2
    return Participants(folder / "cluster", {"at": at, "folder": folder / "server"}, clients)


@pytest.fixture
def ledgers(web3, node, deployment, folder):
    deployment.write(folder / "ledger.json")

    def ledger(account):
        return galaxy_chain.Ledger(
            node.url, folder / "ledger.json", home=folder / f"home-{account}", store=folder / "store", account=account
        )

    return ledger


def on_a_ledger(folder, ledgers):
    terms = {"bond": "1 ether"}
    job = int(galaxy.submit(JOB, clients=2, at=ledgers("dev:0"), terms=terms))
    common = {"jobs": [job], "leave": True, "max_bond": "2 ether"}
    clients = [{"at": ledgers(f"dev:{number}")} | common for number in (1, 2)]
    return Participants(folder / "ledger", {"at": ledgers("dev:0")} | common, clients), job


def test_parts_are_the_same_in_all_modes_and_audited(folder, ledgers, node, deployment):
    ledger, job = on_a_ledger(folder, ledgers)
    found = {
        "standalone": in_a_folder(folder).run(),
        "cluster": at_a_cluster(folder).run(),
        "ledger": ledger.run(),
    }
    begun = JobsFolder(folder / "standalone")
    (path,) = (begun.open(job_id).base() for job_id in begun.ids())
    base = load_file(path)
    assert base.keys() == Net().state_dict().keys() - SHARED
    for server, *clients in found.values():
        for name, value in server.items():
            assert torch.equal(value, found["ledger"][0][name])
            if name in SHARED:
                assert all(torch.equal(value, client[name]) for client in clients)
            else:
                assert torch.equal(value, base[name])
        for number in (0, 1):
            assert all(torch.equal(clients[number][name], found["ledger"][1 + number][name]) for name in server)
            assert torch.equal(clients[number]["hidden.bias"], base["hidden.bias"])
        assert not torch.equal(clients[0]["norm.running_mean"], clients[1]["norm.running_mean"])
    # Whoever audits needs the vectors alone, which are all that travels.
    document = begun.open(begun.ids()[0]).document
    assert document.tensors.parameters == 64 * 32 + 10 * 32 + 10
    stored = folder / "store" / "objects" / document.base.content[-2] / document.base.content
    stored.rename(folder / "taken away")
    with ledgers("dev:5") as reading:
        assert [audited.round for audited in reading.audit(job).rounds()] == [1, 2]
    # So does a server that evaluates nothing: it only can't write the whole model, and says so.
    said = []
    late = galaxy.Server(
        at=ledgers("dev:0"),
        jobs=[job],
        leave=True,
        output=folder / "late",
        listeners=[lambda event, job: said.append(event)],
    )
    (outcome,) = late.run()
    assert (outcome.final_model, outcome.error) == (None, None)
    notes = [event.message for event in said if isinstance(event, galaxy.events.Noted)]
    assert any(f"the job's base of {document.base.size} bytes is not" in note for note in notes)
    (folder / "taken away").rename(stored)
    assert any("not evaluated here" in note for note in ledger.notes("server"))
    evaluated = [event for event in ledger.said["1"] if isinstance(event, galaxy.events.Evaluated)]
    assert [event.round for event in evaluated] == [1, 2]
    # What a client has kept makes its model of any round, for itself alone.
    (kept,) = (folder / "home-dev:1" / "trained").glob("*/own-2")
    contract = LedgerContract(
        Rpc(node.url), deployment.ledger, first_block=deployment.block, chain_id=deployment.chain_id
    )
    with ledgers("dev:0") as owners:
        export_model(contract, LocalStore(folder / "store"), owners.job(job), 2, folder / "own.pt", kept)
    exported = torch.load(folder / "own.pt", weights_only=True)
    assert all(torch.equal(exported[name], value) for name, value in found["ledger"][1].items())
    # A cluster's clients of one folder have fetched the base once.
    assert len(list((folder / "clients" / "res" / "bases" / "objects").rglob("baf*"))) == 1
