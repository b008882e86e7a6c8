"""What happens around commands: interrupts at any moment, closed pipes, and ports that are taken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.end_to_end.processes import ANVIL, ROOT, Program, children_of, embedded, environment, run, wait_until_alone


@pytest.mark.parametrize("processes", [2, 3])
def test_a_demonstration_interrupted_while_its_processes_start_ends_quietly(folder, processes):
    with Program(folder, "demo") as demo:
        while len(children_of(demo.process.pid)) < processes:
            assert demo.process.poll() is None, demo.finish(check=False)
            time.sleep(0.001)
        assert_quiet(demo)


@pytest.mark.parametrize(
    "event",
    [
        pytest.param("chain", marks=pytest.mark.extended),
        pytest.param("created", marks=pytest.mark.extended),
        "committed",
    ],
)
def test_a_demonstration_interrupted_at_any_moment_ends_quietly(folder, event):
    with Program(folder, "demo", "--json") as demo:
        demo.line(f'"{event}"')
        assert_quiet(demo)


def test_a_demonstration_whose_terminal_is_closed_leaves_no_node_behind(folder):
    path = f"{ANVIL.parent}{os.pathsep}{os.environ['PATH']}"
    with Program(folder, "demo", "--chain", "anvil", "--json", PATH=path) as demo:
        demo.line('"chain"')
        os.killpg(demo.process.pid, signal.SIGHUP)  # the kernel tells the terminal's group; the node has its own
        code, _, errors = demo.finish(check=False)
    assert (code, errors) == (129, "")
    wait_until_alone(demo.process.pid)


def assert_quiet(program):
    code, _, errors = program.interrupt()
    assert errors == ""
    # Where the interrupt meets a class that `exec` makes, Python ends by the signal whatever was caught, which a shell
    # shows as 130, too.
    assert code in (130, -signal.SIGINT)
    wait_until_alone(program.process.pid)


def test_a_node_ends_on_an_interrupt(folder):
    with Program(folder, "node", "--port", 0, "--json") as node:
        node.line("url")
        assert node.interrupt()[0] == 0


def test_a_port_that_is_taken(folder):
    with embedded(folder) as url, Program(folder, "node", "--port", url.rpartition(":")[2]) as second:
        code, _, errors = second.finish(check=False)
        assert code == 2
        assert "choose another port" in errors


def test_a_pipe_that_closes_early(folder, embedded_url):
    run(folder, "deploy", "--account", "dev:9", GALAXY_RPC=embedded_url)
    for command in ("job example", "--help", f"job list --rpc {embedded_url}"):
        program = f"{sys.executable} -m galaxy_chain {command} | head -c 1"
        ended = subprocess.run(
            program, shell=True, capture_output=True, text=True, cwd=folder, env=environment(PYTHONPATH=str(ROOT))
        )
        assert (ended.stderr, len(ended.stdout)) == ("", 1)
