"""A job whose model computes its loss itself: in a folder, at a cluster's server and on a ledger, the same to the bit."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

import galaxy_chain
import galaxy_fl as galaxy
from galaxy_fl.jobs.document import source_id
from tests.galaxy_chain import stepping_model
from tests.galaxy_chain.stepping_model import Net, Studies

TRAIN = galaxy.Train(
    learning_rate=0.2, batch_size=8, local_epochs=2, accumulate=2, clip_norm=1.0, precision="bf16", proximal=0.1
)
JOB = galaxy.Job(Net, rounds=2, train=TRAIN)
SOURCE = source_id(Path(stepping_model.__file__).read_bytes())


def played(folder, server, client):
    """The vectors' hashes and the events of a server and two clients."""
    events: list[galaxy.events.Event] = []
    common = {
        "trust": [SOURCE],
        "test_data": Studies(9, 30),
        "output": folder,
        "listeners": [lambda event, job: events.append(event)],
    }
    run = [galaxy.Server(**server, **common)]
    run += [galaxy.Client(**client(number), **common, data=Studies(number, 50), name=str(number)) for number in (1, 2)]
    threads = [threading.Thread(target=each.run, daemon=True) for each in run]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), events
    return [event.sha256 for event in events if isinstance(event, galaxy.events.Finished)], events


@pytest.fixture
def ledgers(web3, node, deployment, tmp_path):
    deployment.write(tmp_path / "ledger.json")

    def ledger(account):
        return galaxy_chain.Ledger(
            node.url, tmp_path / "ledger.json", home=tmp_path / f"home-{account}", store=tmp_path / "store",
            account=account,
        )  # fmt: skip

    return ledger


def test_own_steps_are_the_same_in_all_modes_and_audited(tmp_path, ledgers, monkeypatch):
    monkeypatch.chdir(tmp_path)
    at = {"at": tmp_path / "standalone"}
    galaxy.submit(JOB, clients=2, **at)
    alone, events = played(tmp_path / "alone", at, lambda number: at)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    galaxy.submit(JOB, clients=2, at=tmp_path / "server")
    clustered, _ = played(
        tmp_path / "clustered",
        {"at": url, "folder": tmp_path / "server"},
        lambda number: {"at": url, "folder": tmp_path / "clients"},
    )
    job = int(galaxy.submit(JOB, clients=2, at=ledgers("dev:0"), terms={"bond": "1 ether"}))
    common = {"jobs": [job], "leave": True, "max_bond": "2 ether"}
    on_ledger, _ = played(
        tmp_path / "on-ledger",
        {"at": ledgers("dev:0")} | common,
        lambda number: {"at": ledgers(f"dev:{number}")} | common,
    )
    assert len(alone) == len(clustered) == len(on_ledger) == 3
    assert len({*alone, *clustered, *on_ledger}) == 1
    with ledgers("dev:5") as reading:
        assert [audited.round for audited in reading.audit(job).rounds()] == [1, 2]
    committed = [event for event in events if isinstance(event, galaxy.events.Committed)]
    assert [set(event.metrics) for event in committed] == [{"longest"}] * 2
    assert committed[1].accuracy is not None
    [report] = (tmp_path / "alone").glob("report_*_server.json")
    assert json.loads(report.read_text())["rounds"][1]["test"]["metrics"] == dict(committed[1].metrics)
