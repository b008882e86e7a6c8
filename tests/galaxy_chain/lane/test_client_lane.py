"""A client that signs: when it waits, when it sends a transaction of its own, and that it never signs two entries."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator
from galaxy_chain.lane import client_lane
from galaxy_chain.lane.client_lane import Lane
from galaxy_chain.lane.kept import KeptEntries
from galaxy_chain.ledger.events import UpdatesSubmitted
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_fl.exceptions import ConfigurationError, RoundMovedOnError
from tests.galaxy_chain.federation import PATIENCE, SAMPLES, made_up, said
from tests.galaxy_chain.lane.poor import LONG, Poor, background, look, until


class Killed(BaseException):
    """As if the process had ended here."""


@pytest.fixture
def poor(federation, tmp_path):
    federation.job = federation.register(max_clients=8)
    return Poor(federation, tmp_path)


@pytest.fixture
def rich(poor):
    """A client that can pay, has joined, and prefers that others do; its stopwatch stands still."""
    with closing(poor.client(0, Lane.AUTO, signer=NodeSigner(poor.federation.clients[0]))) as client:
        client.enter(SAMPLES)
        now = [0.0]
        client._lane.clock = lambda: now[0]
        client.now = now
        yield client


def entries(federation) -> list[bytes]:
    ledger, latest = federation.ledger(), federation.rpc.block("latest").number
    return [e.entries for e in ledger.events(UpdatesSubmitted, ledger.first_block, latest, job=federation.job)]


def looked(client) -> None:
    """Waits until a client that hands in has looked a few times more."""
    seen = []
    client.looked = lambda: seen.append(1)
    until(lambda: len(seen) > 3, "a look")


def handed_in(poor) -> list:
    return poor.inbox.updates(poor.federation.job, 1)


def test_where_no_relay_looks_it_goes_direct_at_once_with_the_entry_that_it_has_signed(rich, poor):
    assert rich.submit(rich.round(), made_up(1), SAMPLES) > 21_000
    (entry,) = entries(poor.federation)
    assert [bytes.fromhex(update.commitment) for update in handed_in(poor)] == [entry[24:56]]
    assert not rich.wants_update(rich.round())


def test_it_leaves_it_to_a_relay_that_looks_and_pays_nothing(rich, poor):
    poor.inbox.tend(poor.federation.job)
    submitting = background(rich.submit, rich.round(), made_up(1), SAMPLES)
    with closing(poor.server(None)) as server:
        relay = poor.relay(server)
        until(lambda: look(relay, server), "handing in")
        assert submitting.result() == 0
    assert len(entries(poor.federation)) == 1
    assert not rich.wants_update(rich.round())


def test_what_is_in_and_committed_before_it_looks_again_has_cost_nothing(rich, poor, monkeypatch):
    federation, hand_in = poor.federation, client_lane.HandingIn.look
    poor.inbox.tend(federation.job)
    with closing(poor.server(None)) as server:

        def all_at_once(handing_in):
            hand_in(handing_in)
            relay = poor.relay(server)
            until(lambda: look(relay, server), "handing in")
            federation.submit(1, 2)
            federation.travel(federation.terms().deadline + 1)
            federation.commit()

        monkeypatch.setattr(client_lane.HandingIn, "look", all_at_once)
        assert rich.submit(rich.round(), made_up(1), SAMPLES) == 0
    assert rich.history.round == 2


@pytest.mark.parametrize("closing_soon", [True, False])
def test_a_relay_that_ignores_it_does_not_keep_it_out(rich, poor, closing_soon):
    poor.inbox.tend(poor.federation.job)
    submitting = background(rich.submit, rich.round(), made_up(1), SAMPLES)
    until(lambda: handed_in(poor))
    if closing_soon:
        poor.federation.submit(1, 2)
    looked(rich)
    rich.now[0] = 24 if closing_soon else LONG - 1
    looked(rich)
    assert submitting.is_alive()
    rich.now[0] = 26 if closing_soon else LONG + 1
    assert submitting.result() > 21_000
    assert len(entries(poor.federation)) == (3 if closing_soon else 1)


def test_what_a_store_has_lost_is_handed_in_again(rich, poor):
    federation = poor.federation
    poor.inbox.tend(federation.job)
    submitting = background(rich.submit, rich.round(), made_up(1), SAMPLES)
    until(lambda: handed_in(poor))
    looked(rich)
    for path in (federation.store.root / "inbox").glob("*/*/1/*.json"):
        path.unlink()
    assert not handed_in(poor)
    looked(rich)
    assert not handed_in(poor), "not at every look"
    rich.now[0] = 31
    until(lambda: handed_in(poor))
    with closing(poor.server(None)) as server:
        relay = poor.relay(server)
        until(lambda: look(relay, server), "handing in")
    assert submitting.result() == 0


def test_without_ether_and_relay_it_says_so_and_keeps_trying(poor, caplog):
    federation = poor.federation
    poor.join(0)
    with closing(poor.client(0, Lane.AUTO)) as client:
        client.enter(SAMPLES)
        submitting = background(client.submit, client.round(), made_up(1), SAMPLES)
        until(lambda: any("nobody hands in what this client has signed" in each for each in said(caplog)))
        looked(client)
        assert submitting.is_alive()
        assert len([each for each in said(caplog) if "it has no ether of its own" in each]) == 1
        federation.rpc.request(
            "eth_sendTransaction", {"from": federation.owner, "to": client.address, "value": hex(10**18)}
        )
        assert submitting.result() > 21_000


def test_a_client_that_only_signs_sends_nothing_though_it_could(poor, caplog):
    federation = poor.federation
    signer = NodeSigner(federation.clients[0])
    federation.client(0)
    with closing(poor.client(0, Lane.SIGNED, signer=signer)) as client:
        client.enter(SAMPLES)
        before = federation.rpc.number("eth_getTransactionCount", signer.address, "latest")
        submitting = background(client.submit, client.round(), made_up(1), SAMPLES)
        until(lambda: handed_in(poor))
        federation.submit(1, 2)
        federation.travel(200)
        with pytest.raises(RoundMovedOnError, match="takes no more updates"):
            submitting.result()
        assert not client.wants_update(client.round())
        assert federation.rpc.number("eth_getTransactionCount", signer.address, "latest") == before
    assert any("was signed, and nobody has handed it in in time" in each for each in said(caplog))


@pytest.mark.parametrize("point", ["after-signed", "after-handing-in"])
def test_after_a_crash_it_hands_in_the_same_entry_whatever_it_has_trained_since(poor, monkeypatch, point):
    poor.join(0)

    def kill(name: str) -> None:
        if name == point:
            raise Killed

    with closing(poor.client(0)) as client:
        client.enter(SAMPLES)
        monkeypatch.setattr(client_lane, "fault_point", kill)
        with pytest.raises(Killed):
            client.submit(client.round(), made_up(1), SAMPLES)
    monkeypatch.undo()
    with closing(poor.client(0)) as client, closing(poor.server(None)) as server:
        client.enter(SAMPLES)
        submitting = background(client.submit, client.round(), made_up(2), SAMPLES)
        relay = poor.relay(server)
        until(lambda: look(relay, server), "handing in")
        assert submitting.result() == 0
    (entry,) = entries(poor.federation)
    content = poor.federation.content(entry[56:])
    assert np.array_equal(np.fromfile(content, "<i4"), made_up(1))
    assert len(list((poor.federation.store.root / "inbox").glob("*/*/1/*.json"))) == 1


def test_what_was_signed_and_can_not_be_read_any_more_is_named(tmp_path, poor):
    kept = KeptEntries(tmp_path / "kept")
    first = poor.signed(0)
    model = bytes.fromhex(first.model)
    assert kept.find(1, model) is None
    assert kept.keep(1, first) == first
    assert kept.keep(1, poor.signed(0, seed=7)) == first, "another process was first"
    assert kept.find(1, b"\1" * 32) is None
    (path,) = (tmp_path / "kept").iterdir()
    path.write_text("{")
    with pytest.raises(ConfigurationError, match=r"nobody knows what this client has signed .*--lane direct"):
        kept.find(1, model)
    kept.forget(1)
    assert kept.find(1, model) is None


def test_joining_goes_by_relay_or_where_none_looks_by_a_transaction(poor, caplog):
    federation = poor.federation
    with closing(poor.client(0, Lane.AUTO, signer=NodeSigner(federation.clients[0]))) as client:
        client.enter(SAMPLES)
    assert federation.ledger().client_of(federation.job, federation.clients[0]).samples == SAMPLES
    with closing(poor.server(None)) as server:
        relay = poor.relay(server)
        with closing(poor.enter(1, relay, server)) as client:
            assert client.history.clients[client.address] == SAMPLES
    assert poor.balances() == [0, 0, 0]


def test_a_client_whose_job_ends_while_it_waits_to_join_ends_too(poor):
    federation = poor.federation
    with closing(poor.client(0)) as client:
        entering = background(client.enter, SAMPLES)
        for _ in range(2):
            federation.submit(0, 1, 2)
            federation.travel(200)
            federation.commit()
        entering.result()
        assert client.round().over


def test_a_lane_that_is_none_and_a_client_without_a_folder(federation):
    with pytest.raises(ConfigurationError, match="'fast' is not a lane: expected auto, signed, direct"):
        Lane.parse("fast")
    ledger = federation.ledger(federation.clients[0])
    with pytest.raises(ConfigurationError, match="needs a folder for what it has signed"):
        LedgerClientCoordinator(ledger, federation.store, federation.job, PATIENCE, lane=Lane.AUTO)


def test_what_a_client_without_ether_has_earned_is_named_when_it_ends(poor, caplog, monkeypatch):
    federation = poor.federation
    federation.job = federation.register(pool=10**18, rounds=1, min_clients=1)
    poor.join(0)
    with closing(poor.client(0)) as client, closing(poor.server(None)) as server:
        client.enter(SAMPLES)
        submitting = background(client.submit, client.round(), made_up(1), SAMPLES)
        relay = poor.relay(server)
        until(lambda: look(relay, server), "handing in")
        submitting.result()
        federation.travel(200)
        federation.commit()
        federation.travel(90_000)
        client._settleable_since = 0.0
        client.stay(client.round())
        message = next(each for each in said(caplog) if "it has no ether to get that out" in each)
        assert "0.8 ether" in message
        assert client.address in message
