"""Keys: kept encrypted, taken out of the environment, never shown."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from galaxy_chain.exceptions import AccountError
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.store.open import AUTHORIZATION_VARIABLE
from galaxy_chain.transactions import accounts
from galaxy_chain.transactions.accounts import Keystore, LocalSigner, NodeSigner, find_signer
from galaxy_fl.modes.cluster.server import REGISTRATION_VARIABLE

KEY = "0x" + "11" * 32
ADDRESS = Account.from_key(KEY).address
PASSWORD = "correct horse"


@pytest.fixture
def rpc(node):
    return Rpc(node.url)


@pytest.fixture(scope="module")
def encrypted():
    """A key as geth would keep it; weak, so that it is quick to open."""
    return Account.encrypt(KEY, PASSWORD, iterations=2)


@pytest.fixture
def keystore(tmp_path, encrypted):
    folder = tmp_path / "keystore"
    folder.mkdir()
    (folder / "alice.json").write_text(json.dumps(encrypted))
    return Keystore(folder)


@pytest.fixture(autouse=True)
def _no_secrets(monkeypatch):
    monkeypatch.delenv("GALAXY_KEY", raising=False)
    monkeypatch.delenv("GALAXY_PASSWORD", raising=False)


def test_a_new_key_can_be_opened_again_and_by_nobody_else(tmp_path):
    keystore = Keystore(tmp_path / "keystore")
    address = keystore.create("alice", PASSWORD)
    path = keystore.folder / "alice.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(keystore.folder.stat().st_mode) == 0o700
    assert keystore.list() == {"alice": address}
    assert keystore.open("alice", PASSWORD).address == address
    with pytest.raises(AccountError, match="is there already: choose another name"):
        keystore.create("alice", PASSWORD)
    assert keystore.list() == {"alice": address}


@pytest.mark.parametrize("name", ["", ".", "../x", "a/b", "-x", "a b", "x" * 65, "a\n"])
def test_what_is_no_name(tmp_path, name):
    with pytest.raises(AccountError, match="is not a name for an account"):
        Keystore(tmp_path).create(name, PASSWORD)


def test_an_empty_password(tmp_path):
    with pytest.raises(AccountError, match="needs a password"):
        Keystore(tmp_path).create("alice", "")


def test_a_folder_that_can_not_be_written_to(tmp_path):
    (tmp_path / "keystore").write_text("a file")
    with pytest.raises(AccountError, match="can't be written"):
        Keystore(tmp_path / "keystore").create("alice", PASSWORD)


def test_a_wrong_password(keystore):
    with pytest.raises(AccountError, match="can't be opened with this password") as caught:
        keystore.open("alice", "nonsense")
    assert caught.value.exit_code == 24
    assert "nonsense" not in str(caught.value)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"address": "zz"}', '{"address": "zz", "crypto": {}}', "\0", "[" * 10**5, " " * 10**5]
)
def test_a_foreign_file_disturbs_nobody_but_who_names_it(keystore, rpc, monkeypatch, content):
    (keystore.folder / "bob.json").write_text(content)
    (keystore.folder / "folder.json").mkdir()
    (keystore.folder / ".hidden.json").write_text(content)
    assert keystore.list() == {"alice": ADDRESS}
    monkeypatch.setenv("GALAXY_PASSWORD", PASSWORD)
    assert find_signer(ADDRESS, keystore, rpc).address == ADDRESS
    with pytest.raises(AccountError, match="bob.json is not a keystore file"):
        find_signer("bob", keystore, rpc)


GETHS = f"UTC--2026-01-02T03-04-05.678901234Z--{ADDRESS[2:].lower()}"


@pytest.mark.parametrize("address", ["said", "not said"])
@pytest.mark.parametrize("wanted", [ADDRESS, ADDRESS.lower(), GETHS])
def test_a_file_as_geth_calls_it_is_found_by_its_address(tmp_path, rpc, encrypted, monkeypatch, wanted, address):
    kept = encrypted if address == "said" else {key: encrypted[key] for key in encrypted if key != "address"}
    (tmp_path / GETHS).write_text(json.dumps(kept))
    (tmp_path / "other.json").write_text(json.dumps({key: encrypted[key] for key in encrypted if key != "address"}))
    monkeypatch.setenv("GALAXY_PASSWORD", PASSWORD)
    assert find_signer(wanted, Keystore(tmp_path), rpc).address == ADDRESS


def test_a_file_need_not_say_its_address(tmp_path, rpc, encrypted, monkeypatch):
    keystore = Keystore(tmp_path)
    (tmp_path / "alice.json").write_text(json.dumps({key: encrypted[key] for key in encrypted if key != "address"}))
    assert keystore.list() == {"alice": None}
    for wanted in ("alice", ADDRESS):
        monkeypatch.setenv("GALAXY_PASSWORD", PASSWORD)
        assert find_signer(wanted, keystore, rpc).address == ADDRESS
    monkeypatch.setenv("GALAXY_PASSWORD", PASSWORD)
    with pytest.raises(AccountError, match=f"alice in .* is that of {ADDRESS}, not of 0x1212"):
        find_signer("0x" + "12" * 20, keystore, rpc)
    (tmp_path / "bob.json").write_text((tmp_path / "alice.json").read_text())
    with pytest.raises(AccountError, match="alice, bob do not say their address: name the one"):
        find_signer(ADDRESS, keystore, rpc)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_line_break_at_the_end_of_a_secret_is_none_of_it(keystore, rpc, monkeypatch, end):
    monkeypatch.setenv("GALAXY_KEY", KEY + end)
    assert find_signer(None, keystore, rpc).address == ADDRESS
    monkeypatch.setenv("GALAXY_PASSWORD", PASSWORD + end)
    assert find_signer("alice", keystore, rpc).address == ADDRESS


@pytest.mark.parametrize("change", [{"crypto": {}}, {"crypto": 3}, {"version": 9}, {"version": None}])
def test_a_key_that_is_damaged(keystore, encrypted, change):
    (keystore.folder / "bob.json").write_text(json.dumps(encrypted | change))
    with pytest.raises(AccountError, match="bob.json can't be opened"):
        keystore.open("bob", PASSWORD)


def test_the_key_in_the_environment_is_taken_out_of_it(keystore, rpc, monkeypatch):
    monkeypatch.setenv("GALAXY_KEY", KEY)
    signer = find_signer(None, keystore, rpc)
    assert isinstance(signer, LocalSigner)
    assert signer.address == ADDRESS
    assert "GALAXY_KEY" not in os.environ


@pytest.mark.parametrize("key", ["", "0x", "zz", "0x" + "00" * 32, "0x" + "ff" * 32, "11" * 31])
def test_what_is_no_key_is_not_repeated(keystore, rpc, monkeypatch, key):
    monkeypatch.setenv("GALAXY_KEY", key)
    with pytest.raises(AccountError, match="^GALAXY_KEY holds no private key of 32 bytes in hexadecimal$"):
        find_signer(None, keystore, rpc)


def test_no_account_at_all(keystore, rpc):
    with pytest.raises(AccountError, match="no account is named: give --account NAME.*GALAXY_KEY"):
        find_signer(None, keystore, rpc)


def test_the_accounts_of_the_node(keystore, rpc, node, monkeypatch):
    monkeypatch.setenv("GALAXY_KEY", KEY)
    assert find_signer("dev:3", keystore, rpc) == NodeSigner(node.accounts[3], 3)
    assert "GALAXY_KEY" not in os.environ
    assert find_signer(node.accounts[4].lower(), keystore, rpc) == NodeSigner(node.accounts[4])
    with pytest.raises(AccountError, match="has 20 unlocked accounts, no dev:20: count from dev:0"):
        find_signer("dev:20", keystore, rpc)


@pytest.mark.parametrize("name", ["alice", ADDRESS, ADDRESS.lower()])
def test_a_keystores_account_by_name_or_address(keystore, rpc, monkeypatch, name):
    monkeypatch.setenv("GALAXY_PASSWORD", PASSWORD)
    assert find_signer(name, keystore, rpc).address == ADDRESS
    assert "GALAXY_PASSWORD" not in os.environ


def test_the_password_is_asked_for_where_it_is_not_set(keystore, rpc):
    assert find_signer("alice", keystore, rpc, lambda name: PASSWORD).address == ADDRESS
    with pytest.raises(AccountError, match="password of alice is not known: set GALAXY_PASSWORD"):
        find_signer("alice", keystore, rpc)


def test_an_account_that_nobody_knows(keystore, rpc):
    with pytest.raises(AccountError, match="no account bob in .*galaxy-chain account new bob"):
        find_signer("bob", keystore, rpc)
    with pytest.raises(AccountError, match="neither in .* nor unlocked"):
        find_signer("0x" + "12" * 20, keystore, rpc)


def test_messages_are_signed_as_personal_sign_does_by_a_key_and_by_the_node(rpc, node):
    text = "Galaxy\nécrit"
    account = Account.from_key(node.private_keys[2])
    signatures = [signer.sign_message(rpc, text) for signer in (LocalSigner(account), NodeSigner(account.address))]
    assert signatures[0] == signatures[1]
    assert Account.recover_message(encode_defunct(text=text), signature=signatures[0]) == account.address


def test_a_key_is_in_no_representation(rpc):
    assert KEY[2:] not in repr(LocalSigner(Account.from_key(KEY)))


def test_secrets_are_those_that_workers_never_see():
    from galaxy_fl.worker.forkserver import SECRETS

    assert set(SECRETS) == {
        accounts.KEY_VARIABLE,
        accounts.PASSWORD_VARIABLE,
        AUTHORIZATION_VARIABLE,
        REGISTRATION_VARIABLE,
    }


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.parametrize(("variables", "dumpable"), [({}, "1 1"), ({"GALAXY_KEY": "0x" + "11" * 32}, "1 0")])
def test_a_process_with_a_key_hides_its_memory_and_first_environment(variables, dumpable):
    program = (
        "import ctypes; from galaxy_chain.transactions.accounts import take_secret; seen = lambda: ctypes.CDLL(None).prctl(3);"
        "before = seen(); take_secret('GALAXY_KEY'); print(before, seen())"
    )
    kept = {name: value for name, value in os.environ.items() if name != "GALAXY_KEY"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=kept | variables)
    assert done.stdout.strip() == dumpable, done.stderr
