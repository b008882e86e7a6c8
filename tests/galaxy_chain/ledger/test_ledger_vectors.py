"""The twins of the ledger's hashes, packings and amounts are those of the test vectors."""

from __future__ import annotations

import runpy
from hashlib import sha256
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from galaxy_chain.ledger.announcements import commit_digest, finding_digest
from galaxy_chain.ledger.excluded import excluded_numbers, pack_excluded
from galaxy_chain.ledger.records import client_amount, record_word, server_amount
from galaxy_chain.ledger.submissions import Entries, show, start
from tests.galaxy_chain.ledger.unpacking import unpack_submissions
from tests.vectors.ledger_vectors import VECTORS, attempts, records

FOLDER = Path(__file__).parents[2] / "vectors"


def test_the_committed_vectors_are_those_of_the_generator():
    text = runpy.run_path(str(FOLDER / "generate_ledger.py"))["text"]()
    assert (FOLDER / "ledger.json").read_text() == text, "stale: run python tests/vectors/generate_ledger.py"


@pytest.mark.parametrize("vector", VECTORS["starts"])
def test_starts(vector):
    root = bytes.fromhex(vector["root"])
    ours = start(int(vector["chain_id"]), vector["ledger"], int(vector["job"]), vector["attempt"], root)
    assert ours.hex() == vector["start"]


@pytest.mark.parametrize("attempt", attempts(), ids=lambda attempt: f"{len(attempt.blocks)} blocks")
def test_heads_and_what_is_shown(attempt):
    assert Entries(attempt.start, attempt.blocks).head == attempt.head
    everything = show(attempt.blocks)
    assert keccak(everything) == attempt.keccak256_of_all
    assert unpack_submissions(attempt.start, everything).entries == dict(enumerate(attempt.entries))
    for numbers, submissions in attempt.shown:
        assert show(attempt.blocks, numbers) == submissions
        shown = unpack_submissions(attempt.start, submissions)
        assert shown.head == attempt.head
        assert set(numbers) <= shown.entries.keys()
        assert all(attempt.entries[number] == entry for number, entry in shown.entries.items())


@pytest.mark.parametrize(
    ("record", "vector"), records(), ids=lambda value: value.get("name") if isinstance(value, dict) else ""
)
def test_records(record, vector):
    assert record_word(record).hex() == vector["word"]
    assert pack_excluded(vector["excluded_numbers"], record.updates) == record.excluded
    assert excluded_numbers(record.excluded, record.updates) == frozenset(vector["excluded_numbers"])
    assert server_amount(record) == int(vector["server_amount"])
    assert client_amount(record) == int(vector["client_amount"])


@pytest.mark.parametrize("vector", VECTORS["announcements"])
def test_announcements(vector):
    salt, word, root = (bytes.fromhex(vector[name]) for name in ("salt", "word_or_head", "root"))
    assert finding_digest(vector["sender"], salt, word, vector["node"], vector["index"]).hex() == vector["finding"]
    assert commit_digest(vector["sender"], salt, word, root).hex() == vector["commit"]


_FIELDS = {
    "Update": [
        ("job", "uint256"),
        ("attempt", "uint32"),
        ("model", "bytes32"),
        ("commitment", "bytes32"),
        ("content", "bytes32"),
        ("weight", "uint32"),
    ],
    "Join": [("job", "uint256"), ("samples", "uint32"), ("key", "bytes32"), ("deadline", "uint256")],
}


@pytest.mark.parametrize("vector", VECTORS["typed_data"], ids=lambda vector: f"{vector['type']} {vector['job'][:6]}")
def test_wallets_sign_what_the_vectors_say(vector):
    fields = _FIELDS[vector["type"]]
    domain = {
        "name": "Galaxy",
        "version": "2",
        "chainId": int(vector["chain_id"]),
        "verifyingContract": vector["ledger"],
    }
    message = {name: bytes.fromhex(vector[name]) if kind == "bytes32" else int(vector[name]) for name, kind in fields}
    types = {vector["type"]: [{"name": name, "type": kind} for name, kind in fields]}
    signable = encode_typed_data(domain, types, message)
    assert (signable.header.hex(), signable.body.hex()) == (vector["domain"], vector["struct_hash"])
    assert keccak(b"\x19\x01" + signable.header + signable.body).hex() == vector["digest"]
    account = Account.from_key(sha256(vector["key_seed"].encode()).digest())
    assert account.address.lower() == vector["signer"]
    assert account.sign_message(signable).signature.hex() == vector["signature"]
    recovered = Account.recover_message(signable, signature=bytes.fromhex(vector["signature"]))
    assert recovered == account.address
