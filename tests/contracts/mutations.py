"""Contracts with one mistake each, which the tests have to find.

A mutation replaces a piece of the sources that occurs exactly once: where the contracts have moved on, it says so.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import solcx

from scripts.compile import LIBRARIES, ROOT, SETTINGS, compiler

__all__ = ["MUTATIONS", "Mutation", "mutant"]


class Mutation(NamedTuple):
    old: str
    new: str


MUTATIONS = {
    "settles with a demand open": Mutation("if (demands != 0) revert DemandsOpen(demands);", ""),
    "settles before the window ends": Mutation("if (block.timestamp < end) revert WindowOpen(end);", ""),
    "settles out of order": Mutation("record.round != state.settled + 1", "record.round <= state.settled"),
    "settles what nothing is built upon": Mutation("record.round != state.lastRound && !state.built", "false"),
    "settles without paying the committer": Mutation("committer.balance += uint96(serverAmount);", ""),
    "supersedes the last record": Mutation("record.round < state.lastRound && record.round > state.settled", "record.round > state.settled"),
    "supersedes at once": Mutation(
        "if (block.timestamp < record.time + idleSeconds) revert WindowOpen(record.time + idleSeconds);", ""
    ),
    "does not answer for what is superseded": Mutation("if (_marks[job][word].superseded) return true;", ""),
    "takes answers from the committer alone": Mutation(
        "if (block.timestamp >= demand_.answerBy) revert WindowOver(demand_.answerBy);",
        "if (block.timestamp >= demand_.answerBy || msg.sender != record.server) revert WindowOver(demand_.answerBy);",
    ),
    "reopens too early": Mutation("_allFrom(job_, state) + 2 * uint40(job_.terms.aggregateSeconds);", "_allFrom(job_, state);"),
    "lets a late bond come as early as any": Mutation(
        "state.attempt == state.origin ? _allFrom(job_, state) + job_.terms.aggregateSeconds : NEVER", "_allFrom(job_, state)"
    ),
    "forgets how often a superseded round was reopened": Mutation("job_.state.reopenings = state.reopeningsBefore;", ""),
    "keeps what a rolled back record was allotted": Mutation("job_.allotted = record.allottedBefore;", ""),
    "pays a claim twice": Mutation("bits & bit != 0 || ", ""),
    "rewards what was not announced": Mutation("rewarded ? amount / 4 : 0", "amount / 4"),
    "takes a model for built upon that is not": Mutation("state.built = false;", ""),
    "ends a cancelled job with records unsettled": Mutation("state.cancelled ? state.round - 1 : state.lastRound", "state.cancelled ? state.settled : state.lastRound"),
    "lets the bond of a late account go": Mutation(
        "if (account.late && _jobs[job].state.status != Status.Final) revert BondLate(msg.sender, account.lateRound);", ""
    ),
    "takes nodes that are out of range": Mutation("return !outside;", "return true;"),
    "does not look at the weight of a run": Mutation("if (weight != SumTree.weightOf(node, 0)) return false;", ""),
    "does not add up weights": Mutation("if (weightOf(nodes, parent) != sum) {", "if (false) {"),
    "does not count nodes": Mutation("if (nodes.length != required) revert ILedgerErrors.MalformedNodes(nodes.length, required);", ""),
    "does not look at signatures": Mutation("if (!TypedData.isSigned(domain, hash, signature, account)) {", "if (!TypedData.isSigned(domain, hash, signature, account) && place > count) {"),
    "does not look at signatures of joining": Mutation("if (!TypedData.isSigned(domain, hash, join.signature, join.client)) {", "if (!TypedData.isSigned(domain, hash, join.signature, join.client) && place > joins.length) {"),
    "joins a client twice": Mutation("if (client.samples != 0 || client.expelled) continue;", "if (client.expelled) continue;"),
    "joins the expelled": Mutation("if (client.samples != 0 || client.expelled) continue;", "if (client.samples != 0) continue;"),
    "pays out what is still there": Mutation("account.balance = 0;", ""),
    "takes an entry twice": Mutation("if (client.attempt == attempt || client.expelled) continue;", "if (client.expelled) continue;"),
    "takes entries of the expelled": Mutation("if (client.attempt == attempt || client.expelled) continue;", "if (client.attempt == attempt) continue;"),
    "takes more entries than fit": Mutation("place < count && taken < room; ++place", "place < count; ++place"),
    "takes signed weights of any size": Mutation("if (weight == 0 || weight > samples) revert WrongEntry(place, account, Fault.Weight);", ""),
    "signs for any chain": Mutation("block.chainid, address(this)));\n    }\n\n    /// @notice The hash of the struct `Update`.", "uint256(1), address(this)));\n    }\n\n    /// @notice The hash of the struct `Update`."),
    "counts what a record leaves out": Mutation("if (record.excluded.has(number)) continue;", ""),
    "looks at no padding": Mutation("if (!ChunkTree.isPadded(opening[computed.length:], question.index)) return false;", ""),
    "looks at no lanes behind the last": Mutation("if (question.index == sizes.chunks - 1) {", "if (question.index == sizes.chunks) {"),
    "takes another node's group": Mutation("if (keccak256(nodes[groupAt:childrenAt]) != bytes32(nodes[32 * place.group:])) {", "if (false) {"),
    "takes other children": Mutation("if (size != 0 && keccak256(children) != bytes32(nodes[32 * (listed - place.lowest):])) {", "if (false) {"),
    "forgets entries of shut segments": Mutation("shut = updates;", "shut = first;"),
    "answers for any node with one": Mutation("delete _demands[job][word][node][index];", "delete _demands[job][word][0][index];"),
    "announces for all nodes at once": Mutation("bytes32 digest = keccak256(abi.encode(msg.sender, salt, word, node, index));\n        uint40 announced", "bytes32 digest = keccak256(abi.encode(msg.sender, salt, word, uint256(0), index));\n        uint40 announced"),
    "takes a void record for one that stands": Mutation("return record.round < job_.state.round && _records", "return _records"),
}  # fmt: skip


def mutant(mutation: Mutation) -> dict[str, Any]:
    """The artifact of a ledger with this mistake.

    Raises:
        AssertionError: the piece does not occur exactly once.
    """
    files = sorted((ROOT / "contracts").rglob("*.sol"))
    sources = {file.relative_to(ROOT).as_posix(): file.read_text() for file in files}
    having = [file for file, text in sources.items() if mutation.old in text]
    assert [sources[file].count(mutation.old) for file in having] == [1], f"{mutation.old!r} is in {having}"
    sources[having[0]] = sources[having[0]].replace(mutation.old, mutation.new)
    sources |= {file: (ROOT / "node_modules" / file).read_text() for file in LIBRARIES}
    ledger = "contracts/GalaxyLedger.sol"
    output = solcx.compile_standard(
        {
            "language": "Solidity",
            "sources": {file: {"content": text} for file, text in sources.items()},
            "settings": {**SETTINGS, "outputSelection": {ledger: {"GalaxyLedger": ["abi", "evm.bytecode.object"]}}},
        },
        solc_binary=compiler(None),
    )
    contract = output["contracts"][ledger]["GalaxyLedger"]
    return {"name": "GalaxyLedger", "abi": contract["abi"], "bytecode": "0x" + contract["evm"]["bytecode"]["object"]}
