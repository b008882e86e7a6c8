"""What clients sign so that others can hand it in: EIP-712, which wallets show field by field.

The twin of `contracts/libraries/TypedData.sol`. Hashes are made here, because an inbox checks thousands of signatures;
what signs gets the typed data themselves, as `eth_signTypedData_v4` has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from galaxy_chain.ledger.structs import Update
from galaxy_chain.ledger.words import checksum_address, key_address, word
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.keccak import keccak

if TYPE_CHECKING:
    from galaxy_chain.rpc.rpc import Rpc
    from galaxy_chain.transactions.manager import Signer

__all__ = [
    "SIGNATURE_BYTES",
    "Domain",
    "SignatureError",
    "join_data",
    "join_hash",
    "recover",
    "sign_join",
    "sign_update",
    "update_data",
    "update_hash",
]

SIGNATURE_BYTES = 65
"""r, s and v."""
NAME, VERSION = "Galaxy", "2"
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_HALF = _ORDER // 2

_FIELDS: dict[str, list[tuple[str, str]]] = {
    "EIP712Domain": [
        ("name", "string"),
        ("version", "string"),
        ("chainId", "uint256"),
        ("verifyingContract", "address"),
    ],
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
_HASHES = {
    name: keccak(f"{name}({','.join(f'{kind} {field}' for field, kind in fields)})".encode())
    for name, fields in _FIELDS.items()
}


class SignatureError(ConfigurationError):
    """Bytes that are not a signature as the ledger takes it, or one of somebody else or of something else."""


@dataclass(frozen=True)
class Domain:
    """For which ledger something is signed: a signature is worth nothing on another one, or on another chain."""

    chain_id: int
    ledger: str

    @property
    def separator(self) -> bytes:
        """The hash of it, 32 bytes."""
        return _separator(self)


@lru_cache
def _separator(domain: Domain) -> bytes:
    name, version = keccak(NAME.encode()), keccak(VERSION.encode())
    return keccak(_HASHES["EIP712Domain"] + name + version + word(domain.chain_id) + word(domain.ledger))


def update_hash(job: int, attempt: int, model: bytes, update: Update) -> bytes:
    """The hash of an `Update` to an attempt on the model with that root, 32 bytes. The ledger keeps its low 160 bits
    of every submission, signed or not."""
    return keccak(
        _HASHES["Update"] + word(job) + word(attempt) + model + update.commitment + update.content + word(update.weight)
    )


def join_hash(job: int, samples: int, key: bytes, deadline: int) -> bytes:
    """The hash of a `Join`, 32 bytes."""
    return keccak(_HASHES["Join"] + word(job) + word(samples) + key + word(deadline))


def update_data(domain: Domain, job: int, attempt: int, model: bytes, update: Update) -> dict[str, Any]:
    """An `Update` as wallets and nodes take it to sign."""
    message = {
        "job": job,
        "attempt": attempt,
        "model": "0x" + model.hex(),
        "commitment": "0x" + update.commitment.hex(),
        "content": "0x" + update.content.hex(),
        "weight": update.weight,
    }
    return _typed(domain, "Update", message)


def join_data(domain: Domain, job: int, samples: int, key: bytes, deadline: int) -> dict[str, Any]:
    """A `Join` as wallets and nodes take it to sign."""
    return _typed(domain, "Join", {"job": job, "samples": samples, "key": "0x" + key.hex(), "deadline": deadline})


def _typed(domain: Domain, kind: str, message: dict[str, Any]) -> dict[str, Any]:
    return {
        "types": {
            name: [{"name": field, "type": type_} for field, type_ in _FIELDS[name]] for name in ("EIP712Domain", kind)
        },
        "primaryType": kind,
        "domain": {
            "name": NAME,
            "version": VERSION,
            "chainId": domain.chain_id,
            "verifyingContract": domain.ledger,
        },
        "message": message,
    }


def sign_update(
    signer: Signer, rpc: Rpc, domain: Domain, job: int, attempt: int, model: bytes, update: Update
) -> bytes:
    """Signs an update to an attempt on the model with that root: 65 bytes that `submitUpdates` takes.

    Raises:
        SignatureError: the signer gives something else.
        AccountError, RpcError: it does not sign.
    """
    data = update_data(domain, job, attempt, model, update)
    return _signed(signer, rpc, domain, data, update_hash(job, attempt, model, update))


def sign_join(
    signer: Signer, rpc: Rpc, domain: Domain, job: int, samples: int, deadline: int, key: bytes = bytes(32)
) -> bytes:
    """Signs that the account joins, until a deadline: 65 bytes that `joinBySignatures` takes.

    Raises:
        SignatureError, AccountError, RpcError: as `sign_update`.
    """
    data = join_data(domain, job, samples, key, deadline)
    return _signed(signer, rpc, domain, data, join_hash(job, samples, key, deadline))


def _signed(signer: Signer, rpc: Rpc, domain: Domain, data: dict[str, Any], hash: bytes) -> bytes:
    signature = signer.sign_typed_data(rpc, data, _digest(domain, hash))
    if len(signature) == SIGNATURE_BYTES and signature[64] < 27:  # some wallets count from zero
        signature = signature[:64] + bytes((signature[64] + 27,))
    found = recover(domain, hash, signature)
    if found != signer.address:
        raise SignatureError(
            f"what was to sign for {signer.address} has signed as {found}, or something else than chain "
            f"{domain.chain_id} and ledger {domain.ledger}: use another account or wallet"
        )
    return signature


def _digest(domain: Domain, hash: bytes) -> bytes:
    return keccak(b"\x19\x01" + domain.separator + hash)


def recover(domain: Domain, hash: bytes, signature: bytes) -> str:
    """The address (with checksum) whose signature that is, of the struct with that hash. It is any address where the
    signature is of something else.

    Raises:
        SignatureError: the ledger takes it from nobody.
    """
    if len(signature) != SIGNATURE_BYTES:
        raise SignatureError(f"a signature has {SIGNATURE_BYTES} bytes (r, s, v), not {len(signature)}")
    s, v = int.from_bytes(signature[32:64]), signature[64]
    if v not in (27, 28):
        raise SignatureError(f"the last byte of a signature is {v}, expected 27 or 28")
    if s > _HALF:
        raise SignatureError("the signature's s is in the upper half: the ledger takes the lower one alone (EIP-2)")
    from coincurve import PublicKey  # which those who only read don't pay for

    try:
        counted = signature[:64] + bytes((v - 27,))
        key = PublicKey.from_signature_and_message(counted, _digest(domain, hash), hasher=None)
    except ValueError as error:
        raise SignatureError(f"the signature is nobody's: {error}") from error
    return checksum_address(key_address(key.format(compressed=False)))
