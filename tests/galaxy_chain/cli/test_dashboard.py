"""The command that serves the dashboard: what it refuses, and that it begins and ends as it is told."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time

import httpx
import pytest

from galaxy_chain.cli.dashboard import _options, _source
from galaxy_chain.cli.options import Where
from tests.end_to_end.processes import LONG


def test_others_than_this_machine_are_let_in_by_name_alone(at_ledger):
    at_ledger.fails(
        2, "others than this machine would reach the dashboard on 0.0.0.0.*--public", "dashboard", "--host", "0.0.0.0"
    )


def test_what_is_not_there_is_refused_before_anything_is_served(at_ledger, monkeypatch):
    at_ledger.fails(2, "the folder of reports nowhere is not there", "dashboard", "--reports", "nowhere")
    at_ledger.fails(2, f"the folder of reports {__file__} is not a folder", "dashboard", "--reports", __file__)
    at_ledger.fails(2, "the store nowhere is not there", "dashboard", "--store", "nowhere")
    at_ledger.fails(22, "nowhere.json is missing", "dashboard", "--ledger", "nowhere.json")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        at_ledger.fails(2, f"can't listen on 127.0.0.1 port {port}", "dashboard", "--port", port)
        at_ledger.fails(20, "no Ethereum node answers", "dashboard", "--rpc", "http://127.0.0.1:1")


def test_it_serves_until_it_is_told_to_end_though_a_browser_listens(at_ledger, federation):
    """A signal ends it, streams and all."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found = {}

    def browse():
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=LONG) as http:
            deadline = time.monotonic() + LONG
            while True:
                try:
                    found["ledger"] = http.get("/api/ledger").json()
                    break
                except httpx.TransportError:
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
            with http.stream("GET", "/api/events") as response:
                lines = response.iter_lines()
                found["first"] = next(lines)
                os.kill(os.getpid(), signal.SIGTERM)
                found["rest"] = list(lines)  # it ends

    browser = threading.Thread(target=browse)
    browser.start()
    assert at_ledger.run("dashboard", "--port", port, "--poll", 0.05, "--json") == 0
    browser.join(LONG)
    assert json.loads(at_ledger.out) == {"url": f"http://127.0.0.1:{port}/", "ledger": federation.deployment.ledger}
    assert found["ledger"]["address"] == federation.deployment.ledger
    assert found["ledger"]["genuine"] is True
    assert found["first"].startswith("retry: ")
    assert "event: hello" in found["rest"]


def test_any_ledger_is_shown_with_what_is_not_right_about_it(at_ledger, federation):
    source = _source(Where(rpc=federation.rpc.url, any_ledger=True), None, 1.0)
    assert source.doubt is None  # it is the right one
    file = json.loads((at_ledger.folder / ".galaxy" / "ledger.json").read_text())
    other = at_ledger.folder / "other.json"
    other.write_text(json.dumps(file | {"block": file["block"] + 1}))
    source = _source(Where(rpc=federation.rpc.url, any_ledger=True, ledger=other), None, 1.0)
    assert "nobody can tell what its storage began with" in source.doubt


@pytest.mark.parametrize(
    ("where", "options"),
    [
        (Where(), ""),
        (Where(rpc="https://user:pass@node.example/v3/key"), " --rpc https://node.example/…"),
        (Where(rpc="http://127.0.0.1:1, ws://127.0.0.1:2"), " --rpc http://127.0.0.1:1,ws://127.0.0.1:2"),
        (Where(store="my store", any_ledger=True), " --store 'my store' --any-ledger"),
        (
            Where(gateway=["https://a.example", "https://b.example"]),
            " --gateway https://a.example --gateway https://b.example",
        ),
    ],
)
def test_the_command_that_checks_elsewhere_has_the_same_options_without_secrets(where, options):
    assert _options(where).replace("'https://node.example/…'", "https://node.example/…") == options
