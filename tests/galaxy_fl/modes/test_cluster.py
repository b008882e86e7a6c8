"""Cluster mode: the suite of all modes, and what goes wrong between machines, on real sockets."""

from __future__ import annotations

import logging
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
from contextlib import suppress

import httpx
import numpy as np
import pytest

from galaxy_fl.exceptions import (
    ConfigurationError,
    ContentAlteredError,
    GalaxyError,
    UnreachableError,
)
from galaxy_fl.modes.cluster import MODE
from galaxy_fl.modes.cluster.client import ClusterClientPlace
from galaxy_fl.modes.cluster.registry import Presence
from galaxy_fl.rounds.client import run_client
from galaxy_fl.rounds.coordinator import Origin, Phase
from galaxy_fl.rounds.server import run_server
from galaxy_fl.vectors import read_vector
from tests.galaxy_fl.modes.conformance import ModeConformance
from tests.galaxy_fl.modes.meeting import INITIAL, PARAMETERS, Meeting, Running, document, eventually, vector
from tests.galaxy_fl.rounds.table import Counting

LARGE = 2_000_000
"""Parameters: 8 MB, many times what a cut connection loses in buffers."""

SERVER = """\
import sys
from pathlib import Path
from galaxy_fl.modes.cluster import MODE
from galaxy_fl.rounds.server import run_server

place = MODE.server_place(folder=Path(sys.argv[1]), port=int(sys.argv[2]))
print(place.name, flush=True)
run_server(place.open("1"))
place.close()
"""


class TestCluster(ModeConformance):
    mode = "cluster"


@pytest.fixture
def meeting(tmp_path):
    meeting = Meeting("cluster", tmp_path)
    yield meeting
    meeting.close()


class Cutter:
    """A TCP proxy that resets connections, each after so many bytes up or down, until it has no more `cuts`."""

    def __init__(self, port, up=(), down=()):
        self._port = port
        self._cuts = {"up": list(up), "down": list(down)}
        self.begun: list[int] = []
        """Where each request for, or with, a vector's bytes began."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @property
    def left(self):
        return sum(map(len, self._cuts.values()))

    def _listen(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            ended = threading.Event()
            up = threading.Thread(target=self._pass_on, args=(client, server, "up", ended), daemon=True)
            up.start()
            self._pass_on(server, client, "down", ended)
            ended.set()
            up.join()

    def _pass_on(self, source, target, way, ended):
        passed = 0
        with suppress(OSError):
            while piece := source.recv(16_384):
                target.sendall(piece)
                passed += len(piece)
                if found := re.search(rb"(?i)^PUT \S+offset=(\d+)|^range: bytes=(\d+)-", piece, re.MULTILINE):
                    self.begun.append(int(found[1] or found[2]))
                if self._cuts[way] and passed > self._cuts[way][0]:
                    self._cuts[way].pop(0)
                    if way == "up":  # a reset takes away what is not read yet: the server shall have read it
                        target.shutdown(socket.SHUT_WR)
                        assert ended.wait(300)
                    for end in (source, target):
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def place_at(url, folder, name="a", **settings):
    (place,) = MODE.client_places(name, folder=folder, server_url=url, **settings)
    return place


# Connections


def test_an_upload_that_is_cut_goes_on_where_it_was(meeting, tmp_path):
    meeting.submit(document=document(parameters=LARGE))
    server = meeting.server()
    update = np.random.default_rng(1).integers(-(2**31), 2**31, LARGE, np.int64).astype(np.int32)
    with Cutter(meeting.port, up=[6_000_000, 1_000_000]) as cutter:
        place = place_at(cutter.url, tmp_path / "a")
        client = place.open("1")
        client.enter(10)
        client.submit(client.round(), update, 10)
        place.close()
        assert cutter.left == 0
        assert 0 == cutter.begun[0] < cutter.begun[1] < cutter.begun[2]
    serving = server.open("1")
    closed = serving.round()
    [usable] = serving.gather(closed, serving.updates(closed))[0].values()
    assert np.array_equal(read_vector(usable, LARGE), update)


def test_a_download_that_is_cut_goes_on_where_it_was(meeting, tmp_path):
    meeting.submit(document=document(parameters=LARGE))
    meeting.server()
    with Cutter(meeting.port, down=[6_000_000, 1_000_000]) as cutter:
        place = place_at(cutter.url, tmp_path / "a")
        client = place.open("1")
        model = client.model(client.round())
        assert cutter.left == 0
        assert 0 < cutter.begun[0] < cutter.begun[1]  # what the first asks for has no range
        assert np.array_equal(read_vector(model, LARGE), np.arange(LARGE))
        place.close()


def test_a_server_that_is_killed_and_started_again_ends_with_the_same_model(meeting, tmp_path):
    meeting.submit(rounds=3, min_clients=2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        meeting.port = free.getsockname()[1]
    start = [sys.executable, "-c", SERVER, meeting.folder, str(meeting.port)]
    killed = subprocess.Popen(start, stdout=subprocess.PIPE)
    killed.stdout.readline()
    half, go_on = threading.Event(), threading.Event()

    class Slow(Counting):
        def train(self, task):
            if task.round == 2:
                half.set()
                assert go_on.wait(300)
            return super().train(task)

    trainers = [Counting(3), Slow(8)]
    clients = [Running(run_client, meeting.client(f"{one.step}").open("1"), one, 10) for one in trainers]
    assert half.wait(300)
    eventually(lambda: meeting.job().updates(2, 2))  # one of two updates is in
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    again = subprocess.Popen(start, stdout=subprocess.PIPE)
    again.stdout.readline()
    go_on.set()
    for client in clients:
        assert client.finish().phase is Phase.FINISHED
    again.communicate(timeout=300)
    assert again.returncode == 0
    assert np.array_equal(meeting.model(4), INITIAL + 18)
    assert [len(trainer.tasks) for trainer in trainers] == [3, 3]


def test_a_server_that_stays_away_is_given_up_in_the_end(meeting, tmp_path):
    meeting.submit()
    server = meeting.server()
    place = ClusterClientPlace(server.name, "a", tmp_path / "a", patience=0.3)
    client = place.open("1")
    client.enter(10)
    seen = client.round()
    server.close()
    for ask in (
        lambda: client.wait(seen),
        lambda: client.model(seen),
        lambda: client.submit(seen, vector(1), 1),
        place.jobs,
    ):
        with pytest.raises(UnreachableError, match="does not answer"):
            ask()
    place.close()


def test_what_is_not_a_galaxy_server_is_told_apart(tmp_path):
    class Strange:
        def __init__(self, answer):
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
            threading.Thread(target=self.serve, args=(answer,), daemon=True).start()

        def serve(self, answer):
            connection, _ = self.listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 %b\r\nConnection: close\r\n\r\n%b" % answer)
            self.listener.close()

    for number, answer in enumerate(
        [
            (b"200 OK", b"<html>"),
            (b"200 OK", b'{"api": "/../x"}'),
            (b"200 OK", b"[" * 2_000_000),
            (b"404 Not Found", b"<html>"),
            (b"301 Moved", b""),
        ]
    ):
        place = place_at(Strange(answer).url, tmp_path / str(number))
        with pytest.raises(UnreachableError):
            place.jobs()
        place.close()


def test_a_server_stays_until_the_clients_that_are_there_have_the_final_model(meeting):
    meeting.submit(rounds=1)
    server = meeting.server()
    client = meeting.client("a").open("1")
    client.enter(10)
    client.submit(client.round(), vector(1), 10)
    run_server(server.open("1"))
    closing = Running(server.close)
    end = client.round()
    assert end.phase is Phase.FINISHED
    assert closing.thread.is_alive()
    assert np.array_equal(read_vector(client.model(end), PARAMETERS), INITIAL + 1)
    closing.finish()


def test_a_server_stays_until_the_clients_that_are_there_have_their_students(meeting):
    meeting.submit(rounds=1, document=document("relay"))
    server = meeting.server()
    client = meeting.client("a").open("1")
    client.enter(10)
    client.submit(client.round(), vector(1), 10)
    run_server(server.open("1"))
    closing = Running(server.close)
    end = client.round()
    assert end.phase is Phase.FINISHED
    closing.thread.join(1)
    assert closing.thread.is_alive()
    own = client.previous(end).own
    assert own is not None
    assert np.array_equal(read_vector(own, PARAMETERS), vector(1))
    closing.finish()


# HTTPS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-made certificate of 127.0.0.1, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = (
        f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout {key} -out {certificate}"
    )
    name = ["-subj", "/CN=galaxy", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([openssl, *command.split(), *name], check=True, capture_output=True)
    return certificate, key


def test_a_job_runs_over_https(meeting, certificate, tmp_path):
    meeting.submit(rounds=2)
    server = MODE.server_place(folder=meeting.folder, port=0, certificate=certificate[0], key=certificate[1])
    assert server.name.startswith("https://127.0.0.1:")
    place = place_at(server.name, tmp_path / "a", authority=certificate[0])
    running = Running(run_server, server.open("1"))
    run_client(place.open("1"), Counting(2), 10)
    assert running.finish().phase is Phase.FINISHED
    place.close()
    stranger = place_at(server.name, tmp_path / "b", name="b")
    with pytest.raises(ConfigurationError, match="certificate is not trusted.*set authority"):
        stranger.open("1")
    stranger.close()
    plain = place_at(server.name.replace("https", "http"), tmp_path / "c", name="c")
    with pytest.raises(UnreachableError):
        plain.jobs()
    plain.close()
    server.close()
    assert np.array_equal(meeting.model(3), INITIAL + 4)


def test_a_certificate_that_can_not_be_used_is_explained(tmp_path, certificate):
    with pytest.raises(ConfigurationError, match="can't be used for HTTPS"):
        MODE.server_place(folder=tmp_path, port=0, certificate=certificate[1], key=certificate[0])
    with pytest.raises(ConfigurationError, match="certificate and key belong together"):
        MODE.server_place(folder=tmp_path, port=0, certificate=certificate[0])
    with pytest.raises(ConfigurationError, match="the authority .* can't be used"):
        place_at("https://127.0.0.1:1", tmp_path, authority=tmp_path / "none")
    MODE.server_place(folder=tmp_path, port=0).close()  # the folder is free again


# Who may come


def test_a_client_is_known_again_by_its_secret(meeting, tmp_path):
    meeting.submit()
    url = meeting.server().name
    place = place_at(url, tmp_path / "a")
    assert place.jobs() == ["1"]
    (secret_file,) = [path for path in (tmp_path / "a/res/tokens").iterdir() if path.suffix != ".lock"]
    assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600
    assert secret_file.read_text() not in (tmp_path / "res/clients/a").read_text()
    second = place_at(url, tmp_path / "a")
    with pytest.raises(ConfigurationError, match="another program of this folder is client 'a'"):
        second.jobs()
    second.close()
    place.close()
    thief = place_at(url, tmp_path / "thief")
    with pytest.raises(ConfigurationError, match="the name 'a' is another client's: choose another client_id"):
        thief.jobs()
    thief.close()
    meeting._server.close()
    url = meeting.server().name
    place = place_at(url, tmp_path / "a")
    assert place.jobs() == ["1"]
    shutil.rmtree(tmp_path / "res/clients")  # the server has forgotten everybody
    assert place.open("1").job_id == "1"
    place.close()


def test_a_registration_token_is_asked_for_where_the_server_has_one(meeting, tmp_path, monkeypatch):
    meeting.submit()
    monkeypatch.setenv("GALAXY_REGISTRATION_TOKEN", "s3cret")
    url = meeting.server().name
    member = place_at(url, tmp_path / "a")
    assert member.jobs() == ["1"]
    member.close()
    for wrong in ("", "other", "ü"):
        monkeypatch.setenv("GALAXY_REGISTRATION_TOKEN", wrong)
        stranger = place_at(url, tmp_path / "b", name="b")
        with pytest.raises(ConfigurationError, match="set GALAXY_REGISTRATION_TOKEN"):
            stranger.jobs()
        stranger.close()
    member = place_at(url, tmp_path / "a")
    assert member.jobs() == ["1"]  # who is registered needs it no more
    member.close()


def test_jobs_are_the_servers(meeting, tmp_path):
    meeting.submit()
    server = meeting.server()
    place = place_at(server.name + "/", tmp_path / "a")
    assert place.name == server.name
    assert place.open("1").origin == Origin(own=False, name=server.name)
    assert server.open("1").origin.own
    place.close()


def test_several_servers_are_several_places(tmp_path):
    places = MODE.client_places("a", folder=tmp_path, server_url=["http://127.0.0.1:1", "https://127.0.0.1:2/below"])
    assert [place.name for place in places] == ["http://127.0.0.1:1", "https://127.0.0.1:2/below"]
    for place in places:
        place.close()


@pytest.mark.parametrize(
    "url", ["", "host:80", "ftp://host", "http://", "http://a b", "http://u@h", "http://h?x", [], None, 5]
)
def test_what_is_no_servers_url(tmp_path, url):
    with pytest.raises(ConfigurationError, match="server_url"):
        MODE.client_places("a", folder=tmp_path, server_url=url)


@pytest.mark.parametrize(
    ("given", "prefix"), [("/api/version", "/api/version"), ("api/v1/", "/api/v1"), ("/", ""), ("", "")]
)
def test_a_client_learns_the_prefix_from_the_server(tmp_path, given, prefix):
    server = MODE.server_place(folder=tmp_path, port=0, api_version=given)
    assert httpx.get(server.name, verify=False, timeout=60).json() == {"api": prefix, "version": 1}
    place = place_at(server.name, tmp_path / "a")
    assert place.jobs() == []
    place.close()
    server.close()


@pytest.mark.parametrize(
    "wrong", [{"port": 65_536}, {"port": -1}, {"api_version": "/a?b"}, {"api_version": "/a b"}, {"ip": 5}]
)
def test_settings_of_a_server_are_checked(tmp_path, wrong):
    with pytest.raises(ConfigurationError, match="settings of the cluster mode"):
        MODE.server_place(folder=tmp_path, **wrong)


def test_an_address_that_is_taken_is_explained(tmp_path, meeting):
    meeting.server()
    with pytest.raises(ConfigurationError, match=f"can't listen on 127.0.0.1 port {meeting.port}"):
        MODE.server_place(folder=tmp_path / "other", port=meeting.port)
    with pytest.raises(ConfigurationError, match="can't listen on no.such.host"):
        MODE.server_place(folder=tmp_path / "other", ip="no.such.host.invalid", port=0)


def test_a_server_that_other_machines_reach_warns(tmp_path, caplog, monkeypatch, certificate):
    def warnings(**settings):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "galaxy_fl"):
            MODE.server_place(folder=tmp_path, port=0, **settings).close()
        return [word for word in ("unencrypted", "whoever reaches") if word in caplog.text]

    https = {"certificate": certificate[0], "key": certificate[1]}
    assert warnings() == []
    assert warnings(ip="0.0.0.0") == ["unencrypted", "whoever reaches"]
    assert warnings(ip="0.0.0.0", **https) == ["whoever reaches"]
    monkeypatch.setenv("GALAXY_REGISTRATION_TOKEN", "x")
    assert warnings(ip="0.0.0.0", **https) == []


# A server that lies


def test_a_vector_that_is_not_what_the_server_said_is_refused(meeting, tmp_path):
    job = meeting.submit()
    meeting.server()
    client = meeting.client("a").open("1")
    seen = client.round()
    (job.path / "models" / "1").write_bytes(bytes(4 * PARAMETERS))
    with pytest.raises(ContentAlteredError, match=f"as {job.state.model} .* is baf"):
        client.model(seen)
    (job.path / "models" / "1").write_bytes(bytes(4 * PARAMETERS + 1))
    with pytest.raises(ContentAlteredError, match="something else"):
        client.model(seen)
    (job.path / "models" / "1").unlink()
    with pytest.raises(GalaxyError, match="is not here"):
        client.model(seen)


# Who is there


def test_a_client_that_is_silent_for_30_seconds_is_gone():
    now = [100.0]
    presence = Presence(lambda: now[0])
    assert presence.is_there("a", "1")  # after a start everybody has time to be heard of
    assert not presence.anybody_in("1")
    presence.seen("a", "1")
    now[0] += 29.9
    assert presence.is_there("a", "1")
    assert presence.anybody_in("1")
    now[0] += 0.1
    assert not presence.is_there("a", "1")
    assert not presence.is_there("b", "1")
    presence.takes_part_in("a", ["1", "2"])
    assert presence.is_there("a", "2")
    presence.takes_part_in("a", ["2"])
    assert not presence.is_there("a", "1")
    assert presence.is_there("a", "2")
