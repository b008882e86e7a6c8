"""The keys of a sealed job on the command line."""

from __future__ import annotations

import pytest

from galaxy_chain.seal.vault import vault_of
from tests.galaxy_chain.federation import made_up
from tests.galaxy_chain.seal.conftest import sealed  # noqa: F401


@pytest.fixture
def typed(sealed, terminal, monkeypatch):  # noqa: F811
    """A terminal at a sealed job, and what runs a command as somebody: in the folder of an account."""
    monkeypatch.setenv("GALAXY_RPC", sealed.rpc.url)
    monkeypatch.setenv("GALAXY_STORE", str(sealed.store.root))
    monkeypatch.setenv("GALAXY_LEDGER", str(terminal.folder / "ledger.json"))
    sealed.deployment.write(terminal.folder / "ledger.json")

    def run(account, *arguments):
        monkeypatch.setenv("GALAXY_HOME", str(sealed.home(account)))
        monkeypatch.setenv("GALAXY_ACCOUNT", f"dev:{sealed.node.accounts.index(account)}")
        return terminal.run(*arguments)

    terminal.by = run
    return terminal


def test_keys_from_the_first_member_to_the_auditor(sealed, typed):  # noqa: F811
    job, owner, watch = sealed.job, sealed.owner, sealed.node.accounts[6]
    assert typed.by(watch, "key", "show") == 0
    assert typed.out.strip() == vault_of(sealed.home(watch)).public.hex()
    for index in range(3):
        sealed.newcomer(index).enter(40)
    assert typed.by(owner, "key", "serve", job, "--once") == 0
    assert typed.by(watch, "key", "register", job) == 0
    assert f"galaxy-chain key share {job} {watch}" in typed.out
    assert typed.by(owner, "key", "share", job, watch) == 0
    sealed.submit(0, 1, 2)
    sealed.commit()
    assert typed.by(watch, "audit", job) == 0
    assert "round 1: right" in typed.out

    gone = sealed.clients[2]
    assert typed.by(owner, "job", "expel", job, gone) == 0
    assert f"job {job} is in epoch 2" in typed.out
    assert typed.by(owner, "key", "rotate", job, "--without", watch) == 0
    assert "epoch 3" in typed.out
    sealed.submit(0, 1, seed=2)
    sealed.travel(200)
    sealed.commit()
    for without in (gone, watch):
        assert typed.by(without, "audit", job) == 37
        assert "are not here" in typed.err
        assert typed.by(without, "job", "export", job, "--to", "model.pt") == 37

    member = sealed.clients[0]
    epochs = (typed.by(member, "key", "list", job, "--json"), typed.out)[1]
    assert '"here": true' in epochs
    assert watch not in epochs.split('"epoch": 3')[1]
    assert typed.by(member, "key", "export", job, "keys") == 0
    secret = (typed.folder / "keys").read_text().split()
    assert not any(line in typed.out + typed.err for line in secret)
    assert typed.by(member, "key", "export", job, "keys") == 2
    assert "is there already" in typed.err
    auditor = sealed.node.accounts[8]
    assert typed.by(auditor, "audit", job, "--keys", "keys") == 0, typed.err
    assert "round 2: right" in typed.out
    assert typed.by(sealed.node.accounts[9], "key", "import", "keys") == 0
    assert typed.by(sealed.node.accounts[9], "audit", job) == 0
    assert not sealed.lies_open(made_up(100))


def test_what_owners_and_others_get_wrong(sealed, typed):  # noqa: F811
    job, stranger = sealed.job, sealed.node.accounts[9]
    for code, said, account, arguments in (
        (2, "only the owner", stranger, ("key", "serve", job, "--once")),
        (27, "NotOwner|owner", stranger, ("key", "rotate", job)),
        (2, "has registered no key", sealed.owner, ("key", "share", job, stranger)),
        (37, "are not here", stranger, ("key", "export", job, "keys")),
        (2, "can't be read", stranger, ("audit", job, "--keys", "nothing")),
        (2, "not a file of content keys", stranger, ("key", "import", typed.folder / "ledger.json")),
    ):
        assert typed.by(account, *arguments) == code, (arguments, typed.out, typed.err)
        assert any(word in typed.err for word in said.split("|")), (arguments, typed.err)
    plain = super(type(sealed), sealed).register()
    assert typed.by(sealed.owner, "key", "serve", plain, "--once") == 2
    assert "is not sealed" in typed.err
    assert typed.by(sealed.owner, "key", "rotate", plain) == 2
    assert typed.by(sealed.owner, "job", "expel", plain, sealed.clients[0]) == 0
    assert "epoch" not in typed.out
