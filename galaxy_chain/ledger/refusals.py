"""What the ledger's refusals become: advice in words, and the exception that the caller acts upon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from galaxy_chain.exceptions import (
    AlreadySubmittedError,
    ErrorName,
    LedgerRefusedError,
    NotAdmittedError,
    UnknownJobError,
)
from galaxy_chain.ledger.abi import ledger_abi
from galaxy_chain.ledger.structs import Fault, JoinFault, python_name
from galaxy_chain.rpc.errors import RpcAnswerError
from galaxy_chain.shown import date
from galaxy_fl.exceptions import GalaxyError, RoundMovedOnError

__all__ = ["ADVICE", "MOVED_ON", "refusal", "refusals"]

ADVICE: dict[ErrorName, str] = {
    "UnknownJob": "there is no job {job} on this ledger: `galaxy-chain job list` shows those that exist",
    "InvalidTerm": "the term {term} is out of its bounds (docs/protocol.md, section 5)",
    "ParametersRefused": "the rule can't aggregate every number of updates from {min_clients} to {max_clients} with "
    "the parameters {parameters}: a trimmed mean needs more than twice as many updates as it trims",
    "AnswerTooLarge": "an answer to a demand would take {size} bytes and {gas_needed} gas, but {size_allowed} bytes "
    "and {gas_allowed} gas are allowed: choose smaller chunks, a smaller fan_in or fewer max_clients",
    "JobNotRunning": "job {job} takes nothing more of this: it is final, or all of its rounds are committed",
    "AlreadyCancelled": "job {job} was cancelled before",
    "JobNotIdle": "job {job} is not idle: others than its owner can cancel it, and anybody finalize what was "
    "cancelled, from {idle_at} on, if nothing happens until then",
    "JobNotSettled": "{settled} rounds of job {job} are settled, but {required} have to be: "
    "`galaxy-chain job settle {job}` settles them",
    "NotOwner": "{caller} is not the job's owner {owner}",
    "NotAdmitted": "{client} is not admitted to the job: ask its owner to run `galaxy-chain job admit`",
    "Expelled": "the job's owner has expelled {client}: it hands in nothing more, but what it has earned "
    "stays its own; `galaxy-chain claim` and `galaxy-chain withdraw` get it once its rounds are settled",
    "AlreadyJoined": "{client} has joined before",
    "SamplesOutOfRange": "{samples} samples can't be declared: the job's terms allow 1 to {max_weight}",
    "NotJoined": "{client} has not joined the job",
    "WrongAttempt": "the round has moved on: it is at attempt {current}, not {named}",
    "WrongModel": "the round has moved on: it stands on the model {current}, not {named}",
    "AlreadySubmitted": "another update is in already for attempt {attempt}: one a client and attempt",
    "RoundClosed": "the round takes no more updates since {closed_at}",
    "RoundOpen": "the round still takes updates until {closes_at}",
    "WeightOutOfRange": "an update of {weight} samples, but {declared} were declared when joining",
    "WrongEntry": "the entry at place {place}, of {client}, can't be accepted: {fault}; none of the call is taken, so "
    "leave this entry out",
    "WrongJoin": "the join at place {place}, of {client}, can't be accepted: {fault}; nobody of the call joins, so "
    "leave this one out",
    "HeadChanged": "other updates are in than those that were aggregated",
    "TooManyUnsettled": "{unsettled} rounds are committed and not settled, and the job allows {allowed}: wait until "
    "the window of the oldest is over and its demands are answered, then settle it",
    "NotYet": "it is not the turn of {caller} before {open_from}",
    "BondTooSmall": "the bond is {bond} wei, but {required} are required",
    "Barred": "{server} was proved wrong in this job and is barred from it",
    "TooManyExcluded": "{excluded} updates are left out, but before {all_from} no more than {allowed} may be",
    "TooFewUpdates": "{left} updates are left, but {required} are required",
    "ModelNotKept": "the job's rule keeps the model {root}, but the commit names {named}",
    "UnknownRecord": "the commit of round {round} is settled or void, or was never made",
    "WrongRound": "round {required} is settled next, not {round}",
    "NotBuiltUpon": "nobody has built upon round {round} yet: it can be settled once the next round has enough "
    "updates, and at {built_at} in any case",
    "NotSupersedable": "the commit of round {round} can't be superseded: it is the last, settled, built upon, the "
    "caller's own, or not the newest",
    "WindowOver": "the time for it was over at {ended_at}",
    "WindowOpen": "the time for it comes at {ends_at}",
    "NotAnnounced": "the announcement does not count: it has to be in an earlier block, and at most an hour old",
    "AlreadyDemanded": "chunk {index} of node {node} of round {round} is demanded already",
    "NotDemanded": "chunk {index} of node {node} of round {round} is not demanded, or no more",
    "WrongValue": "{sent} wei were sent, but {required} are required",
    "DemandsOpen": "{demands} demands are open: they have to be answered, or to expire, first",
    "BondLate": "the bond of {account} is locked because its commit of round {round} was superseded: until a later one "
    "of its commits is settled, or the job is final",
    "NothingToPay": "there is nothing to pay out to {account}: `galaxy-chain claim` credits what settled rounds owe",
    "PaymentRefused": "{receiver} refuses ether: take part with an account that accepts it",
}
"""What the errors of `IGalaxyLedger.sol` that users meet mean to them; the others speak for themselves."""

KINDS: dict[ErrorName, type[LedgerRefusedError]] = {
    "NotAdmitted": NotAdmittedError,
    "NotJoined": NotAdmittedError,
    "AlreadySubmitted": AlreadySubmittedError,
}

ROUND_CALLS = frozenset({"submitUpdate", "submitUpdates", "commitRound", "reopenRound", "supersede"})
"""Calls that are about a round as somebody saw it."""
MOVED_ON: dict[ErrorName, frozenset[str]] = {
    "WrongAttempt": ROUND_CALLS,
    "WrongModel": ROUND_CALLS,
    "RoundClosed": ROUND_CALLS,
    "RoundOpen": ROUND_CALLS,
    "HeadChanged": ROUND_CALLS,
    "NotYet": ROUND_CALLS,
    "TooManyUnsettled": ROUND_CALLS,
    "JobNotRunning": ROUND_CALLS,
    "NotSupersedable": ROUND_CALLS,
    "UnknownRecord": frozenset({"supersede", "settle", "claim"}),
    "WrongRound": frozenset({"settle", "claim"}),
    "NotBuiltUpon": frozenset({"settle", "claim"}),
    "WindowOpen": frozenset({"settle", "claim"}),
    "DemandsOpen": frozenset({"settle", "claim"}),
}
"""Refusals that mean that the round is not where the caller saw it, by the calls in which they do: look again."""


TIMES = frozenset({"idle_at", "closed_at", "closes_at", "open_from", "all_from", "built_at", "ended_at", "ends_at"})
"""Arguments of errors that are seconds of the chain's clock."""
FAR = 2**37
"""Seconds that no date is needed for, among them those of a time that never comes."""


FAULTS: dict[ErrorName, dict[int, str]] = {
    "WrongEntry": {
        Fault.NOT_JOINED: "the client has not joined the job",
        Fault.WEIGHT: "its weight is 0, or more than the client declared",
        Fault.SIGNATURE: "the signature is not the client's, or is one of another update, attempt, model, job, ledger "
        "or chain",
    },
    "WrongJoin": {
        JoinFault.SAMPLES: "as many samples can't be declared by the job's terms",
        JoinFault.NOT_ADMITTED: "the job's owner has not admitted the client",
        JoinFault.EXPIRED: "the signature is no longer valid, so the client has to sign again",
        JoinFault.SIGNATURE: "the signature is not the client's, or is one of other values, or for another job, ledger "
        "or chain",
    },
}


def _shown(error: ErrorName, name: str, value: object) -> object:
    if name == "term":
        return python_name(str(value))
    if name == "fault" and isinstance(value, int):
        return FAULTS[error].get(value, value)
    if name in TIMES and isinstance(value, int) and value < FAR:
        return date(value)
    return value.hex() if isinstance(value, bytes) else value


def refusal(function: str, data: bytes) -> GalaxyError | None:
    """What a function's revert data means; None if it is not an error of the ledger."""
    decoded = ledger_abi().error(data)
    if decoded is None:
        return None
    name, arguments = decoded
    shown = {key: _shown(name, key, value) for key, value in arguments.items()}
    advice = ADVICE.get(name, "{0}").format(f"{name}({', '.join(map(str, shown.values()))})", **shown)
    message = f"the ledger refuses {function}: {advice}"
    if function in MOVED_ON.get(name, ()):
        return RoundMovedOnError(message)
    if name == "UnknownJob":
        return UnknownJobError(message)
    return KINDS.get(name, LedgerRefusedError)(message, name, arguments)


@contextmanager
def refusals(function: str) -> Iterator[None]:
    """Raises what a node answers with as the contract's own error, where it is one."""
    try:
        yield
    except RpcAnswerError as error:
        raise refusal(function, error.data) or error from error
