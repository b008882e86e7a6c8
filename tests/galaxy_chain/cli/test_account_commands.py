"""Keys come and go as encrypted keystore files, and as bare keys only where that is asked for."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from eth_account import Account

KEY = "0x" + "11" * 32
ADDRESS = Account.from_key(KEY).address


@pytest.fixture(scope="session")
def foreign():
    """A keystore file as another program has written it."""
    return json.dumps(Account.encrypt(KEY, "sesame", kdf="pbkdf2", iterations=1000))


@pytest.fixture
def password(monkeypatch):
    """Sets the password of the next command; a command takes it out of the environment."""
    return lambda text="sesame": monkeypatch.setenv("GALAXY_PASSWORD", text)


@pytest.fixture
def alice(terminal, password, foreign):
    """A terminal with one account, alice."""
    Path("key.json").write_text(foreign)
    password()
    assert terminal.json("account", "import", "alice", "key.json") == {"name": "alice", "address": ADDRESS}
    return terminal


def test_an_imported_keystore_file_is_a_key_like_any(alice, password):
    assert alice.json("account", "list") == [{"name": "alice", "address": ADDRESS}]
    path = Path(".galaxy/keystore/alice.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Account.decrypt(json.loads(path.read_text()), "sesame").to_0x_hex() == KEY


def test_a_file_that_does_not_say_its_address_is_asked_for_it(terminal, password, foreign):
    content = json.loads(foreign)
    del content["address"]
    Path("key.json").write_text(json.dumps(content))
    password()
    assert terminal.json("account", "import", "alice", "key.json")["address"] == ADDRESS
    assert terminal.json("account", "list")[0]["address"] == ADDRESS


def test_a_private_key_is_imported_from_the_environment(terminal, password, monkeypatch):
    password("other")
    monkeypatch.setenv("GALAXY_KEY", KEY)
    assert terminal.run("account", "import", "alice") == 0
    assert ADDRESS in terminal.out
    kept = json.loads(Path(".galaxy/keystore/alice.json").read_text())
    assert Account.decrypt(kept, "other").to_0x_hex() == KEY


@pytest.mark.parametrize("to", ["copy.json", None])
def test_what_is_exported_can_be_imported(alice, password, to):
    password()
    assert alice.run("account", "export", "alice", *([to] if to else [])) == 0
    if to is None:
        Path("copy.json").write_text(alice.out)
    else:
        assert f"the keystore file of {ADDRESS} is written to copy.json" in alice.out
        assert stat.S_IMODE(Path(to).stat().st_mode) == 0o600
    assert KEY[2:] not in alice.out + alice.err + Path("copy.json").read_text()
    password()
    assert alice.json("account", "import", "bob", "copy.json")["address"] == ADDRESS


@pytest.mark.parametrize("to", ["bare", None])
def test_a_private_key_is_exported_only_where_it_is_asked_for(alice, password, to):
    password()
    assert alice.run("account", "export", "alice", *([to] if to else []), "--private-key") == 0
    if to is None:
        assert alice.out == f"{KEY}\n"
    else:
        assert (Path(to).read_text(), stat.S_IMODE(Path(to).stat().st_mode)) == (f"{KEY}\n", 0o600)
        assert KEY[2:] not in alice.out
        assert "unencrypted" in alice.out


def test_what_can_not_be_imported(alice, password, monkeypatch):
    cases = [
        (["alice", "key.json"], "alice.json is there already: choose another name"),
        (["../bob", "key.json"], "'../bob' is not a name for an account"),
        (["bob", "nowhere.json"], "nowhere.json is not a keystore file: .*No such file"),
        (["bob", "text.json"], "text.json is not a keystore file"),
        (["bob", ".galaxy"], ".galaxy is not a keystore file"),
    ]
    Path("text.json").write_text("hello")
    for arguments, said in cases:
        password()
        alice.fails(24, said, "account", "import", *arguments)
    password("wrong")
    alice.fails(24, "key.json can't be opened with this password", "account", "import", "bob", "key.json")
    password("")
    monkeypatch.setenv("GALAXY_KEY", KEY)
    alice.fails(24, "an account needs a password", "account", "import", "bob")
    monkeypatch.setenv("GALAXY_KEY", "0x12")
    alice.fails(24, "GALAXY_KEY holds no private key of 32 bytes", "account", "import", "bob")
    assert len(list(Path(".galaxy/keystore").iterdir())) == 1


def test_what_can_not_be_exported(alice, password):
    Path("there.json").write_text("the only copy")
    cases = [
        (["bob"], "there is no account bob in .*galaxy-chain account list"),
        (["alice", "there.json"], "there.json is there already, and may be the only copy of a key: name a new file"),
    ]
    for arguments, said in cases:
        password()
        alice.fails(24, said, "account", "export", *arguments)
    assert Path("there.json").read_text() == "the only copy"
    password("wrong")
    alice.fails(24, "alice.json can't be opened with this password", "account", "export", "alice", "new.json")
    password()
    alice.fails(
        24, "there.json/new.json can't be written: Not a dir", "account", "export", "alice", "there.json/new.json"
    )


def test_without_a_terminal_secrets_come_from_the_environment(alice, monkeypatch):
    with open("/dev/null") as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        alice.fails(
            24, "no terminal to ask for the password of alice: set GALAXY_PASSWORD", "account", "export", "alice"
        )
        alice.fails(24, "no terminal to ask for the private key: set GALAXY_KEY", "account", "import", "bob")
        monkeypatch.setenv("GALAXY_KEY", KEY)
        alice.fails(24, "no terminal to ask for a password: set GALAXY_PASSWORD", "account", "import", "bob")
