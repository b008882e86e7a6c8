"""A relay, look by look: what it hands in, what it pays for, and what happens to it."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace

import pytest

from galaxy_chain.lane.relay import Relay, RelaySettings
from galaxy_chain.ledger.events import ClientJoined, UpdatesSubmitted
from galaxy_chain.transactions import manager
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_fl.content import ContentId
from galaxy_fl.exceptions import RoundMovedOnError
from tests.galaxy_chain.federation import DOCUMENT, SAMPLES, made_up, said
from tests.galaxy_chain.lane.poor import AT_ONCE, Poor, look, poor_accounts


class Killed(BaseException):
    """As if the process had ended here."""


@pytest.fixture
def poor(federation, tmp_path):
    """A job that up to eight clients without ether can take part in, five of them."""
    federation.job = federation.register(max_clients=8)
    return Poor(federation, tmp_path, clients=5)


@pytest.fixture
def server(poor):
    with closing(poor.server(None)) as running:
        yield running


def taken(poor) -> list[list[int]]:
    """Which clients are in, batch by batch."""
    federation = poor.federation
    ledger, latest = federation.ledger(), federation.rpc.block("latest").number
    numbers = {signer.address[2:].lower(): index for index, signer in enumerate(poor.signers)}
    return [
        [numbers[event.entries[at : at + 20].hex()] for at in range(0, len(event.entries), 88)]
        for event in ledger.events(UpdatesSubmitted, ledger.first_block, latest, job=federation.job)
    ]


def hand_in(poor, *indices, **options) -> None:
    for index in indices:
        poor.inbox.hand_in(poor.federation.job, options.get("attempt", 1), poor.signed(index, **options))


def sent(server) -> int:
    """How many transactions the account of the relay has sent."""
    return server.ledger.rpc.number("eth_getTransactionCount", server.address, "latest")


def test_clients_join_and_their_updates_are_handed_in_as_one_batch(poor, server):
    relay = poor.relay(server)
    for index in range(3):
        poor.inbox.ask_to_join(poor.federation.job, poor.joining(index))
    assert look(relay, server)
    assert not look(relay, server)
    assert set(server.history.clients) == {signer.address for signer in poor.signers[:3]}
    hand_in(poor, 0, 1, 2)
    before = sent(server)
    assert look(relay, server)
    assert not look(relay, server)
    assert [sorted(batch) for batch in taken(poor)] == [[0, 1, 2]]
    assert sent(server) == before + 1
    assert poor.balances() == [0] * 5


def test_a_batch_waits_for_others_until_it_is_full_or_its_time_is_over(poor, server):
    poor.join(0, 1, 2, 3, 4)
    now = [0.0]
    relay = poor.relay(server, RelaySettings(batch=3, wait=10), clock=lambda: now[0])
    hand_in(poor, 0, 1)
    assert not look(relay, server)
    now[0] = 9
    assert not look(relay, server)
    hand_in(poor, 2)
    assert look(relay, server)
    hand_in(poor, 3)
    assert not look(relay, server)
    now[0] = 30
    assert look(relay, server)
    hand_in(poor, 4)  # the last one that has joined: nobody else is waited for
    assert look(relay, server)
    assert [len(batch) for batch in taken(poor)] == [3, 1, 1]


def test_nobody_is_handed_in_whose_content_is_not_there_and_all_others_are(poor, server, caplog):
    poor.join(0, 1, 2)
    hand_in(poor, 0, 1, 2)
    content = ContentId.of(made_up(101).data)
    path = poor.federation.store.path(content)
    path.unlink()
    now = [0.0]
    relay = poor.relay(server, clock=lambda: now[0])
    assert look(relay, server)
    assert sorted(taken(poor)[0]) == [0, 2]
    assert any(f"{poor.signers[1].address} is not handed in, because its content" in each for each in said(caplog))
    poor.federation.store.put(made_up(101).data)
    now[0] = 100
    assert look(relay, server)
    assert taken(poor)[1] == [1]


def test_silent_members_cost_one_entry_where_updates_are_revealed_late(poor, server, caplog, tmp_path):
    federation = poor.federation
    document = DOCUMENT.model_copy(update={"reveal": "after-close"})
    federation.job = federation.register(document, max_clients=8, max_excluded=1, rounds=3)
    poor.join(0, 1, 2)
    with closing(poor.server(None)) as serving:
        relay = poor.relay(serving)
        hand_in(poor, 0, 1, 2)
        for index in range(3):  # nothing is revealed yet
            federation.store.path(ContentId.of(made_up(100 + index).data)).unlink()
        assert look(relay, serving)
        assert len(taken(poor)[0]) == 3
        for index in (0, 1):
            federation.store.put(made_up(100 + index).data)
        federation.travel(200)
        round = serving.round()
        serving.enter()
        updates = serving.updates(round)
        usable, missing = serving.gather(round, updates)
        (tmp_path / "next").write_bytes(made_up(9).tobytes())
        serving.commit(round, tmp_path / "next", missing)
        assert len(usable) == 2
        serving.round()
        model = serving.history.model.root
        hand_in(poor, 0, 1, 2, attempt=2, model=model, seed=7)
        assert look(relay, serving)
        assert sorted(taken(poor)[1]) == [0, 1]
        assert any(f"{poor.signers[2].address} is not handed in, because its last" in each for each in said(caplog))


def test_what_strangers_and_the_expelled_sign_costs_nothing(poor, server):
    poor.join(0, 1)
    hand_in(poor, 0, 1, 2, 3)
    hand_in(poor, 4, attempt=1, model=b"\1" * 32)
    poor.inbox.hand_in(poor.federation.job, 1, poor.signed(0, weight=SAMPLES + 1))
    federation = poor.federation
    federation.ledger(federation.owner).expel(federation.job, poor.signers[1].address).transact()
    relay = poor.relay(server)
    assert not look(relay, server) or taken(poor) == [[0]]
    assert taken(poor) in ([], [[0]])
    assert sent(server) <= 1


def test_it_joins_whom_the_owner_admits_and_in_an_open_job_as_many_as_a_round_takes(poor, tmp_path, caplog):
    federation = poor.federation
    ledger = federation.ledger()

    def joined() -> int:
        return len(
            ledger.events(ClientJoined, ledger.first_block, federation.rpc.block("latest").number, job=federation.job)
        )

    for terms, expected in (({"open": False}, 1), ({"max_clients": 3}, 3)):
        federation.job = federation.register(**terms)
        if not terms.get("open", True):
            federation.ledger(federation.owner).admit(federation.job, [poor.signers[0].address]).transact()
        for index in range(5):
            poor.inbox.ask_to_join(federation.job, poor.joining(index))
        with closing(poor.server(None)) as serving:
            relay = poor.relay(serving)
            while look(relay, serving):
                pass
            assert joined() == expected
    assert any("the relay has no more join" in each for each in said(caplog))


def test_clients_join_in_one_call_and_one_that_can_not_keeps_nobody_else_from_it(poor, server, caplog):
    """Its signature is of something else, which an inbox may not have noticed."""
    forged = poor.joining(1).model_copy(update={"samples": SAMPLES - 1})
    joins = [poor.joining(0), forged, poor.joining(2)]
    relay = poor.relay(server)
    assert relay._send_joins(server.history, joins)
    ledger = poor.federation.ledger()
    events = ledger.events(ClientJoined, 0, poor.federation.rpc.block("latest").number, job=poor.federation.job)
    assert {event.client for event in events} == {poor.signers[0].address, poor.signers[2].address}
    assert len({event.transaction for event in events}) == 1
    assert any("the signature is not the client's" in each for each in said(caplog))


def test_budget_and_fee_cap(poor, server, caplog):
    poor.join(0, 1)
    hand_in(poor, 0, 1)
    assert not look(poor.relay(server, replace(AT_ONCE, fee_cap=1)), server)
    assert any("dearer than the relay pays" in each for each in said(caplog))
    assert not look(poor.relay(server, replace(AT_ONCE, budget=10**13)), server)
    assert any("the relay has spent 0 ether of its" in each for each in said(caplog))
    assert taken(poor) == []
    before = server.ledger.rpc.number("eth_getBalance", server.address, "latest")
    relay = poor.relay(server)
    assert look(relay, server)
    cost = before - server.ledger.rpc.number("eth_getBalance", server.address, "latest")
    assert json.loads((poor.folder / "relayed.json").read_text()) == {"round": 1, "wei": cost}
    poor.join(2)
    hand_in(poor, 2)
    again = poor.relay(server, replace(AT_ONCE, budget=cost + 10))  # a process that was started again remembers
    assert not look(again, server)
    assert len(taken(poor)) == 1


def test_out_of_funds_it_says_so_and_goes_on_when_it_has_some(poor, caplog):
    federation = poor.federation
    poor.join(0, 1)
    hand_in(poor, 0, 1)
    (pauper,) = poor_accounts(6)[5:]
    with closing(poor.server(None)) as serving:
        now = [0.0]
        serving.ledger = poor.ledger(pauper)
        relay = poor.relay(serving, clock=lambda: now[0])
        for moment in (0, 1, 5, 20):
            now[0] = moment
            assert not look(relay, serving)
        assert len([each for each in said(caplog) if "out of funds" in each]) == 1
        federation.rpc.request(
            "eth_sendTransaction", {"from": federation.owner, "to": pauper.address, "value": hex(10**18)}
        )
        now[0] = 200
        assert look(relay, serving)
        assert sorted(taken(poor)[0]) == [0, 1]


def test_a_batch_front_run_by_one_of_its_clients_takes_the_others(federation, tmp_path):
    """The relay has not seen yet that one is in by a transaction of its own."""
    federation.job = federation.register(max_clients=8)
    poor = Poor(federation, tmp_path)
    poor.signers = [NodeSigner(client) for client in federation.clients]
    poor.join(0, 1, 2)
    hand_in(poor, 0, 1, 2)
    with closing(poor.server(None)) as serving:
        serving.round()
        own = poor.signed(1)
        ledger = federation.ledger(federation.clients[1])
        ledger.submit_update(federation.job, 1, bytes.fromhex(own.model), own.update).transact()
        relay = poor.relay(serving)
        assert relay.look(serving.history, 0)  # as it was before
        assert [sorted(batch) for batch in taken(poor)] == [[1], [0, 2]]
        serving.round()
        ledger.submit_update(federation.job, 1, bytes.fromhex(own.model), own.update).transact()  # again: nothing
        assert not relay.look(serving.history, 0)


def test_a_batch_with_a_wrong_entry_is_sent_again_without_it(poor, server, web3, caplog):
    """The one has joined on a branch of the chain that is no more, and the relay has not seen that yet."""
    poor.join(0, 1)
    snapshot = web3.provider.make_request("evm_snapshot", [])["result"]
    poor.join(2)
    hand_in(poor, 0, 1, 2)
    server.round()
    assert len(server.history.clients) == 3
    web3.provider.make_request("evm_revert", [snapshot])
    relay = poor.relay(server)
    assert relay.look(server.history, 0)
    assert [sorted(batch) for batch in taken(poor)] == [[0, 1]]
    assert any("is left out: the ledger refuses submitUpdates" in each for each in said(caplog))


def test_an_old_batch_is_worth_nothing_where_the_attempt_stands_on_another_model(poor, server, web3):
    federation = poor.federation
    poor.join(0, 1)
    hand_in(poor, 0, 1)
    relay = poor.relay(server)
    assert look(relay, server)
    federation.travel(200)
    federation.serve()
    snapshot = web3.provider.make_request("evm_snapshot", [])["result"]
    federation.commit(made_up(8))
    seeing = federation.serve()
    first = seeing.history.model.root
    hand_in(poor, 0, 1, attempt=2, model=first)
    assert look(relay, seeing)
    assert len(taken(poor)) == 2
    old = [poor.signed(index, 2, first) for index in (0, 1)]
    web3.provider.make_request("evm_revert", [snapshot])
    federation.commit(made_up(9))
    seeing = federation.serve()
    second = seeing.history.model.root
    assert (seeing.history.attempt, second != first) == (2, True)
    assert not look(relay, seeing), "what was signed for the other model is not handed in"
    call = server.ledger.submit_updates(
        federation.job,
        2,
        first,
        b"".join(
            bytes.fromhex(u.client[2:]) + u.weight.to_bytes(4) + u.update.commitment + u.update.content for u in old
        ),
        b"".join(bytes.fromhex(u.signature) for u in old),
    )
    with pytest.raises(RoundMovedOnError, match="it stands on the model"):
        call.transact()
    hand_in(poor, 0, 1, attempt=2, model=second)
    assert look(relay, seeing)
    assert [len(batch) for batch in taken(poor)] == [2, 2]


@pytest.mark.parametrize("point", ["after-intent", "after-broadcast", "before-receipt"])
def test_killed_anywhere_it_pays_once(poor, monkeypatch, point):
    poor.join(0, 1, 2)
    hand_in(poor, 0, 1)

    def kill(name: str) -> None:
        if name == point:
            raise Killed

    before = poor.federation.rpc.number("eth_getTransactionCount", poor.federation.server, "latest")
    with closing(poor.server(None)) as serving:
        monkeypatch.setattr(manager, "fault_point", kill)
        with pytest.raises(Killed):
            look(poor.relay(serving), serving)
    monkeypatch.undo()
    hand_in(poor, 2)  # so that the next batch would be another
    with closing(poor.server(None)) as serving:
        relay = poor.relay(serving)
        while look(relay, serving):
            pass
        assert [sorted(batch) for batch in taken(poor)] in ([[0, 1], [2]], [[0, 1, 2]])
        assert sent(serving) - before == len(taken(poor)), "nothing is paid in vain"


def test_a_batch_that_a_node_does_not_take_is_halved(poor, server, monkeypatch):
    poor.join(0, 1, 2, 3, 4)
    hand_in(poor, 0, 1, 2, 3, 4)
    monkeypatch.setattr("galaxy_chain.lane.relay._ENTRY_GAS", 10)
    relay = poor.relay(server)
    assert isinstance(relay, Relay)
    # A node that lets a call use little gas, as some do.
    request = server.ledger.rpc.request

    def stingy(method, *parameters):
        if method == "eth_estimateGas" and len(parameters[0]["data"]) > 1_600:
            parameters = ({**parameters[0], "gas": hex(60_000)}, *parameters[1:])
        return request(method, *parameters)

    monkeypatch.setattr(server.ledger.rpc, "request", stingy)
    while look(relay, server):
        pass
    assert sorted(index for batch in taken(poor) for index in batch) == [0, 1, 2, 3, 4]
    assert max(map(len, taken(poor))) < 5


def test_job_show_names_lanes(federation, at_ledger, tmp_path):
    federation.job = federation.register(max_clients=8)
    poor = Poor(federation, tmp_path)
    poor.join(0, 1)
    hand_in(poor, 0, 1)
    federation.submit(0)
    with closing(poor.server(None)) as serving:
        assert look(poor.relay(serving), serving)
    shown = at_ledger.json("job", "show", federation.job, "--lanes")["lanes"]
    assert [(each["lane"], each["by"], sorted(each["clients"])) for each in shown] == [
        ("direct", federation.clients[0], [federation.clients[0]]),
        ("signed", federation.server, sorted(signer.address for signer in poor.signers[:2])),
    ]
    assert at_ledger.run("job", "show", federation.job, "--lanes") == 0
    assert "signed" in at_ledger.out
    assert "lanes" not in at_ledger.json("job", "show", federation.job)
