"""What a running participant tells whoever watches over it."""

from __future__ import annotations

import socket

import httpx
import pytest

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.participants.events import EVENTS
from galaxy_fl.participants.health import PATIENCE, Health, serving

TRAINED = {"attempt": 1, "transaction": None, "samples": 9, "batches": 1}
COMMITTED = {"attempt": 1, "transaction": None, "updates": 2, "model": "00"}


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def status(clock):
    return Health("client", 7, clock)


def metric(status, name):
    return status.registry.get_sample_value(f"galaxy_{name}", {"role": "client", "job": "7"})


def test_it_counts_what_a_participant_says(status):
    status(EVENTS.validate_python({"event": "started", "role": "client", "account": "0x1", "name": "digits"}), "7")
    status(
        EVENTS.validate_python(
            {"event": "trained", **TRAINED, "round": 1, "gas": 46_000, "loss": 0.5, "accuracy": 0.75, "seconds": 2.5}
        ),
        "7",
    )
    status(
        EVENTS.validate_python(
            {"event": "trained", **TRAINED, "round": 2, "gas": None, "loss": 0.4, "accuracy": None, "seconds": 1.5}
        ),
        "7",
    )
    assert metric(status, "round") == 2
    assert metric(status, "rounds_total") == 2
    assert metric(status, "gas_total") == 46_000
    assert metric(status, "loss") == 0.4
    assert metric(status, "accuracy") == 0.75
    assert metric(status, "work_seconds_total") == 4
    assert metric(status, "finished") == 0
    status(EVENTS.validate_python({"event": "challenged", "round": 2, "server": "0x2", "chunk": 5}), "7")
    status(EVENTS.validate_python({"event": "finished", "rounds": 2, "model": "00"}), "7")
    assert (metric(status, "challenges_total"), metric(status, "finished")) == (1, 1)


def test_a_server_counts_what_it_left_out(status):
    status(
        EVENTS.validate_python(
            {"event": "committed", **COMMITTED, "round": 1, "gas": 80_000, "excluded": {"0x1": "gone"}, "seconds": 0.5}
        ),
        "7",
    )
    assert metric(status, "excluded_total") == 1


def test_it_is_healthy_while_it_works_or_looks(status, clock):
    assert status.healthy
    clock.now += PATIENCE + 1
    assert not status.healthy
    status.looked()
    assert status.healthy
    status(EVENTS.validate_python({"event": "training", "round": 1}), "7")
    clock.now += 10 * PATIENCE
    assert status.healthy
    status(EVENTS.validate_python({"event": "waiting", "round": 1, "awaited": "server"}), "7")
    assert status.healthy
    clock.now += PATIENCE + 1
    assert not status.healthy


def test_it_answers_over_http(status, clock):
    with serving(status, "0") as url:
        assert url.startswith("http://127.0.0.1:")
        answer = httpx.get(f"{url}/healthz", timeout=60)
        assert (answer.status_code, answer.json()["status"]) == (200, "healthy")
        clock.now += PATIENCE + 1
        answer = httpx.get(f"{url}/healthz", timeout=60)
        assert (answer.status_code, answer.json()["seconds_since_look"]) == (503, PATIENCE + 1)
        text = httpx.get(f"{url}/metrics", timeout=60).text
        assert 'galaxy_round{job="7",role="client"} 0.0' in text
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz", timeout=60)


@pytest.mark.parametrize("address", ["", "http://x", "127.0.0.1", "70000", "127.0.0.1:x"])
def test_what_is_no_address_is_refused(status, address):
    with pytest.raises(ConfigurationError, match="expected PORT or HOST:PORT"), serving(status, address):
        pass


def test_an_address_that_is_taken_is_refused(status):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigurationError, match="choose another port"), serving(status, address):
            pass
