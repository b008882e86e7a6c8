"""Bytes on their way in: broken off, gone on with, wrong, too many, and sent by several at once."""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from galaxy_fl.content import BLOCK_SIZE, ContentId
from tests.galaxy_chain.federation import PARAMETERS, made_up
from tests.galaxy_fl.content.problem import kind
from tests.galaxy_fl.content.test_local import alter
from tests.galaxy_fl.content.unixfs_reference import fill

DATA = fill("count", 3 * BLOCK_SIZE + 1)
CONTENT = ContentId.of(DATA)


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """No sender counts as silent because the machine is slow."""
    monkeypatch.setattr("galaxy_fl.content.uploads._SILENCE", 3600.0)


def partial(served) -> list[Path]:
    return list((served.root / "uploads").iterdir())


@contextmanager
def begun(asker, content: ContentId, data: bytes, offset: int = 0) -> Iterator[http.client.HTTPConnection]:
    """A request that the server has begun to take, has sent so much, and goes on later, or never."""
    target = f"/uploads/{content.cid}?size={content.size}&offset={offset}"
    with closing(http.client.HTTPConnection(urlsplit(asker.url).netloc, timeout=300)) as connection:
        connection.putrequest("PUT", target)
        connection.putheader("Authorization", asker.who.authorization("PUT", asker.url, target))
        connection.putheader("Content-Length", str(content.size - offset))
        connection.putheader("Expect", "100-continue")  # which the server answers when it reads the first bytes
        connection.endheaders()
        assert (interim := connection.sock.recv(1000)).startswith(b"HTTP/1.1 100 "), interim
        assert interim.endswith(b"\r\n\r\n")
        connection.send(data)
        yield connection


def wait_for_bytes(store, least: int) -> None:
    """Until so much of the only upload is written."""
    deadline = time.monotonic() + 300
    while not partial(store) or partial(store)[0].stat().st_size < least:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("size", [0, 1, BLOCK_SIZE + 1, 5 << 20])
def test_content_is_there_once_all_of_it_has_come(owner, served, size):
    data = fill("count", size)
    content = ContentId.of(data)
    assert owner.announce(content).json() == {"bytes": 0, "complete": False}
    assert owner.read(content).status_code == 404
    assert owner.send(content, data).json() == {"bytes": size, "complete": True}
    assert owner.read(content).content == data
    assert owner.announce(content).json() == {"bytes": size, "complete": True}
    assert served.path(content).stat().st_mode & 0o222 == 0
    assert partial(served) == []


def test_an_upload_without_an_announcement_is_taken_too(owner, served):
    assert owner.send(CONTENT, iter([DATA[:5], DATA[5:]])).json() == {"bytes": len(DATA), "complete": True}
    assert served.get(CONTENT) == DATA


def test_an_upload_that_breaks_off_goes_on_where_it_was(owner, served):
    data = fill("count", 5 << 20)
    content, half = ContentId.of(data), 5 << 19
    with begun(owner, content, data[:half]):
        wait_for_bytes(served, 1 << 20)
    arrived = owner.announce(content).json()
    assert 1 << 20 <= arrived["bytes"] <= half
    assert not arrived["complete"]
    assert owner.read(content).status_code == 404
    assert list(served.contents()) == []
    while not owner.send(content, data[arrived["bytes"] :], arrived["bytes"]).json().get("complete"):
        arrived = owner.announce(content).json()  # the rest of the broken request came in between
    assert owner.read(content).content == data
    assert partial(served) == []


def test_parts_have_to_go_on_where_the_last_one_ended(owner, served):
    assert owner.send(CONTENT, DATA[:10]).json() == {"bytes": 10, "complete": False}
    for offset in (0, 9, 11, len(DATA) - 1):
        response = owner.send(CONTENT, b"x", offset)
        assert response.status_code == 409
        assert (kind(response), response.json()["detail"]) == (
            "offset",
            f"10 bytes have arrived: continue there, not at {offset}",
        )
    assert owner.send(CONTENT, DATA[10:], 10).json()["complete"]


def test_other_bytes_are_thrown_away_and_the_right_ones_taken(owner, served):
    response = owner.send(CONTENT, bytes(len(DATA)))
    assert (response.status_code, kind(response)) == (422, "altered")
    assert list(served.contents()) == partial(served) == []
    assert owner.announce(CONTENT).json() == {"bytes": 0, "complete": False}
    assert owner.send(CONTENT, DATA).json()["complete"]


@pytest.mark.parametrize("announced", [True, False])
def test_more_bytes_than_the_content_has_are_refused(owner, served, announced):
    data = DATA + b"more"
    response = owner.send(CONTENT, data if announced else iter([data]))
    assert (response.status_code, kind(response)) == (413, "too_large")
    assert list(served.contents()) == []


def test_nobody_spoils_what_another_sends(ask, owner, federation, served):
    """Two clients send the same model; one of them sends rubbish."""
    federation.client(0), federation.client(1)
    data = made_up(5).tobytes()
    content = ContentId.of(data)
    honest, other = ask(federation.clients[0]), ask(federation.clients[1])
    assert honest.send(content, data[:100]).json()["bytes"] == 100
    assert other.send(content, bytes(100)).json()["bytes"] == 100
    assert honest.send(content, data[100:], 100).json()["complete"]
    assert served.get(content) == data
    assert other.announce(content).json()["complete"]
    assert partial(served) == []
    assert len(data) == 4 * PARAMETERS


def test_a_later_request_takes_over_from_one_that_has_stopped(owner, served):
    with begun(owner, CONTENT, DATA[: 2 << 18]) as stopped:
        assert owner.send(CONTENT, DATA).json()["complete"]
        stopped.send(DATA[2 << 18 :])
        with stopped.getresponse() as response:
            assert response.status == 409
            response.read()
    assert served.get(CONTENT) == DATA
    assert partial(served) == []


def test_many_who_send_the_same_at_once_make_one_sound_content(ask, federation, served, owner):
    for index in range(3):
        federation.client(index)
    data = made_up(6).tobytes()
    content = ContentId.of(data)
    answers = []

    def send(asker) -> None:
        for _ in range(4):
            answers.append(asker.send(content, data).status_code)

    threads = [threading.Thread(target=send, args=(ask(address),)) for address in federation.clients * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 24
    assert set(answers) <= {200, 409}
    assert dict(served.verify()) == {content.cid: None}
    assert partial(served) == []


def test_putting_again_heals_what_is_damaged(owner, served):
    content = owner.put(DATA)
    alter(served, content, "flip")
    assert owner.announce(content).json() == {"bytes": 0, "complete": False}
    assert owner.send(content, DATA).json()["complete"]
    assert served.get(content) == DATA


def test_an_announcement_begins_the_grace_anew(owner, served):
    content = owner.put(DATA)
    os.utime(served.path(content), (0, 0))
    owner.announce(content)
    assert served.gc(3600).removed == 0


def test_content_that_took_long_to_come_has_its_full_grace(owner, served):
    owner.send(CONTENT, DATA[:-1])
    [path] = partial(served)
    os.utime(path, (0, 0))
    owner.send(CONTENT, DATA[-1:], len(DATA) - 1)
    assert served.gc(3600).removed == 0
