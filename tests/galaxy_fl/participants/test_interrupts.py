"""Ctrl-C at a user's script: it ends without a half of anything, says little, and continues when it is run again."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import galaxy_fl as galaxy
from galaxy_fl.modes.job_folder import JobsFolder
from tests.end_to_end.processes import Script, children_of, wait_until_alone

CLIENT = """\
import galaxy_fl as galaxy

if __name__ == "__main__":
    galaxy.Client("digits", shard="1/8", name="a", output="a").run()
"""
SERVER = """\
import galaxy_fl as galaxy

if __name__ == "__main__":
    galaxy.Server(output="server").run()
"""
SWALLOWED = """\
import signal
import weakref

import galaxy_fl as galaxy
from galaxy_fl.participants.events import Looking

kept = []


def listen(event, job):
    if not kept and isinstance(event, Looking):
        thing = set()
        kept.append(weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT)))
        del thing  # calls that, and what it raises goes nowhere


if __name__ == "__main__":
    galaxy.{}.run()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "client.py").write_text(CLIENT)
    (tmp_path / "server.py").write_text(SERVER)
    return tmp_path


def assert_ends_quietly(program: Script, line: str) -> None:
    """An interrupt ends it as Python ends a script, and what Python prints of it has one line of Galaxy's."""
    pid = program.process.pid
    assert len(children_of(pid)) >= 1
    code, _, errors = program.interrupt()
    assert code == -signal.SIGINT, errors
    assert errors.endswith("KeyboardInterrupt: stopped; started again, it continues where it was\n"), errors
    assert errors.count("Traceback") == 1, errors
    assert errors.count("  File ") == 2, errors  # the user's line, and `run`
    assert line in errors
    wait_until_alone(pid)


def test_a_client_and_a_server_that_look_for_jobs(folder):
    for script, line in (("client.py", "galaxy.Client("), ("server.py", "galaxy.Server(")):
        with Script(folder, script) as program:
            program.line("waiting for jobs in")
            assert_ends_quietly(program, line)


def test_in_the_midst_of_a_job_which_continues(folder):
    job = galaxy.submit(galaxy.Job("mlp", rounds=3, train=galaxy.Train(learning_rate=0.1)), clients=1)
    with Script(folder, "client.py") as client:
        client.line("round 1: waiting for")
        with Script(folder, "server.py") as server:
            server.line("round 1: aggregated 1 update")
            assert_ends_quietly(client, "galaxy.Client(")
            assert_ends_quietly(server, "galaxy.Server(")
    with Script(folder, "client.py") as client, Script(folder, "server.py") as server:
        client.finish()
        server.finish()
    assert (folder / "a" / f"final_model_pars_{job}").exists()
    assert JobsFolder(folder).running() == []


@pytest.mark.parametrize("participant", ["Client('digits', listeners=[listen])", "Server(listeners=[listen])"])
def test_one_that_python_swallows_is_heard_all_the_same(folder, participant):
    (folder / "swallowed.py").write_text(SWALLOWED.format(participant))
    with Script(folder, "swallowed.py") as program:
        code, _, errors = program.finish(check=False)
    assert code == -signal.SIGINT, errors
    assert errors.endswith("KeyboardInterrupt: stopped; started again, it continues where it was\n"), errors
