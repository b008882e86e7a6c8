"""A cluster whose models are on IPFS, too: read there before the server is asked, and never instead of being checked."""

from __future__ import annotations

import numpy as np
import pytest

from galaxy_fl.content import ContentId
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.modes.cluster import MODE
from galaxy_fl.rounds.coordinator import Phase
from galaxy_fl.vectors import read_vector
from tests.galaxy_fl.content.servers import Answer, serve
from tests.galaxy_fl.modes.meeting import INITIAL, PARAMETERS, request, vector

RAW = "application/vnd.ipld.raw"


@pytest.fixture
def places(tmp_path):
    """Makes a server's place and clients' places of one cluster; settings as given."""
    made = []

    def server(**settings):
        made.append(MODE.server_place(folder=tmp_path, port=0, **settings))
        return made[0]

    def client(name, **settings):
        folder = tmp_path / name
        (place,) = MODE.client_places(name, folder=folder, server_url=made[0].name, **settings)
        made.append(place)
        return place

    yield server, client
    for place in reversed(made):
        place.close()


def models(tmp_path):
    return tmp_path / "res/jobs/1/models"


def model(client, round):
    return read_vector(client.model(round), PARAMETERS)


def test_a_model_that_a_gateway_has_is_not_asked_of_the_server(places, tmp_path):
    server, client = places
    MODE.submit(request(), folder=tmp_path)
    server()
    data = (models(tmp_path) / "1").read_bytes()
    asked = []

    def answer(request):
        asked.append(request.resource)
        return Answer(data, headers={"Content-Type": RAW})

    (models(tmp_path) / "1").unlink()
    with serve(answer) as url:
        one = client("one", gateway=url).open("1")
        assert np.array_equal(model(one, one.round()), INITIAL)
    assert asked[0] == f"/ipfs/{ContentId.of(data).cid}"


@pytest.mark.parametrize("answered", [Answer(b"no", 404), Answer(bytes(400), headers={"Content-Type": RAW})])
def test_where_the_gateway_has_it_not_or_lies_the_server_gives_it(places, tmp_path, answered):
    server, client = places
    MODE.submit(request(), folder=tmp_path)
    server()
    with serve(lambda asked: answered) as url:
        one = client("one", gateway=[url]).open("1")
        assert np.array_equal(model(one, one.round()), INITIAL)


def test_a_server_keeps_the_current_model_on_its_node_and_no_other(places, ipfs, ipfs_node, tmp_path):
    server, client = places
    MODE.submit(request(rounds=1, min_clients=1), folder=tmp_path)
    serving = server(ipfs=ipfs.url).open("1")
    serving.enter()
    one = client("one", ipfs=ipfs.url).open("1")
    one.enter(10)
    first = one.round()
    (models(tmp_path) / "1").rename(tmp_path / "away")
    assert np.array_equal(model(one, first), INITIAL)  # of the node: the server has it no longer
    (tmp_path / "away").rename(models(tmp_path) / "1")
    one.submit(first, vector(5), 10)
    before = ContentId.of_file(models(tmp_path) / "1")
    closed = serving.round()
    assert closed.phase is Phase.CLOSED
    changed = tmp_path / "next"
    changed.write_bytes(vector(7).astype("<i4").tobytes())
    serving.commit(closed, changed, {})
    published = tmp_path / "res/jobs/1/published"
    assert [path.name for path in (published / "pins").iterdir()] == [ContentId.of_file(changed).cid]
    assert before.cid not in [path.name for path in published.glob("objects/*/*")]
    (models(tmp_path) / "2").unlink()
    two = client("two", ipfs=ipfs.url).open("1")
    assert np.array_equal(model(two, two.round()), vector(7))
    ipfs_node.unpin(ContentId.of_file(changed).cid)


def test_a_node_that_is_away_ends_nothing(places, tmp_path, caplog):
    server, client = places
    MODE.submit(request(), folder=tmp_path)
    with serve(lambda asked: Answer(b"no", 500)) as url:
        server(ipfs=url).open("1").enter()
        assert "is not published" in caplog.text
        one = client("one", ipfs=url).open("1")
        assert np.array_equal(model(one, one.round()), INITIAL)


def test_what_is_no_address_is_told_at_once(tmp_path):
    with pytest.raises(ConfigurationError, match="is not an address"):
        MODE.client_places("a", folder=tmp_path, server_url="http://127.0.0.1:1", gateway="gateway.example")
    with pytest.raises(ConfigurationError, match="is not an address"):
        MODE.server_place(folder=tmp_path, port=0, ipfs="node.example")
