"""Reading: ranges, what is missing, what is damaged, and that the server is there."""

from __future__ import annotations

import pytest

from galaxy_fl.content import BLOCK_SIZE, ContentId
from tests.galaxy_fl.content.conformance import ABSENT
from tests.galaxy_fl.content.problem import kind
from tests.galaxy_fl.content.test_local import alter
from tests.galaxy_fl.content.unixfs_reference import fill


@pytest.mark.parametrize("size", [0, 1, BLOCK_SIZE, 3 * BLOCK_SIZE + 1])
def test_everybody_reads_what_is_there(ask, served, size):
    data = fill("count", size)
    content = served.put(data)
    response = ask().read(content)
    assert (response.status_code, response.content) == (200, data)
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["etag"] == f'"{content.cid}"'
    assert "immutable" in response.headers["cache-control"]
    head = ask()("HEAD", f"/content/{content.cid}")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(size), b"")


@pytest.mark.parametrize(
    ("asked", "part"),
    [("0-0", slice(0, 1)), ("3-5", slice(3, 6)), ("9-", slice(9, 10)), ("0-999", slice(0, 10)), ("-4", slice(6, 10))],
)
def test_ranges_are_slices(ask, served, asked, part):
    data = b"0123456789"
    response = ask().read(served.put(data), Range=f"bytes={asked}")
    assert (response.status_code, response.content) == (206, data[part])
    assert response.headers["content-range"] == f"bytes {part.start}-{part.stop - 1}/10"


@pytest.mark.parametrize("asked", ["10-", "10-12", "-0"])
def test_ranges_that_are_not_in_the_content(ask, served, asked):
    response = ask().read(served.put(b"0123456789"), Range=f"bytes={asked}")
    assert response.status_code == 416
    assert (kind(response), response.json()["detail"]) == ("range", f"bytes={asked} is not in content of 10 bytes")
    assert response.headers["content-range"] == "bytes */10"


@pytest.mark.parametrize("asked", ["bytes=5-3", "bytes=-", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes=1", "x"])
def test_what_is_no_range(ask, served, asked):
    response = ask().read(served.put(b"0123456789"), Range=asked)
    assert response.status_code == 400
    assert kind(response) == "range"


def test_content_that_is_not_there(ask):
    response = ask().read(ABSENT)
    assert response.status_code == 404
    assert (kind(response), response.json()["detail"]) == ("not_found", f"{ABSENT.cid} is not here")


@pytest.mark.parametrize("cid", ["x", "..", "bafkrei", ABSENT.cid[:-1], ABSENT.cid + "a", ABSENT.cid[:-1] + "b"])
def test_what_is_no_id(ask, cid):
    response = ask()("GET", f"/content/{cid}")
    assert response.status_code in (404, 422)
    assert response.json().keys() == {"type", "title", "status", "detail", "instance"}


@pytest.mark.parametrize("how", ["flip", "truncate", "extend"])
@pytest.mark.parametrize("size", [10, BLOCK_SIZE, BLOCK_SIZE + 1])
def test_damaged_content_is_not_given_out_and_says_nothing_of_the_server(ask, served, how, size):
    content = served.put(fill("count", size))
    alter(served, content, how)
    response = ask().read(content)
    assert response.status_code == 500
    assert kind(response) == "altered"
    assert str(served.root) not in response.text


def test_the_server_says_that_it_is_there_and_for_which_ledger(ask, server, deployment):
    assert ask()("GET", "/healthz").json() == {
        "status": "ok",
        "chain_id": 1337,
        "ledger": deployment.ledger,
        "urls": [server.url],
    }


def test_what_is_nowhere_and_methods_that_are_not_there_are_answered_in_json(ask):
    nowhere = ask()("GET", "/nowhere")
    assert (nowhere.status_code, kind(nowhere)) == (404, "not_found")
    refused = ask()("DELETE", "/healthz")
    assert (refused.status_code, kind(refused)) == (405, "refused")


def test_content_of_another_size_than_is_said_is_refused(owner):
    content = ContentId.of(bytes(BLOCK_SIZE + 1))
    response = owner("POST", f"/uploads/{content.cid}?size=7")
    assert response.status_code == 422
    assert "check the size" in response.json()["detail"]
