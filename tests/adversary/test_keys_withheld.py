"""Keys that come late, never, or are taken back by a reorganisation: nobody waits for what can't come."""

from __future__ import annotations

import threading

import numpy as np

from galaxy_chain.coordinators.abandoned import is_abandoned
from galaxy_chain.exceptions import KeyMissingError
from galaxy_chain.seal.sealing import key_digest
from galaxy_chain.seal.wraps import Wrapping
from tests.galaxy_chain.federation import SAMPLES, made_up, said
from tests.galaxy_chain.seal.conftest import sealed  # noqa: F401
from tests.galaxy_chain.seal.test_keys import having


def test_an_owner_whose_server_comes_before_the_first_key_does_not_wait_for_itself(sealed):  # noqa: F811
    sealed.job = sealed.register_without_key()
    server = sealed.new_server(sealed.owner)
    entering = threading.Thread(target=server.enter, daemon=True)
    entering.start()
    entering.join(30)
    assert not entering.is_alive()
    assert sealed.history().epochs


def begin_epoch(sealed, digest, wraps=b""):  # noqa: F811
    sealed.ledger(sealed.owner).share_key(sealed.job, digest, wraps).transact()


def test_a_client_that_an_owner_keeps_waiting_for_ever_ends_the_job_and_gets_its_money(sealed):  # noqa: F811
    """The owner names a digest of which nobody has the key, and goes, as does the server."""
    sealed.job = sealed.register(pool=10**18)
    sealed.ledger(sealed.owner).admit(sealed.job, sealed.clients).transact()
    sealed.submit(0, 1, 2)
    sealed.commit()
    begin_epoch(sealed, b"\1" * 32)
    client = sealed.client(0)
    ended: list[BaseException] = []
    later, abandoned = client._follower.chain_time + 10**6, {}
    for who, account in (("client", sealed.clients[0]), ("newcomer", sealed.node.accounts[6])):
        # Of a ledger that lets anybody cancel by then.
        abandoned[who] = is_abandoned(client.verifier, client.history, account, later, later - 10**5)

    def wait() -> None:
        try:
            client.model(client.round())
        except BaseException as error:
            ended.append(error)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    for _ in range(30):
        waiting.join(0.5)
        if not waiting.is_alive():
            break
        sealed.travel(20_000)
    assert [type(error) for error in ended] == [KeyMissingError]
    assert sealed.history().cancelled
    assert abandoned["client"]
    assert not abandoned["newcomer"], "who has nothing in the job does not end it"
    paid: list[int] = []
    client.listen(paid.append, lambda *seen: None)
    for _ in range(60):
        sealed.travel(43_200)
        staying = threading.Thread(target=client.stay, args=(client.round(),), daemon=True)
        staying.start()
        staying.join(2)
        if paid:
            break
    assert sum(paid) > 0


def test_other_wraps_that_a_reorganisation_puts_in_their_place_are_looked_at(sealed):  # noqa: F811
    client = sealed.client(0)
    key = sealed.vault(sealed.owner).make()
    wrapping = Wrapping(sealed.ledger().chain_id, sealed.ledger().address, sealed.job)
    snapshot = sealed.rpc.request("evm_snapshot")
    begin_epoch(sealed, key_digest(key), wrapping.wrap(key, sealed.vault(sealed.owner).public))
    client.round()
    assert client.keys.lacking() == [2]
    assert sealed.rpc.request("evm_revert", snapshot) is True
    begin_epoch(sealed, key_digest(key), wrapping.wrap(key, client.keys.vault.public))
    client.round()
    assert client.keys.lacking() == []


def test_a_key_that_another_program_of_the_operator_keeps_is_found(sealed):  # noqa: F811
    client = sealed.client(0)
    key = sealed.vault(sealed.owner).make()
    begin_epoch(sealed, key_digest(key))
    client.round()
    assert client.keys.lacking() == [2]
    client.keys.vault.keep(key)
    assert client.keys.lacking() == []


def test_an_update_of_an_epoch_that_a_reorganisation_takes_away_can_be_read(sealed):  # noqa: F811
    """The client's transaction is in again, the owner's is not: nobody is excluded for that."""
    client, serving = sealed.client(0), sealed.serve()
    snapshot = sealed.rpc.request("evm_snapshot")
    sealed.keeper().rotate(sealed.history())
    serving.round()
    assert serving.keys.lacking() == []
    client.submit(client.round(), made_up(1), SAMPLES)
    client.round()
    (entry,) = (each.update for each in client.history.entries)
    assert sealed.rpc.request("evm_revert", snapshot) is True
    for _ in range(3):
        sealed.rpc.request("evm_mine")
    round, model = client.round(), client.history.model.root
    assert len(client.history.epochs) == 1
    sealed.ledger(sealed.clients[0]).submit_update(sealed.job, round.attempt, model, entry).transact()
    round = serving.round()
    (submitted,) = serving.updates(round)
    assert np.array_equal(np.fromfile(serving.update(round, submitted), "<i4"), made_up(1))


def test_a_rotation_that_a_reorganisation_takes_away_comes_again_with_its_key(sealed):  # noqa: F811
    """So that what was sealed with it stays readable; unless somebody that had it has to go now."""
    for index in range(3):
        sealed.client(index)
    keeper = sealed.keeper()
    snapshot = sealed.rpc.request("evm_snapshot")
    first = keeper.rotate(sealed.history())
    assert sealed.rpc.request("evm_revert", snapshot) is True
    snapshot = sealed.rpc.request("evm_snapshot")
    assert keeper.rotate(sealed.history()) == first
    assert list(sealed.history().epochs)[1:] == [first]
    assert keeper.rotate(sealed.history()) != first, "one that is on the ledger is not made again"
    assert sealed.rpc.request("evm_revert", snapshot) is True
    sealed.ledger(sealed.owner).expel(sealed.job, sealed.clients[2]).transact()
    assert keeper.rotate(sealed.history()) != first


def test_a_member_that_names_a_watchtowers_key_takes_it_from_nobody(sealed, caplog):  # noqa: F811
    """Neither by replacing it, nor unnoticed by being expelled: then who else has it has to go as well."""
    client, account = sealed.client(0), sealed.node.accounts[6]
    sealed.grant(account)
    tower, own = sealed.vault(account).public, client.keys.vault.public
    for key in (tower, own):
        sealed.ledger(sealed.clients[0]).register_key(sealed.job, key).transact()
    sealed.keeper().rotate(sealed.history())
    assert {tower, own} <= having(sealed)
    sealed.ledger(sealed.owner).expel(sealed.job, sealed.clients[0]).transact()
    assert sealed.keep()
    assert not {tower, own} & having(sealed)
    assert any(f"{account} is not given the new key" in line for line in said(caplog))
    assert not sealed.keep()
