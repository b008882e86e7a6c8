"""Who may ask a dashboard what, and what every answer says to a browser."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from galaxy_chain.dashboard.guard import HEADERS, Guard, named


async def _inner(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"inner"})


def ask(method="GET", host="127.0.0.1:8560", path="/", names=(), **more):
    async def sent():
        transport = httpx.ASGITransport(Guard(_inner, names))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            headers = {"host": host} | more.pop("headers", {})
            return await client.request(method, path, headers=headers, **more)

    return asyncio.run(sent())


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8560", "[::1]:8560", "192.0.2.7"])
def test_an_address_and_localhost_are_its_names(host):
    assert ask(host=host).text == "inner"


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "[", "a b"]
)
def test_a_name_that_a_page_elsewhere_lets_point_here_is_refused(host):
    answer = ask(host=host)
    assert answer.status_code == 403
    assert answer.json()["type"].endswith(":host")
    assert "inner" not in answer.text


def test_a_name_that_it_was_given_is_taken():
    assert ask(host="board.example:443", names=["Board.Example"]).text == "inner"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_nothing_can_be_changed_and_nobody_elsewhere_is_let_in(method):
    answer = ask(method)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_requests_are_bounded():
    assert ask(path="/?" + "x" * 20_000).status_code == 413
    assert ask(headers={"cookie": "x" * 20_000}).status_code == 413
    assert ask(content=b"body").status_code == 413


@pytest.mark.parametrize("answer", [ask(), ask(host="evil.example"), ask("POST"), ask("HEAD")])
def test_every_answer_lets_a_browser_run_and_fetch_nothing_but_the_page_itself(answer):
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value]
    policy = dict(each.strip().split(" ", 1) for each in HEADERS["Content-Security-Policy"].split(";"))
    assert policy == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self' data:",
        "connect-src": "'self'", "frame-ancestors": "'none'", "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip


def test_names_are_read_as_browsers_write_them():
    assert [named(host) for host in ("A.b:1", "[::1]:2", "[::1]", "x")] == ["a.b", "::1", "::1", "x"]
