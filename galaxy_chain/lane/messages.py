"""What clients sign, as JSON: in requests, in files, and in what a client keeps."""

from __future__ import annotations

from typing import Annotated

from eth_utils.address import to_checksum_address
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from galaxy_chain.ledger.signing import Domain, SignatureError, join_hash, recover, update_hash
from galaxy_chain.ledger.structs import JoinBySignature, Update
from galaxy_chain.ledger.submissions import Entry

__all__ = ["LARGEST_MESSAGE", "SignedJoin", "SignedUpdate"]

LARGEST_MESSAGE = 2048
"""Bytes of JSON; three times what one has."""

Address = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$"), AfterValidator(to_checksum_address)]
Word = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{130}$")]
Samples = Annotated[int, Field(ge=1, lt=2**32)]


class SignedUpdate(BaseModel):
    """An entry of an attempt that its client has signed. Bytes are in hexadecimal."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    client: Address
    weight: Samples
    commitment: Word
    content: Word
    model: Word
    """The root of the model that the update was trained on."""
    signature: Signature

    @classmethod
    def of(cls, client: str, model: bytes, update: Update, signature: bytes) -> SignedUpdate:
        """From what was signed."""
        return cls(
            client=client,
            weight=update.weight,
            commitment=update.commitment.hex(),
            content=update.content.hex(),
            model=model.hex(),
            signature=signature.hex(),
        )

    @property
    def update(self) -> Update:
        """What the client submits."""
        return Update(bytes.fromhex(self.commitment), bytes.fromhex(self.content), self.weight)

    @property
    def entry(self) -> Entry:
        """The entry that the ledger makes of it."""
        return Entry(self.client, self.update)

    def check(self, domain: Domain, job: int, attempt: int) -> None:
        """Makes sure that the client has signed it for that attempt.

        Raises:
            SignatureError: it has not.
        """
        hash = update_hash(job, attempt, bytes.fromhex(self.model), self.update)
        _check(self.client, recover(domain, hash, bytes.fromhex(self.signature)), f"attempt {attempt} of job {job}")


class SignedJoin(BaseModel):
    """That a client joins, signed. Bytes are in hexadecimal."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    client: Address
    samples: Samples
    key: Word = "0" * 64
    """A public key for encrypted or masked updates, or zeros."""
    deadline: Annotated[int, Field(ge=1, lt=2**63)]
    """Until when the signature is valid, in seconds of the chain since 1970."""
    signature: Signature

    @property
    def join(self) -> JoinBySignature:
        """As the ledger takes it."""
        key, signature = bytes.fromhex(self.key), bytes.fromhex(self.signature)
        return JoinBySignature(self.client, self.samples, key, self.deadline, signature)

    def check(self, domain: Domain, job: int) -> None:
        """Makes sure that the client has signed it.

        Raises:
            SignatureError: it has not.
        """
        hash = join_hash(job, self.samples, bytes.fromhex(self.key), self.deadline)
        _check(self.client, recover(domain, hash, bytes.fromhex(self.signature)), f"joining job {job}")


def _check(client: str, signer: str, what: str) -> None:
    if signer != client:
        raise SignatureError(
            f"the signature is not one of {client} for {what} with these values: sign it again, for this ledger and "
            "its chain"
        )
