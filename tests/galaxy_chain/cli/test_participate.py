"""galaxy-chain client: what it measures with data of the user's own, and what it leaves."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from galaxy_fl.rounds.server import run_server
from tests.galaxy_chain.cli.test_cli import client, create, serving
from tests.galaxy_chain.federation import SAMPLES
from tests.galaxy_chain.lane.poor import Poor, background


def test_a_client_evaluates_on_its_own_and_leaves_what_it_was_asked_to(at_ledger, federation):
    Path("measures.py").write_text("def half(output, targets):\n    return 0.5\n")
    job = create(at_ledger)
    more = ("--test-data", "digits", "--accuracy", "measures:half", "--output", "out")
    with serving(federation, job):
        said = at_ledger.json(*client(job, "dev:5", *more))
    assert [(line["round"], line["samples"], line["accuracy"]) for line in said if line["event"] == "evaluated"] == [
        (1, 360, 0.5)
    ]
    account = federation.node.accounts[5]
    left = {path.name for path in Path("out").iterdir()}
    assert left == {
        f"final_model_pars_{job}",
        f"final_model_pars_{job}.safetensors",
        f"report_{job}_client_{account}.json",
        f"report_{job}_client_{account}.svg",
    }
    finished, path = said[-1], Path("out", f"final_model_pars_{job}").absolute()
    assert finished["final_model"] == str(path)
    report = json.loads(Path("out", f"report_{job}_client_{account}.json").read_text())
    assert report["final_model"] == finished["sha256"]
    assert at_ledger.run("job", "export", job, "--to", "exported.pt") == 0
    exported, left = torch.load("exported.pt"), torch.load(path)
    assert all(torch.equal(exported[name], left[name]) for name in left)
    path.unlink()
    assert at_ledger.run(*client(job, "dev:5", "--output", "out")) == 0  # whoever comes late gets it, too
    assert path.exists()


def test_a_late_client_ends_well_without_a_model_that_nobody_has(at_ledger, federation):
    job = create(at_ledger)
    with serving(federation, job):
        at_ledger.json(*client(job))
    for path in (federation.store.root / "objects").glob("*/*"):
        if path.stat().st_size > 1_000:
            path.unlink()
    Path(f"final_model_pars_{job}").unlink()
    said = at_ledger.json(*client(job))
    assert [line["event"] for line in said] == ["noted", "finished"]
    assert said[0]["message"].startswith("the final model can't be written: ")
    assert said[1]["final_model"] is None


def test_a_measure_that_is_not_there_is_an_error_before_anything_is_paid(at_ledger, federation):
    job = create(at_ledger)
    before = federation.rpc.number("eth_blockNumber")
    at_ledger.fails(
        8, "has no function 'half'", *client(job, "dev:5", "--test-data", "digits", "--accuracy", "os:half")
    )
    at_ledger.fails(8, "unknown data set 'letters'", *client(job, "dev:5", "--test-data", "letters"))
    assert federation.rpc.number("eth_blockNumber") == before


def test_a_client_without_ether_whose_server_relays(at_ledger, federation, monkeypatch, tmp_path):
    job = federation.job = create(at_ledger)
    arguments = client(job, "left out", "--lane", "signed", "--test-data", "digits")
    del arguments[arguments.index("--account") : arguments.index("--account") + 2]
    poor = Poor(federation, tmp_path, clients=1)
    with closing(poor.server()) as server:
        server.enter()
        running = background(run_server, server)
        monkeypatch.setenv("GALAXY_KEY", poor.signers[0].account.key.hex())
        said = at_ledger.json(*arguments)
        running.result()
    assert said[-1]["event"] == "finished"
    (trained,) = [line for line in said if line["event"] == "trained"]
    assert trained["gas"] == 0
    assert poor.balances() == [0]
    (way,) = at_ledger.json("job", "show", job, "--lanes")["lanes"]
    assert (way["lane"], way["by"], way["clients"]) == ("signed", federation.server, [poor.signers[0].address])


def test_anybody_relays_without_serving(at_ledger, federation, tmp_path):
    job = federation.job = create(at_ledger)
    poor = Poor(federation, tmp_path, clients=1)
    poor.join(0)
    other = federation.node.accounts[9]
    with closing(poor.client(0)) as one:
        one.enter(SAMPLES)
        begun = one.history.model.root
        update = np.zeros(one.terms.parameters, np.int32)
        with serving(federation, job):
            submitting = background(one.submit, one.round(), update, SAMPLES)
            relay = ("relay", "--job", job, "--account", other, "--relay-wait", 0, "--poll", 0.05)
            assert at_ledger.run(*relay) == 0, at_ledger.err
        assert submitting.result() == 0
        assert one.round().over
        assert one.history.model.root == begun
    (way,) = at_ledger.json("job", "show", job, "--lanes")["lanes"]
    assert (way["lane"], way["by"]) == ("signed", other)


def test_wrong_lanes_and_relay_settings_are_errors(at_ledger, federation):
    job = create(at_ledger)
    at_ledger.fails(2, "'fast' is not a lane: expected auto, signed, direct", *client(job, "dev:5", "--lane", "fast"))
    server = ["server", "--job", job, "--account", "dev:1", "--relay"]
    at_ledger.fails(2, "'--relay-batch' .*less than or equal to 500", *server, "--relay-batch", 501)
    at_ledger.fails(2, "'--relay-wait' .*greater than or equal to 0", *server, "--relay-wait", -1)
    at_ledger.fails(2, "much", *server, "--relay-budget", "much")
