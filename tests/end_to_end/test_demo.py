"""The demonstration, honest and with a server that lies, as its JSON tells it."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest

from galaxy_chain.demo.chain import DemoChain, running_chain
from galaxy_chain.demo.job import example_job
from tests.end_to_end.forked import Forked
from tests.end_to_end.processes import ANVIL, LONG, Program


def demonstrate(folder, *options):
    path = f"{ANVIL.parent}{os.pathsep}{os.environ['PATH']}"
    with Forked(folder, "demo", "--clients", 3, "--rounds", 3, "--json", *options, PATH=path) as demo:
        _, output, errors = demo.finish()
    assert errors == ""
    return [json.loads(line) for line in output.splitlines()]


def rounds(said, event):
    return [line["round"] for line in said if line["event"] == event]


@pytest.fixture(scope="module")
def honest_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("honest")


@pytest.fixture(scope="module")
def honest(honest_folder):
    return demonstrate(honest_folder)


def test_it_trains_and_audits_every_round(honest):
    assert {line["event"] for line in honest} >= {"chain", "deployed", "created", "committed", "audited", "finished"}
    assert rounds(honest, "committed") == rounds(honest, "audited") == [1, 2, 3]
    [*_, last] = [line for line in honest if line["event"] == "committed"]
    assert last["accuracy"] > 0.9
    assert honest[-1]["event"] == "finished"
    audited = [line["model"] for line in honest if line["event"] == "audited"]
    assert honest[-1]["model"] == last["model"] == audited[-1]


def test_it_keeps_what_the_server_measured(honest, honest_folder):
    committed = [line for line in honest if line["event"] == "committed"]
    (path,) = (honest_folder / ".galaxy" / "demo" / "metrics").iterdir()
    kept = [line for line in map(json.loads, path.read_text().splitlines()) if line["event"] == "committed"]
    assert [line["model"] for line in kept] == [line["model"] for line in committed]
    # The clients' gas is in what is said, however late they are heard.
    assert all(line["gas"] > of_server["gas"] + 2 * 40_000 for line, of_server in zip(committed, kept, strict=True))


def earnings(said, role):
    return [line["amount"] for line in said if line["event"] == "earned" and line["role"] == role]


def test_everybody_gets_out_what_it_has_earned_once_the_windows_are_over(honest):
    """The pool of half an ether: a tenth for the server, the rest for three clients that were in every round."""
    [ahead] = [line["seconds"] for line in honest if line["event"] == "ahead"]
    assert ahead > 86_400
    # Rounding leaves at most a wei a round and participant in the ledger.
    [server], clients = earnings(honest, "server"), earnings(honest, "client")
    assert 5 * 10**16 - 3 <= server <= 5 * 10**16
    assert [1_500 * 10**14 - 6 <= amount <= 1_500 * 10**14 for amount in clients] == [True] * 3


def test_a_lie_in_the_last_round_is_taken_back_and_the_job_ends_all_the_same(tmp_path):
    said = demonstrate(tmp_path, "--rounds", 2, "--cheat", "--chain", "anvil")
    assert rounds(said, "committed") == [1, 2, 2]
    assert rounds(said, "challenged") == [2]
    assert rounds(said, "audited") == [1, 2]
    assert said[-1]["event"] == "finished"


def test_the_digits_as_a_job_of_ones_own_make_the_same_models(honest, tmp_path):
    (tmp_path / "job.toml").write_text(example_job())
    said = demonstrate(tmp_path, "job.toml", "--data", "digits", "--chain", "anvil")
    models, in_place_of = ([line["model"] for line in each if line["event"] == "committed"] for each in (said, honest))
    assert models == in_place_of
    assert {line["accuracy"] for line in said if line["event"] == "committed"} == {None}


NET = (Path(__file__).parents[2] / "examples" / "hello" / "model.py").read_text()
OWN_JOB = """
name = "tried"
reveal = "after-close"

[model]
source = "net.py"
class = "Net"

[train]
learning_rate = 0.1
batch_size = 16
loss = "CrossEntropyLoss"

[rule]
name = "coordinate_median"

[terms]
rounds = 2
open = false
min_clients = 3
max_excluded = 9
max_clients = 9
bond = "100 ether"
"""


def test_a_job_of_ones_own_is_tried_by_its_own_terms(tmp_path):
    """One that needs most things: it is not open, brings its model along, reveals late, and asks for a high bond."""
    place = tmp_path / "jobs"
    place.mkdir()
    (place / "net.py").write_text(NET)
    (place / "own.toml").write_text(OWN_JOB)
    path = f"{ANVIL.parent}{os.pathsep}{os.environ['PATH']}"
    options = "--data", "digits", "--test-data", "digits", "--partition", "labels:5", "--chain", "anvil", "--json"
    with Forked(tmp_path, "demo", place / "own.toml", *options, PATH=path) as demo:
        _, output, errors = demo.finish()
    assert errors == ""
    said = [json.loads(line) for line in output.splitlines()]
    assert said[0] == {"event": "begun", "name": "tried", "clients": 3, "rounds": 2}
    [created] = [line for line in said if line["event"] == "created"]
    assert created["parameters"] == 64 * 32 + 32 + 32 * 10 + 10
    assert [warning.partition(",")[0] for warning in created["warnings"]] == ["bond is 100 ether"]
    assert rounds(said, "committed") == rounds(said, "audited") == [1, 2]
    assert [line["updates"] for line in said if line["event"] == "committed"] == [3, 3]
    assert all(0 < line["accuracy"] < 1 for line in said if line["event"] == "committed")
    assert earnings(said, "server") == [0]
    home = tmp_path / ".galaxy" / "demo"
    assert sorted(path.name for path in home.iterdir() if path.name.startswith(".")) == []
    assert (home / "final_model_pars_1").is_file()


def test_what_is_said_of_a_job_without_measurements_and_without_one_model(tmp_path):
    """A distillation: each client has a model of its own."""
    job = example_job().replace('name = "weighted_mean"', 'name = "relay"')
    (tmp_path / "job.toml").write_text(f"distillation_alpha = 0.5\n{job}")
    path = f"{ANVIL.parent}{os.pathsep}{os.environ['PATH']}"
    options = "--data", "digits", "--rounds", 1, "--clients", 2, "--chain", "anvil"
    with Forked(tmp_path, "demo", "job.toml", *options, PATH=path) as demo:
        _, output, errors = demo.finish()
    assert re.fullmatch("warning: open is true: .*\n", errors)
    assert re.match("digits, 2 clients, 1 rounds; everything is kept in .galaxy/demo\n", output)
    assert re.search(r"\n    1 +- +- +2 +[0-9,]+ +[0-9.]+  [0-9a-f]{12}…\n", output)
    assert re.search("\naudit      1 rounds recomputed from ledger and content in [0-9.]+ s, all right\n", output)
    assert re.search("\nmodels     .galaxy/demo, one of each client, as the method has it\n", output)
    assert "\nearned " not in output
    home = tmp_path / ".galaxy" / "demo"
    assert sorted(path.name for path in home.glob("final_model_pars_1_?")) == [
        "final_model_pars_1_1",
        "final_model_pars_1_2",
    ]


def demonstrate_own(folder, job, *options, check=True, program=Forked):
    (folder / "job.toml").write_text(job)
    path = f"{ANVIL.parent}{os.pathsep}{os.environ['PATH']}"
    words = "job.toml", "--data", "digits", "--clients", 3, "--chain", "anvil", "--json"
    with program(folder, "demo", *words, *options, PATH=path) as demo:
        code, output, errors = demo.finish(check=check)
    return code, [json.loads(line) for line in output.splitlines()], errors


def test_where_rounds_wait_for_windows_the_clock_is_put_ahead(tmp_path):
    job = example_job().replace('reward = "0 ether"', 'reward = "1 ether"\nmax_unsettled = 2')
    _, said, _ = demonstrate_own(tmp_path, job)
    ahead = [line["seconds"] for line in said if line["event"] == "ahead"]  # before rounds 3 and 5, and at the end
    assert [86_400 <= seconds <= 2 * 86_400 for seconds in ahead] == [True] * 3
    assert rounds(said, "committed") == [1, 2, 3, 4, 5]
    assert rounds(said, "audited") == [1, 2, 3, 4, 5]
    assert sum(earnings(said, "client")) > 0.89 * 10**18


def test_a_budget_that_ends_before_the_job_is_said(tmp_path):
    """Nobody waits for updates that can't come."""
    privacy = '[privacy]\nmode = "update"\nclip = 1.0\nnoise_multiplier = 1.0\ndelta = 1e-5\nstop_at_epsilon = 0.1\n'
    code, _, errors = demonstrate_own(tmp_path, example_job().replace("[rule]", f"{privacy}\n[rule]"), check=False)
    assert code != 0
    assert re.search(
        "trains no more in round 1, which would take its epsilon from 0 to .*: raise stop_at_epsilon", errors
    )


def test_terms_that_nobody_could_register_are_refused_although_a_demonstration_has_others(tmp_path):
    job = example_job().replace("weighted_mean", "coordinate_median").replace("max_clients = 4", "max_clients = 4000")
    code, said, errors = demonstrate_own(tmp_path, job, check=False)
    assert (code, [line["event"] for line in said]) == (34, ["begun", "chain", "deployed"])
    assert "the terms of “digits” are refused" in errors


def test_what_a_model_prints_is_not_what_is_answered(tmp_path):
    (tmp_path / "net.py").write_text(NET.replace("super().__init__()", 'super().__init__(); print("made")'))
    job = example_job().replace('builtin = "cnn"', 'source = "net.py"\nclass = "Net"')
    _, said, errors = demonstrate_own(tmp_path, job, "--rounds", 1, program=Program)
    assert said[-1]["event"] == "finished"
    assert "made" in errors


@pytest.fixture(scope="module")
def cheated(tmp_path_factory):
    """What a demonstration with a lie and a dashboard has said, and what the page's own process said of the lie."""
    path = f"{ANVIL.parent}{os.pathsep}{os.environ['PATH']}"
    options = "--clients", 3, "--rounds", 3, "--json", "--cheat", "--chain", "anvil", "--dashboard"
    said = []
    with Forked(tmp_path_factory.mktemp("cheated"), "demo", *options, PATH=path) as demo:
        for line in demo.process.stdout:
            said.append(json.loads(line))
            if said[-1]["event"] == "kept":
                break
        [shown] = [line["url"] for line in said if line["event"] == "shown"]
        page, place = shown.split("/#")
        deadline = time.monotonic() + LONG
        while (verdict := httpx.get(f"{page}/api{place}").json()["attempt"]["verdict"])["judgement"] != "wrong":
            assert time.monotonic() < deadline, verdict
            time.sleep(0.05)
        code, _, errors = demo.interrupt()
    assert (code, errors) == (130, "")
    return said, verdict


def test_the_dashboard_shows_a_lie_with_both_values_and_with_what_punished_it(cheated):
    said, verdict = cheated
    [opened] = [line["url"] for line in said if line["event"] == "dashboard"]
    assert opened.endswith("/#/jobs/1")
    lie, [challenged] = verdict["lie"], [line for line in said if line["event"] == "challenged"]
    assert (lie["node"], lie["chunk"], lie["of_sum"]) == (challenged["node"], challenged["chunk"], True)
    # The mean is one more than it should be, in the last place: the sum by as many as there are samples.
    assert int(lie["committed"]) - int(lie["right"]) > 100
    assert verdict["punishment"]["server"] == challenged["server"]
    assert verdict["punishment"]["lost"]["ether"] == "1 ether"


def test_a_lie_costs_the_bond_and_changes_nothing_on_another_chain_either(honest, cheated):
    said, _ = cheated
    chains = [line["chain"] for line in (*honest, *said) if line["event"] == "chain"]
    assert chains == ["embedded", "anvil"]
    assert rounds(said, "committed") == [1, 2, 2, 3]
    # In the middle of the round: the first of its partial sums, of which each stands for two clients at most.
    assert [(line["round"], line["node"]) for line in said if line["event"] == "challenged"] == [(2, 1)]
    assert rounds(said, "audited") == [1, 2, 3]
    first, lie, right, last = (line["model"] for line in said if line["event"] == "committed")
    assert lie not in {line["model"] for line in honest if line["event"] == "committed"}
    assert [first, right, last] == [line["model"] for line in honest if line["event"] == "committed"]
    [challenged] = [line["server"] for line in said if line["event"] == "challenged"]
    # It learns that it is barred when it next tries to commit, which it may be too slow for.
    assert {line["server"] for line in said if line["event"] == "barred"} <= {challenged}
    # The server that took over has its share, for it announced its commits; the liar has that of round 1 alone.
    [server], clients = earnings(said, "server"), earnings(said, "client")
    assert 2 * 5 * 10**16 // 3 - 3 <= server <= 2 * 5 * 10**16 // 3
    # Whoever proved the lie has a quarter of the bond as well.
    assert [client - found for client, found in zip(sorted(clients), (0, 0, 10**18 // 4), strict=True)] == [
        min(clients)
    ] * 3
    assert 1_500 * 10**14 - 6 <= min(clients) <= 1_500 * 10**14


def test_what_keeps_all_from_beginning_is_said_without_a_traceback(tmp_path):
    path = f"{ANVIL.parent}{os.pathsep}{os.environ['PATH']}"
    with Forked(tmp_path, "demo", "--chain", "anvil", "--track", "paper:here", "--json", PATH=path) as demo:
        code, _, errors = demo.finish(check=False)
    assert code == 2
    assert re.fullmatch(
        "galaxy-chain: the (server|client) 0x[0-9a-fA-F]{40} failed: track begins with 'paper', expected .*\n", errors
    )


@pytest.mark.extended
def test_a_device_that_is_not_there_is_named(tmp_path):
    path = f"{ANVIL.parent}{os.pathsep}{os.environ['PATH']}"
    with Forked(tmp_path, "demo", "--chain", "anvil", "--device", "nonsense", "--json", PATH=path) as demo:
        code, _, errors = demo.finish(check=False)
    assert code != 0
    assert "nonsense" in errors


def test_a_node_that_a_script_started_ends_with_the_demonstration(tmp_path, monkeypatch):
    """As npm's `anvil` is: a script whose child is the node, and which nobody can have end it by a SIGKILL."""
    script = tmp_path / "anvil"
    script.write_text(f'#!/bin/sh\n"{ANVIL}" "$@"\nexit $?\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with running_chain(DemoChain.ANVIL, 1) as ready:
        url = ready()
        assert httpx.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}).json()["result"] == "0x539"
    address = httpx.URL(url)
    deadline = time.monotonic() + LONG
    while True:
        with socket.socket() as asking:
            if asking.connect_ex((address.host, address.port)) == errno.ECONNREFUSED:
                break
        assert time.monotonic() < deadline, "the node still listens"
        time.sleep(0.01)


def test_an_interrupt_while_the_chain_is_started_ends_that_too(monkeypatch):
    """Also where another thread takes the signal, such as that of a display."""
    started, over = [], threading.Event()
    other = threading.Thread(target=over.wait)

    class Interrupted(subprocess.Popen):
        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, **settings)
            started.append(self)
            signal.pthread_kill(other.ident, signal.SIGINT)
            assert os.read(woken, 1) == bytes([signal.SIGINT])  # Python has it

    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    before = signal.set_wakeup_fd(waker)
    other.start()
    try:
        monkeypatch.setattr(subprocess, "Popen", Interrupted)
        with pytest.raises(KeyboardInterrupt), running_chain(DemoChain.EMBEDDED, 1):
            pytest.fail("the interrupt was heard too late")
    finally:
        signal.set_wakeup_fd(before)
        over.set()
        other.join()
        os.close(woken)
        os.close(waker)
    assert started[0].returncode == -signal.SIGKILL
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
