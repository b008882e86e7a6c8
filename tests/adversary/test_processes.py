"""The same with the programs that users run, each in a process of its own."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

from tests.adversary.arena import WRONG, OffByOne, honest_root, looks, private, punished, serve_round, server, tower
from tests.end_to_end.processes import Program
from tests.galaxy_chain.federation import CHUNK, Federation


@pytest.fixture
def folder(federation, tmp_path):
    """A home with the ledger's file beside the federation's store."""
    federation.deployment.write(tmp_path / "ledger.json")
    assert federation.store.root == tmp_path / "store"
    return tmp_path


@contextmanager
def program(federation: Federation, folder, *arguments):
    """A command of galaxy-chain on the test's chain, which looks often."""
    more = ("--home", folder, "--poll", 0.05, "--json")
    with Program(folder, *arguments, *more, GALAXY_RPC=federation.node.url) as running:
        yield running


def test_watch_challenges_an_off_by_one(federation, folder):
    federation.submit(0, 1, 2)
    honest = honest_root(federation)
    with program(federation, folder, "watch", federation.job, "--account", "dev:6") as watching:
        serve_round(server(federation, OffByOne))
        said = json.loads(watching.line('"challenged"'))
        assert (said["event"], said["round"], said["chunk"]) == ("found", 1, WRONG // CHUNK)
        punished(federation, federation.node.accounts[6])
        with program(federation, folder, "server", "--job", federation.job, "--account", "dev:5") as serving:
            assert json.loads(serving.line('"committed"'))["model"] == honest.hex()
        watching.line('"right"')
    assert federation.ledger().job_of(federation.job).root == honest


def test_watch_demands_what_is_withheld_until_the_server_has_nothing_to_say(federation, folder, tmp_path):
    federation.submit(0, 1, 2)
    lying = server(federation, OffByOne, store=private(federation, tmp_path))
    serve_round(lying)
    command = ("watch", federation.job, "--account", "dev:6", "--content-timeout", 0)
    with program(federation, folder, *command) as watching:
        while json.loads(watching.line('"demanded"'))["chunk"] != WRONG // CHUNK:
            lying.round()
        federation.travel(3_700)
        watching.line('"expired"')
    punished(federation, federation.node.accounts[6])


def test_audit_challenges_an_off_by_one(federation, folder):
    federation.submit(0, 1, 2)
    serve_round(server(federation, OffByOne))
    arguments = ("audit", federation.job, "--challenge", "--account", "dev:7", "--home", folder)
    with Program(folder, *arguments, GALAXY_RPC=federation.node.url) as auditing:
        code, _, errors = auditing.finish(check=False)
    assert code == 31
    assert "its updates make" in " ".join(errors.split())
    punished(federation, federation.node.accounts[7])


def test_server_takeover_finishes_what_a_dead_server_left(federation, folder):
    federation.job = federation.register(server=federation.server, rounds=1)
    federation.submit(0, 1, 2)
    honest = honest_root(federation)
    with program(federation, folder, "server", "--job", federation.job, "--takeover", "--account", "dev:5") as serving:
        serving.line('"collecting"')
        assert federation.ledger().job_of(federation.job).state.round == 1
        federation.travel(700)
        assert json.loads(serving.line('"finished"'))["model"] == honest.hex()
    assert federation.ledger().job_of(federation.job).root == honest
    assert looks(tower(federation)) == ["right"]
