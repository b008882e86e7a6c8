"""A sealed job from its first round to its last: who reads it, and who does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from eth_account import Account

from galaxy_chain.coordinators import LedgerClientCoordinator
from galaxy_chain.exceptions import KeyMissingError
from galaxy_chain.lane.client_lane import Lane
from galaxy_chain.lane.inbox import inbox_of
from galaxy_chain.lane.relay import Relay, RelaySettings
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.signing import Domain
from galaxy_chain.seal.vault import Vault
from galaxy_chain.transactions.accounts import LocalSigner
from galaxy_chain.transactions.manager import Transactions
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.rounds.coordinator import Phase
from galaxy_fl.vectors import tree_root
from tests.galaxy_chain.federation import CHUNK, PARAMETERS, PATIENCE, made_up, said
from tests.galaxy_chain.lane.poor import background, look, until


def test_members_train_and_the_store_shows_nothing(sealed):
    server = sealed.serve()
    for number in (1, 2):
        sealed.submit(0, 1, 2, seed=number)
        round = server.round()
        for index, submitted in enumerate(server.updates(round)):
            assert np.array_equal(np.fromfile(server.update(round, submitted), "<i4"), made_up(100 * number + index))
        sealed.commit()
    final = np.fromfile(server.model(server.round()), "<i4")
    assert server.round().phase is Phase.FINISHED
    assert tree_root(final, CHUNK) == sealed.ledger().job_of(sealed.job).root
    vectors = [sealed.initial, final, *(made_up(100 * number + index) for number in (1, 2) for index in range(3))]
    assert not any(map(sealed.lies_open, vectors))
    # With its length and its id it does not even lie there under another name.
    assert {size for _, size in sealed.store.contents()} <= {len(server.job.to_bytes()), 32 + 4 * PARAMETERS + 16}


def test_a_member_reads_all_again_by_its_key_alone(sealed):
    sealed.submit(0, 1, 2)
    sealed.commit()
    again = sealed.own(sealed.clients[0])
    (again / "opened").unlink()
    assert sealed.audit(again) == [1]


def test_without_a_key_nothing_is_readable_and_nobody_is_accused(sealed):
    sealed.submit(0, 1, 2)
    sealed.commit()
    stranger = sealed.node.accounts[9]
    with pytest.raises(KeyMissingError, match="galaxy-chain key share") as caught:
        sealed.audit(sealed.home(stranger))
    assert caught.value.exit_code == 37
    assert sealed.vault(stranger).public.hex() in str(caught.value), (
        "it says which key it is that the owner should know"
    )
    with pytest.raises(ConfigurationError, match="name a folder for its keys"):
        sealed.audit(None)
    blind = sealed.tower(stranger, granted=False)
    [finding] = blind.look()
    assert finding.verdict == "failed"
    assert "are not here" in finding.reason
    assert not blind.history.demanded
    without = sealed.tower(sealed.server)  # has the key, and then loses it
    without.verifier.store.keys.vault = sealed.vault(stranger)
    without.verifier.store.keys._open.clear()
    without.verifier.store._inside._known.clear()
    with pytest.raises(KeyMissingError):
        without.verifier.model_made_by(without.history, without.history.commits[1])
    assert without.verifier.withheld(without.history, without.history.commits[1]) is None, "it may be sound"


def test_a_client_joins_with_its_key_and_waits_until_the_owner_has_shared(sealed, caplog):
    client = sealed.newcomer(0)
    client.enter(40)
    assert sealed.history().keys[sealed.clients[0]] == (sealed.vault(sealed.clients[0]).public,)
    waiting = background(lambda: client.model(client.round()))
    until(lambda: said(caplog))
    assert waiting.is_alive()
    assert any("waits for its keys" in line and "key share" in line for line in said(caplog))
    sealed.keep()
    assert np.array_equal(np.fromfile(waiting.result(), "<i4"), sealed.initial)


def test_a_server_puts_no_bond_at_stake_before_it_has_the_key(sealed):
    serving = sealed.server
    entering = background(sealed.new_server(serving).enter)
    until(lambda: serving in sealed.history().keys)
    entering.join(0.2)
    assert entering.is_alive()
    assert sealed.ledger().account_of(sealed.job, serving).bond == 0
    sealed.keeper().share(sealed.history(), [serving])
    entering.result()
    assert sealed.ledger().account_of(sealed.job, serving).bond == 10**18


def test_who_joined_with_another_key_registers_this_one(sealed):
    client = sealed.newcomer(0)
    sealed.ledger(sealed.clients[0]).join(sealed.job, 40).transact()
    client.enter(40)
    assert sealed.history().keys[sealed.clients[0]] == (client.keys.vault.public,)
    sealed.keep()
    assert np.array_equal(np.fromfile(client.model(client.round()), "<i4"), sealed.initial)


def test_an_auditor_who_is_given_the_keys_needs_nothing_else(sealed, tmp_path):
    sealed.submit(0, 1, 2)
    sealed.commit()
    member, outside = sealed.vault(sealed.clients[1]), Vault(tmp_path / "auditor")
    keys = sealed.newcomer(1).keys.known()
    member.export(keys, tmp_path / "keys")
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600
    outside.read(tmp_path / "keys")
    assert sealed.audit(tmp_path / "auditor") == [1]


def test_keys_that_are_not_the_jobs_open_nothing(sealed, tmp_path):
    Vault(tmp_path / "other").export([bytes(32)], tmp_path / "keys")
    Vault(tmp_path / "auditor").read(tmp_path / "keys")
    with pytest.raises(KeyMissingError, match="epochs 1 are not here"):
        sealed.audit(tmp_path / "auditor")


def test_a_client_without_ether_names_its_key_by_the_signature_by_which_it_joins(sealed, caplog):
    poor = LocalSigner(Account.from_key(b"\x64" * 32))
    ledger, address = sealed.ledger(sealed.owner), poor.address
    ledger.admit(sealed.job, [address]).transact()
    where = sealed.deployment
    signing = LedgerContract(
        sealed.rpc, where.ledger, Transactions(sealed.rpc, poor), first_block=where.block, chain_id=where.chain_id
    )
    client = LedgerClientCoordinator(
        signing, sealed.store, sealed.job, replace(PATIENCE, relay=60.0), lane=Lane.SIGNED, own=sealed.own(address),
        limits=sealed.limits,
    )  # fmt: skip
    joining = background(client.enter, 40)
    server, domain = sealed.serve(), Domain(where.chain_id, where.ledger)
    relay = Relay(
        server.ledger, inbox_of(sealed.store, domain), server.verifier, sealed.job, RelaySettings(wait=0),
        sealed.folder / "relayed.json", reveals_late=False,
    )  # fmt: skip
    until(lambda: look(relay, server) or address in sealed.history().keys)
    joining.result()
    assert sealed.history().keys[address][-1] == sealed.vault(address).public
    sealed.keep()
    handing_in = background(
        lambda: client.submit(client.round(), made_up(1), 40) if client.model(client.round()) else 0
    )
    keyless = sealed.new_server(sealed.node.accounts[7])
    mute = Relay(
        keyless.ledger, inbox_of(sealed.store, domain), keyless.verifier, sealed.job, RelaySettings(wait=0),
        sealed.folder / "keyless.json", reveals_late=False,
    )  # fmt: skip
    until(lambda: look(mute, keyless) or any("can't be read here" in line for line in said(caplog)))
    assert not keyless.history.has_entry(address), "what can't be judged is not handed in"
    until(lambda: look(relay, server) or server.history.has_entry(address))
    handing_in.result()
    round = server.round()
    assert np.array_equal(np.fromfile(server.update(round, server.updates(round)[0]), "<i4"), made_up(1))
    assert sealed.rpc.number("eth_getBalance", address, "latest") == 0
