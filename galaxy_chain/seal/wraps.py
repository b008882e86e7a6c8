"""How a content key gets to the members: wrapped for the public key of each, on the ledger (protocol section 10).

A wrap has 112 bytes: x of the member's key, x of an ephemeral key, and the content key by ChaCha20-Poly1305. Keys are
points of secp256k1 by their x alone, lifted to an even y (BIP 340); the group has a prime order, so whatever is a point
is a good one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from galaxy_chain.ledger.words import address_bytes
from galaxy_chain.seal.sealing import KEY_BYTES, key_digest

__all__ = ["WRAP_BYTES", "Wrapping", "WrongWrap", "holders", "is_point", "public_key"]

WRAP_BYTES = 32 + 32 + KEY_BYTES + 16


class WrongWrap(Exception):
    """What was wrapped for this key is not the content key that the ledger names."""


def public_key(secret: bytes) -> bytes:
    """The x of a secret key's point: 32 bytes."""
    from coincurve import PrivateKey

    return bytes(PrivateKey(secret).public_key.format()[1:])


def is_point(key: bytes) -> bool:
    """Whether there is a point of that x."""
    from coincurve import PublicKey

    try:
        PublicKey(b"\x02" + key)
    except ValueError:
        return False
    return True


def holders(wraps: bytes) -> list[bytes]:
    """The public keys that something is wrapped for; none where it is not a sequence of wraps."""
    if len(wraps) % WRAP_BYTES:
        return []
    return [wraps[at : at + 32] for at in range(0, len(wraps), WRAP_BYTES)]


@dataclass(frozen=True)
class Wrapping:
    """Wraps content keys of one job. A wrap for one job, key or member opens nothing as that of another.

    Attributes:
        chain_id, ledger, job: Where the job is.
    """

    chain_id: int
    ledger: str
    job: int

    def wrap(self, key: bytes, member: bytes, ephemeral: bytes | None = None) -> bytes:
        """A content key for the member with that public key.

        Args:
            ephemeral: A secret key that is used once; None for a new one.

        Raises:
            ValueError: no point has that x.
        """
        from coincurve import PrivateKey
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        secret = PrivateKey(ephemeral)
        context = self._context(key_digest(key), member, bytes(secret.public_key.format()[1:]))
        sealed = ChaCha20Poly1305(_agreed(context, secret.secret, member)).encrypt(bytes(12), key, context)
        return context[-64:] + sealed

    def unwrap(self, wraps: bytes, digest: bytes, secret: bytes) -> bytes | None:
        """The content key that is wrapped for a secret key, None where none is.

        Raises:
            WrongWrap: what is wrapped for it does not open, or is not the key of that digest.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        member = public_key(secret)
        if member not in (found := holders(wraps)):
            return None
        at = found.index(member) * WRAP_BYTES
        ephemeral, sealed = wraps[at + 32 : at + 64], wraps[at + 64 : at + WRAP_BYTES]
        context = self._context(digest, member, ephemeral)
        try:
            key = ChaCha20Poly1305(_agreed(context, secret, ephemeral)).decrypt(bytes(12), sealed, context)
        except (InvalidTag, ValueError) as error:
            raise WrongWrap(f"what is wrapped for {member.hex()} does not open") from error
        if key_digest(key) != digest:
            raise WrongWrap(f"what is wrapped for {member.hex()} is another key, {key_digest(key).hex()}")
        return key

    def _context(self, digest: bytes, member: bytes, ephemeral: bytes) -> bytes:
        place = self.chain_id.to_bytes(32) + address_bytes(self.ledger) + self.job.to_bytes(32)
        return b"galaxy wrap" + place + digest + member + ephemeral


def _agreed(context: bytes, secret: bytes, public: bytes) -> bytes:
    """The key that two secret keys, each with the other's public one, agree on.

    Raises:
        ValueError: no point has that x.
    """
    from coincurve import PublicKey

    point = PublicKey(b"\x02" + public).multiply(secret)
    return hashlib.sha256(context + bytes(point.format()[1:])).digest()
