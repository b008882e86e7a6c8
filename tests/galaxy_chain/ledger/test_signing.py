"""Signatures of updates and of joining: those of eth-account, of a node and of a wallet are one, and bad ones are named."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from eth_account import Account
from eth_account.messages import _hash_eip191_message, encode_typed_data
from eth_utils.crypto import keccak

from galaxy_chain.exceptions import RpcError
from galaxy_chain.ledger.signing import (
    Domain,
    SignatureError,
    join_data,
    join_hash,
    recover,
    sign_join,
    sign_update,
    update_data,
    update_hash,
)
from galaxy_chain.ledger.structs import Update
from galaxy_chain.node import Node
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import LocalSigner, NodeSigner

KEY = b"\7" * 32
SIGNER = LocalSigner(Account.from_key(KEY))
DOMAIN = Domain(1337, "0x" + "ab" * 20)
MODEL = b"\1" * 32
UPDATE = Update(b"\2" * 32, b"\3" * 32, 40)
HASH = update_hash(5, 9, MODEL, UPDATE)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def signed() -> bytes:
    return sign_update(SIGNER, None, DOMAIN, 5, 9, MODEL, UPDATE)


def digest(data) -> bytes:
    return _hash_eip191_message(encode_typed_data(full_message=data))


def test_hashes_are_those_of_the_typed_data():
    separator = DOMAIN.separator
    for data, hash in (
        (update_data(DOMAIN, 5, 9, MODEL, UPDATE), HASH),
        (join_data(DOMAIN, 5, 40, bytes(32), 2**40), join_hash(5, 40, bytes(32), 2**40)),
    ):
        assert keccak(b"\x19\x01" + separator + hash) == digest(data)


def test_a_signature_has_65_bytes_is_low_and_its_signers():
    signature = signed()
    assert len(signature) == 65
    assert signature[64] in (27, 28)
    assert int.from_bytes(signature[32:64]) <= ORDER // 2
    assert recover(DOMAIN, HASH, signature) == SIGNER.address
    joined = sign_join(SIGNER, None, DOMAIN, 5, 40, 2**40)
    assert recover(DOMAIN, join_hash(5, 40, bytes(32), 2**40), joined) == SIGNER.address


def test_what_a_wallet_signs_is_accepted():
    """A wallet gets JSON, and knows nothing of Galaxy."""
    data = json.loads(json.dumps(update_data(DOMAIN, 5, 9, MODEL, UPDATE)))
    signature = bytes(Account.sign_typed_data(KEY, full_message=data).signature)
    assert recover(DOMAIN, HASH, signature) == SIGNER.address
    assert signature == signed()


def test_a_wallet_that_counts_from_zero_is_accepted():
    signature = signed()
    wallet = SimpleNamespace(
        address=SIGNER.address, sign_typed_data=lambda rpc, data, digest: signature[:64] + bytes((signature[64] - 27,))
    )
    assert sign_update(wallet, None, DOMAIN, 5, 9, MODEL, UPDATE) == signature


def test_a_node_signs_the_same(embedded):
    key, rpc = embedded.private_keys[3], Rpc(embedded.url)
    signer = NodeSigner(embedded.accounts[3])
    signature = sign_update(signer, rpc, DOMAIN, 5, 9, MODEL, UPDATE)
    assert signature == sign_update(LocalSigner(Account.from_key(key)), rpc, DOMAIN, 5, 9, MODEL, UPDATE)
    as_text = json.dumps(update_data(DOMAIN, 5, 9, MODEL, UPDATE))
    assert rpc.data("eth_signTypedData_v4", signer.address, as_text) == signature
    for wrong in ({}, "{", {"types": {}}, [], update_data(DOMAIN, -1, 9, MODEL, UPDATE)):
        with pytest.raises(RpcError, match=r"expected (typed data|an object)"):
            rpc.request("eth_signTypedData_v4", signer.address, wrong)


class Counting(Rpc):
    """A node, and what it was asked for."""

    def __init__(self, url):
        super().__init__(url)
        self.asked = []

    def request(self, method, *parameters):
        self.asked.append(method)
        return super().request(method, *parameters)


def test_for_accounts_whose_key_everybody_knows_the_node_is_not_asked(embedded):
    rpc = Counting(embedded.url)
    for number in (0, 3, 19):
        by_node, here = (NodeSigner(embedded.accounts[number], place) for place in (None, number))
        signed = sign_update(here, rpc, DOMAIN, 5, 9, MODEL, UPDATE), sign_join(here, rpc, DOMAIN, 5, 40, 2**40)
        assert rpc.asked == []
        assert signed == (
            sign_update(by_node, rpc, DOMAIN, 5, 9, MODEL, UPDATE),
            sign_join(by_node, rpc, DOMAIN, 5, 40, 2**40),
        )
        assert rpc.asked == ["eth_signTypedData_v4"] * 2
        rpc.asked.clear()


def test_for_accounts_of_another_mnemonic_the_node_is_asked():
    mnemonic = "legal winner thank year wave sausage worth useful legal winner thank yellow"
    with Node(port=0, accounts=2, mnemonic=mnemonic) as own:
        rpc = Counting(own.url)
        signature = sign_update(NodeSigner(own.accounts[1], 1), rpc, DOMAIN, 5, 9, MODEL, UPDATE)
        assert rpc.asked == ["eth_signTypedData_v4"]
    assert recover(DOMAIN, HASH, signature) == own.accounts[1]


def test_the_key_is_not_in_what_a_signer_shows(embedded):
    signer = NodeSigner(embedded.accounts[3], 3)
    sign_update(signer, None, DOMAIN, 5, 9, MODEL, UPDATE)
    assert repr(signer) == f"NodeSigner(address='{signer.address}', number=3)"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s[:-1], "has 65 bytes .r, s, v., not 64"),
        (lambda s: s + b"\0", "not 66"),
        (lambda s: b"", "not 0"),
        (lambda s: s[:64] + b"\0", "last byte of a signature is 0, expected 27 or 28"),
        (lambda s: s[:64] + b"\x1d", "is 29"),
        (lambda s: s[:32] + (ORDER - int.from_bytes(s[32:64])).to_bytes(32) + bytes((55 - s[64],)), "upper half"),
        (lambda s: bytes(64) + b"\x1b", "nobody's"),
        (lambda s: b"\xff" * 32 + s[32:], "nobody's"),
    ],
)
def test_what_is_no_signature_is_named(change, says):
    with pytest.raises(SignatureError, match=says):
        recover(DOMAIN, HASH, change(signed()))


@pytest.mark.parametrize(
    "other",
    [
        (Domain(1, DOMAIN.ledger), HASH),
        (Domain(1337, "0x" + "ac" * 20), HASH),
        (DOMAIN, update_hash(6, 9, MODEL, UPDATE)),
        (DOMAIN, update_hash(5, 10, MODEL, UPDATE)),
        (DOMAIN, update_hash(5, 9, b"\4" * 32, UPDATE)),
        (DOMAIN, update_hash(5, 9, MODEL, Update(UPDATE.commitment, UPDATE.content, 41))),
    ],
)
def test_a_signature_is_worth_nothing_for_anything_else(other):
    assert recover(*other, signed()) != SIGNER.address


def test_a_signer_that_signs_something_else_is_named():
    other = LocalSigner(Account.from_key(b"\x08" * 32))
    wallet = SimpleNamespace(address=SIGNER.address, sign_typed_data=other.sign_typed_data)
    with pytest.raises(SignatureError, match=f"sign for {SIGNER.address} has signed as {other.address}"):
        sign_update(wallet, None, DOMAIN, 5, 9, MODEL, UPDATE)
