"""How much a job may keep, and what its accounts pin."""

from __future__ import annotations

import os

import pytest

from galaxy_fl.content import ContentId, LocalStore
from tests.galaxy_chain.federation import PARAMETERS, made_up
from tests.galaxy_chain.store.served.serving import Asker, store_server, writer
from tests.galaxy_fl.content.problem import kind

SIZE = 4 * PARAMETERS


def vectors(count, seed=10):
    return [made_up(seed + number).tobytes() for number in range(count)]


@pytest.fixture
def small(federation, tmp_path):
    """A server where a job may keep nine vectors."""
    with store_server(federation, tmp_path / "served", quota=9 * SIZE + 10) as running:
        yield running


@pytest.fixture
def server(small):
    return small


def is_full(response):
    return response.status_code == 507 and kind(response) == "quota"


def test_a_job_keeps_no_more_than_its_quota(ask, federation, served):
    federation.serve()
    server = ask(federation.server)
    contents = [server.put(data) for data in vectors(9)]
    [more] = vectors(1, 50)
    for response in (server.announce(ContentId.of(more)), server.send(ContentId.of(more), more)):
        assert is_full(response)
        assert f"{SIZE} bytes more are too many: {9 * SIZE} of the {9 * SIZE + 10} bytes of 1 are used" in response.text
    assert server.announce(contents[0]).json()["complete"]
    assert not served.has(ContentId.of(more))


def test_what_was_collected_counts_no_longer(ask, federation, served):
    federation.serve()
    server = ask(federation.server)
    kept, *_ = [server.put(data) for data in vectors(9)]
    server.pin(kept)
    served.gc(0)
    for data in vectors(8, 50):
        server.put(data)
    assert is_full(server.announce(ContentId.of(made_up(99).tobytes())))


def test_what_is_announced_or_has_begun_counts_as_a_whole(ask, federation, served):
    federation.serve()
    server = ask(federation.server)
    for data in vectors(9):
        server.send(ContentId.of(data), data[:1])
    [more] = vectors(1, 50)
    assert is_full(server.announce(ContentId.of(more)))
    for path in (served.root / "uploads").iterdir():
        os.utime(path, (0, 0))  # a day later
    server.put(more)
    assert list((served.root / "uploads").iterdir()) == []


def test_jobs_and_owners_have_quotas_of_their_own(ask, federation):
    federation.serve()
    server = ask(federation.server)
    for data in vectors(9):
        server.put(data)
    owner = ask(federation.owner, 0)
    owner.put(bytes(9 * SIZE))
    assert is_full(owner.announce(ContentId.of(b"eleven more")))
    another = federation.register(server=federation.server)
    ask(federation.server, another).put(vectors(1, 50)[0])


def test_a_client_uses_up_its_share_and_not_that_of_others(ask, federation):
    """Three clients a round: a third of the quota each."""
    for index in range(3):
        federation.client(index)
    greedy = ask(federation.clients[0])
    for data in vectors(3):
        greedy.put(data)
    response = greedy.announce(ContentId.of(made_up(40).tobytes()))
    assert is_full(response)
    assert "a client's in job 1" in response.json()["detail"]
    for data in vectors(3, 50):
        ask(federation.clients[1]).put(data)


def test_what_the_server_of_the_job_pins_is_no_clients_any_more(ask, federation):
    federation.client(0), federation.serve()
    client, server = ask(federation.clients[0]), ask(federation.server)
    first, *_ = [client.put(data) for data in vectors(3)]
    more = made_up(40).tobytes()
    assert is_full(client.announce(ContentId.of(more)))
    assert server.pin(first).status_code == 204
    client.put(more)


def test_content_counts_in_every_job_that_pins_it(ask, federation, owner):
    federation.serve()
    content = owner.put(vectors(1)[0])
    server = ask(federation.server)
    server.pin(content)
    for data in vectors(8, 50):
        server.put(data)
    assert is_full(server.announce(ContentId.of(made_up(99).tobytes())))


# Pins


def test_content_is_kept_until_everybody_has_unpinned_it(ask, federation, owner, served):
    federation.serve()
    content = owner.put(vectors(1)[0])
    server = ask(federation.server)
    for asker in (owner, server, owner):
        assert asker.pin(content).status_code == 204
    assert owner.unpin(content).status_code == 204
    assert owner.unpin(content).status_code == 204
    assert served.gc(0).removed == 0
    assert server.unpin(content).status_code == 204
    assert served.gc(0).removed == 1


def test_what_the_operator_has_pinned_stays_pinned(owner, served):
    content = owner.put(b"content")
    served.pin(content)
    owner.pin(content)
    owner.unpin(content)
    assert served.pins() == {content.cid}


def test_what_is_not_there_cannot_be_pinned(owner, served):
    response = owner.pin(ContentId.of(b"not there"))
    assert (response.status_code, kind(response)) == (404, "not_found")
    assert served.pins() == frozenset()


def test_pins_and_charges_outlive_the_server(federation, node, tmp_path):
    folder, who = tmp_path / "elsewhere", writer(node, federation.owner)
    with store_server(federation, folder, quota=10) as server:
        content = Asker(server, who).put(b"nine bytes")
        Asker(server, who).pin(content)
    with store_server(federation, folder, quota=10) as server:
        assert is_full(Asker(server, who).announce(ContentId.of(b"x")))
        assert LocalStore(folder).gc(0).removed == 0
        Asker(server, who).unpin(content)
    assert LocalStore(folder).gc(0).removed == 1
