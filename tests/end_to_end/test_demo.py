"""The demonstration, honest and with a server that lies, as its JSON tells it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def demonstrate(folder, *options):
    command = [sys.executable, "-m", "galaxy_chain", "demo", "--clients", "2", "--rounds", "3", "--json", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def rounds(said, event):
    return [line["round"] for line in said if line["event"] == event]


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return demonstrate(tmp_path_factory.mktemp("honest"))


def test_it_trains_and_audits_every_round(honest):
    assert rounds(honest, "committed") == rounds(honest, "audited") == [1, 2, 3]
    [*_, last] = [line for line in honest if line["event"] == "committed"]
    assert last["accuracy"] > 0.9
    assert honest[-1]["event"] == "finished"
    assert honest[-1]["model"] == last["model"]


def test_a_lie_costs_the_bond_and_changes_nothing(honest, tmp_path):
    said = demonstrate(tmp_path, "--cheat")
    assert rounds(said, "committed") == [1, 2, 2, 3]
    assert rounds(said, "challenged") == [2]
    assert rounds(said, "audited") == [1, 2, 3]
    first, lie, right, last = (line["model"] for line in said if line["event"] == "committed")
    assert lie not in {line["model"] for line in honest if line["event"] == "committed"}
    assert [first, right, last] == [line["model"] for line in honest if line["event"] == "committed"]
    [challenged] = [line["server"] for line in said if line["event"] == "challenged"]
    # It learns that it is barred when it next tries to commit, which it may be too slow for.
    assert {line["server"] for line in said if line["event"] == "barred"} <= {challenged}
