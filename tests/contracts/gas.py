"""Measures what every call costs. `python -m tests.contracts.gas` writes gas.json anew.

Every figure is the gas used by a transaction on Foundry's anvil (Prague rules); challenges and answers are for a model
of 8,192 chunks of 64 parameters, a tree of depth 13. Addresses, times and vectors are fixed, so the figures are the
same on every machine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from galaxy_fl.vectors import ChunkTree
from tests.contracts.ledger import ETHER, SALT, ZERO, Chain, Job, Upload, bit_map

__all__ = ["SNAPSHOT", "measure", "snapshot"]

SNAPSHOT = Path(__file__).parent / "gas.json"
CHUNKS, CHUNK_PARAMETERS = 8192, 64
INDEX = 4711
FLOOR = 64
"""Gas a byte of calldata that a transaction pays at least, beside 21,000 (EIP-7976, which no chain has yet)."""
NO_ZEROS = b"\x11" * 32

Figures = dict[str, int]


def measure() -> Figures:
    """Every figure by name."""
    small, chain = Chain(accounts=12), Chain(accounts=106)
    figures = {f"deploy {name}": gas for name, gas in chain.deployments.items()}
    figures |= _life(small) | _rounds(small, 3) | _rounds(chain, 100) | _claims(chain, 100)
    figures |= _disputes(chain, "weighted_mean", 10) | _disputes(chain, "weighted_mean", 100)
    figures |= _disputes(chain, "coordinate_median", 64) | _disputes(chain, "trimmed_mean", 64)
    return figures | _in_all(figures)


def snapshot() -> Figures:
    """The committed figures."""
    figures: Figures = json.loads(SNAPSHOT.read_text())
    return figures


def _in_all(figures: Figures) -> Figures:
    """What follows from the others: a round with everything, and what the dearer calldata of EIP-7976 makes of each."""
    claim = "claim, each of 100 clients"
    client = figures["submitUpdate, later, 100 clients, round 50"] + figures[f"{claim}, accounts that have a balance"]
    server = figures["commitRound, 100 clients, round 50"] + figures["settle"]
    fresh = figures[f"{claim}, new accounts"] - figures[f"{claim}, accounts that have a balance"]
    whole = {
        "a round in all, each of 100 clients": client,
        "a round in all, its server": server,
        "a round in all, 100 clients and the server": 100 * client + server,
        "a balance that was zero, once an account": fresh,
    }
    floor = {
        name.replace(", bytes of calldata", ", by EIP-7976"): 21_000 + FLOOR * size
        for name, size in figures.items()
        if ", bytes of calldata" in name
    }
    return whole | {name: max(gas, figures[name.replace(", by EIP-7976", "")]) for name, gas in floor.items()}


def _job(chain: Chain, clients: int, **how: Any) -> Job:
    defaults = {
        "minUpdates": 2,
        "maxUpdates": clients,
        "maxExcluded": clients,
        "rounds": 60,
        "maxUnsettled": 60,
        "challengeSeconds": 30_000,
    }
    job = Job(chain, pool=ETHER, **(defaults | how))
    job.clients = chain.accounts[2 : 2 + clients]
    return job.prepare()


def _life(chain: Chain) -> Figures:
    """The calls of a job's life whose price depends on neither the model nor the number of clients."""
    job = _job(chain, 3, rounds=2)
    somebody, admitted, other = chain.accounts[8:11]
    figures = {
        "registerJob": job.registered.gas,
        "fund": job.send(somebody, "fund", value=ETHER).gas,
        "admit, each client": job.send(job.owner, "admit", [admitted]).gas,
        "expel": job.send(job.owner, "expel", admitted).gas,
        "join": job.send(somebody, "join", 60, NO_ZEROS).gas,
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
    figures["withdrawBond"] = job.send(other, "withdrawBond").gas
    return figures


def _rounds(chain: Chain, clients: int) -> Figures:
    """Submissions and commits of rounds 2 and 50. Only to the latter do all submit: three to round 2, two to others."""
    job = _job(chain, clients, maxUpdates=clients + 1)
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
        committed = job.send(job.server, "commitRound", round, head, (root, NO_ZEROS), bits, ZERO)
        if round in (2, 50):
            where = f"{clients} clients, round {round}"
            figures[f"submitUpdate, first, {where}"] = submitted[0]
            figures[f"submitUpdate, reaches minUpdates, {where}"] = submitted[1]
            figures[f"submitUpdate, later, {where}"] = submitted[-1]
            if len(submitted) >= 64:
                figures[f"submitUpdate, ends a segment, {where}"] = submitted[63]
            figures[f"commitRound, {where}"] = committed.gas + 12 * head.count(0)
    return figures


def _claims(chain: Chain, clients: int) -> Figures:
    """A claim for all clients of a round: of the first one, which makes their accounts, and of the second."""
    job = _job(chain, clients)
    commits = []
    for _ in range(3):
        for client in job.clients:
            job.submit(client)
        commits.append(job.commit())
    figures = {}
    for commit, accounts in zip(commits, ("new accounts", "accounts that have a balance"), strict=False):
        job.settle(commit)
        whole = job.claim(commit).gas
        figures[f"claim, each of {clients} clients, {accounts}"] = whole // clients
    figures[f"claim, {clients} clients"] = whole
    data = chain.ledger.encode_abi("claim", [job.id, commits[1].record, commits[1].submissions()])
    figures[f"claim, bytes of calldata, {clients} clients"] = len(data) // 2 - 1
    job.settle(commits[2])
    figures[f"claim, one of {clients} clients, a segment shut"] = job.claim(commits[2], [99]).gas
    return figures


def _disputes(chain: Chain, rule_name: str, clients: int) -> Figures:
    """A challenge, and a demand with its answer and its expiry."""
    parameters = CHUNKS * CHUNK_PARAMETERS
    model = np.random.default_rng(0).integers(-(2**26), 2**26, parameters).astype("<i4")
    large = {"parameters": parameters, "chunkParameters": CHUNK_PARAMETERS}
    job = _job(chain, clients, model=model, rule_name=rule_name, **large)
    vector = np.random.default_rng(1).integers(-(2**20), 2**20, parameters).astype("<i4")
    tree = ChunkTree(vector, CHUNK_PARAMETERS)
    root = job.root_of(model)
    for client in job.clients:
        upload = Upload(client, vector, tree, 100)
        job.send(client, "submitUpdate", 1, root, upload.update)
        job.attempt.blocks.append([upload])
    chain.travel(job.state.closesAt)
    finder = chain.accounts[0]
    figures = {}
    snapshot = chain.tester.take_snapshot()
    # Those that sort are measured for what is dearest, a challenge.
    for wrong in (False, True) if rule_name == "weighted_mean" else (True,):
        twin = job.copy()
        next = twin.aggregate()
        next[INDEX * CHUNK_PARAMETERS + 5] += wrong
        commit = twin.commit(next=next)
        where = f"{rule_name}, {clients} clients"
        if wrong:
            openings = commit.openings(INDEX)
            twin.announce(finder, commit, INDEX)
            arguments = commit.record, INDEX, SALT, openings
            figures[f"challenge, {where}"] = twin.send(finder, "challenge", *arguments).gas
            data = chain.ledger.encode_abi("challenge", [twin.id, *arguments])
            figures[f"challenge, bytes of calldata, {where}"] = len(data) // 2 - 1
        else:
            demanded = twin.demand(finder, commit, INDEX)
            figures[f"demand, {where}"] = demanded.gas
            asked = chain.tester.take_snapshot()
            figures[f"answer, {where}"] = twin.answer(twin.server, commit, INDEX).gas
            data = chain.ledger.encode_abi("answer", [twin.id, commit.record, INDEX, commit.openings(INDEX)])
            figures[f"answer, bytes of calldata, {where}"] = len(data) // 2 - 1
            chain.tester.revert_to_snapshot(asked)
            chain.travel(demanded.event("ChunkDemanded")["answerBy"])
            figures[f"expire, {where}"] = twin.send(finder, "expire", commit.record, 0, INDEX).gas
        chain.tester.revert_to_snapshot(snapshot)
    return figures


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(measure(), indent=1) + "\n")
