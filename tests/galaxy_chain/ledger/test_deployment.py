"""The file that says where a ledger is."""

from __future__ import annotations

import json

import pytest

from galaxy_chain.exceptions import ForeignLedgerError, NoLedgerError
from galaxy_chain.ledger.artifacts import RULE_CONTRACTS, artifact
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.deployment import Deployment
from galaxy_chain.ledger.genuine import created_address
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_chain.transactions.manager import Transactions
from galaxy_fl.exceptions import ConfigurationError
from tests.deploying import deploying


def test_what_is_deployed_is_what_the_artifacts_say(deployment, web3):
    ledger = artifact("GalaxyLedger").runtime
    assert bytes(web3.eth.get_code(deployment.ledger)) == ledger
    # Not by the state before, which a node that others have sent thousands of blocks to may have forgotten.
    receipts = map(web3.eth.get_transaction_receipt, web3.eth.get_block(deployment.block).transactions)
    assert deployment.ledger in [receipt.contractAddress for receipt in receipts]
    assert deployment.rules.keys() == RULE_CONTRACTS.keys()
    for rule, address in deployment.rules.items():
        assert bytes(web3.eth.get_code(address)) == artifact(RULE_CONTRACTS[rule]).runtime


def test_the_ledger_has_made_the_contracts_that_it_consists_of(node, deployment, web3):
    ledger = LedgerContract(Rpc(node.url), deployment.ledger)
    for nonce, (part, name) in enumerate([(ledger.verifier(), "OpeningVerifier"), (ledger.intake(), "LedgerIntake")]):
        assert part.lower() == created_address(deployment.ledger, 1 + nonce)
        assert bytes(web3.eth.get_code(part)) == artifact(name).runtime


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ([], "asks whether a commit is right, is not the one"),
        (["LedgerIntake"], "asks whether a commit is right, is not the one"),
        (["OpeningVerifier"], "runs to take jobs and signed entries in, is not the one"),
        (["OpeningVerifier", "Relay"], "runs to take jobs and signed entries in, is not the one"),
    ],
)
def test_a_ledger_without_the_right_parts_is_refused(node, made, said):
    """The right code, left behind by a constructor that has made other contracts, or could make any later."""
    runtime = artifact("GalaxyLedger").runtime
    rpc = Rpc(node.url)
    code = deploying(runtime, creates=[artifact(name).bytecode for name in made])
    receipt = Transactions(rpc, NodeSigner(node.accounts[0])).send(None, code)
    assert rpc.data("eth_getCode", receipt.contract, "latest") == runtime
    with pytest.raises(ForeignLedgerError, match=rf"{said}.*--any-ledger"):
        LedgerContract(rpc, receipt.contract)
    LedgerContract(rpc, receipt.contract, any_ledger=True)


def test_it_is_read_as_it_was_written(deployment, tmp_path):
    path = tmp_path / "some" / "folder" / "ledger.json"
    deployment.write(path)
    assert Deployment.read(path) == deployment


def test_addresses_are_taken_without_checksum(deployment, tmp_path):
    path = tmp_path / "ledger.json"
    path.write_text(deployment.model_dump_json().replace(deployment.ledger, deployment.ledger.lower()))
    assert Deployment.read(path) == deployment


def test_no_file(tmp_path):
    with pytest.raises(NoLedgerError, match="deploy one with `galaxy-chain deploy`.*--ledger"):
        Deployment.read(tmp_path / "ledger.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ledger": "0x12"}, "ledger: expected an address"),
        ({"chain_id": "1"}, "chain_id: .*valid integer"),
        ({"block": -1}, "block: .*greater than or equal to 0"),
        ({"colour": "red"}, "colour: there is no such key"),
        ({"rules": {"relay": 5}}, "rules.relay"),
    ],
)
def test_a_file_that_is_wrong_says_where(deployment, tmp_path, change, said):
    path = tmp_path / "ledger.json"
    path.write_text(json.dumps(json.loads(deployment.model_dump_json()) | change))
    with pytest.raises(ConfigurationError, match=f"is not a ledger file: {said}"):
        Deployment.read(path)


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is not a ledger file"), (b"[]", "is not a ledger file"), (b"\xff", "can't")]
)
def test_a_file_that_is_something_else(tmp_path, content, said):
    path = tmp_path / "ledger.json"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=said):
        Deployment.read(path)


def test_a_folder_in_its_place(deployment, tmp_path):
    with pytest.raises(ConfigurationError, match="can't be read"):
        Deployment.read(tmp_path)
    with pytest.raises(ConfigurationError, match="can't be written"):
        deployment.write(tmp_path)
