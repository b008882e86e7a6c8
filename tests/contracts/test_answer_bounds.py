"""No answer is larger or dearer than what `registerJob` has reckoned with, in the largest jobs that it takes."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from eth_utils.address import to_canonical_address, to_checksum_address
from eth_utils.crypto import keccak

from galaxy_chain.jobs.answer_size import MOST_BYTES, MOST_GAS, answer_bytes, answer_gas, fits
from tests.contracts.ledger import SEGMENT, ZERO, Chain, artifact, bit_map, head_of

# What the ledger adds to what its verifier takes: reading and writing of slots, copying of the openings, the event.
LEDGER = 200_000


class _Shown:
    """An entry as `head_of` and `show` want it, whoever's it is."""

    def __init__(self, client: str, root: bytes) -> None:
        self.client = client
        committed = sha256(root + to_canonical_address(client)).digest()
        self.entry = to_canonical_address(client) + (7).to_bytes(4, "big") + committed + b"\x77" * 32


def _root(chunk: bytes, path: list[bytes]) -> bytes:
    """Of a tree whose leaf 0 is this chunk."""
    node = sha256(chunk).digest()
    for sibling in path:
        node = sha256(node + sibling).digest()
    return node


def _tokens(data: str) -> int:
    packed = bytes.fromhex(data[2:])
    return 4 * len(packed) - 3 * packed.count(0)


def _most(rule: str, chunk: int, depth: int) -> int:
    return max(count for count in range(1, 4097) if fits(rule, count, chunk, depth))


@pytest.mark.extended
@pytest.mark.parametrize(
    ("rule", "chunk", "depth"),
    [
        ("relay", 8, 1),
        ("relay", 8, 16),
        ("relay", 256, 16),
        ("weighted_mean", 64, 13),
        ("trimmed_mean", 64, 2),
        ("coordinate_median", 256, 16),
    ],
)
def test_the_largest_answer_stays_below_what_was_reckoned_with(
    deployed: Chain, rule: str, chunk: int, depth: int
) -> None:
    updates = _most(rule, chunk, depth)
    generator = np.random.default_rng(depth)
    values = generator.integers(-(2**31), 2**31, (updates + 1, chunk)).astype("<i4")
    paths = [[generator.bytes(32) for _ in range(depth)] for _ in range(updates + 2)]
    trimmed = (updates - 1) // 4 if rule == "trimmed_mean" else 0
    parameters = trimmed.to_bytes(32, "big")
    model, *vectors = values
    next = deployed.view(
        "aggregate", parameters, model.tobytes(), [v.tobytes() for v in vectors], [7] * updates, to=deployed.rules[rule]
    )
    chunks = [model.tobytes(), next, *(vector.tobytes() for vector in vectors)]
    roots = [_root(piece, path) for piece, path in zip(chunks, paths, strict=True)]
    clients = [to_checksum_address(keccak(b"%d" % number)[:20]) for number in range(updates)]
    blocks: Any = [[_Shown(client, root)] for client, root in zip(clients, roots[2:], strict=True)]
    start = b"\x55" * 32
    opened = b"".join(piece + b"".join(path) for piece, path in zip(chunks, paths, strict=True))
    shown = b"".join(
        bytes([len(segment)]) + b"".join(b"\x01" + block[0].entry for block in segment)
        for segment in (blocks[first : first + SEGMENT] for first in range(0, updates, SEGMENT))
    )
    record = (
        1, 1, updates, head_of(start, blocks), roots[0], (roots[1], b"\x66" * 32), bit_map((), updates),
        10**18, 10**18, 2000, deployed.accounts[1], 1_800_000_000,
    )  # fmt: skip
    question = (start, deployed.rules[rule].address, parameters, chunk << depth, chunk, 0)
    verifier = deployed.web3.eth.contract(deployed.view("verifier"), abi=artifact("OpeningVerifier")["abi"])
    assert deployed.view("isRight", question, record, opened + shown, to=verifier)
    snapshot = deployed.tester.take_snapshot()
    gas = deployed.send(deployed.accounts[0], "isRight", question, record, opened + shown, to=verifier).gas
    deployed.tester.revert_to_snapshot(snapshot)
    data = deployed.ledger.encode_abi("challenge", [1, record, 0, ZERO, opened + shown])
    assert len(data) // 2 - 1 <= answer_bytes(updates, chunk, depth) <= MOST_BYTES
    # EIP-7623: no transaction pays less than that for its calldata. No job is refused for it, for bytes bound it.
    if gas == 21_000 + 10 * _tokens(verifier.encode_abi("isRight", [question, record, opened + shown])):
        assert gas <= 21_000 + 40 * MOST_BYTES <= MOST_GAS
    else:
        assert gas + LEDGER <= answer_gas(rule, updates, chunk, depth) <= MOST_GAS
