"""What the contracts compute of nodes, sums and signed entries is what the test vectors say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from web3.contract import Contract

from tests.contracts.ledger import ROOT, ZERO, Chain
from tests.vectors.ledger_vectors import VECTORS as LEDGER_VECTORS

VECTORS: dict[str, list[dict[str, Any]]] = json.loads((ROOT / "tests" / "vectors" / "sums.json").read_text())


@pytest.fixture
def twins(chain: Chain, test_contracts: dict[str, dict[str, Any]]) -> Contract:
    return chain.deploy(test_contracts["Twins"])


def test_every_node_is_where_the_vectors_say(chain: Chain, twins: Contract) -> None:
    for vector in VECTORS["places"]:
        entries, fan_in = vector["entries"], vector["fan_in"]
        assert chain.view("nodeCount", entries, fan_in, to=twins) == sum(vector["levels"])
        for number, node in enumerate(vector.get("nodes", ()), 1):
            place = chain.view("locate", entries, fan_in, number, to=twins)
            children = range(place.first, place.end)
            listed = list(children) if place.level == 1 else [child + 1 for child in children]
            assert (place.level, listed, place.group) == (node["level"], node["children"], node["group"])
            assert list(range(place.groupFirst + 1, place.groupEnd + 1)) == node["members"]
            assert (place.nodes, place.lowest) == (sum(vector["levels"]), vector["levels"][0])


@pytest.mark.parametrize("vector", VECTORS["trees"], ids=lambda v: v["name"])
def test_nodes_are_bound_as_the_vectors_say(deployed: Chain, twins: Contract, vector: dict[str, Any]) -> None:
    nodes = bytes.fromhex(vector["nodes"])
    bound = deployed.view("nodesHash", nodes, vector["entries"], vector["fan_in"], to=twins)
    assert bound.hex() == vector["nodes_hash"]


@pytest.mark.parametrize("vector", VECTORS["finishes"], ids=lambda v: f"weight {v['weight']}")
def test_sums_are_finished_as_the_vectors_say(deployed: Chain, vector: dict[str, Any]) -> None:
    model, total = bytes.fromhex(vector["model"]), bytes.fromhex(vector["sum"])
    rule = deployed.rules[vector["rule"]]
    assert deployed.view("finish", ZERO, model, total, vector["weight"], to=rule).hex() == vector["next"]


@pytest.mark.parametrize("vector", LEDGER_VECTORS["typed_data"], ids=lambda v: f"{v['type']} {v['job'][:6]}")
def test_what_clients_sign_is_what_the_vectors_say(chain: Chain, twins: Contract, vector: dict[str, Any]) -> None:
    def words(*names: str) -> list[bytes]:
        return [bytes.fromhex(vector[name]) for name in names]

    job = int(vector["job"])
    if vector["type"] == "Update":
        model, commitment, content = words("model", "commitment", "content")
        update = (commitment, content, vector["weight"])
        hash = chain.view("update", job, vector["attempt"], model, update, to=twins)
        assert hash[12:].hex() == vector["client_digest"]
    else:
        hash = chain.view("join", job, vector["samples"], *words("key"), int(vector["deadline"]), to=twins)
    domain, struct_hash, signature, malleable = words("domain", "struct_hash", "signature", "malleable")
    assert hash == struct_hash

    def is_signed(domain: bytes, hash: bytes, signature: bytes, account: str = vector["signer"]) -> bool:
        found: bool = chain.view("isSigned", domain, hash, signature, to_checksum_address(account), to=twins)
        return found

    assert is_signed(domain, hash, signature)
    assert not is_signed(domain, hash, malleable)
    assert not is_signed(domain, keccak(hash), signature)
    assert not is_signed(keccak(domain), hash, signature)
    assert not is_signed(domain, hash, signature, chain.accounts[0])
    for other in (signature[:-1], signature + b"\0", signature[:64] + bytes([signature[64] - 27]), bytes(65)):
        assert not is_signed(domain, hash, other)
