"""Who gets a sealed job's keys: newcomers, the expelled, watchtowers, and an owner who was interrupted."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from galaxy_chain.coordinators.pending import Pending
from galaxy_chain.exceptions import KeyMissingError
from galaxy_chain.seal import owner
from galaxy_chain.seal.sealing import key_digest
from galaxy_chain.seal.store import SealedStore
from galaxy_chain.seal.vault import Vault
from galaxy_chain.seal.wraps import holders
from galaxy_fl.exceptions import ConfigurationError, JobDocumentError, RoundMovedOnError
from galaxy_fl.jobs.document import RuleChoice
from galaxy_fl.vectors import tree_root
from tests.galaxy_chain.federation import CHUNK, PARAMETERS, made_up, said
from tests.galaxy_chain.seal.sealed import SEALED


def keys_of(sealed, account):
    return set(sealed.history().keys.get(account, ()))


def having(sealed):
    """Whom the running epoch's key is wrapped for."""
    return {holder for wraps in list(sealed.history().epochs.values())[-1] for holder in holders(wraps)}


def test_who_is_expelled_reads_the_past_and_nothing_after(sealed):
    gone = sealed.clients[2]
    sealed.submit(0, 1, 2)
    sealed.commit()
    sealed.ledger(sealed.owner).expel(sealed.job, gone).transact()
    assert sealed.keep()
    assert not sealed.keep(), "once is enough"
    assert len(sealed.history().epochs) == 2
    assert not keys_of(sealed, gone) & having(sealed)
    sealed.submit(0, 1, seed=2)
    sealed.travel(200)
    sealed.commit()
    expelled = sealed.newcomer(2)
    history = expelled.history
    assert np.array_equal(np.fromfile(expelled.verifier.model(history.initial, ""), "<i4"), sealed.initial)
    expelled.verifier.model(history.commits[1].record.next, "round 1")
    for read in (
        lambda: expelled.verifier.model(history.commits[2].record.next, "round 2"),
        lambda: expelled.verifier.update(history.commits[2].entries[0], "an update"),
        lambda: expelled.store.put(b"anything"),
        lambda: expelled.model(expelled.round()),
    ):
        with pytest.raises(KeyMissingError, match="epochs 2 are not here"):
            read()
    with pytest.raises(KeyMissingError, match="is expelled from job.*galaxy-chain claim"):
        expelled.model(expelled.round())
    assert sealed.audit(sealed.own(sealed.clients[0])) == [1, 2]


def test_who_comes_late_verifies_the_past(sealed):
    sealed.submit(0, 1)
    sealed.travel(200)
    sealed.commit()
    sealed.keeper().rotate(sealed.history())
    late = sealed.client(2)
    assert late.keys.lacking() == []
    assert sealed.audit(sealed.own(sealed.clients[2])) == [1]
    late.submit(late.round(), made_up(7), 40)
    assert late.history.epochs


def test_an_update_that_was_about_to_be_handed_in_waits_for_the_new_key(sealed):
    client = sealed.client(0)
    round = client.round()
    sealed.keeper()._vault.make()
    wraps = owner.Wrapping(sealed.ledger().chain_id, sealed.ledger().address, sealed.job)
    key = sealed.vault(sealed.owner).make()
    # As the first of several transactions of an owner with many members: this one is not among them.
    only_owner = wraps.wrap(key, sealed.vault(sealed.owner).public)
    sealed.ledger(sealed.owner).share_key(sealed.job, key_digest(key), only_owner).transact()
    client._follower.poll()
    with pytest.raises(RoundMovedOnError, match="another key"):
        client.submit(round, made_up(1), 40)
    sealed.keep()
    round = client.round()
    assert client.model(round)
    client.submit(round, made_up(1), 40)


def test_a_watchtower_is_given_keys_by_hand_and_keeps_getting_them_until_it_has_to_go(sealed):
    account = sealed.node.accounts[6]
    tower = sealed.vault(account).public
    with pytest.raises(ConfigurationError, match="galaxy-chain key register"):
        sealed.keeper().share(sealed.history(), [account])
    sealed.grant(account)
    sealed.keeper().rotate(sealed.history())
    assert tower in having(sealed)
    sealed.keeper().rotate(sealed.history(), [account])
    assert tower not in having(sealed)
    sealed.keep()
    assert tower not in having(sealed)


def test_a_member_is_not_left_out_but_expelled(sealed):
    sealed.client(0)
    with pytest.raises(ConfigurationError, match="job expel"):
        sealed.keeper().rotate(sealed.history(), [sealed.clients[0]])
    sealed.ledger(sealed.owner).expel(sealed.job, sealed.clients[0]).transact()
    with pytest.raises(ConfigurationError, match="is expelled"):
        sealed.keeper().share(sealed.history(), [sealed.clients[0]])


def test_a_key_that_was_replaced_gets_nothing_from_the_next_epoch_on(sealed):
    sealed.client(0)
    lost, new = sealed.vault(sealed.clients[0]).public, Vault(sealed.folder / "new").public
    sealed.ledger(sealed.clients[0]).register_key(sealed.job, new).transact()
    sealed.keep()
    assert {lost, new} <= having(sealed)
    sealed.keeper().rotate(sealed.history())
    assert new in having(sealed)
    assert lost not in having(sealed)


def test_a_member_that_registers_key_after_key_does_not_have_the_owner_pay_for_each(sealed, caplog):
    sealed.client(0)
    for number in range(owner.MOST_KEYS):
        key = Vault(sealed.folder / f"key {number}").public
        sealed.ledger(sealed.clients[0]).register_key(sealed.job, key).transact()
    assert not sealed.keep()
    assert any("more than 5 keys" in line for line in said(caplog))
    sealed.keeper().share(sealed.history(), [sealed.clients[0]])
    assert key in having(sealed)
    assert len(sealed.history().epochs) == 1


def test_a_client_that_registers_what_is_no_key_keeps_nobody_out(sealed, caplog):
    sealed.ledger(sealed.clients[0]).join(sealed.job, 40, b"\xff" * 32).transact()
    client = sealed.client(1)
    assert client.model(client.round())
    assert any("not a point of secp256k1" in line and sealed.clients[0] in line for line in said(caplog))


def test_naming_a_members_key_as_ones_own_lets_nobody_in_and_keeps_nobody_out(sealed):
    """An admitted client names another's key; that it is expelled takes no key from the other."""
    member = sealed.client(0).keys.vault.public
    sealed.ledger(sealed.clients[1]).join(sealed.job, 40, member).transact()
    sealed.keep()
    assert sealed.newcomer(1).keys.lacking() == [1]
    sealed.ledger(sealed.owner).expel(sealed.job, sealed.clients[1]).transact()
    sealed.keep()
    assert member in having(sealed)


@pytest.mark.parametrize("rule", ["weighted_mean", pytest.param("fedadam", marks=pytest.mark.extended)])
def test_an_owner_that_was_stopped_before_the_first_key_was_shared_goes_on(sealed, rule):
    """With moments beside it a model is longer than an update."""
    document = SEALED
    if rule != "weighted_mean":
        document = SEALED.model_copy(update={"rule": RuleChoice(name=rule), "averaged": []})

    sealed.job = sealed.register_without_key(document)
    sealed.vault(sealed.owner).make()  # one of another job
    assert not sealed.history().epochs
    stranger = owner.KeyKeeper(sealed.ledger(sealed.owner), sealed.job, sealed.vault(sealed.clients[0]))
    with pytest.raises(KeyMissingError, match="the job was created with"):
        stranger.look(sealed.history(), sealed.store)
    assert sealed.keep()
    sealed.ledger(sealed.owner).admit(sealed.job, sealed.clients).transact()
    client = sealed.client(0)
    model = np.fromfile(client.model(client.round()), "<i4")
    assert np.array_equal(model.reshape(-1, document.lanes)[:, 0], sealed.initial)
    assert len(model) == document.model_parameters


def test_the_owners_own_server_shares_with_whoever_comes(sealed):
    server = sealed.new_server(sealed.owner)
    server.enter()
    client = sealed.newcomer(0)
    client.enter(40)
    server.round()
    assert client.model(client.round())


def test_an_update_that_is_revealed_after_a_rotation_is_what_was_committed_to(sealed, tmp_path):
    client = sealed.client(0)
    pending = Pending(tmp_path / "pending", "me")
    content = pending.keep(1, b"\1" * 32, 1, made_up(1), client.store)
    assert not client.store.has(content)
    sealed.keeper().rotate(sealed.history())
    client._follower.poll()
    pending.reveal(client.store, 1, content.digest)
    assert np.array_equal(np.fromfile(client.store.path(content), "<i4"), made_up(1))
    assert not sealed.lies_open(made_up(1))
    assert not any(made_up(1).tobytes()[:64] in path.read_bytes() for path in (tmp_path / "pending").iterdir())


def test_whoever_recomputes_a_model_of_an_earlier_epoch_heals_it_under_its_id(sealed):
    sealed.submit(0, 1, 2)
    sealed.commit()
    sealed.keeper().rotate(sealed.history())
    member = sealed.newcomer(0)
    model = member.history.commits[1].record.next
    file = sealed.store.path(sealed.sealed(model.content))
    file.unlink()
    assert tree_root(np.fromfile(member.verifier.model_after(member.history, 1), "<i4"), CHUNK) == model.root
    assert sealed.store.has(sealed.sealed(model.content))


def test_pins_and_ids_go_by_what_is_sealed(sealed):
    store = sealed.client(0).store
    assert isinstance(store, SealedStore)
    content = store.put(made_up(3).data)
    assert content.size == 4 * PARAMETERS
    assert store.get(content, 4, 12) == made_up(3).tobytes()[4:12]
    store.pin(content)
    assert content.cid in store.pins()
    assert sealed.sealed(content.digest).cid in sealed.store.pins()
    store.unpin(content)
    assert content.cid not in store.pins()


@pytest.mark.parametrize("size", [262_144 - 100, pytest.param(262_145, marks=pytest.mark.extended)])
def test_an_id_that_is_spelled_otherwise_sealed_than_open_is_pinned_all_the_same(sealed, size):
    """Just below a block what is sealed is longer than one, and its id has another codec."""
    store = sealed.client(0).store
    content = store.put(bytes(size))
    store.pin(content)
    assert content.cid in store.pins()
    assert store.get(content) == bytes(size)


def test_what_was_opened_may_be_removed_and_is_opened_again(sealed):
    store = sealed.client(0).store
    content = store.put(made_up(3).data)
    for path in (sealed.home(sealed.clients[0]) / "opened").rglob("*"):
        if path.is_file():
            path.unlink()
    assert store.get(content) == made_up(3).tobytes()


def test_a_job_that_anybody_may_join_is_not_sealed(sealed):
    with pytest.raises(JobDocumentError, match="terms.open is true"):
        sealed.register(open=True)


def test_keys_are_in_files_that_nobody_else_reads(sealed, caplog):
    with caplog.at_level(logging.DEBUG):
        sealed.client(0)
    home = sealed.home(sealed.clients[0])
    assert (home / "keys" / "member.key").stat().st_mode & 0o777 == 0o600
    assert (home / "opened").stat().st_mode & 0o777 == 0o700
    owners = sealed.home(sealed.owner) / "keys"
    files = list(owners.rglob("*.key"))
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    secrets = [path.read_text().strip() for path in (*files, home / "keys" / "member.key")]
    assert not any(secret in caplog.text for secret in secrets)
    (home / "keys" / "member.key").chmod(0o644)
    with pytest.raises(ConfigurationError, match="can be read by others.*chmod 600"):
        Vault(home).secret  # noqa: B018
    (home / "keys" / "member.key").write_text("not a key")
    (home / "keys" / "member.key").chmod(0o600)
    with pytest.raises(ConfigurationError, match="is damaged"):
        Vault(home).secret  # noqa: B018


def test_a_document_without_a_seal_is_what_it_was():
    assert b"seal" not in SEALED.model_copy(update={"seal": None}).to_bytes()
    assert b'"seal":"members"' in SEALED.to_bytes()
