"""`galaxy-chain store serve`, mostly as a process: how it starts, how it ends, and what a disk can do to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from galaxy_fl.content import ContentId, LocalStore
from galaxy_fl.content.http_store import http_store
from galaxy_fl.content.remote import RemoteError, Timeouts
from galaxy_fl.exceptions import ConfigurationError, ContentError
from tests.galaxy_chain.store.served.serving import Asker, store_server, writer
from tests.galaxy_chain.store.served.test_uploads import begun, wait_for_bytes
from tests.galaxy_fl.content.problem import kind
from tests.galaxy_fl.content.unixfs_reference import fill

REPOSITORY = Path(__file__).parents[4]
OWN_MOUNTS = ("unshare", "--user", "--map-root-user", "--mount")


class Serving:
    """A process that serves; `url` is where."""

    def __init__(self, process: subprocess.Popen[str], said: dict[str, str]) -> None:
        self.process = process
        self.url = said["url"]

    def end(self, how: signal.Signals) -> int:
        """Its exit code."""
        self.process.send_signal(how)
        return self.process.wait(timeout=300)


@pytest.fixture
def ledger_file(deployment, tmp_path):
    path = tmp_path / "ledger.json"
    deployment.write(path)
    return path


@pytest.fixture
def serving(federation, node, ledger_file, tmp_path):
    """Starts `galaxy-chain store serve` on a folder."""

    @contextmanager
    def serving(folder: Path, *more: object, wrap: tuple[str, ...] = ()) -> Iterator[Serving]:
        command = ("-m", "galaxy_chain", "store", "serve", "--port", "0", "--json", "--rpc", node.url)
        where = ("--owner", federation.owner, "--ledger", str(ledger_file), "--store", str(folder), *map(str, more))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GALAXY_")}
        with subprocess.Popen(
            [*wrap, sys.executable, *command, *where],
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stdout is not None
                yield Serving(process, json.loads(process.stdout.readline()))
            finally:
                process.kill()

    return serving


@pytest.fixture
def owner(node, federation):
    return writer(node, federation.owner)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_told_to(serving, tmp_path, owner, how):
    with serving(tmp_path / "served") as server:
        content = Asker(server, owner).put(b"content")
        assert server.end(how) == 0
    assert LocalStore(tmp_path / "served").get(content) == b"content"


def test_what_is_arriving_when_it_is_killed_goes_on_afterwards(serving, tmp_path, owner):
    data, store = fill("count", 5 << 20), LocalStore(tmp_path / "served")
    content = ContentId.of(data)
    with serving(tmp_path / "served") as server, begun(Asker(server, owner), content, data[: 5 << 19]):
        wait_for_bytes(store, 2 << 20)
        server.end(signal.SIGKILL)
    assert list(store.contents()) == []
    with serving(tmp_path / "served") as server:
        asker = Asker(server, owner)
        arrived = asker.announce(content).json()["bytes"]
        assert 2 << 20 <= arrived <= 5 << 19
        assert asker.send(content, data[arrived:], arrived).json()["complete"]
    assert store.get(content) == data


def test_a_client_waits_for_a_server_that_is_started_again(serving, tmp_path, owner, federation):
    with serving(tmp_path / "served") as server:
        url, port = server.url, server.url.rpartition(":")[2]
    store = http_store(url, tmp_path / "copies", owner, Timeouts(restart=60))
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(store.put, b"content")
        with serving(tmp_path / "served", "--port", port) as server:
            content = waiting.result()
            assert Asker(server).read(content).content == b"content"


# Settings that are wrong


def test_an_address_that_is_taken(server, federation, tmp_path):
    with pytest.raises(ConfigurationError, match=f"can't listen on 127.0.0.1 port {server.port}"):
        store_server(federation, tmp_path / "another", port=server.port)


def test_one_server_a_folder(server, federation, tmp_path):
    with pytest.raises(ConfigurationError, match="another server has the store"):
        store_server(federation, tmp_path / "served")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_a_store_that_listens_everywhere_has_to_know_its_name(federation, tmp_path, host):
    with pytest.raises(ConfigurationError, match="name it with --url"):
        store_server(federation, tmp_path / "served", host=host)


def test_a_name_that_is_no_url(federation, tmp_path):
    with pytest.raises(ConfigurationError, match="is not an address of a content store"):
        store_server(federation, tmp_path / "served", urls=["store.example.org"])


def test_a_folder_that_is_no_store_leaves_the_port_free(federation, tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "thesis.tex").write_text("years of work")
    with pytest.raises(ContentError, match=r"thesis\.tex"):
        store_server(federation, tmp_path / "served")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--owner", "me"), "'me' is not an address"),
        (("--store", "http://127.0.0.1:1"), "is served already: name a folder"),
    ],
)
def test_settings_that_make_no_sense(terminal, wrong, said):
    assert terminal.run("store", "serve", "--owner", "0x" + "11" * 20, *wrong) == 2
    assert said in terminal.err


# A disk that refuses


def test_a_full_disk_is_told_and_the_rest_goes_on(serving, tmp_path, owner):
    """On a file system of 4 MiB of its own, in a mount namespace; where the system gives none, skipped."""
    if shutil.which("unshare") is None or subprocess.run([*OWN_MOUNTS, "true"], capture_output=True).returncode:
        pytest.skip("this system lets users have no mount namespace")
    folder = tmp_path / "full"
    folder.mkdir()
    wrap = (*OWN_MOUNTS, "sh", "-c", 'mount -t tmpfs -o size=4m full "$0" && exec "$@"', str(folder))
    with serving(folder / "store", wrap=wrap) as server:
        asker = Asker(server, owner)
        small = asker.put(b"small")
        data = fill("count", 8 << 20)
        content = ContentId.of(data)
        response = asker.send(content, data)
        assert response.status_code == 507
        assert kind(response) == "full"
        assert "disk is full" in response.json()["detail"]
        store = http_store(server.url, tmp_path / "copies", owner)
        with pytest.raises(RemoteError, match="disk is full"):
            store.put(data)
        assert asker.read(content).status_code == 404
        assert asker.announce(content).json() == {"bytes": 0, "complete": False}
        assert asker.read(small).content == b"small"
        more = asker.put(fill("count", 1 << 20))
        assert asker.pin(more).status_code == 204


def test_a_file_that_may_not_grow_is_told(serving, tmp_path, owner):
    with serving(tmp_path / "served", wrap=("sh", "-c", 'ulimit -f 4096; exec "$0" "$@"')) as server:
        asker = Asker(server, owner)
        data = bytes(6 << 20)
        response = asker.send(ContentId.of(data), data)
        assert (response.status_code, kind(response)) == (507, "full")
        asker.put(bytes(1 << 20))
    assert len(list(LocalStore(tmp_path / "served").contents())) == 1


def test_a_folder_that_may_not_be_written_to_is_told_and_still_read(serving, tmp_path, owner):
    """Root without its right to write everywhere is as everybody else."""
    folder, wrap = tmp_path / "served", ()
    if os.getuid() == 0:
        wrap = ("setpriv", "--bounding-set", "-dac_override", "--inh-caps", "-dac_override")
    with serving(folder, wrap=wrap) as server:
        asker = Asker(server, owner)
        small = asker.put(b"small")
        locked = [folder / name for name in ("uploads", "objects", "pins")]
        for each in locked:
            each.chmod(0o555)
        try:
            response = asker.send(ContentId.of(b"more"), b"more")
            assert (response.status_code, kind(response)) == (500, "damaged")
            assert str(folder) not in response.text
            assert asker.pin(small).status_code == 500
            assert asker.read(small).content == b"small"
        finally:
            for each in locked:
                each.chmod(0o755)
        asker.put(b"more")
        assert asker.pin(small).status_code == 204
