"""What happens around commands: interrupts at any moment, closed pipes, and the demonstration."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from tests.end_to_end.processes import ROOT, Program, embedded, environment, run, wait_until_alone


@pytest.mark.parametrize("after", [0.3, 0.6, 1.0, 2.0])
def test_a_demonstration_interrupted_at_any_moment_ends_quietly(folder, after):
    with Program(folder, "demo") as demo:
        time.sleep(after)
        code, _, errors = demo.interrupt()
        assert (code, errors) == (130, "")
        wait_until_alone(demo.process.pid)


def test_a_demonstration(folder):
    said = run(folder, "demo", "--clients", 2, "--rounds", 2)
    assert [line["event"] for line in said] == [
        "chain", "deployed", "created", "started", *["committed"] * 2, *["audited"] * 2, "finished",
    ] or {line["event"] for line in said} >= {"chain", "deployed", "created", "committed", "audited", "finished"}  # fmt: skip
    assert said[-1]["model"] == [line for line in said if line["event"] == "audited"][-1]["model"]


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


def test_the_metrics_of_a_demonstration_are_lines_of_json(folder):
    run(folder, "demo", "--clients", 1, "--rounds", 1)
    (path,) = (folder / ".galaxy" / "demo" / "metrics").iterdir()
    (line,) = map(json.loads, path.read_text().splitlines())
    assert line["event"] == "committed"
