"""No answer is larger or dearer than what `registerJob` has reckoned with, in the largest jobs that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from eth_utils.address import to_canonical_address, to_checksum_address
from eth_utils.crypto import keccak

from galaxy_chain.jobs.answer_size import MOST_BYTES, MOST_GAS, answer_bytes, answer_gas, fits
from tests.contracts.ledger import (
    OPTIMIZER_WORDS,
    SEGMENT,
    SUM_RULES,
    ZERO,
    Chain,
    artifact,
    bit_map,
    finish,
    head_of,
    pack_openings,
    show,
    terms_of,
)
from tests.contracts.sums import Node, SumTree
from tests.vectors.generate_optimizers import LANES

# What the ledger adds to what its verifier takes: reading and writing of slots, copying of the openings, the event.
LEDGER = 200_000
WEIGHT = 7


class _Shown:
    """An entry as `head_of` and `show` want it, whoever's it is."""

    def __init__(self, client: str, root: bytes) -> None:
        self.client = client
        committed = sha256(root + to_canonical_address(client)).digest()
        self.entry = to_canonical_address(client) + WEIGHT.to_bytes(4, "big") + committed + b"\x77" * 32


class _Tree:
    """One chunk, the first, of a vector whose other chunks are anything."""

    def __init__(self, chunk: bytes, generator: np.random.Generator, depth: int) -> None:
        self.chunk = chunk
        path = [generator.bytes(32) for _ in range(depth)]
        self.root = sha256(chunk).digest()
        for sibling in path:
            self.root = sha256(self.root + sibling).digest()
        self.opening = chunk + b"".join(path)


class _Round:
    """A round of as many updates as a job can have, in blocks of these sizes; all its openings are of chunk 0."""

    def __init__(
        self, chain: Chain, rule: str, updates: int, fan_in: int, chunk: int, depth: int, sizes: Sequence[int] = ()
    ) -> None:
        self.chain, self.rule, self.updates = chain, rule, updates
        self.fan_in, self.chunk, self.depth = fan_in, chunk, depth
        self.generator = np.random.default_rng(depth)
        # A few vectors that many clients share: the gas does not depend on whose they are.
        values = self.generator.integers(-(2**31), 2**31, (9, chunk)).astype("<i4")
        self.vectors = list(values[1:])
        # Moments, too, may be anything.
        self.model_values = self.generator.integers(-(2**31), 2**31, LANES.get(rule, 1) * chunk).astype("<i4")
        self.trees = [self._tree(vector.tobytes()) for vector in self.vectors]
        trimmed = (updates - 1) // 4 if rule == "trimmed_mean" else 0
        self.parameters = OPTIMIZER_WORDS.get(rule, trimmed.to_bytes(32, "big"))
        self.model = self._tree(self.model_values.tobytes())
        clients = [to_checksum_address(keccak(b"%d" % number)[:20]) for number in range(updates)]
        entries = [_Shown(client, self.trees[n % 8].root) for n, client in enumerate(clients)]
        self.blocks: Any = []
        first = 0
        for size in sizes or [1] * updates:
            self.blocks.append(entries[first : first + size])
            first += size
        assert first == updates
        self.sums = self._sums() if rule in SUM_RULES and updates > fan_in else None
        self.next = self._tree(self._aggregate())
        self.verifier = chain.web3.eth.contract(chain.view("verifier"), abi=artifact("OpeningVerifier")["abi"])

    def _tree(self, chunk: bytes) -> _Tree:
        return _Tree(chunk, self.generator, self.depth)

    def _sums(self) -> SumTree:
        nodes: list[Node] = []
        sums = [WEIGHT * vector.astype(np.int64) for vector in self.vectors]
        sizes = [(sums[n % 8], WEIGHT) for n in range(self.updates)]
        level = begin = 0
        while len(sizes) > 1:
            level += 1
            above = []
            for first in range(0, len(sizes), self.fan_in):
                run = range(first, min(first + self.fan_in, len(sizes)))
                total = sum((sizes[n][0] for n in run), np.zeros(self.chunk, np.int64))
                weight = sum(sizes[n][1] for n in run)
                children = run if level == 1 else range(begin + run.start, begin + run.stop)
                node = Node(total, weight, self.chunk, level, children)
                node.__dict__["tree"] = self._tree(total.astype("<i8").tobytes())
                nodes.append(node)
                above.append((total, weight))
            begin = len(nodes) - len(above) + 1
            sizes = above
        return SumTree(tuple(nodes))

    def _aggregate(self) -> bytes:
        model = self.model_values
        if self.sums:
            return finish(model, self.sums.root.vector, self.sums.root.weight, self.rule, self.parameters).tobytes()
        vectors = [self.vectors[n % 8] for n in range(self.updates)]
        if self.rule in SUM_RULES:
            total = sum((WEIGHT * v.astype(np.int64) for v in vectors), np.zeros(self.chunk, np.int64))
            return finish(model, total, WEIGHT * self.updates, self.rule, self.parameters).tobytes()
        arguments = model.tobytes(), [v.tobytes() for v in vectors], [WEIGHT] * self.updates
        aggregated: bytes = self.chain.view("aggregate", self.parameters, *arguments, to=self.chain.rules[self.rule])
        return aggregated

    def openings(self, node: int) -> bytes:
        numbers = range(self.updates)
        models = [self.next, self.model]
        if self.sums is None:
            opened = [*models, *(self.trees[n % 8] for n in numbers)]
            return pack_openings(b"", show(self.blocks), b"".join(tree.opening for tree in opened))
        shown = self.sums.shown(node)
        if node == 0:
            opened = [*models, self.sums.root.tree]  # type: ignore[list-item]
            return pack_openings(shown, b"", b"".join(tree.opening for tree in opened))
        subject = self.sums[node]
        if subject.level > 1:
            opened = [subject.tree, *(self.sums[child].tree for child in subject.children)]  # type: ignore[list-item]
            return pack_openings(shown, b"", b"".join(tree.opening for tree in opened))
        opened = [subject.tree, *(self.trees[n % 8] for n in subject.children)]  # type: ignore[list-item]
        submissions = show(self.blocks, subject.children)
        return pack_openings(shown, submissions, b"".join(tree.opening for tree in opened))

    def check(self, node: int = 0) -> tuple[int, int]:
        """What the largest and dearest answer takes, against what was reckoned with."""
        chain, start = self.chain, b"\x55" * 32
        record = (
            1, 1, self.updates, head_of(start, self.blocks), self.model.root, (self.next.root, b"\x66" * 32),
            bit_map((), self.updates), self.sums.hash if self.sums else ZERO, 10**18, 10**18, 2000, chain.accounts[1],
            1_800_000_000,
        )  # fmt: skip
        question = (
            start, chain.rules[self.rule].address, self.parameters, self.chunk << self.depth, self.chunk, self.fan_in,
            self.rule in SUM_RULES, node, 0,
        )  # fmt: skip
        openings = self.openings(node)
        snapshot = chain.tester.take_snapshot()
        call = "isRight", question, record, openings
        assert chain.view(*call, to=self.verifier)
        gas = chain.send(chain.accounts[0], *call, to=self.verifier).gas
        chain.tester.revert_to_snapshot(snapshot)
        size = len(chain.ledger.encode_abi("challenge", [1, record, node, 0, ZERO, openings])) // 2 - 1
        terms = self.rule, self.updates, self.fan_in, self.chunk, self.depth
        most_bytes, most_gas = answer_bytes(*terms), answer_gas(*terms)
        assert size <= most_bytes <= MOST_BYTES
        # EIP-7623: no transaction pays less than that for its calldata. No job is refused for it, for bytes bound it.
        if gas == 21_000 + 10 * _tokens(self.verifier.encode_abi("isRight", [question, record, openings])):
            assert gas <= 21_000 + 40 * MOST_BYTES <= MOST_GAS
        else:
            assert gas + LEDGER <= most_gas <= MOST_GAS
        return size, gas


def _tokens(data: str) -> int:
    packed = bytes.fromhex(data[2:])
    return 4 * len(packed) - 3 * packed.count(0)


def _most(rule: str, fan_in: int, chunk: int, depth: int) -> int:
    return max(count for count in range(1, 4097) if fits(rule, count, fan_in, chunk, depth))


@pytest.mark.extended
@pytest.mark.parametrize(
    ("rule", "chunk", "depth"),
    [
        ("relay", 8, 1),
        ("relay", 8, 16),
        ("relay", 256, 16),
        ("trimmed_mean", 64, 2),
        ("coordinate_median", 256, 16),
    ],
)
def test_the_largest_answer_stays_below_what_was_reckoned_with(
    deployed: Chain, rule: str, chunk: int, depth: int
) -> None:
    _Round(deployed, rule, _most(rule, 16, chunk, depth), 16, chunk, depth).check()


SUMS = [(16, 64, 13), (64, 128, 4), (64, 64, 13), (16, 256, 16), (8, 8, 20), (2, 64, 13), (2, 8, 1), (32, 256, 13)]


@pytest.mark.extended
@pytest.mark.parametrize(("fan_in", "chunk", "depth"), SUMS)
def test_the_largest_answer_of_a_sum_stays_below_what_was_reckoned_with(
    deployed: Chain, fan_in: int, chunk: int, depth: int
) -> None:
    """A flat round, and a full one in the worst of blocks; each kind of node. And no bound is twice what is taken."""
    _Round(deployed, "weighted_mean", fan_in, fan_in, chunk, depth).check()
    updates = _most("weighted_mean", fan_in, chunk, depth)
    sizes, run = worst_blocks(updates, fan_in)
    round = _Round(deployed, "weighted_mean", updates, fan_in, chunk, depth, sizes)
    assert round.sums
    lowest = sum(node.level == 1 for node in round.sums.nodes)
    taken = [round.check(node) for node in (0, 1, run + 1, lowest, lowest + 1, len(round.sums.nodes))]
    terms = "weighted_mean", updates, fan_in, chunk, depth
    assert answer_bytes(*terms) <= 1.25 * max(size for size, _ in taken) + 1000
    assert answer_gas(*terms) <= 2 * max(gas for _, gas in taken) + LEDGER


@pytest.mark.parametrize("rule", LANES)
@pytest.mark.parametrize(("fan_in", "chunk", "depth"), [(2, 256, 16), (16, 64, 13)])
def test_the_largest_answer_about_moments_stays_below_what_was_reckoned_with(
    deployed: Chain, rule: str, fan_in: int, chunk: int, depth: int
) -> None:
    """The last step, where a model's opening is several times as long as an update's."""
    _Round(deployed, rule, fan_in, fan_in, chunk, depth).check()
    _Round(deployed, rule, min(200, _most(rule, fan_in, chunk, depth)), fan_in, chunk, depth).check()


def worst_blocks(updates: int, fan_in: int) -> tuple[list[int], int]:
    """Blocks of one, but for a run that lies across two segments, of which the first and the last block have F entries.

    The run has the last entry of a full block, then F - 2 by themselves, then the first of another.
    """
    run = max(1, min(updates // fan_in - 2, SEGMENT * 2 // fan_in))
    before = run * fan_in - (fan_in - 1)
    if run * fan_in + 2 * fan_in - 1 > updates or before < 0:
        return [1] * updates, 0
    sizes = [1] * before + [fan_in] + [1] * (fan_in - 2) + [fan_in]
    return sizes + [1] * (updates - sum(sizes)), run


@pytest.mark.parametrize(
    ("fan_in", "chunk", "parameters", "updates"),
    [(16, 64, 2**19, 4096), (16, 64, 2**19, 17), (64, 256, 2**20, 4096), (64, 64, 2**19, 4096), (8, 64, 2**19, 4096)],
)
def test_sums_of_thousands_are_taken(chain: Chain, fan_in: int, chunk: int, parameters: int, updates: int) -> None:
    terms = terms_of(chain) | {
        "fanIn": fan_in, "chunkParameters": chunk, "parameters": parameters, "maxUpdates": updates,
        "challengeSeconds": 30_000,
    }  # fmt: skip
    model = (b"\1" * 32, b"\2" * 32)
    depth = (parameters // chunk - 1).bit_length()
    if fits("weighted_mean", updates, fan_in, chunk, depth):
        chain.send(chain.accounts[0], "registerJob", terms, model)
        return
    error, arguments = chain.refusal(chain.accounts[0], "registerJob", terms, model)
    assert error == "AnswerTooLarge"
    assert arguments["size"] == answer_bytes("weighted_mean", updates, fan_in, chunk, depth) > MOST_BYTES
    assert arguments["gasNeeded"] == answer_gas("weighted_mean", updates, fan_in, chunk, depth)
    assert (fan_in, chunk) == (64, 256), "only the widest of all"
