"""Contracts that answer as a ledger does, and take the ether: nobody believes or pays them."""

from __future__ import annotations

import sys

import pytest
from eth_utils.crypto import keccak

from galaxy_chain.cli.main import main
from galaxy_chain.exceptions import ForeignLedgerError, RpcError
from galaxy_chain.ledger.artifacts import artifact
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.deployment import Deployment
from galaxy_chain.ledger.genuine import check_creation, created_address
from galaxy_chain.ledger.structs import Model
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_chain.transactions.manager import Transactions
from galaxy_fl.vectors import tree_root
from tests.adversary.arena import BOND, rival, stranger
from tests.deploying import deploying

PARTS = [artifact(name).bytecode for name in ("OpeningVerifier", "LedgerIntake")]
ACCOUNTS_SLOT = 3
"""Of `_accounts` in GalaxyLedger's storage."""


def address_word(address):
    return bytes.fromhex(address[2:]).rjust(32, b"\0")


def back_door(implementation):
    """Code that does whatever the genuine ledger does, but pays all that it has to whoever calls it without data."""
    take_all = bytes.fromhex("36600d57" + "5f5f5f5f47335af100" + "5b")  # CALLDATASIZE JUMPI, CALL(caller, selfbalance)
    assert len(take_all) - 1 == 0x0D
    as_ever = bytes.fromhex("365f5f37" + "5f5f365f73" + implementation[2:] + "5af4" + "3d5f5f3e")
    end = len(take_all + as_ever) + 3 + 3
    return take_all + as_ever + bytes([0x60, end, 0x57]) + bytes.fromhex("3d5ffd" + "5b3d5ff3")


def storing(slot, value):
    """Code that stores a word."""
    return b"\x7f" + value + b"\x7f" + slot + b"\x55"


class Foreign:
    """A federation on somebody's own contract, and the commands of those who are asked to take part in it."""

    def __init__(self, federation, code, folder, monkeypatch, capsys):
        self.author = stranger(federation)
        self.node, self.rpc, self.folder = federation.node, federation.rpc, folder
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.transactions = Transactions(federation.rpc, NodeSigner(self.author))
        receipt = self.transactions.send(None, code)
        self.address = receipt.contract
        where = Deployment(chain_id=1337, ledger=self.address, block=receipt.block, rules=federation.deployment.rules)
        where.write(folder / "ledger.json")
        self.ledger = LedgerContract(federation.rpc, where.ledger, self.transactions, any_ledger=True)
        self.store = federation.store
        terms = federation.terms()
        content = self.store.put(federation.initial.data)
        model = Model(tree_root(federation.initial, terms.chunk_parameters), content.digest)
        self.ledger.register_job(terms, model).transact()
        self.job = self.ledger.jobs()

    def run(self, *arguments):
        """Runs a command with the foreign ledger's file, and gives its exit code and what it says."""
        where = ("--home", self.folder, "--rpc", self.node.url)
        self._monkeypatch.setattr(sys, "argv", ["galaxy-chain", *map(str, (*arguments, *where))])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, " ".join(self._capsys.readouterr().err.split())

    def balance(self):
        return self.rpc.number("eth_getBalance", self.address, "latest")


COMMANDS = [
    ("audit", 1),
    ("watch", 1, "--account", "dev:6"),
    ("server", "--job", 1, "--account", "dev:5"),
    ("client", "--job", 1, "--account", "dev:5", "--data", "digits"),
    ("bond", "deposit", 1, "1 ether", "--account", "dev:5"),
    ("bond", "withdraw", 1, "--account", "dev:5"),
    ("bond", "show", 1, "0x" + "11" * 20),
    ("claim", 1, "--account", "dev:5"),
    ("job", "list"),
    ("job", "show", 1),
    ("job", "admit", 1, "0x" + "11" * 20, "--account", "dev:5"),
    ("job", "cancel", 1, "--account", "dev:5"),
    ("store", "serve", "--owner", "0x" + "11" * 20),
    ("dashboard", "--port", 0),
]


@pytest.fixture
def with_back_door(federation, tmp_path, monkeypatch, capsys):
    code = deploying(back_door(federation.deployment.ledger), creates=PARTS)
    return Foreign(federation, code, tmp_path / "foreign", monkeypatch, capsys)


@pytest.fixture
def seeded(federation, tmp_path, monkeypatch, capsys):
    """A contract with the genuine code, whose constructor has given its author a bond that nobody has paid."""
    slot = keccak(address_word(stranger(federation)) + keccak((1).to_bytes(32) + ACCOUNTS_SLOT.to_bytes(32)))
    given = storing(slot, BOND.to_bytes(32))
    code = deploying(artifact("GalaxyLedger").runtime, given, PARTS)
    return Foreign(federation, code, tmp_path / "foreign", monkeypatch, capsys)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(map(str, command[:2])))
def test_no_command_believes_or_pays_a_ledger_with_a_back_door(with_back_door, command):
    code, said = with_back_door.run(*command)
    assert code == 35
    assert "is not the ledger that this version of Galaxy knows" in said
    assert with_back_door.balance() == 0


def test_whoever_means_it_pays_a_ledger_with_a_back_door_and_is_robbed(with_back_door):
    code, _ = with_back_door.run("bond", "deposit", 1, "1 ether", "--account", "dev:5", "--any-ledger")
    assert (code, with_back_door.balance()) == (0, BOND)
    with_back_door.transactions.send(with_back_door.address, b"")
    assert with_back_door.balance() == 0


def test_the_right_code_with_another_judge_of_openings_is_no_ledger_either(federation, tmp_path, monkeypatch, capsys):
    code = deploying(artifact("GalaxyLedger").runtime, creates=[deploying(bytes.fromhex("60015f5260205ff3"))])
    transactions = Transactions(federation.rpc, NodeSigner(stranger(federation)))
    receipt = transactions.send(None, code)
    where = Deployment(chain_id=1337, ledger=receipt.contract, block=receipt.block, rules=federation.deployment.rules)
    where.write(tmp_path / "ledger.json")
    arguments = ("job", "list", "--home", tmp_path, "--rpc", federation.node.url)
    monkeypatch.setattr(sys, "argv", ["galaxy-chain", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 35
    said = " ".join(capsys.readouterr().err.split())
    assert "asks whether a commit is right, is not the one that this version of Galaxy knows" in said


@pytest.mark.parametrize("command", COMMANDS[:5], ids=lambda command: " ".join(map(str, command[:2])))
def test_the_right_code_over_a_storage_of_the_authors_own_is_no_ledger_either(seeded, command):
    code, said = seeded.run(*command)
    assert code == 35
    assert "deployed by other code than the ledger's" in said
    assert seeded.balance() == 0


def test_what_a_constructor_has_written_is_paid_by_others(seeded, federation):
    code, _ = seeded.run("bond", "deposit", 1, "1 ether", "--account", "dev:5", "--any-ledger")
    assert (code, seeded.balance()) == (0, BOND)
    seeded.ledger.withdraw_bond(1).transact()
    assert seeded.balance() == 0
    assert seeded.ledger.account_of(1, rival(federation)).bond == BOND


def test_a_ledger_of_the_right_code_that_another_contract_has_made_is_refused(federation):
    where = federation.deployment
    with pytest.raises(ForeignLedgerError, match=rf"no transaction of block {where.block + 1} has deployed the ledger"):
        check_creation(federation.rpc, where.ledger, where.block + 1)
    check_creation(federation.rpc, where.ledger, where.block)
    with pytest.raises(RpcError, match="does not give block 99999"):
        check_creation(federation.rpc, where.ledger, 99_999)


def test_a_bond_is_not_paid_into_a_job_with_an_unknown_rule(federation, tmp_path, monkeypatch, capsys):
    federation.deployment.write(tmp_path / "ledger.json")
    # Whatever it is asked, it says 256; but that it aggregates chunks, when it is asked what it is, and has one lane.
    kind, lanes = keccak(b"kind()")[:4].hex(), keccak(b"lanes()")[:4].hex()
    rule = bytes.fromhex(f"5f3560e01c8063{lanes}14601f5763{kind}141560081b5f5260205ff35b60015f5260205ff3")
    transactions = Transactions(federation.rpc, NodeSigner(federation.owner))
    federation.job = federation.register(rule=transactions.send(None, deploying(rule)).contract)
    arguments = ("bond", "deposit", federation.job, "1 ether", "--account", "dev:5", "--home", tmp_path)
    monkeypatch.setattr(sys, "argv", ["galaxy-chain", *map(str, (*arguments, "--rpc", federation.node.url))])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 30
    assert federation.ledger().account_of(federation.job, rival(federation)).bond == 0


@pytest.mark.parametrize(
    ("nonce", "made"),
    [
        # Known from the chain: the first contracts of an account whose address is well known.
        (0, "0x5fbdb2315678afecb367f032d93f642f64180aa3"),
        (1, "0xe7f1725e7734ce288f8367e1bb143e90bb3f0512"),
    ],
)
def test_the_address_of_a_contract_follows_from_its_maker(nonce, made):
    assert created_address("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", nonce) == made


@pytest.mark.parametrize("nonce", [127, 128, 255, 256, 70_000])
def test_the_address_of_a_contract_is_that_of_the_chains_own_library(nonce):
    from eth._utils.address import generate_contract_address

    sender = bytes(range(20))
    assert created_address("0x" + sender.hex(), nonce) == "0x" + generate_contract_address(sender, nonce).hex()
