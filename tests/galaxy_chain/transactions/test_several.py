"""The accounts of many clients: what names them, and how their keys are opened."""

from __future__ import annotations

import threading
from concurrent.futures import wait

import pytest
from eth_account import Account

from galaxy_chain.exceptions import AccountError
from galaxy_chain.transactions.accounts import Keystore, LocalSigner, NodeSigner
from galaxy_chain.transactions.several import open_accounts, parse_accounts
from tests.galaxy_fl.modes.meeting import eventually

PASSWORD = "correct horse"


def never(name: str) -> str:
    raise AssertionError(f"a password was asked for: {name}")


def test_a_range_of_the_nodes_accounts():
    assert parse_accounts("dev:3-5", 3) == ["dev:3", "dev:4", "dev:5"]
    assert parse_accounts("dev:7", 1) == ["dev:7"]


def test_a_file_has_a_name_or_an_address_a_line(tmp_path):
    file = tmp_path / "accounts"
    file.write_text("# of the north\nalice\n\n 0x52908400098527886E0F7030069857D2E4169EE7 # who was bob\ndev:4\n")
    assert parse_accounts(str(file), 3) == ["alice", "0x52908400098527886E0F7030069857D2E4169EE7", "dev:4"]
    assert parse_accounts(["alice", "bob"], 2) == ["alice", "bob"]


@pytest.mark.parametrize(
    ("text", "count", "message"),
    [
        ("dev:5-3", 3, "end before they begin"),
        ("dev:3-5", 4, r"there are 3 accounts in 'dev:3-5' for 4 clients"),
        ("nowhere", 2, "expected a file with a name or an address a line, or dev:FIRST-LAST"),
        ("twice", 2, "the account 'Alice' is there twice in twice"),
        ("twice", 3, "twice"),
        ("latin", 1, "can't be read"),
        ("dev:0-999999999", 3, "for 3 clients"),
    ],
)
def test_what_names_them_wrongly_is_refused(tmp_path, monkeypatch, text, count, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "twice").write_text("alice\nAlice\nbob\n")
    (tmp_path / "latin").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(AccountError, match=message):
        parse_accounts(text, count)


@pytest.fixture
def keystore(tmp_path, monkeypatch):
    monkeypatch.setattr(Account, "default_kdf", "pbkdf2", raising=False)
    keystore = Keystore(tmp_path / "keystore")
    for number, name in enumerate(("alice", "bob", "carol"), 1):
        key = Account.from_key(number.to_bytes(32))
        keystore._write(name, Account.encrypt(key.key, PASSWORD, kdf="pbkdf2", iterations=2))
    return keystore


def test_keys_are_opened_with_one_password_and_the_node_signs_for_the_rest(keystore, federation, monkeypatch):
    monkeypatch.setenv("GALAXY_PASSWORD", PASSWORD)
    said = []
    bob = LocalSigner(Account.from_key((2).to_bytes(32))).address
    ready = open_accounts(["carol", "dev:3", bob, "alice"], keystore, federation.rpc, never, said.append)
    carol, dev, same, alice = (future.result(60) for future in ready)
    assert [carol.address, alice.address] == [
        LocalSigner(Account.from_key(number.to_bytes(32))).address for number in (3, 1)
    ]
    assert (dev, same.address) == (NodeSigner(federation.node.accounts[3], 3), bob)
    wait(ready)
    assert said[-1:] in ([], ["3 of 3 accounts are unlocked"])


def test_a_key_that_does_not_open_fails_alone(keystore, federation, monkeypatch):
    monkeypatch.setenv("GALAXY_PASSWORD", PASSWORD)
    keystore._write("dave", Account.encrypt((4).to_bytes(32), "another", kdf="pbkdf2", iterations=2))
    said = []
    good, bad = open_accounts(["alice", "dave"], keystore, federation.rpc, never, said.append)
    assert good.result(60).address == LocalSigner(Account.from_key((1).to_bytes(32))).address
    with pytest.raises(AccountError, match="dave.json can't be opened with this password"):
        bad.result(60)
    assert eventually(lambda: said[-1:] == ["1 of 2 accounts are unlocked, and 1 can't be"]), said


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["alice", "nobody"], "there is no account nobody"),
        (["dev:1", "dev:5000"], "no dev:5000"),
        (["alice", "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"], "are the same account"),
    ],
)
def test_what_is_not_there_or_there_twice_is_refused_before_a_password_is_asked_for(
    keystore, federation, names, message
):
    with pytest.raises(AccountError, match=message):
        open_accounts(names, keystore, federation.rpc, never)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("keys")]
