"""Standalone mode: the suite of all modes, and real processes, which are killed."""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest

from galaxy_fl.content import ContentId
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import lock_is_held
from galaxy_fl.rounds.client import run_client
from galaxy_fl.rounds.coordinator import Origin, Phase, Round
from galaxy_fl.rounds.server import run_server
from tests.galaxy_fl.modes.conformance import ModeConformance
from tests.galaxy_fl.modes.meeting import INITIAL, Meeting, Running, eventually, vector
from tests.galaxy_fl.rounds.table import Counting

SERVER = """\
import os, signal, sys
from pathlib import Path
from galaxy_fl.modes.standalone import MODE
from galaxy_fl.rounds.server import run_server

folder, number, when = sys.argv[1:]
place = MODE.server_place(folder=Path(folder))
left, replace = [int(number)], os.replace

def dying(source, target):
    if not Path(target).is_relative_to(folder):
        return replace(source, target)
    left[0] -= 1
    if left[0] == 0 and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = dying
run_server(place.open("1"))
"""
"""A server that kills itself before or after it renames its n-th file into place."""

CLIENT = """\
import sys, time
from pathlib import Path
from galaxy_fl.modes.standalone import MODE

(place,) = MODE.client_places("killed", folder=Path(sys.argv[1]))
coordinator = place.open("1")
coordinator.enter(10)
print("here", flush=True)
time.sleep(600)
"""


class TestStandalone(ModeConformance):
    mode = "standalone"


@pytest.fixture
def meeting(tmp_path):
    meeting = Meeting("standalone", tmp_path)
    yield meeting
    meeting.close()


@pytest.fixture
def process(meeting):
    """A client in a process of its own, which takes part in job 1."""
    meeting.submit()
    running = subprocess.Popen([sys.executable, "-c", CLIENT, meeting.folder], stdout=subprocess.PIPE, text=True)
    assert running.stdout.readline() == "here\n"
    yield running
    running.kill()
    running.communicate()


def test_jobs_are_the_folders_own(meeting):
    meeting.submit()
    assert meeting.server().open("1").origin == Origin(own=True, name=str(meeting.folder))
    assert meeting.client("a").open("1").origin == Origin(own=True, name=str(meeting.folder))
    assert meeting.client("a").name == str(meeting.folder)


def test_two_programs_of_one_name_do_not_take_part_in_one_job(meeting, process):
    with pytest.raises(ConfigurationError, match="another program takes part in job 1 as client 'killed'"):
        meeting.client("killed").open("1").enter(10)
    meeting.client("other").open("1").enter(10)


def test_a_client_that_is_killed_is_not_waited_for_and_may_come_back(meeting, process):
    serving = meeting.server().open("1")
    a = meeting.client("a").open("1")
    a.enter(10)
    a.submit(a.round(), vector(1), 10)
    assert serving.round() == Round(1, 1, Phase.COLLECTING, 1)
    process.kill()
    assert eventually(lambda: serving.round().phase is Phase.CLOSED)
    back = meeting.client("killed").open("1")
    back.enter(10)
    assert not back.wants_update(back.round())
    serving.commit(serving.round(), serving.model(serving.round()), {})
    assert back.wants_update(back.round())


def test_a_client_is_alive_as_long_as_its_coordinator(meeting):
    job = meeting.submit()
    place = meeting.client("a")
    coordinator = place.open("1")
    coordinator.enter(10)
    assert lock_is_held(job.lock_file("a"))
    place.open("1").enter(10)
    coordinator.close()
    assert lock_is_held(job.lock_file("a"))
    place.close()
    assert not lock_is_held(job.lock_file("a"))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("number", "what"), [(1, "closing"), (2, "the model"), (3, "the commit"), (4, "round 2")])
def test_a_server_that_is_killed_anywhere_ends_with_the_same_model(meeting, number, what, when):
    meeting.submit(rounds=2, min_clients=2)
    killed = subprocess.Popen([sys.executable, "-c", SERVER, meeting.folder, str(number), when])
    trainers = [Counting(3), Counting(8)]
    clients = [Running(run_client, meeting.client(f"{trainer.step}").open("1"), trainer, 10) for trainer in trainers]
    assert killed.wait(300) == -signal.SIGKILL
    assert run_server(meeting.server().open("1")).phase is Phase.FINISHED
    for client in clients:
        assert client.finish().phase is Phase.FINISHED
    expected = (INITIAL + 12).astype("<i4").tobytes()
    assert meeting.job().state.model == ContentId.of(expected).cid
    assert np.array_equal(meeting.model(3), INITIAL + 12)
    assert [len(trainer.tasks) for trainer in trainers] == [2, 2]
    assert list(meeting.job().path.glob("temporary/.server/*")) == []
