"""A job's terms and events in words, for those who do not know the protocol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby

from galaxy_chain.jobs.terms import finder_reward
from galaxy_chain.ledger import events as e
from galaxy_chain.ledger.structs import ZERO_ADDRESS, Terms
from galaxy_chain.ledger.submissions import ENTRY_BYTES
from galaxy_chain.shown import ETHER, duration
from galaxy_fl.jobs.document import JobDocument

__all__ = ["amount", "count", "event_in_words", "moment", "ranges", "terms_in_words"]

_GWEI = 10**9


def amount(wei: int) -> str:
    """An amount, exactly: in ether, or in wei where it is very small."""
    if 0 < abs(wei) < _GWEI:
        return f"{wei:,} wei"
    whole, part = divmod(wei, ETHER)
    return f"{whole:,}.{part:018d}".rstrip("0").rstrip(".") + " ether"


def moment(seconds: int | None) -> str:
    """A time of the chain, in UTC, so that two readers read the same."""
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):  # the ledger takes times that no calendar has
        return f"second {seconds}"


def count(number: int, of: str) -> str:
    """So many of something: `1 round`, `1,000 rounds`."""
    return f"{number:,} {of}" + ("" if number == 1 else "s")


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as people write them: `1-3, 5`."""
    found = list[str]()
    for _, group in groupby(enumerate(sorted(set(numbers))), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        found.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ", ".join(found)


def terms_in_words(terms: Terms, document: JobDocument | None, pool: int | None) -> Iterator[tuple[str, str]]:
    """What was agreed, term by term.

    Args:
        document: The job's; None where it is not at hand.
        pool: What is in the job's pool, in wei; None where that is not said.
    """
    most = "" if terms.max_clients == terms.min_clients else f" and at most {count(terms.max_clients, 'update')}"
    yield "Rounds", f"{count(terms.rounds, 'round')}, each of at least {count(terms.min_clients, 'update')}{most}"
    yield (
        "Collecting",
        f"Once {count(terms.min_clients, 'update')} are in, others have {duration(terms.deadline)}; update number "
        f"{terms.max_clients:,} ends it at once",
    )
    yield "Clients", "Anyone may join" if terms.open else "Only whom the owner admits"
    if terms.server == ZERO_ADDRESS:
        yield "Server", "Anyone with a bond may commit a round once collecting has ended"
    else:
        yield (
            "Server",
            f"{terms.server}; others with a bond may commit a round that it has not committed within "
            f"{duration(terms.aggregate_seconds)}",
        )
    if document is not None:
        yield "Aggregation", _rule(document)
    yield (
        "Left out",
        f"A server may leave {count(terms.max_excluded, 'update')} out of a round, and more only once "
        f"{duration(2 * terms.aggregate_seconds)} have passed",
    )
    yield (
        "Weight",
        f"An update counts as many times as the samples that its client declared, at most {terms.max_weight:,}",
    )
    yield (
        "Pay",
        f"{'' if pool is None else f'The pool has {amount(pool)}. '}Each round is worth an equal part of what is left "
        f"of the pool: {terms.server_share / 100:g} % to whoever commits it, the rest in equal parts to the clients "
        "that it includes"
        if pool != 0
        else "Nothing was paid into the pool, so no round pays anybody",
    )
    yield (
        "Bond",
        f"A server locks {amount(terms.bond)}. If a commit of it is proved wrong it loses all of it: "
        f"{amount(finder_reward(terms.bond))} to whoever proves it, the rest is destroyed",
    )
    yield (
        "Challenges",
        f"For {duration(terms.challenge_seconds)} after a commit anybody can prove it wrong; then it is settled, and "
        f"what it pays is due. At most {count(terms.max_unsettled, 'round')} may wait for that at a time",
    )
    yield (
        "Demands",
        f"For a deposit of {amount(terms.demand_deposit)} anybody can demand a part of a commit that is withheld; the "
        f"server has {duration(terms.answer_seconds)} to show it, or loses its bond",
    )
    yield "Standstill", f"The job counts as abandoned after {duration(2 * terms.idle_seconds)} in which nothing happens"
    yield (
        "Model",
        f"{count(terms.parameters, 'number')} travel in each update, in chunks of {terms.chunk_parameters:,}; a "
        f"partial sum stands for {terms.fan_in} updates",
    )
    if document is None:
        return
    if document.reveal == "after-close":
        yield "Disclosure", "Clients publish their updates only once the round has closed"
    if document.seal is not None:
        yield "Sealed", "Models and updates are encrypted; only members, and whom they give the keys, can read them"
    if (privacy := document.privacy) is not None:
        what = "each example of a client" if privacy.mode == "example" else "all data of a client together"
        until = (
            "" if privacy.stop_at_epsilon is None else f"; a client stops at an epsilon of {privacy.stop_at_epsilon:g}"
        )
        yield (
            "Privacy",
            f"Differential privacy that protects {what}: noise multiplier {privacy.noise_multiplier:g}, delta "
            f"{privacy.delta:g}{until}",
        )


_RULES = {
    "weighted_mean": "The next model is the mean of the updates, weighted",
    "relay": "Nothing is averaged: clients learn from each other's models",
    "coordinate_median": "The next model is, number by number, the median of the updates",
    "trimmed_mean": "The next model is, number by number, the mean of the updates without the extreme ones",
    "fedavgm": "The server moves the model along the mean of the updates, with momentum (FedAvgM)",
    "fedadam": "The server moves the model along the mean of the updates by Adam (FedAdam)",
}


def _rule(document: JobDocument) -> str:
    name = document.rule.name
    options = document.rule.model_dump(exclude_none=True, exclude={"name"}, exclude_defaults=True)
    said = ", ".join(f"{key} {value:g}" for key, value in options.items())
    return f"{_RULES.get(name, 'The rule')} ({name}{': ' if said else ''}{said})"


def event_in_words(event: e.LedgerEvent) -> str:
    """What an event says, in a sentence."""
    match event:
        case e.JobRegistered():
            return f"{event.owner} registered the job"
        case e.JobFunded():
            return f"{event.funder} paid {amount(event.amount)} into the pool"
        case e.ClientAdmitted():
            return f"the owner admitted the client {event.client}"
        case e.ClientExpelled():
            return f"the owner expelled the client {event.client}"
        case e.ClientJoined():
            return f"the client {event.client} joined, with {count(event.samples, 'sample')}"
        case e.KeyRegistered():
            return f"{event.account} registered a public key for sealed content"
        case e.KeyShared():
            return f"the owner shared the content key {event.digest.hex()}"
        case e.UpdatesSubmitted():
            number = len(event.entries) // ENTRY_BYTES
            return f"{count(number, 'update')} came in, from number {event.first} on, in attempt {event.attempt}"
        case e.RoundCommitted():
            return f"{event.server} committed round {event.record.round}, in attempt {event.attempt}"
        case e.RoundReopened():
            return f"{event.sender} gave attempt {event.attempt} up: round {event.round} is collected again"
        case e.RoundReverted():
            return (
                f"the commit of round {event.round} is void, and all later ones with it; attempt {event.attempt} goes "
                "on with its updates"
            )
        case e.RoundSuperseded():
            return (
                f"{event.sender} set the commit of round {event.round} by {event.server} aside, because nobody built "
                f"upon it; attempt {event.attempt} goes on with its updates"
            )
        case e.RoundSettled():
            return (
                f"round {event.round} is settled: {amount(event.server_amount)} to its server {event.server}, "
                f"{amount(event.client_amount)} due to each client in it"
            )
        case e.RewardsClaimed():
            number = event.entries.bit_count()
            return f"{count(number, 'update')} of round {event.round} were credited with {amount(event.amount)} each"
        case e.BalanceWithdrawn():
            return f"{event.account} was paid {amount(event.amount)}"
        case e.BondDeposited():
            return f"{event.server} locked a bond of {amount(event.amount)}"
        case e.BondWithdrawn():
            return f"{event.server} took its bond of {amount(event.amount)} back"
        case e.ChunkDemanded():
            return (
                f"{event.demander} demanded {_part(event)}, for a deposit of {amount(event.deposit)}, until "
                f"{moment(event.answer_by)}"
            )
        case e.ChunkAnswered():
            return f"{event.sender} showed {_part(event)}; {amount(event.deposit)} to {event.paid}"
        case e.DemandExpired():
            return f"nobody showed {_part(event)}; {amount(event.deposit)} back to {event.demander}"
        case e.BondSlashed():
            return (
                f"{event.server} lost its bond of {amount(event.amount)} and is barred; {amount(event.reward)} of it "
                f"to {event.finder}, who proved it"
            )
        case e.JobCancelled():
            return f"{event.sender} cancelled the job: it ends with round {event.last_round}"
        case e.JobFinalized():
            return f"the books are closed; {amount(event.rest)} of the pool back to the owner {event.owner}"


def _part(event: e.ChunkDemanded | e.ChunkAnswered | e.DemandExpired) -> str:
    of = f"partial sum {event.node}" if event.node else "the next model"
    return f"chunk {event.index} of {of} of round {event.round}"
