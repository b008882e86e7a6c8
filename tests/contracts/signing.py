"""What clients sign, by the text of protocol.md, and with eth-account, whose EIP-712 wallets share."""

from __future__ import annotations

from functools import cache
from typing import Any

from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak

__all__ = ["UPDATE_FIELDS", "client_key", "domain", "join_data", "separator", "sign", "typed", "update_data"]

UPDATE_FIELDS = {
    "job": "uint256",
    "attempt": "uint32",
    "model": "bytes32",
    "commitment": "bytes32",
    "content": "bytes32",
    "weight": "uint32",
}
JOIN_FIELDS = {"job": "uint256", "samples": "uint32", "key": "bytes32", "deadline": "uint256"}


@cache
def client_key(number: int) -> LocalAccount:
    """A client that only signs: it has no ether on any chain."""
    account: LocalAccount = Account.from_key(keccak(b"client %d" % number))
    return account


def domain(chain_id: int, ledger: str, **other: Any) -> dict[str, Any]:
    return {"name": "Galaxy", "version": "2", "chainId": chain_id, "verifyingContract": ledger} | other


def separator(domain_: dict[str, Any]) -> bytes:
    """The hash of a domain."""
    type_hash = keccak(text="EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
    name, version, chain_id, contract = domain_.values()
    values = [type_hash, keccak(text=name), keccak(text=version), chain_id, contract]
    return keccak(encode(["bytes32", "bytes32", "bytes32", "uint256", "address"], values))


def typed(name: str, fields: dict[str, str], domain_: dict[str, Any], values: dict[str, Any]) -> bytes:
    """The digest that is signed."""
    types = {name: [{"name": field, "type": type_} for field, type_ in fields.items()]}
    message = encode_typed_data(domain_data=domain_, message_types=types, message_data=values)
    return keccak(b"\x19" + message.version + message.header + message.body)


def update_data(domain_: dict[str, Any], *values: Any) -> bytes:
    return typed("Update", UPDATE_FIELDS, domain_, dict(zip(UPDATE_FIELDS, values, strict=True)))


def join_data(domain_: dict[str, Any], *values: Any) -> bytes:
    return typed("Join", JOIN_FIELDS, domain_, dict(zip(JOIN_FIELDS, values, strict=True)))


def sign(account: LocalAccount, digest: bytes) -> bytes:
    """r, s, v with v 27 or 28."""
    signature = PrivateKey(bytes(account.key)).sign_msg_hash(digest)
    return signature.r.to_bytes(32, "big") + signature.s.to_bytes(32, "big") + bytes([27 + signature.v])
