"""Liars in a sealed job: what does not open is as good as missing, and what is wrong is proved as ever."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from galaxy_chain.coordinators import LedgerServerCoordinator
from galaxy_chain.exceptions import KeyMissingError
from galaxy_chain.ledger.structs import Update
from galaxy_chain.ledger.words import address_bytes
from galaxy_chain.seal.sealing import key_digest
from galaxy_chain.seal.store import OneKey, SealedStore
from galaxy_chain.seal.wraps import Wrapping
from galaxy_fl.exceptions import ContentAlteredError
from galaxy_fl.vectors import commitment, tree_root
from tests.adversary.arena import OffByOne, punished
from tests.galaxy_chain.coordinators.test_answering import answered
from tests.galaxy_chain.federation import CHUNK, PARAMETERS, SAMPLES, made_up, said
from tests.galaxy_chain.seal.conftest import sealed  # noqa: F401
from tests.galaxy_chain.seal.sealed import SealedFederation


def hand_in(federation: SealedFederation, index: int, content: bytes) -> None:
    """Submits an update with that content's digest, whatever it is."""
    client = federation.client(index)
    round, model = client.round(), client.history.model.root
    account = federation.clients[index]
    promised = commitment(tree_root(made_up(100 + index), CHUNK), address_bytes(account))
    update = Update(promised, content, SAMPLES)
    client.ledger.submit_update(federation.job, round.attempt, model, update).transact()


def unknown_key(federation: SealedFederation, index: int) -> bytes:
    """The update, sealed with a key that nobody else has."""
    vault = federation.vault(federation.clients[index])
    return SealedStore(federation.store, OneKey(vault, bytes(32))).put(made_up(100 + index).data).digest


def plain(federation: SealedFederation, index: int) -> bytes:
    """The update as it is, in the length of a sealed one."""
    return federation.store.put(made_up(100 + index).tobytes() + bytes(48)).digest


def garbage(federation: SealedFederation, index: int) -> bytes:
    """Bytes of the right length."""
    return federation.store.put(bytes(32 + 4 * PARAMETERS + 16)).digest


@pytest.mark.parametrize(
    "what",
    [
        unknown_key,
        pytest.param(plain, marks=pytest.mark.extended),
        pytest.param(garbage, marks=pytest.mark.extended),
    ],
)
def test_an_update_that_does_not_open_is_left_out_as_if_it_were_altered(sealed, what):  # noqa: F811
    sealed.submit(0, 1)
    hand_in(sealed, 2, what(sealed, 2))
    server = sealed.serve()
    round = server.round()
    usable, unusable = server.gather(round, server.updates(round))
    assert [each.client for each in usable] == sealed.clients[:2]
    assert "opens with none of the 1 keys" in unusable[server.updates(round)[2]]
    sealed.commit(excluded=(2,))
    assert sealed.audit(sealed.own(sealed.clients[0])) == [1]


def test_a_server_that_lies_is_proved_wrong_by_plaintext_chunks(sealed):  # noqa: F811
    """The contract knows nothing of seals: roots are over what is inside."""
    sealed.submit(0, 1, 2)
    lie(sealed, OffByOne)
    finder = sealed.node.accounts[6]
    assert [finding.verdict for finding in sealed.tower(finder).look()] == ["challenged"]
    punished(sealed, finder)


class Unreadable(OffByOne):
    """Commits what is wrong, and seals it with a key of its own."""

    def commit(self, round, next_model, excluded):
        assert self.keys is not None
        self.store = SealedStore(self.plain, OneKey(self.keys.vault, b"\7" * 32))
        return super().commit(round, next_model, excluded)


def lie(federation: SealedFederation, kind: type[LedgerServerCoordinator]) -> LedgerServerCoordinator:
    """Has a server of that kind commit the round."""
    federation.grant(federation.server)
    server = federation.new_server(federation.server, kind)
    server.enter()
    round = server.round()
    usable, _ = server.gather(round, server.updates(round))
    path = federation.folder / "next"
    server.aggregate(round, usable, path)
    server.commit(round, path, {})
    return server


def test_a_wrong_model_that_does_not_open_is_demanded_as_one_that_is_withheld(sealed):  # noqa: F811
    sealed.submit(0, 1, 2)
    liar = lie(sealed, Unreadable)
    finder = sealed.node.accounts[6]
    tower = sealed.tower(finder)
    assert isinstance(tower.verifier.withheld(tower.history, tower.history.commits[1]), ContentAlteredError)
    assert [finding.verdict for finding in tower.look()] == ["demanded"]
    sealed.travel(liar.terms.answer_seconds + 60)
    assert "expired" in [finding.verdict for finding in tower.look()]
    punished(sealed, finder)


def test_a_right_model_that_does_not_open_is_recomputed_and_accuses_nobody(sealed):  # noqa: F811
    class Clumsy(Unreadable):
        wrong = slice(0, 0)  # nothing

    sealed.submit(0, 1, 2)
    lie(sealed, Clumsy)
    tower = sealed.tower(sealed.node.accounts[6])
    assert [finding.verdict for finding in tower.look()] == ["right"]
    client = sealed.newcomer(0)
    model = np.fromfile(client.model(client.round()), "<i4")
    assert tree_root(model, CHUNK) == client.history.model.root


def share_wrong(federation: SealedFederation, key: bytes, victim: str, *others: str) -> None:
    """Begins an epoch in which one is given another key than everybody else, in a wrap that opens."""
    from tests.galaxy_chain.seal.test_wraps import forged

    ledger = federation.ledger()
    wrapping, digest = Wrapping(ledger.chain_id, ledger.address, federation.job), key_digest(key)
    members = [federation.vault(account).public for account in (federation.owner, *others)]
    wraps = [wrapping.wrap(key, member) for member in members]
    wraps.append(forged(wrapping, bytes(32), digest, federation.vault(victim).public))
    federation.ledger(federation.owner).share_key(federation.job, digest, b"".join(wraps)).transact()


def test_an_owner_that_gives_one_member_a_wrong_key_is_named_and_the_others_go_on(sealed, caplog):  # noqa: F811
    for index in range(3):
        sealed.client(index)
    serving = sealed.serve()
    key = sealed.vault(sealed.owner).make()
    victim, *others = sealed.clients
    share_wrong(sealed, key, victim, *others, sealed.server)
    cheated = sealed.newcomer(0)
    with pytest.raises(KeyMissingError, match="epochs 2 are not here"):
        cheated.keys.current()
    assert any("has shared a wrong key" in line and sealed.owner in line for line in said(caplog))
    for index in (1, 2):
        client = sealed.newcomer(index)
        client.enter(SAMPLES)
        client.submit(client.round(), made_up(100 + index), SAMPLES)
    sealed.travel(200)
    serving.round()
    sealed.commit()
    assert sealed.audit(sealed.own(sealed.clients[1])) == [1]


def test_a_server_that_is_cheated_of_the_next_key_answers_for_what_it_committed_and_loses_nothing(sealed):  # noqa: F811
    sealed.submit(0, 1, 2)
    sealed.commit()
    key = sealed.vault(sealed.owner).make()
    share_wrong(sealed, key, sealed.server, *sealed.clients)
    server = sealed.new_server(sealed.server)
    assert server.keys is not None
    assert server.keys.lacking() == [2]
    commit = server.history.commits[1]
    stranger = sealed.ledger(sealed.node.accounts[7])
    deposit = server.terms.demand_deposit
    stranger.demand(sealed.job, commit.record, 0, 1, bytes(32), value=deposit).transact()
    assert server.round() is not None
    assert answered(sealed) == [1]
    for index in (0, 1):  # sealed with the new key, which the server can't open: it excludes nobody for that
        client = sealed.newcomer(index)
        client.enter(SAMPLES)
        client.submit(client.round(), made_up(200 + index), SAMPLES)
    sealed.travel(20_000)
    round = server.round()
    with pytest.raises(KeyMissingError):
        server.gather(round, server.updates(round))
    assert server.endures(KeyMissingError("the same"))
    assert sealed.ledger().account_of(sealed.job, sealed.server).bond == server.terms.bond


def test_two_updates_of_one_member_can_not_be_one_content(sealed, tmp_path: Path):  # noqa: F811
    """Members know both epochs' keys, and AES-GCM alone would let a record open under each: the header does not."""
    from galaxy_chain.seal.sealing import NotSealedSo, opening
    from tests.galaxy_chain.seal.test_sealing import salamander_file

    sealed.client(0)
    sealed.keeper().rotate(sealed.history())
    member = sealed.newcomer(0)
    keys = member.keys.known()
    file = tmp_path / "salamander"
    file.write_bytes(salamander_file(4 * PARAMETERS - 4 * PARAMETERS % 16, keys))
    for key in keys:
        with file.open("rb") as stream, pytest.raises(NotSealedSo, match="header"):
            list(iter(opening(stream, 4 * PARAMETERS - 4 * PARAMETERS % 16, key).read, b""))
