"""What a report says first, and what it says of all that could not be checked."""

from __future__ import annotations

from collections.abc import Sequence

from galaxy_chain.report.facts import Facts
from galaxy_chain.report.parts import Shown
from galaxy_chain.report.words import amount, count, ranges
from galaxy_chain.verify.verdicts import Outcome

__all__ = ["findings", "unchecked"]

_ORDER = ("wrong", "unchecked", "right", "lie")


def findings(facts: Facts, commits: Sequence[Shown]) -> list[tuple[str, str]]:
    """What comes first: kinds, and sentences. Nothing is called right that was not recomputed."""
    history = facts.history
    found: list[tuple[str, str]] = []
    committed = len(history.commits)
    right, wrong, lacking = (facts.count(outcome) for outcome in Outcome)
    if wrong:
        numbers = ranges(
            verdict.commit.record.round for verdict in facts.lies if verdict.commit in history.commits.values()
        )
        found.append(("wrong", f"WRONG: what was committed in round {numbers} is not what its updates make."))
    if facts.lacking:
        found.append(("unchecked", "No round could be recomputed: what that takes could not be read."))
    elif lacking:
        found.append(("unchecked", f"{count(lacking, 'round')} could not be recomputed; below it is said why."))
    if right and right == committed:
        every = f"All {count(committed, 'round')} that were committed are" if committed > 1 else "The one round is"
        found.append(("right", f"{every} right: recomputed from the ledger and the content, to the bit."))
    elif right:
        found.append(("right", f"{right} of {count(committed, 'round')} were recomputed and are right."))
    elif not committed:
        found.append(("unchecked", "No round is committed yet, so there is nothing to recompute."))
    if left := committed - right - wrong - lacking if not facts.lacking else 0:
        found.append(("unchecked", f"{count(left, 'round')} not asked for, and not recomputed."))
    if taken_back := [each for each in facts.lies if each.commit.word in history.void]:
        rounds = ranges(each.commit.record.round for each in taken_back)
        punished = [each for each in commits if each.slashed is not None]
        lost = amount(sum(each.slashed.amount for each in punished if each.slashed))
        bonds = f", and {count(len(punished), 'server')} lost a bond, {lost} in all" if punished else ""
        found.append(("lie", f"What had first been committed in round {rounds} was wrong. It was taken back{bonds}."))
    for trouble in facts.troubles:
        found.append(("wrong" if trouble.wrong else "unchecked", f"About {trouble.what}: {trouble.why}"))
    if any(not code.known for code in facts.place.codes):
        found.append(("wrong", "The code of a contract is not one that this version of Galaxy knows: see Ledger."))
    return sorted(found, key=lambda finding: _ORDER.index(finding[0]))


def unchecked(facts: Facts, commits: Sequence[Shown]) -> list[tuple[str, str]]:
    """What could not be checked, and why."""
    found = [("The job", facts.lacking)] if facts.lacking else []
    found += [(trouble.what.capitalize(), trouble.why) for trouble in facts.troubles if not trouble.wrong]
    for each in commits:
        verdict, number = each.verdict, each.commit.record.round
        if verdict is not None and verdict.outcome is Outcome.UNCHECKED:
            found.append((f"Round {number}, attempt {each.commit.attempt}", verdict.reason))
        elif verdict is None and not facts.lacking:
            found.append((f"Round {number}, attempt {each.commit.attempt}", "It was not asked for."))
    if not facts.measured:
        found.append(
            (
                "Loss and accuracy",
                "This machine has no measurements of the job: only a server has them, and the ledger does not.",
            )
        )
    return found
