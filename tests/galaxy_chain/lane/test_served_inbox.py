"""The inbox of a store that is served: who gets a place, that there are only so many, and what comes out."""

from __future__ import annotations

import httpx
import pytest

from galaxy_chain.lane.http_inbox import HttpInbox
from galaxy_chain.lane.messages import LARGEST_MESSAGE
from galaxy_chain.ledger.signing import Domain
from galaxy_chain.store import inbox
from galaxy_chain.store.grants import Grants
from galaxy_chain.store.inbox import ServedInbox, open_inbox_file
from galaxy_fl.content.exchange import Exchange
from galaxy_fl.content.problems import Refused
from galaxy_fl.content.remote import RemoteError
from tests.galaxy_chain.federation import SAMPLES
from tests.galaxy_chain.lane.poor import Poor
from tests.galaxy_chain.store.served.serving import store_server
from tests.galaxy_fl.content.problem import kind


@pytest.fixture
def poor(federation, tmp_path):
    return Poor(federation, tmp_path)


@pytest.fixture
def kept(poor, tmp_path):
    """The inbox behind the API."""
    database = open_inbox_file(tmp_path / "inbox.sqlite")
    yield ServedInbox(database, Grants(poor.federation.ledger(), [poor.federation.owner]))
    database.close()


def refused(how: str, act, *arguments) -> str:
    with pytest.raises(Refused) as caught:
        act(*arguments)
    assert caught.value.kind == how
    return caught.value.detail


def test_one_place_a_client_and_attempt(poor, kept, tmp_path):
    job = poor.federation.job
    poor.join(0, 1)
    first, second = poor.signed(0), poor.signed(1)
    for update in (first, first, second, first):
        kept.hand_in(job, 1, update)
    page = kept.updates(job, 1, 0, relay=False)
    assert page.found == [first.model_dump_json(), second.model_dump_json()]
    assert kept.updates(job, 1, page.next, relay=False).found == []
    assert "one an attempt" in refused("another_entry", kept.hand_in, job, 1, poor.signed(0, seed=5))
    later = open_inbox_file(tmp_path / "inbox.sqlite")  # as after a restart
    grants = Grants(poor.federation.ledger(), [poor.federation.owner])
    assert ServedInbox(later, grants).updates(job, 1, 0, relay=False) == page
    later.close()


def test_whoever_is_not_a_member_and_whatever_can_not_be_taken_is_refused_by_name(poor, kept):
    job = poor.federation.job
    poor.join(0)
    assert "has not joined" in refused("forbidden", kept.hand_in, job, 1, poor.signed(1))
    assert "is not one of" in refused(
        "signature", kept.hand_in, job, 1, poor.signed(0).model_copy(update={"client": poor.signers[1].address})
    )
    assert "is not one of" in refused("signature", kept.hand_in, job, 2, poor.signed(0))
    assert f"{SAMPLES} were declared" in refused("invalid", kept.hand_in, job, 1, poor.signed(0, weight=SAMPLES + 1))
    assert "is at attempt 1" in refused("round_moved_on", kept.hand_in, job, 2, poor.signed(0, 2))
    assert "on the model" in refused("round_moved_on", kept.hand_in, job, 1, poor.signed(0, model=b"\1" * 32))
    poor.federation.ledger(poor.federation.owner).expel(job, poor.signers[0].address).transact()
    assert "expelled" in refused("forbidden", kept.hand_in, job, 1, poor.signed(0))
    assert kept.updates(job, 1, 0, relay=False).found == []


def test_jobs_of_other_owners_have_no_inbox(poor, tmp_path):
    database = open_inbox_file(tmp_path / "inbox.sqlite")
    kept = ServedInbox(database, Grants(poor.federation.ledger(), [poor.federation.server]))
    poor.join(0)
    assert "--owner" in refused("forbidden", kept.hand_in, poor.federation.job, 1, poor.signed(0))
    assert "--owner" in refused("forbidden", kept.ask_to_join, poor.federation.job, poor.joining(1))
    database.close()


def test_who_may_ask_to_join(poor, kept):
    federation = poor.federation
    assert "valid until 1" in refused("invalid", kept.ask_to_join, federation.job, poor.joining(0, deadline=1))
    assert "100 of the terms" in refused("invalid", kept.ask_to_join, federation.job, poor.joining(0, samples=101))
    kept.ask_to_join(federation.job, first := poor.joining(0))
    kept.ask_to_join(federation.job, poor.joining(1))
    kept.ask_to_join(federation.job, newer := poor.joining(0, deadline=first.deadline + 1))
    found = kept.joins(federation.job, 0, relay=False).found
    assert len(found) == 2
    assert newer.model_dump_json() in found
    poor.join(0)
    assert "has joined" in refused("already_in", kept.ask_to_join, federation.job, poor.joining(0))
    closed = federation.job = federation.register(open=False)
    assert "not admitted" in refused("forbidden", kept.ask_to_join, closed, poor.joining(0))
    federation.ledger(federation.owner).admit(closed, [poor.signers[0].address]).transact()
    kept.ask_to_join(closed, poor.joining(0))


def test_a_flood_of_members_is_refused_by_name(poor, kept, monkeypatch):
    monkeypatch.setattr(inbox, "_CLIENTS", 0)
    monkeypatch.setattr(inbox, "_MORE", 2)
    job = poor.federation.job
    poor.join(0, 1, 2)
    kept.hand_in(job, 1, poor.signed(0))
    kept.hand_in(job, 1, poor.signed(1))
    assert "the inbox is full: 2 clients" in refused("inbox_full", kept.hand_in, job, 1, poor.signed(2))
    kept.hand_in(job, 1, poor.signed(0))
    assert len(kept.updates(job, 1, 0, relay=False).found) == 2


def test_over_http(poor, tmp_path):
    """What relays and clients use, and what a stranger can send."""
    job = poor.federation.job
    poor.join(0, 1)
    with store_server(poor.federation, tmp_path / "served") as server:
        client, relay = (HttpInbox(Exchange(server.url, "the store"), poor.domain) for _ in range(2))
        client.hand_in(job, 1, poor.signed(0))
        assert not client.relayed(job)
        relay.tend(job)
        assert relay.updates(job, 1) == [poor.signed(0)]
        client.hand_in(job, 1, poor.signed(1))
        assert client.relayed(job)
        assert relay.updates(job, 1) == [poor.signed(0), poor.signed(1)]
        with pytest.raises(RemoteError, match="signed another entry"):
            client.hand_in(job, 1, poor.signed(0, seed=5))
        client.ask_to_join(job, poor.joining(2))
        assert relay.joins(job) == [poor.joining(2, deadline=relay.joins(job)[0].deadline)]
        elsewhere = HttpInbox(Exchange(server.url, "the store"), Domain(1, poor.domain.ledger))
        assert elsewhere.updates(job, 1) == [], "nobody takes the server's word for a signature"

        target = f"{server.url}/jobs/{job}/attempts/1/updates"
        for body, status in [(b"x" * (LARGEST_MESSAGE + 1), 413), (b"{}", 422), (b"[1, 2]", 422), (b"\xff", 422)]:
            response = httpx.post(target, content=body, timeout=60)
            assert (response.status_code, kind(response)) == (status, "size" if status == 413 else "invalid")
        assert httpx.get(f"{target}?after=-1", timeout=60).status_code == 422
        assert httpx.get(f"{server.url}/jobs/0/joins", timeout=60).status_code == 422
        unknown = httpx.post(f"{server.url}/jobs/99/joins", content=poor.joining(2).model_dump_json(), timeout=60)
        assert (unknown.status_code, kind(unknown)) == (422, "signature")


def test_a_relay_notices_that_a_store_has_lost_its_inbox(poor, tmp_path):
    job = poor.federation.job
    poor.join(0, 1, 2)
    with store_server(poor.federation, tmp_path / "served", port=0) as server:
        port = int(server.url.rpartition(":")[2])
        relay = HttpInbox(Exchange(server.url, "the store"), poor.domain)
        for index in (0, 1):
            relay.hand_in(job, 1, poor.signed(index))
        assert len(relay.updates(job, 1)) == 2
    for path in (tmp_path / "served").glob("inbox.sqlite*"):
        path.unlink()
    with store_server(poor.federation, tmp_path / "served", port=port):
        for index in (2, 1, 0):
            relay.hand_in(job, 1, poor.signed(index))
        assert {update.client for update in relay.updates(job, 1)} == {signer.address for signer in poor.signers}
