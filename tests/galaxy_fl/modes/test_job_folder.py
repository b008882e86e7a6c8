"""A job's state on disk: what is written is whole, what is read is checked, what is strange is left alone."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from galaxy_fl.aggregation import MAX_WEIGHT
from galaxy_fl.content import ContentId
from galaxy_fl.exceptions import ConfigurationError, ContentError, GalaxyError
from galaxy_fl.files import check_name
from galaxy_fl.modes.folder_coordinators import FolderClientCoordinator, FolderServerCoordinator
from galaxy_fl.modes.job_folder import JobFolder, JobsFolder, UpdateFile
from galaxy_fl.rounds.coordinator import Origin, Phase
from galaxy_fl.vectors import write_vector
from tests.galaxy_fl.modes.meeting import PARAMETERS, alter, document, request, vector

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
HERE = Origin(own=True, name="here")

CID = ContentId.of(b"another").cid


@pytest.fixture
def jobs(tmp_path):
    return JobsFolder(tmp_path)


@pytest.fixture
def job(jobs):
    return jobs.open(jobs.submit(request()))


@given(NAMES, st.integers(1, MAX_WEIGHT), st.binary(min_size=32, max_size=32))
def test_an_updates_name_says_all_of_it(client, weight, digest):
    update = UpdateFile(client, weight, ContentId(digest, 400).cid)
    assert check_name("client_id", client) == client
    assert UpdateFile.parse(update.name) == update
    assert len(update.name) < 255


@given(st.text(max_size=150))
def test_no_text_makes_parsing_fail(name):
    update = UpdateFile.parse(name)
    assert update is None or update.name == name


@pytest.mark.parametrize(
    "name",
    [f"a-0-{CID}", f"a-{2**24}-{CID}", f"a-1-{CID[:-1]}", f"../a-1-{CID}", f"a-1-{'0' * 64}", f"a-1-{CID.upper()}"],
)
def test_what_is_no_updates_name(name):
    assert UpdateFile.parse(name) is None


def test_a_job_is_on_disk_as_documented(job):
    files = {str(path.relative_to(job.path)) for path in job.path.rglob("*") if path.is_file()}
    assert files == {"job.json", "terms.json", "state.json", "models/1"}
    assert json.loads((job.path / "terms.json").read_bytes()) == {
        "rounds": 3, "min_clients": 1, "max_clients": None, "deadline": None, "fan_in": 16,
    }  # fmt: skip
    assert (job.path / "models" / "1").read_bytes() == np.arange(PARAMETERS, dtype="<i4").tobytes()


@pytest.mark.parametrize("name", ["job.json", "terms.json", "state.json"])
@pytest.mark.parametrize("damage", ["gone", "torn", "strange", "folder"])
def test_a_damaged_job_is_left_alone_and_said_once(jobs, job, name, damage, caplog):
    jobs.submit(request("2"))
    path = job.path / name
    content = path.read_bytes()
    path.unlink()
    if damage == "torn":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "strange":
        path.write_bytes(b'{"colour": "red"}')
    elif damage == "folder":
        path.mkdir()
    fresh = JobsFolder(jobs.folder)
    with caplog.at_level(logging.WARNING):
        assert fresh.ids() == fresh.running() == ["2"]
    assert caplog.text.count("is left alone") == 1
    with pytest.raises(GalaxyError):
        _ = fresh.open("1").state


def test_strange_files_do_no_harm(jobs, job, caplog):
    jobs_folder = job.path.parent
    (jobs_folder / "a file").write_bytes(b"")
    (jobs_folder / "no-job").mkdir()
    (jobs_folder / ".new-1234").mkdir()
    (job.path / "updates" / "readme").write_bytes(b"")
    (job.path / "updates" / "1-1").mkdir()
    (job.path / "updates" / "1-1" / "a-0-b").write_bytes(b"")
    (job.path / "clients" / "x.json").write_bytes(b'{"samples": -1}')
    (job.path / "clients" / ".json").write_bytes(b"{}")
    job.enter("a", 5)
    with caplog.at_level(logging.WARNING):
        assert jobs.ids() == ["1"]
        assert job.clients() == job.clients() == {"a": 5}
    assert caplog.text.count("x.json") == 1
    assert job.updates(1, 1) == []
    assert FolderServerCoordinator.of_folder(job, HERE).round().phase is Phase.COLLECTING


@pytest.mark.parametrize("phase", ["collecting", "finished"])
def test_a_state_of_the_wrong_kind_is_refused(job, phase):
    path = job.path / "state.json"
    state = json.loads(path.read_bytes())
    for wrong in ({"round": 0}, {"model": "../../etc/passwd"}, {"closed": ["../x"]}, {"phase": "odd"}, {"more": 1}):
        path.write_text(json.dumps(state | {"phase": phase} | wrong))
        with pytest.raises(ContentError, match="is not a job's state"):
            _ = job.state


def test_an_update_of_another_length_or_content_is_refused(job):
    update = UpdateFile("a", 1, CID)
    path = job.update_file(1, 1, update)
    path.parent.mkdir()
    with pytest.raises(ContentError, match="is gone"):
        job.update(1, 1, update)
    path.write_bytes(bytes(4 * PARAMETERS - 1))
    with pytest.raises(ContentError, match=f"has {4 * PARAMETERS - 1} bytes, expected {4 * PARAMETERS}"):
        job.update(1, 1, update)
    path.write_bytes(bytes(4 * PARAMETERS))
    with pytest.raises(ContentError, match=f"expected {CID}"):
        job.update(1, 1, update)


def test_what_a_dead_writer_left_behind_is_removed_when_it_starts_again(job):
    for writer in (".server", "a", "b"):
        job.aside(writer).mkdir(parents=True)
        (job.aside(writer) / ".half").write_bytes(b"half")
    FolderServerCoordinator.of_folder(job, HERE).enter()
    FolderClientCoordinator(job, HERE, "a").enter(1)
    assert [path.parent.name for path in job.path.glob("temporary/*/.half")] == ["b"]


def test_two_jobs_of_one_id_are_never_mixed(jobs, job):
    before = (job.path / "job.json").read_bytes()
    with pytest.raises(ConfigurationError):
        jobs.submit(request(document=document(name="another")))
    assert (job.path / "job.json").read_bytes() == before
    assert [path.name for path in job.path.parent.iterdir()] == ["1"]


def test_a_job_that_can_not_be_written_is_explained(tmp_path):
    (tmp_path / "res").write_bytes(b"")
    with pytest.raises(ContentError, match="can't be written"):
        JobsFolder(tmp_path).submit(request())


class Rounds(RuleBasedStateMachine):
    """Clients come, hand in, leave; the server is started again at any time and commits or reopens, in any order."""

    @initialize(rule_name=st.sampled_from(["weighted_mean", "relay"]), enough=st.integers(1, 3))
    def begin(self, rule_name, enough):
        self.folder = Path(tempfile.mkdtemp())
        jobs = JobsFolder(self.folder)
        jobs.submit(request(rounds=4, document=document(rule_name), min_clients=enough, deadline=2**20))
        self.job = JobFolder(self.folder / "res" / "jobs" / "1")
        self.enough = enough
        self.alive = set()
        self.handed_in = {}
        self.latest = {}
        self.included = {}
        self.attempt = self.round = 1
        self.start_server()

    def teardown(self):
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule()
    def start_server(self):
        self.server = FolderServerCoordinator(JobFolder(self.job.path), HERE, lambda client: client in self.alive)
        self.server.enter()

    def client(self, name):
        coordinator = FolderClientCoordinator(self.job, HERE, name)
        coordinator.enter(9)
        return coordinator

    @rule(name=st.sampled_from("abcd"), value=st.integers(0, 5), weight=st.integers(1, 9))
    def hand_in(self, name, value, weight):
        client = self.client(name)
        round = client.round()
        self.alive.add(name)
        collecting = round.phase is Phase.COLLECTING
        assert client.wants_update(round) == (collecting and name not in self.handed_in)
        if client.wants_update(round):
            client.submit(round, vector(value), weight)
            self.handed_in[name] = value
        client.close()

    @rule(name=st.sampled_from("abcd"))
    def leave(self, name):
        self.alive.discard(name)

    @rule(excluded=st.sets(st.sampled_from("abcd")), reopen=st.booleans())
    def serve(self, excluded, reopen):
        round = self.server.round()
        waited_for = self.alive - set(self.handed_in)
        if round.phase is Phase.COLLECTING:
            assert waited_for or len(self.handed_in) < self.enough
            return
        if round.phase is Phase.FINISHED:
            assert self.round == 5
            return
        updates = self.server.updates(round)
        assert [one.client for one in updates] == sorted(self.handed_in)
        left_out = {one: "" for one in updates if one.client in excluded}
        if reopen:
            self.server.reopen(round, left_out)
        else:
            next_model = self.folder / "next"
            write_vector(next_model, vector(self.round))
            self.server.commit(round, next_model, left_out)
            self.round += 1
            self.latest |= self.handed_in
            self.included = {name: value for name, value in self.handed_in.items() if name not in excluded}
        self.attempt += 1
        self.handed_in = {}

    @precondition(lambda self: hasattr(self, "job") and self.job.document.distils)
    @rule(name=st.sampled_from("abcd"))
    def go_on(self, name):
        client = self.client(name)
        found = client.previous(client.round())
        own = None if found.own is None else np.fromfile(found.own, "<i4")[0]
        assert own == self.latest.get(name)
        peers = [np.fromfile(path, "<i4")[0] for path in found.peers]
        assert peers == [value for peer, value in sorted(self.included.items()) if peer != name]
        client.close()

    @invariant()
    def the_state_is_what_happened(self):
        if hasattr(self, "job"):
            state = self.job.state
            assert (state.round, state.attempt) == (self.round, self.attempt)
            assert len(list((self.job.path / "models").iterdir())) == self.round
            self.job.model(state.round, state.model)

    @invariant()
    def the_disk_does_not_fill(self):
        if hasattr(self, "job"):
            kept = [path for path in (self.job.path / "updates").rglob("*") if path.is_file()]
            bound = len(self.handed_in) + (2 * len(self.latest) if self.job.document.distils else 0)
            assert len(kept) <= bound


TestRounds = Rounds.TestCase
TestRounds.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_a_committed_file_of_another_length_is_not_committed(job):
    server = FolderServerCoordinator.of_folder(job, HERE)
    client = FolderClientCoordinator(job, HERE, "a")
    client.enter(1)
    client.submit(client.round(), vector(1), 1)
    closed = server.round()
    short = job.path / "short"
    short.write_bytes(b"1234")
    with pytest.raises(GalaxyError, match="has 4 bytes"):
        server.commit(closed, short, {})
    assert server.round() == closed
    alter(job.update_file(1, 1, job.updates(1, 1)[0]))
    assert server.round() == closed
