"""What browsers are told: in order, once, and, after a break, whatever they have missed, or that they have."""

from __future__ import annotations

import asyncio
import json
import threading
from types import SimpleNamespace

import pytest

from galaxy_chain.dashboard import events
from galaxy_chain.dashboard.app import create_app
from galaxy_chain.dashboard.events import MOST_STREAMS, MOST_WAITING, REMEMBERED, Hub
from galaxy_chain.dashboard.schema import Update
from galaxy_fl.content.problems import Refused
from tests.galaxy_chain.dashboard.served import served


def parsed(packed):
    lines = dict(line.split(": ", 1) for line in packed.decode().strip().splitlines() if ": " in line)
    return lines["event"], json.loads(lines["data"]), lines["id"]


async def heard(hub, count, job=None, last=None, before=lambda: None):
    """The first events of a stream."""
    stream = hub.listen(job, last)
    found = []
    lines = hub.lines(stream)
    async for packed in lines:
        if packed.startswith(b":"):
            continue
        found.append(parsed(packed))
        if len(found) == 1:
            before()
        if len(found) == count:
            break
    await lines.aclose()
    assert hub.streams == 0
    return found


def hear(*arguments, **more):
    return asyncio.run(asyncio.wait_for(heard(*arguments, **more), 60))


def tell(hub, *jobs):
    for job in jobs:
        hub.tell("job", Update(job=job))


def test_events_come_in_order_and_only_those_of_the_job_that_is_looked_at():
    hub = Hub()
    tell(hub, 1)

    def now():
        tell(hub, 2, 3, 2)
        hub.tell("ledger", Update(block=7))

    found = hear(hub, 4, job=2, before=now)
    assert [(name, data) for name, data, _ in found] == [
        ("hello", {}), ("job", {"job": 2}), ("job", {"job": 2}), ("ledger", {"block": 7})
    ]  # fmt: skip
    ids = [int(id.rpartition("-")[2]) for _, _, id in found]
    assert ids == [1, 2, 4, 5]


def test_who_comes_back_gets_what_it_has_missed():
    hub = Hub()
    tell(hub, 1, 2)
    (_, _, id) = hear(hub, 1)[0]
    tell(hub, 3, 4)
    assert [(name, data.get("job")) for name, data, _ in hear(hub, 3, last=id)] == [
        ("hello", None),
        ("job", 3),
        ("job", 4),
    ]
    # A break right after the first word loses nothing.
    again = hear(hub, 1, last=id)[0][2]
    assert [data.get("job") for _, data, _ in hear(hub, 3, last=again)] == [None, 3, 4]


@pytest.mark.parametrize("last", ["other-1", "", "-", "x" * 90, "{boot}-99999999", "{boot}--1", "{boot}-²"])
def test_who_comes_back_from_elsewhere_is_told_to_fetch_everything(last):
    hub = Hub()
    tell(hub, 1)
    assert [name for name, *_ in hear(hub, 2, last=last.format(boot=hub._boot))] == ["hello", "reload"]


def test_who_was_away_too_long_is_told_to_fetch_everything():
    hub = Hub()
    (_, _, id) = hear(hub, 1)[0]
    tell(hub, *range(REMEMBERED + 1))
    assert [name for name, *_ in hear(hub, 2, last=id)] == ["hello", "reload"]


def test_who_reads_too_slowly_is_told_to_fetch_everything_and_then_goes_on():
    hub = Hub()

    def flood():
        tell(hub, *range(MOST_WAITING + 1))

    found = hear(hub, 2, before=flood)
    assert [name for name, *_ in found] == ["hello", "reload"]
    assert [data.get("job") for _, data, _ in hear(hub, 2, last=found[1][2], before=lambda: tell(hub, 9))] == [None, 9]


def test_memory_is_bounded_by_browsers_and_events():
    hub = Hub()
    tell(hub, *range(3 * REMEMBERED))
    assert len(hub._events) == REMEMBERED

    async def many():
        streams = [hub.listen(None, None) for _ in range(MOST_STREAMS)]
        with pytest.raises(Refused, match="browsers listen already"):
            hub.listen(None, None)
        tell(hub, *range(3 * MOST_WAITING))
        assert max(len(stream.waiting) for stream in streams) <= MOST_WAITING
        for stream in streams:
            hub.end(stream)

    asyncio.run(many())


def test_a_stream_shows_that_it_is_there_and_ends_with_the_server():
    hub = Hub(heartbeat=0.01)

    async def first_comment():
        async for packed in hub.lines(hub.listen(None, None)):
            if packed.startswith(b":"):
                hub.closing = True
        return True

    assert asyncio.run(asyncio.wait_for(first_comment(), 60))
    assert hub.streams == 0


def test_a_browser_that_is_gone_before_its_first_event_takes_no_place():
    hub = Hub()
    app = create_app(SimpleNamespace(hub=hub, source=SimpleNamespace(local=None)))
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": "/api/events", "raw_path": b"/api/events", "query_string": b"", "headers": [],
        "root_path": "", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip

    async def gone():
        return {"type": "http.disconnect"}

    async def send(event):
        await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(app(scope, gone, send), 60))
    assert hub.streams == 0


def test_any_thread_may_tell():
    hub = Hub()

    def threads():
        for each in [threading.Thread(target=tell, args=(hub, *range(10))) for _ in range(10)]:
            each.start()

    assert len(hear(hub, 101, before=threads)) == 101


def test_a_job_is_followed_live_by_every_browser(federation, monkeypatch):
    monkeypatch.setattr(events, "_LOOK_SECONDS", 0.05)
    with served(federation) as asked:
        asked.job()
        with asked.http.stream("GET", f"/api/jobs/{federation.job}/events") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            lines = response.iter_lines()
            assert "event: hello" in (next(lines) for _ in range(4))
            federation.submit(0, 1, 2)
            federation.commit()
            wanted, seen = {"ledger", "job", "rounds", "verdict"}, set()
            for line in lines:
                if line.startswith("event: "):
                    seen.add(line.removeprefix("event: "))
                if wanted <= seen:
                    break
