"""The committed vectors of `generate_ledger.py` in the types of the ledger's twins."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from eth_utils.address import to_checksum_address

from galaxy_chain.ledger.structs import Model, Record, Update
from galaxy_chain.ledger.submissions import Block, Entry

VECTORS: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parent / "ledger.json").read_text())


def entry(seed: str, number: int) -> Entry:
    def digest(what: str) -> bytes:
        return sha256(f"{seed}:{number}:{what}".encode()).digest()

    client = to_checksum_address(digest("client")[:20])
    return Entry(client, Update(digest("commitment"), digest("content"), 1 + number))


@dataclass(frozen=True)
class Attempt:
    start: bytes
    head: bytes
    blocks: tuple[Block, ...]
    shown: tuple[tuple[tuple[int, ...], bytes], ...]
    """Numbers of entries, and the submissions that show them."""
    keccak256_of_all: bytes

    @property
    def entries(self) -> list[Entry]:
        return [entry for block in self.blocks for entry in block]


def attempts() -> list[Attempt]:
    found = []
    for vector in VECTORS["attempts"]:
        numbers = iter(range(sum(vector["sizes"])))
        found.append(
            Attempt(
                bytes.fromhex(vector["start"]),
                bytes.fromhex(vector["head"]),
                tuple(tuple(entry(vector["seed"], next(numbers)) for _ in range(size)) for size in vector["sizes"]),
                tuple((tuple(s["numbers"]), bytes.fromhex(s["submissions"])) for s in vector["shown"]),
                bytes.fromhex(vector["keccak256_of_all"]),
            )
        )
    return found


def records() -> list[tuple[Record, dict[str, Any]]]:
    """Records, and what the vectors say of each."""
    found = []
    for vector in VECTORS["records"]:
        record = Record(
            vector["attempt"],
            vector["round"],
            vector["updates"],
            bytes.fromhex(vector["head"]),
            bytes.fromhex(vector["previous_root"]),
            Model(bytes.fromhex(vector["root"]), bytes.fromhex(vector["content"])),
            bytes.fromhex(vector["excluded"]),
            bytes.fromhex(vector["nodes_hash"]),
            int(vector["reward"]),
            int(vector["allotted_before"]),
            vector["share"],
            to_checksum_address(vector["server"]),
            vector["time"],
        )
        found.append((record, vector))
    return found
