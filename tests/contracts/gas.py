"""Measures what every call costs. `python -m tests.contracts.gas` writes gas.json anew.

Every figure is the gas used by a transaction on Foundry's anvil (Prague rules); challenges and answers are for a model
of 8,192 chunks of 64 parameters, a tree of depth 13. Addresses, times and vectors are fixed, so the figures are the
same on every machine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from galaxy_fl.vectors import ChunkTree, Vector, commitment
from tests.contracts.ledger import (
    ETHER,
    SALT,
    ZERO,
    Chain,
    Job,
    Receipt,
    Upload,
    bit_map,
    challenge_arguments,
    content_of,
    finished,
    to_canonical_address,
)
from tests.contracts.signing import client_key
from tests.contracts.sums import Alter, Node, SumTree
from tests.vectors.generate_optimizers import LANES

__all__ = ["CALLDATA", "SNAPSHOT", "measure", "measure_large", "snapshot"]

SNAPSHOT = Path(__file__).parent / "gas.json"
CHUNKS, CHUNK_PARAMETERS, FAN_IN = 8192, 64, 16
INDEX = 4711
FLOOR = 64
"""Gas a byte of calldata that a transaction pays at least, beside 21,000 (EIP-7976, which no chain has yet)."""
CALLDATA = ", bytes of calldata"
NO_ZEROS = b"\x11" * 32
LARGE = {"parameters": CHUNKS * CHUNK_PARAMETERS, "chunkParameters": CHUNK_PARAMETERS}
BATCH = 400
"""Entries of a call while a round is filled."""

Figures = dict[str, int]


def measure() -> Figures:
    """Every figure by name, but for those that take minutes."""
    small, chain = Chain(accounts=12), Chain(accounts=106)
    figures = {f"deploy {name}": gas for name, gas in chain.deployments.items()}
    figures |= _life(small) | _rounds(small, 3) | _rounds(chain, 100) | _claims(small, 100)
    figures |= _batch(small, 10) | _batch(small, 100)
    figures |= _disputes(small, 10, FAN_IN) | _disputes(small, 100, FAN_IN)
    figures |= _of_rule(chain, "coordinate_median", 64) | _of_rule(chain, "trimmed_mean", 64)
    figures |= _of_rule(chain, "fedavgm", 10) | _of_rule(chain, "fedadam", 10)
    return figures


def measure_large() -> Figures:
    """Those that take minutes."""
    chain = Chain(accounts=12)
    figures = _batch(chain, 800) | _disputes(chain, 100, 1)
    # Blocks of one cost a run of 4,096 what they cost one of 512 and 56 shut segments, of 35 bytes each.
    figures |= _disputes(chain, 512, FAN_IN) | _disputes(chain, 512, 1)
    return figures | _disputes(chain, 4096, FAN_IN)


def snapshot() -> Figures:
    """The committed figures, and what follows from them."""
    figures: Figures = json.loads(SNAPSHOT.read_text())
    return figures | in_all(figures)


def in_all(figures: Figures) -> Figures:
    """A round with everything, and what the dearer calldata of EIP-7976 makes of each."""
    claim = "claim, each of 100 clients"
    claimed = figures[f"{claim}, accounts that have a balance"]
    relayed = figures["submitUpdates, 100 entries"] // 100
    server = figures["commitRound, 100 clients"] + figures["settle"]
    whole = {
        "a round in all, a client that is relayed": relayed + claimed,
        "a round in all, a client by itself": figures["submitUpdate, later, 100 clients, round 50"] + claimed,
        "a round in all, its server": server,
        "a round in all, 100 clients that are relayed and the server": 100 * (relayed + claimed) + server,
        "a balance that was zero, once an account": figures[f"{claim}, new accounts"] - claimed,
    }
    floor = {
        name.replace(CALLDATA, ", by EIP-7976"): max(figures[name.replace(CALLDATA, "")], 21_000 + FLOOR * size)
        for name, size in figures.items()
        if CALLDATA in name
    }
    return whole | floor


def _job(chain: Chain, clients: int, kind: Callable[..., Job] = Job, **how: Any) -> Job:
    defaults = {
        "minUpdates": 2,
        "maxUpdates": clients,
        "maxExcluded": clients,
        "rounds": 60,
        "maxUnsettled": 60,
        "challengeSeconds": 30_000,
        "fanIn": FAN_IN,
    }
    job = kind(chain, pool=ETHER, **(defaults | how))
    job.clients = chain.accounts[2 : 2 + clients]
    return job


def _figures(name: str, where: str, receipt: Receipt, job: Job, *arguments: Any) -> Figures:
    """What a call has cost, and its bytes."""
    data = job.chain.ledger.encode_abi(name, [job.id, *arguments])
    return {f"{name}, {where}": receipt.gas, f"{name}{CALLDATA}, {where}": len(data) // 2 - 1}


def _life(chain: Chain) -> Figures:
    """The calls of a job's life whose price depends on neither the model nor the number of clients."""
    job = _job(chain, 3, rounds=2).prepare()
    somebody, admitted, other = chain.accounts[8:11]
    joins = []
    for number in range(700, 750):
        key = client_key(number)
        job.keys[key.address] = key
        joins.append(job.signed_join(key.address))
    figures = {
        "registerJob": job.registered.gas,
        "fund": job.send(somebody, "fund", value=ETHER).gas,
        "admit, each client": job.send(job.owner, "admit", [admitted]).gas,
        "expel": job.send(job.owner, "expel", admitted).gas,
        "registerKey": job.send(somebody, "registerKey", NO_ZEROS).gas,
        "shareKey, 10 wraps": job.send(job.owner, "shareKey", NO_ZEROS, 10 * 112 * b"\x11").gas,
        "join": job.send(somebody, "join", 60, NO_ZEROS).gas,
        "joinBySignatures, 1": job.send(somebody, "joinBySignatures", joins[:1]).gas,
        "joinBySignatures, 49": job.send(somebody, "joinBySignatures", joins[1:]).gas,
        "depositBond": job.bond(other).gas,
        "announce": chain.send(somebody, "announce", NO_ZEROS).gas,
    }
    for client in job.clients:
        last = job.submit(client)
    figures["submitUpdate, reaches maxUpdates"] = last.gas
    retry = job.submit_arguments(job.attempt.uploads[-1])
    figures["submitUpdate, a retry"] = job.send(client, "submitUpdate", *retry).gas
    chain.travel(job.state.closesAt + 4 * job.terms["aggregateSeconds"])
    figures["reopenRound"] = job.reopen().gas
    job.collect()
    withheld = job.commit()
    chain.travel(withheld.time + job.terms["idleSeconds"])
    figures["supersede"] = job.supersede(other, withheld).gas
    snapshot = chain.tester.take_snapshot()
    figures["cancelJob"] = job.send(job.owner, "cancelJob").gas
    chain.tester.revert_to_snapshot(snapshot)
    first = job.commit(other, salt=SALT)
    figures["commitRound, by announcement"] = job.receipt.gas
    job.collect()
    chain.travel(job.state.closesAt + job.terms["aggregateSeconds"])
    second = job.commit(other, salt=SALT)
    figures["settle"] = job.settle(first).gas
    chain.travel(job.window_end(second))
    figures["claim, 3 clients, settles on the way"] = job.claim(second).gas
    figures["finalizeJob"] = job.send(somebody, "finalizeJob").gas
    figures["withdraw"] = job.send(job.clients[0], "withdraw").gas
    figures["withdrawFor, 2"] = job.send(somebody, "withdrawFor", job.clients[1:3]).gas
    figures["withdrawBond"] = job.send(other, "withdrawBond").gas
    return figures


def _rounds(chain: Chain, clients: int) -> Figures:
    """Submissions and commits of rounds 2 and 50. Only to the latter do all submit: three to round 2, two to others."""
    job = _job(chain, clients, maxUpdates=clients + 1).prepare()
    root = job.root_of(job.attempt.model)
    figures = {}
    for round in range(1, 51):
        senders = job.clients[: {2: 3, 50: clients}.get(round, 2)]
        # Hashes without zero bytes, so that it is not by luck that calldata costs the same.
        update = (NO_ZEROS, NO_ZEROS, 17)
        submitted = [job.send(c, "submitUpdate", round, root, update).gas for c in senders]
        head = chain.view("jobOf", job.id).head
        chain.travel(job.state.closesAt)
        root, bits = NO_ZEROS, bit_map((), len(senders))
        nodes = _nodes(len(senders)) if len(senders) > FAN_IN else b""
        arguments = round, head, (root, NO_ZEROS), bits, nodes, NO_ZEROS, ZERO
        committed = job.send(job.server, "commitRound", *arguments)
        if round in (2, 50):
            where = f"{clients} clients, round {round}"
            figures[f"submitUpdate, first, {where}"] = submitted[0]
            figures[f"submitUpdate, reaches minUpdates, {where}"] = submitted[1]
            figures[f"submitUpdate, later, {where}"] = submitted[-1]
            if len(submitted) >= 64:
                figures[f"submitUpdate, ends a segment, {where}"] = submitted[63]
            figures[f"commitRound, {where}"] = committed.gas + 12 * head.count(0)
    return figures


def _nodes(entries: int) -> bytes:
    """Nodes whose hashes have no zero bytes."""
    vectors = [np.zeros(1, "<i4")] * entries
    tree = _grown(vectors, [17] * entries)
    return b"".join(NO_ZEROS + node.weight.to_bytes(4, "big") for node in tree.nodes)


def _grown(vectors: list[Vector], weights: list[int]) -> SumTree:
    """Of clients that have all trained the same, so that nodes over as many entries share a vector."""

    @cache
    def node(entries: int) -> Node:
        total = vectors[0].astype(np.int64) * (weights[0] * entries)
        return Node(total, weights[0] * entries, CHUNK_PARAMETERS, 1, range(0))

    nodes: list[Node] = []
    sizes, begin, level = [1] * len(vectors), 0, 0
    while len(sizes) > 1:
        level += 1
        runs = [range(first, min(first + FAN_IN, len(sizes))) for first in range(0, len(sizes), FAN_IN)]
        for run in runs:
            like = node(sum(sizes[run.start : run.stop]))
            children = run if level == 1 else range(begin + run.start, begin + run.stop)
            nodes.append(Node(like.vector, like.weight, CHUNK_PARAMETERS, level, children, like))
        begin = len(nodes) - len(runs) + 1
        sizes = [sum(sizes[run.start : run.stop]) for run in runs]
    return SumTree(tuple(nodes))


def _vector(seed: int, spread: int) -> Vector:
    return np.random.default_rng(seed).integers(-spread, spread, CHUNKS * CHUNK_PARAMETERS).astype("<i4")


class Alike(Job):
    """A job whose clients have all trained the same, of the size that is measured; they join by signature."""

    def __init__(self, chain: Chain, **terms: Any) -> None:
        super().__init__(chain, _vector(0, 2**26), **(LARGE | terms))
        self.right: SumTree | None = None
        self.vector = _vector(1, 2**20)
        self.tree = ChunkTree(self.vector, CHUNK_PARAMETERS)
        self.content = content_of(self.vector)

    def fill(self, count: int, blocks: int) -> None:
        """All join and are in, in blocks of so many."""
        self.bond(self.server)
        clients = self.crowd_of(count)
        made = []
        for client in clients:
            committed = commitment(self.tree.root, to_canonical_address(client))
            made.append(Upload(client, self.vector, self.tree, 100, (committed, self.content, 100)))
        size = BATCH if blocks == FAN_IN else 1
        for first in range(0, count, size):
            self.submit_signed(made[first : first + size])
        self.chain.travel(self.state.closesAt)

    def sums(self, excluded: Collection[int] = (), alter: Mapping[int, Alter] | None = None) -> SumTree | None:
        uploads = self.attempt.uploads
        if len(uploads) <= FAN_IN:
            return None
        self.right = self.right or _grown([upload.vector for upload in uploads], [upload.weight for upload in uploads])
        tree = self.right
        for number, change in (alter or {}).items():
            changed = change(tree[number])
            tree = SumTree((*tree.nodes[: number - 1], changed, *tree.nodes[number:]))
        return tree


def _batch(chain: Chain, entries: int) -> Figures:
    """Signed entries handed in by one call, the last that begins with a segment's first block."""
    job = _job(chain, 1000)
    clients = job.crowd_of(entries)
    vector = np.arange(job.terms["parameters"], dtype="<i4")
    uploads = [job.upload(client, vector) for client in clients]
    return _figures(
        "submitUpdates", f"{entries} entries", job.submit_signed(uploads), job, *job.signed_arguments(uploads)
    )


def _claims(chain: Chain, clients: int) -> Figures:
    """A claim for all clients of a round: of the first one, which makes their accounts, and of the second."""
    job = _job(chain, clients)
    job.bond(job.server)
    crowd = job.crowd_of(clients)
    commits = []
    for blocks in (clients, clients, 1, clients):
        uploads = [job.upload(client) for client in crowd]
        for first in range(0, clients, blocks):
            job.submit_signed(uploads[first : first + blocks])
        commits.append(job.commit())
    new, later, single, last = commits
    figures = {}
    job.settle(new)
    figures[f"claim, each of {clients} clients, new accounts"] = job.claim(new).gas // clients
    for commit, where in ((later, f"{clients} clients"), (single, f"{clients} clients, blocks of one")):
        job.settle(commit)
        figures |= _figures("claim", where, job.claim(commit), job, commit.record, commit.submissions())
    figures[f"claim, each of {clients} clients, accounts that have a balance"] = (
        figures[f"claim, {clients} clients"] // clients
    )
    job.settle(last)
    figures[f"claim, the last 4 of {clients} clients"] = job.claim(last, [clients - 1]).gas
    return figures


def _disputes(chain: Chain, clients: int, blocks: int) -> Figures:
    """A commit, and challenges and answers of each kind."""
    before = chain.tester.take_snapshot()
    job = _job(chain, clients, Alike, collectSeconds=20_000, idleSeconds=21_000)
    job.fill(clients, blocks)
    finder = chain.accounts[8]
    single = ", blocks of one" if blocks == 1 else ""
    figures: Figures = {}
    filled = chain.tester.take_snapshot()
    tree = job.sums()
    right = finished(job.attempt.model, tree) if tree else job.aggregate()
    lowest = 0 if tree is None else len([node for node in tree.nodes if node.level == 1])
    # A run in the middle, because of the segments on both sides.
    kinds = (
        {"the next model": 0} if tree is None else {"the next model": 0, "a run": 1 + lowest // 2, "a node": lowest + 1}
    )
    if single:
        kinds = {"a run": kinds["a run"]}
    for kind, number in kinds.items():
        where = f"{kind}, {clients} clients{single}"
        for wrong in (False, True):
            twin = job.copy()
            next = right.copy()
            next[INDEX * CHUNK_PARAMETERS + 5] += wrong and number == 0
            nodes = twin.sums((), {number: _wrong} if wrong and number else None)
            arguments = twin.commit_arguments(next, nodes=nodes)
            receipt = twin.send(twin.server, "commitRound", *arguments)
            commit = twin.committed(twin.server, next, (), ZERO, receipt.time, nodes)
            if not wrong and kind == "the next model":
                figures |= _figures("commitRound", f"{clients} clients", receipt, twin, *arguments)
            if wrong:
                twin.announce(finder, commit, INDEX, node=number)
                arguments = challenge_arguments(commit, INDEX, node=number)
                figures |= _figures("challenge", where, twin.send(finder, "challenge", *arguments), twin, *arguments)
            else:
                demanded = twin.demand(finder, commit, INDEX, node=number)
                asked = chain.tester.take_snapshot()
                arguments = commit.record, number, INDEX, commit.openings(INDEX, number)
                figures |= _figures("answer", where, twin.send(twin.server, "answer", *arguments), twin, *arguments)
                chain.tester.revert_to_snapshot(asked)
                if not single:
                    figures[f"demand, {where}"] = demanded.gas
                    chain.travel(demanded.event("ChunkDemanded")["answerBy"])
                    expired = twin.send(finder, "expire", commit.record, number, INDEX)
                    figures[f"expire, {where}"] = expired.gas
            chain.tester.revert_to_snapshot(filled)
    chain.tester.revert_to_snapshot(before)
    return figures


def _wrong(node: Node) -> Node:
    vector = node.vector.copy()
    vector[INDEX * CHUNK_PARAMETERS + 5] += 1
    return replace(node, vector=vector, like=None)


def _of_rule(chain: Chain, rule_name: str, clients: int) -> Figures:
    """A challenge, which is dearer than an answer, of a rule that sorts, or that keeps moments."""
    lanes = LANES.get(rule_name, 1)
    model = np.stack([_vector(lane, 2**26) for lane in range(0, 2 * lanes, 2)], axis=1).reshape(-1)
    kind = partial(Job, model=model, rule_name=rule_name)
    job = _job(chain, clients, kind, **LARGE).prepare()
    vector = _vector(1, 2**20)
    tree = ChunkTree(vector, CHUNK_PARAMETERS)
    for client in job.clients:
        job.submit_upload(Upload(client, vector, tree, 100))
    chain.travel(job.state.closesAt)
    finder = chain.accounts[0]
    # By the twin, because half a million steps of plain integers take seconds; other tests hold one against the other.
    next = job.rule.aggregate(job.terms["ruleParameters"], job.attempt.model, [vector] * clients, [100] * clients)
    next[lanes * (INDEX * CHUNK_PARAMETERS + 5)] += 1
    commit = job.commit(next=next)
    job.announce(finder, commit, INDEX)
    arguments = challenge_arguments(commit, INDEX)
    return _figures(
        "challenge", f"{rule_name}, {clients} clients", job.send(finder, "challenge", *arguments), job, *arguments
    )


if __name__ == "__main__":
    kept: Figures = json.loads(SNAPSHOT.read_text())
    measured = measure()
    large = measure_large() if "--large" in sys.argv else {name: n for name, n in kept.items() if name not in measured}
    SNAPSHOT.write_text(json.dumps(measured | large, indent=1) + "\n")
