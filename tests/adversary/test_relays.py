"""Clients, relays and whoever reads an inbox, against each other. What a single call of the ledger refuses is in
`tests/contracts/test_signed.py`, and what happens to a relay's money in `tests/galaxy_chain/lane/test_relay.py`."""

from __future__ import annotations

from contextlib import closing

import pytest

from galaxy_chain.lane.messages import SignedUpdate
from galaxy_chain.ledger.signing import sign_update
from galaxy_chain.ledger.structs import Update
from galaxy_chain.ledger.submissions import pack_block
from galaxy_fl.vectors import tree_root
from tests.adversary.arena import stranger
from tests.galaxy_chain.federation import CHUNK, said
from tests.galaxy_chain.lane.poor import Poor, look


@pytest.fixture
def poor(federation, tmp_path):
    """A job that clients without ether take part in."""
    federation.job = federation.register(max_clients=8)
    return Poor(federation, tmp_path, clients=3)


def entries(poor: Poor) -> list[str]:
    """Whose entries are in."""
    federation = poor.federation
    server = federation.serve()
    server.round()
    return [entry.client for entry in server.history.entries]


def test_a_client_that_signs_two_entries_is_in_once_and_the_other_is_worth_nothing(poor):
    poor.join(0, 1)
    both = [poor.signed(0, seed=seed) for seed in (7, 8)]
    for signed in (*both, poor.signed(1)):
        poor.inbox.hand_in(poor.federation.job, 1, signed)
    with closing(poor.server(None)) as serving:
        relay = poor.relay(serving)
        assert look(relay, serving)
        serving.round()
        found = {entry.client: entry.update.content.hex() for entry in serving.history.entries}
        assert set(found) == {signer.address for signer in poor.signers[:2]}
        (other,) = [signed for signed in both if signed.content != found[signed.client]]
        # Somebody else relays, too.
        ledger = poor.federation.ledger(stranger(poor.federation))
        block, signature = pack_block([other.entry]), bytes.fromhex(other.signature)
        ledger.submit_updates(poor.federation.job, 1, bytes.fromhex(other.model), block, signature).transact()
        assert not look(relay, serving)
    assert sorted(entries(poor)) == sorted(found)
    assert poor.federation.ledger().job_of(poor.federation.job).state.updates == 2


def test_an_entry_copied_out_of_an_inbox_is_not_relayed_under_another_name(poor, caplog):
    poor.join(0, 1)
    original, thief = poor.signed(0), poor.signers[1]
    update = Update(bytes.fromhex(original.commitment), bytes.fromhex(original.content), original.weight)
    model = tree_root(poor.federation.initial, CHUNK)
    signature = sign_update(thief, poor.federation.rpc, poor.domain, poor.federation.job, 1, model, update)
    poor.inbox.hand_in(poor.federation.job, 1, SignedUpdate.of(thief.address, model, update, signature))
    poor.inbox.hand_in(poor.federation.job, 1, original)
    with closing(poor.server(None)) as serving:
        relay = poor.relay(serving)
        assert look(relay, serving)
        assert not look(relay, serving)
    assert entries(poor) == [poor.signers[0].address]
    assert any(f"{thief.address} is not handed in" in each for each in said(caplog))
