"""Contracts with one mistake each, which the tests have to find.

A mutation replaces a piece of the sources that occurs exactly once: where the contracts have moved on, it says so.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import solcx

from scripts.compile import ROOT, SETTINGS, compiler

__all__ = ["MUTATIONS", "Mutation", "mutant"]


class Mutation(NamedTuple):
    old: str
    new: str


MUTATIONS = {
    "settles with a demand open": Mutation("if (demands != 0) revert DemandsOpen(demands);", ""),
    "settles before the window ends": Mutation("if (block.timestamp < end) revert WindowOpen(end);", ""),
    "settles out of order": Mutation("record.round != s.settled + 1", "record.round <= s.settled"),
    "settles what nothing is built upon": Mutation("record.round != s.lastRound && !s.built", "false"),
    "settles without paying the committer": Mutation("committer.balance += uint96(serverAmount);", ""),
    "supersedes the last record": Mutation("record.round < s.lastRound && record.round > s.settled", "record.round > s.settled"),
    "supersedes at once": Mutation(
        "if (block.timestamp < record.time + idleSeconds) revert WindowOpen(record.time + idleSeconds);", ""
    ),
    "does not answer for what is superseded": Mutation("if (_marks[job][word].superseded) return true;", ""),
    "takes answers from the committer alone": Mutation(
        "if (block.timestamp >= d.answerBy) revert WindowOver(d.answerBy);",
        "if (block.timestamp >= d.answerBy || msg.sender != record.server) revert WindowOver(d.answerBy);",
    ),
    "reopens too early": Mutation("_allFrom(j, s) + 2 * uint40(j.terms.aggregateSeconds);", "_allFrom(j, s);"),
    "lets a late bond come as early as any": Mutation(
        "s.attempt == s.origin ? _allFrom(j, s) + j.terms.aggregateSeconds : NEVER", "_allFrom(j, s)"
    ),
    "forgets how often a superseded round was reopened": Mutation("j.state.reopenings = s.reopeningsBefore;", ""),
    "keeps what a rolled back record was allotted": Mutation("j.allotted = record.allottedBefore;", ""),
    "pays a claim twice": Mutation("bits & bit != 0 || ", ""),
    "rewards what was not announced": Mutation("rewarded ? amount / 4 : 0", "amount / 4"),
    "takes a model for built upon that is not": Mutation("s.built = false;", ""),
    "ends a cancelled job with records unsettled": Mutation("s.cancelled ? s.round - 1 : s.lastRound", "s.cancelled ? s.settled : s.lastRound"),
    "lets the bond of a late account go": Mutation(
        "if (account.late && _jobs[job].state.status != Status.Final) revert BondLate(msg.sender, account.lateRound);", ""
    ),
    "takes a void record for one that stands": Mutation("return record.round < j.state.round && _records", "return _records"),
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
