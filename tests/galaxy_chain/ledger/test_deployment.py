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


def test_what_is_deployed_is_what_the_artifacts_say(deployment, web3):
    ledger = artifact("GalaxyLedger").runtime
    assert bytes(web3.eth.get_code(deployment.ledger)) == ledger
    assert web3.eth.get_code(deployment.ledger, deployment.block - 1) == b""
    assert deployment.rules.keys() == RULE_CONTRACTS.keys()
    for rule, address in deployment.rules.items():
        assert bytes(web3.eth.get_code(address)) == artifact(RULE_CONTRACTS[rule]).runtime


def test_the_ledger_has_made_the_contract_that_judges_openings(node, deployment, web3):
    verifier = LedgerContract(Rpc(node.url), deployment.ledger).verifier()
    assert verifier.lower() == created_address(deployment.ledger, 1)
    assert bytes(web3.eth.get_code(verifier)) == artifact("OpeningVerifier").runtime


def test_a_ledger_without_the_right_judge_is_refused(node):
    """The right code, left behind by a constructor that has made no verifier: it could make any later."""
    runtime = artifact("GalaxyLedger").runtime
    leave = bytes([0x61, *len(runtime).to_bytes(2), 0x80, 0x60, 11, 0x5F, 0x39, 0x5F, 0xF3])
    rpc = Rpc(node.url)
    receipt = Transactions(rpc, NodeSigner(node.accounts[0])).send(None, leave + b"\0" + runtime)
    assert rpc.data("eth_getCode", receipt.contract, "latest") == runtime
    with pytest.raises(ForeignLedgerError, match=r"asks whether a commit is right, is not the one.*--any-ledger"):
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
