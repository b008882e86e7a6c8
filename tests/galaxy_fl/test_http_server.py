"""Servers: they answer from `start` to `stop`, end what they have begun, and let their port go."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.http_server import HttpServer, is_loopback, listen, url_of


async def answer(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})


def server(application=answer, **how):
    return HttpServer(listen("127.0.0.1", 0), "127.0.0.1", application, 60, **how)


def test_it_answers_within_a_block_and_lets_its_port_go():
    with server() as serving:
        assert serving.url == f"http://127.0.0.1:{serving.port}"
        assert httpx.get(serving.url).text == "here"
    listen("127.0.0.1", serving.port).close()


def test_one_that_never_started_lets_its_port_go():
    idle = server()
    idle.stop()
    listen("127.0.0.1", idle.port).close()


def test_what_is_being_answered_is_answered():
    begun, go_on = threading.Event(), threading.Event()

    async def slow(scope, receive, send):
        import asyncio

        begun.set()
        await asyncio.to_thread(go_on.wait)
        await answer(scope, receive, send)

    said = []
    with server(slow) as serving:
        asking = threading.Thread(target=lambda: said.append(httpx.get(serving.url, timeout=60).text))
        asking.start()
        assert begun.wait(60)
        serving.interrupt()
        go_on.set()
        serving.wait()
    asking.join()
    assert said == ["here"]


def test_an_address_that_is_taken_or_none():
    with listen("127.0.0.1", 0) as taken, pytest.raises(ConfigurationError, match="choose another port, or stop what"):
        listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(ConfigurationError, match="port 65536 is out of range"):
        listen("127.0.0.1", 65536)
    for host in ("x" * 300, "nobody.invalid", "192.0.2.1"):
        with pytest.raises(ConfigurationError, match=f"can't listen on {host}.*; name an address of this machine"):
            listen(host, 0)


def test_a_certificate_that_is_none_closes_the_socket(tmp_path):
    (tmp_path / "certificate").write_text("none")
    listener = listen("127.0.0.1", 0)
    with pytest.raises(ConfigurationError, match="can't be used for HTTPS"):
        HttpServer(listener, "127.0.0.1", answer, 1, tmp_path / "certificate", tmp_path / "certificate")
    assert listener.fileno() == -1


def test_names():
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "host.example")] == [
        *(True, True, True),
        *(False, False, False),
    ]
    if socket.has_ipv6:
        with listen("::1", 0) as listener:
            assert url_of(listener, "::1", encrypted=True) == f"https://[::1]:{listener.getsockname()[1]}"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_nothing_else(sent):
    program = (
        "from tests.galaxy_fl.test_http_server import server; from galaxy_fl.http_server import serve;"
        "serve(server(), lambda serving: print(serving.url, flush=True)); print('ended')"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert httpx.get(url, timeout=60).text == "here"
        process.send_signal(sent)
        assert process.communicate(timeout=60)[0] == "ended\n"
        assert process.returncode == 0
