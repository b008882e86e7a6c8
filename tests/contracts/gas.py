"""Measures what every call costs. `python -m tests.contracts.gas` writes gas.json anew.

Every figure is the gas used by a transaction on the in-process chain (Prague rules), for a model of 8,192 chunks of 64
parameters, a tree of depth 13. Addresses, times and vectors are fixed, so the figures are the same on every machine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from galaxy_fl.vectors import ChunkTree
from tests.contracts.ledger import ETHER, Chain, Commit, Job, Upload, ascending

__all__ = ["SNAPSHOT", "measure", "snapshot"]

SNAPSHOT = Path(__file__).parent / "gas.json"
CHUNKS, CHUNK_PARAMETERS = 8192, 64
INDEX = 4711
NO_ZEROS = b"\x11" * 32

Figures = dict[str, int]


def measure() -> Figures:
    """Every figure by name."""
    small, chain = Chain(accounts=12), Chain(accounts=106)
    figures = {f"deploy {name}": gas for name, gas in chain.deployments.items()}
    figures |= _life(small) | _rounds(small, 3) | _rounds(chain, 100)
    figures |= _disputes(chain, "weighted_mean", 10) | _disputes(chain, "weighted_mean", 100)
    figures |= _disputes(chain, "coordinate_median", 64) | _disputes(chain, "trimmed_mean", 64)
    return figures


def snapshot() -> Figures:
    """The committed figures."""
    figures: Figures = json.loads(SNAPSHOT.read_text())
    return figures


def _job(chain: Chain, clients: int, rule_name: str = "weighted_mean", **terms: Any) -> Job:
    parameters = CHUNKS * CHUNK_PARAMETERS
    model = np.random.default_rng(0).integers(-(2**26), 2**26, parameters).astype("<i4")
    defaults = {
        "parameters": parameters,
        "chunkParameters": CHUNK_PARAMETERS,
        "minUpdates": 2,
        "maxUpdates": clients,
        "maxExcluded": clients,
        "rounds": 60,
        "challengeSeconds": 10_000,
    }
    job = Job(chain, model, rule_name, ETHER, **(defaults | terms))
    job.clients = chain.accounts[2 : 2 + clients]
    return job.prepare()


def _life(chain: Chain) -> Figures:
    """The calls of a job's life whose price does not depend on the number of clients."""
    job = _job(chain, 3, rounds=1)
    somebody, admitted = chain.accounts[8:10]
    figures = {
        "registerJob": job.registered.gas,
        "fund": job.send(somebody, "fund", value=ETHER).gas,
        "admit, each client": job.send(job.owner, "admit", [admitted]).gas,
        "join": job.send(somebody, "join", 600, NO_ZEROS).gas,
        "depositBond": job.bond(somebody).gas,
    }
    update = (NO_ZEROS, NO_ZEROS, 17)
    for client in job.clients:
        last = job.send(client, "submitUpdate", 1, update)
    figures["submitUpdate, reaches maxUpdates"] = last.gas
    figures["submitUpdate, a retry"] = job.send(client, "submitUpdate", 1, update).gas
    head = chain.view("jobOf", job.id).head
    reopened = job.send(job.server, "reopenRound", 1, head, ascending(job.clients[:2]))
    figures["reopenRound, 2 excluded"] = reopened.gas
    for client in job.clients:
        job.send(client, "submitUpdate", 2, update)
    head = chain.view("jobOf", job.id).head
    job.send(job.server, "commitRound", 2, head, (NO_ZEROS, NO_ZEROS), [])
    chain.travel(job.state.finalAt)
    figures["finalizeJob"] = job.send(somebody, "finalizeJob").gas
    figures["claimReward"] = job.send(job.clients[0], "claimReward").gas
    figures["withdrawBond"] = job.send(job.server, "withdrawBond").gas
    return figures


def _rounds(chain: Chain, clients: int) -> Figures:
    """Submissions and commits of rounds 2 and 50. Only to the latter do all submit: three to round 2, two to others."""
    job = _job(chain, clients, maxUpdates=clients + 1)
    figures = {}
    for round in range(1, 51):
        measured = round in (2, 50)
        senders = job.clients[: {2: 3, 50: clients}.get(round, 2)]
        # Hashes without zero bytes, so that it is not by luck that calldata costs the same.
        submitted = [job.send(c, "submitUpdate", round, (NO_ZEROS, NO_ZEROS, 17)).gas for c in senders]
        head = chain.view("jobOf", job.id).head
        chain.travel(job.state.closesAt)
        next = (NO_ZEROS, NO_ZEROS)
        if measured:
            snapshot = chain.tester.take_snapshot()
            excluded = ascending(senders[2:])
            dearer = job.send(job.server, "commitRound", round, head, next, excluded)
            chain.tester.revert_to_snapshot(snapshot)
        committed = job.send(job.server, "commitRound", round, head, next, [])
        if measured:
            where = f"{clients} clients, round {round}"
            figures[f"submitUpdate, first, {where}"] = submitted[0]
            figures[f"submitUpdate, reaches minUpdates, {where}"] = submitted[1]
            figures[f"submitUpdate, later, {where}"] = submitted[-1]
            figures[f"commitRound, {where}"] = committed.gas + 12 * head.count(0)
            figures[f"commitRound, each excluded, {where}"] = (dearer.gas - committed.gas) // len(excluded)
    return figures


def _disputes(chain: Chain, rule_name: str, clients: int) -> Figures:
    """A challenge, and a demand with its answer and its expiry."""
    job = _job(chain, clients, rule_name)
    vector = np.random.default_rng(1).integers(-(2**20), 2**20, CHUNKS * CHUNK_PARAMETERS).astype("<i4")
    tree = ChunkTree(vector, CHUNK_PARAMETERS)
    for client in job.clients:
        upload = Upload(client, vector, tree, 100)
        job.send(client, "submitUpdate", 1, upload.update)
        job.record_upload(upload)
    chain.travel(job.state.closesAt)
    somebody = chain.accounts[0]
    figures = {}
    snapshot = chain.tester.take_snapshot()
    # Those that sort are measured for what is dearest, a challenge.
    for wrong in (False, True) if rule_name == "weighted_mean" else (True,):
        model = job.aggregate()
        model[INDEX * CHUNK_PARAMETERS + 5] += wrong
        commit = _commit(job, model)
        where = f"{rule_name}, {clients} clients"
        if wrong:
            challenged = job.send(somebody, "challenge", commit.record, INDEX, commit.openings(INDEX))
            figures[f"challenge, {where}"] = challenged.gas
            data = job.chain.ledger.encode_abi("challenge", [job.id, commit.record, INDEX, commit.openings(INDEX)])
            figures[f"challenge, bytes of calldata, {where}"] = len(data) // 2 - 1
        else:
            demanded = job.demand(somebody, commit, INDEX)
            figures[f"demand, {where}"] = demanded.gas
            asked = chain.tester.take_snapshot()
            answered = job.send(job.server, "answer", commit.record, INDEX, commit.openings(INDEX))
            figures[f"answer, {where}"] = answered.gas
            chain.tester.revert_to_snapshot(asked)
            chain.travel(demanded.event("ChunkDemanded")["answerBy"])
            figures[f"expire, {where}"] = job.send(somebody, "expire", commit.record, INDEX).gas
        chain.tester.revert_to_snapshot(snapshot)
    return figures


def _commit(job: Job, model: Any) -> Commit:
    receipt = job.send(job.server, "commitRound", *job.commit_arguments(model))
    return Commit(job.attempt, model, (), job.server, receipt.time, CHUNK_PARAMETERS)


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(measure(), indent=1) + "\n")
