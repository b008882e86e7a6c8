"""How an account signs what it asks of a content store over HTTP.

The account signs a text (EIP-191, `personal_sign`) that binds method, store, content, size, job, a time to live and a
number used once; so a signature is worth nothing at another store, for other content, later, or a second time. The
bytes themselves need no signature: they are what their id says, or they are thrown away.
"""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from galaxy_fl.exceptions import ConfigurationError

if TYPE_CHECKING:
    from galaxy_chain.rpc.rpc import Rpc
    from galaxy_chain.transactions.manager import Signer

__all__ = ["LONGEST_LIFE", "NO_JOB", "Authorization", "Writer", "signed_text"]

LONGEST_LIFE = 600
"""Seconds that a signature may still have to live when it arrives."""
NO_JOB = 0
"""Stands for the number of a job that is not registered yet."""

_LIFE = 300
"""Half of the above: clocks may differ by as much as five minutes."""
_LARGEST_JOB = 2**63 - 1
_HEADER = re.compile(
    r"Galaxy address=(?P<address>0x[0-9a-fA-F]{40}), job=(?P<job>\d{1,19}), until=(?P<until>\d{1,12}),"
    r" once=(?P<once>[0-9a-f]{32}), signature=0x(?P<signature>[0-9a-f]{130})",
    re.ASCII,
)


def signed_text(method: str, url: str, target: str, job: int, until: int, once: str) -> str:
    """What is signed.

    `url`: the store's, without a slash at its end. `target`: path and query below it, as sent.
    """
    return f"Galaxy content store\n{method} {url}{target}\njob {job}\nuntil {until}\nonce {once}"


@dataclass(frozen=True)
class Authorization:
    """What the Authorization header says.

    `job`: its number, or `NO_JOB`. `until`: Unix time in seconds. `once`: 16 bytes in hexadecimal. `signature`: 65
    bytes.
    """

    address: str
    job: int
    until: int
    once: str
    signature: bytes

    @property
    def header(self) -> str:
        return (
            f"Galaxy address={self.address}, job={self.job}, until={self.until}, once={self.once},"
            f" signature=0x{self.signature.hex()}"
        )

    @classmethod
    def parse(cls, header: str) -> Authorization:
        """Reads the header.

        Raises:
            ConfigurationError: it is none.
        """
        match = _HEADER.fullmatch(header)
        if match is None or int(match["job"]) > _LARGEST_JOB:
            raise ConfigurationError(
                f"{header[:80]!r} is not a signature of an account: expected Authorization: Galaxy address=0x…, job=N,"
                " until=SECONDS, once=…, signature=0x…"
            )
        return cls(
            match["address"], int(match["job"]), int(match["until"]), match["once"], bytes.fromhex(match["signature"])
        )


@dataclass(frozen=True)
class Writer:
    """An account that writes for a job.

    Attributes:
        signer: The account.
        rpc: Of the node that signs for it, where it does not sign itself.
        job: The job's number; `NO_JOB` for the owner of one that is not registered yet.
    """

    signer: Signer
    rpc: Rpc
    job: int = NO_JOB

    def authorization(self, method: str, url: str, target: str) -> str:
        """The Authorization header of one request.

        Raises:
            RpcError: the node does not sign.
        """
        until, once = int(time.time()) + _LIFE, secrets.token_hex(16)
        signature = self.signer.sign_message(self.rpc, signed_text(method, url, target, self.job, until, once))
        return Authorization(self.signer.address, self.job, until, once, signature).header
