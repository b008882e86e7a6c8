"""What the terms of a job come to: whether the ledger takes them, what an answer takes, who would lose money.

Pure: the chain's figures are arguments (`acceptance.py` reads them). All formulas about terms are here, those about the
size of an answer in `answer_size.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from galaxy_chain.jobs.answer_size import MOST_BYTES, MOST_GAS, answer_bytes, answer_gas, most_updates
from galaxy_chain.ledger.structs import ZERO_ADDRESS, Terms
from galaxy_chain.shown import ETHER, ether
from galaxy_fl.aggregation import RULES, is_sum
from galaxy_fl.aggregation.rule import MAX_WEIGHT
from galaxy_fl.aggregation.sum_tree import LARGEST_FAN_IN, MOST_LEVELS, SMALLEST_FAN_IN
from galaxy_fl.vectors.chunk_tree import depth

__all__ = [
    "DEVELOPMENT_CHAINS",
    "MONTH",
    "MOST_SHARE",
    "MOST_UPDATES",
    "MOST_WEIGHT",
    "Chain",
    "Concern",
    "Limits",
    "Role",
    "check_terms",
    "covered_rounds",
    "finder_reward",
    "least_challenge_seconds",
    "least_idle_seconds",
]

DEVELOPMENT_CHAINS = frozenset({1337, 31337})
"""Ids of the embedded chain and of anvil, whose ether is worth nothing and whose time is at everybody's command."""

MONTH = 30 * 86_400
"""Seconds: the most that the ledger takes of `deadline` and `aggregate_seconds`; a bond should not be locked for
longer, either."""
LEAST_TURN, LEAST_ANSWER = 60, 300
"""Seconds: the least that the ledger takes of `aggregate_seconds` and `answer_seconds` on chains that are not for
development."""
MOST_SECONDS = 2**31
MOST_SHARE = 5_000
"""Basis points: the largest `server_share`."""
MOST_WEIGHT = 2**32 - 1
"""The most that the weights of a round add up to."""
MOST_OPENED = 16_384
"""The most parameters of updates, or of partial sums, that a challenge opens."""
MOST_UPDATES = 4_096
"""The largest `max_clients` that the ledger takes of any rule."""

SHORTEST_ANSWER_BLOCKS = 25
"""Blocks in which a server that runs sees a demand, builds the openings and gets a transaction in."""
SHORTEST_TURN_BLOCKS = 8
"""Blocks of a turn: honest ones get a commit in within a quarter of it."""
LEAST_DEADLINE, SHORTEST_DEADLINE_BLOCKS = 60, 2
"""Seconds, and blocks, in which a client sees that its update is not in, and gets its own transaction in."""
ANSWERS_A_BLOCK = 4
"""What a server's program is trusted to send a block."""


class Role(StrEnum):
    """What somebody does with a job."""

    OWNER = "owner"
    SERVER = "server"
    CLIENT = "client"
    WATCH = "watch"
    AUDIT = "audit"


EVERYBODY = frozenset(Role)
PARTICIPANTS = EVERYBODY - {Role.AUDIT}
"""All that an unsound job costs something; an audit only reads, and so is never refused."""


@dataclass(frozen=True)
class Chain:
    """A chain, as far as terms depend on it."""

    chain_id: int
    block_seconds: float
    gas_price: int
    """What a unit of gas costs now, in wei."""
    block_gas: int | None = None
    """The gas limit of a block; None where the node does not say."""

    @property
    def development(self) -> bool:
        """Whether it is one for development."""
        return self.chain_id in DEVELOPMENT_CHAINS


@dataclass(frozen=True)
class Limits:
    """What a participant is ready to pay, in wei."""

    bond: int = 2 * ETHER
    """As a server, before it commits."""
    deposit: int = ETHER // 10
    """For a demand, the first that waits for a server."""
    any_terms: bool = False
    """Whatever else is wrong is only said: whoever asks knows better."""


@dataclass(frozen=True)
class Concern:
    """Something about terms that their participants should know."""

    term: str
    message: str
    """What is wrong, and what to change."""
    stops: frozenset[Role] = frozenset()
    """Whom it keeps from taking part, because money would be lost or a commit could not be challenged."""
    hears: frozenset[Role] = EVERYBODY
    """To whom it matters."""


def least_challenge_seconds(parameters: int, chunk_parameters: int, answer_seconds: int) -> int:
    """The shortest window that the ledger takes: a search for the wrong chunk of a withheld model that begins in its
    first half, a demand a level, ends within it."""
    return 4 * (depth(parameters, chunk_parameters) + 5) * answer_seconds


def least_idle_seconds(deadline: int, aggregate_seconds: int) -> int:
    """The shortest `idle_seconds` that the ledger takes: everybody has had a turn to commit by then."""
    return deadline + 4 * aggregate_seconds


def finder_reward(bond: int) -> int:
    """What whoever proves a commit wrong gets of the committer's bond; the rest is burned."""
    return bond // 4


def covered_rounds(bond: int, pool: int, rounds: int) -> int:
    """How many rounds half of a bond is worth, at least 1 and at most all."""
    return max(1, min(rounds, bond // 2 * rounds // pool if pool else rounds))


def check_terms(terms: Terms, rule: str, chain: Chain, limits: Limits = Limits(), pool: int = 0) -> list[Concern]:
    """What is to be said of a job's terms on a chain, what stops somebody first.

    What the ledger refuses stops everybody, also on a development chain: no genuine ledger has such a job. Beyond that
    nobody is stopped there for what depends on time or the price of gas: demonstrations and tests want windows of
    seconds, and nobody can lose anything there. It is said all the same. What somebody is ready to pay is the same
    everywhere.

    Args:
        terms: The job's.
        rule: The name of its rule.
        chain: Where the job is.
        limits: What whoever asks is ready to pay.
        pool: What was paid into the job's pool, in wei.
    """
    concerns = list(_bounds(terms, rule, chain))
    for concern in (*_windows(terms, chain), *_money(terms, rule, chain), *_pool(terms, pool)):
        concerns.append(replace(concern, stops=frozenset()) if chain.development or limits.any_terms else concern)
    concerns += [*_caps(terms, limits), *_members(terms)]
    return sorted(concerns, key=lambda concern: not concern.stops)


def _bounds(terms: Terms, rule: str, chain: Chain) -> Iterator[Concern]:
    """What `registerJob` refuses (docs/protocol.md, section 5), beside what a job file can't say."""
    for name, problem in (
        *_bounds_of_numbers(terms, rule),
        *_bounds_of_times(terms, chain),
        *_bounds_of_size(terms, rule),
    ):
        yield Concern(name, f"{name} is {getattr(terms, name)}: {problem}", PARTICIPANTS)


def _bounds_of_numbers(terms: Terms, rule: str) -> Iterator[tuple[str, str]]:
    trimmed = 2 * int.from_bytes(terms.rule_word, "big")
    if rule == "trimmed_mean" and terms.min_clients <= trimmed:
        yield (
            "min_clients",
            f"the trimmed mean leaves out {trimmed} updates, so that a round of {terms.min_clients} can't be "
            f"aggregated; set min_clients to more than {trimmed}",
        )
    if not 1 <= terms.min_clients <= terms.max_clients:
        yield "min_clients", f"it has to be 1 to max_clients {terms.max_clients}"
    if terms.max_clients > (most := min(MOST_UPDATES, RULES[rule].max_updates)):
        yield "max_clients", f"the rule takes {most}; set max_clients to {most} or less"
    if not _has_fan_in(terms):
        yield "fan_in", f"a partial sum stands for {SMALLEST_FAN_IN} to {LARGEST_FAN_IN}; set it to one of them"
    elif terms.fan_in * terms.chunk_parameters > MOST_OPENED:
        yield (
            "fan_in",
            f"a challenge would open {terms.fan_in} chunks of {terms.chunk_parameters} parameters, more than "
            f"{MOST_OPENED} in all; set it to {MOST_OPENED // terms.chunk_parameters} or less",
        )
    elif is_sum(RULES[rule]) and terms.max_clients > (most := terms.fan_in**MOST_LEVELS):
        yield (
            "max_clients",
            f"partial sums of fan_in {terms.fan_in} stand for {most} updates at most; set max_clients to {most} or "
            "less, or raise fan_in",
        )
    if terms.max_excluded > terms.max_clients:
        yield "max_excluded", f"it is more than max_clients; set it to {terms.max_clients} or less"
    heaviest = min(MAX_WEIGHT, MOST_WEIGHT // max(1, terms.max_clients))
    if not 1 <= terms.max_weight <= heaviest:
        yield (
            "max_weight",
            f"a rule takes weights up to {MAX_WEIGHT}, and max_clients {terms.max_clients} of them have to stay below "
            f"2**32; set it to {heaviest} or less",
        )
    if terms.server_share > MOST_SHARE:
        yield (
            "server_share",
            f"a server gets half of a round's reward at most, which is {MOST_SHARE}; set it to {MOST_SHARE} or less",
        )
    if terms.max_unsettled < 1:
        yield "max_unsettled", "no round could be committed; set it to 1 or more"


def _has_fan_in(terms: Terms) -> bool:
    """Whether partial sums can be made: without that nobody can tell what an answer takes."""
    return SMALLEST_FAN_IN <= terms.fan_in <= LARGEST_FAN_IN


def _bounds_of_times(terms: Terms, chain: Chain) -> Iterator[tuple[str, str]]:
    for name in ("deadline", "aggregate_seconds"):
        if getattr(terms, name) > MONTH:
            yield name, f"that is {getattr(terms, name) / 86_400:.0f} days; set it to {MONTH} or less"
    for name, bound in (("aggregate_seconds", LEAST_TURN), ("answer_seconds", LEAST_ANSWER)):
        least = 1 if chain.development else bound
        if getattr(terms, name) < least:
            yield name, f"nobody can be sure to get a transaction in in that time; set it to {least} or more"
    least = least_challenge_seconds(terms.parameters, terms.chunk_parameters, terms.answer_seconds)
    levels = depth(terms.parameters, terms.chunk_parameters)
    if terms.challenge_seconds < least:
        yield (
            "challenge_seconds",
            f"to find the wrong chunk of a withheld model takes a demand for each of {levels} levels, each of "
            f"answer_seconds {terms.answer_seconds}, and has to end within a window in whose first half it begins; set "
            f"challenge_seconds to {least} or more, or lower answer_seconds",
        )
    least = least_idle_seconds(terms.deadline, terms.aggregate_seconds)
    if terms.idle_seconds < least:
        yield (
            "idle_seconds",
            "a commit could be superseded before everybody has had a turn: deadline plus four times "
            f"aggregate_seconds are {least}; set idle_seconds to {least} or more",
        )
    for name in ("challenge_seconds", "idle_seconds"):
        if getattr(terms, name) > MOST_SECONDS:
            yield name, f"set it to {MOST_SECONDS} or less"


def _bounds_of_size(terms: Terms, rule: str) -> Iterator[tuple[str, str]]:
    if not _has_fan_in(terms):
        return
    levels, fan_in = depth(terms.parameters, terms.chunk_parameters), terms.fan_in
    most = most_updates(rule, terms.parameters, terms.chunk_parameters, fan_in)
    smaller = "lower chunk_parameters or fan_in" if is_sum(RULES[rule]) else "lower chunk_parameters"
    instead = f"set max_clients to {most} or less" if most else smaller
    length = answer_bytes(rule, terms.max_clients, fan_in, terms.chunk_parameters, levels)
    if length > MOST_BYTES:
        yield (
            "max_clients",
            f"an answer or a challenge then has up to {length} bytes, and nodes take transactions of {MOST_BYTES} and "
            f"little more, so that nobody could challenge a wrong commit and no server could answer; {instead}",
        )
    gas = answer_gas(rule, terms.max_clients, fan_in, terms.chunk_parameters, levels)
    if gas > MOST_GAS:
        yield (
            "max_clients",
            f"an answer or a challenge then takes up to {gas} gas, more than {MOST_GAS}, so that it may not fit a "
            f"transaction; {instead}, or {smaller}",
        )


def _windows(terms: Terms, chain: Chain) -> Iterator[Concern]:
    """Seconds, against the chain's blocks and against each other."""
    block = f"{chain.block_seconds:g} s a block"
    least = _at_least(LEAST_ANSWER, SHORTEST_ANSWER_BLOCKS, chain)
    if terms.answer_seconds < least:
        yield Concern(
            "answer_seconds",
            f"answer_seconds is {terms.answer_seconds}: an honest server can't be sure to answer a demand in that time "
            f"({block}), and loses its bond if nobody does; set it to {least} or more",
            frozenset({Role.OWNER, Role.SERVER}),
        )
    elif terms.answer_seconds < 4 * least:
        yield Concern(
            "answer_seconds",
            f"answer_seconds is {terms.answer_seconds}: a server that is down for that long with a demand open loses "
            f"its bond unless somebody else answers; {4 * least} leaves time to start it again",
        )
    if terms.challenge_seconds > MONTH:
        bound = least_challenge_seconds(terms.parameters, terms.chunk_parameters, terms.answer_seconds)
        first = "" if bound <= MONTH else f"lower answer_seconds, which asks for {bound} at least, and "
        yield Concern(
            "challenge_seconds",
            f"challenge_seconds is {terms.challenge_seconds}: bonds and rewards stay locked for "
            f"{terms.challenge_seconds / 86_400:.0f} days after a commit; {first}set it to {MONTH} or less",
            frozenset({Role.OWNER, Role.SERVER}),
        )
    least = _at_least(LEAST_TURN, SHORTEST_TURN_BLOCKS, chain)
    if terms.aggregate_seconds < least:
        yield Concern(
            "aggregate_seconds",
            f"aggregate_seconds is {terms.aggregate_seconds}: the next in turn may commit, or have the round collected "
            f"again, before an honest server can be sure to commit ({block}); set it to {least} or more",
        )
    if terms.idle_seconds < 2 * terms.answer_seconds:
        yield Concern(
            "idle_seconds",
            f"idle_seconds is {terms.idle_seconds}: a commit may be superseded, and the job given up, while the model "
            f"is still demanded chunk by chunk; {2 * terms.answer_seconds}, twice answer_seconds, or more is safer, "
            "and at least twice what the slowest client takes to train",
        )
    if terms.idle_seconds > MONTH:
        yield Concern(
            "idle_seconds",
            f"idle_seconds is {terms.idle_seconds}: a server that withholds its model stops the job for "
            f"{terms.idle_seconds / 86_400:.0f} days; set it to {MONTH} or less",
        )
    least = _at_least(LEAST_DEADLINE, SHORTEST_DEADLINE_BLOCKS, chain)
    if terms.max_clients > terms.min_clients and terms.deadline < least:
        yield Concern(
            "deadline",
            f"deadline is {terms.deadline}: only the fastest min_clients {terms.min_clients} clients get into a round, "
            f"and one whose signed update nobody has relayed can't send it itself in time ({block}); set it to "
            f"{least} or more, and to what slower clients need",
        )


def _at_least(seconds: int, blocks: int, chain: Chain) -> int:
    return max(seconds, int(blocks * chain.block_seconds + 0.999))


def _money(terms: Terms, rule: str, chain: Chain) -> Iterator[Concern]:
    """Bond and deposit, against each other and against the price of gas."""
    if not _has_fan_in(terms):
        return
    levels = depth(terms.parameters, terms.chunk_parameters)
    gas = answer_gas(rule, terms.max_clients, terms.fan_in, terms.chunk_parameters, levels)
    if gas <= MOST_GAS and chain.block_gas is not None and gas > chain.block_gas:
        yield Concern(
            "max_clients",
            f"max_clients is {terms.max_clients}: an answer or a challenge then takes up to {gas} gas, more than the "
            f"{chain.block_gas} of a block on this chain; lower max_clients or chunk_parameters",
            PARTICIPANTS,
        )
    cost = gas * chain.gas_price
    paid_for = frozenset({Role.OWNER, Role.SERVER})
    if terms.demand_deposit < cost:
        yield Concern(
            "demand_deposit",
            f"demand_deposit is {ether(terms.demand_deposit)}: an answer takes up to {gas} gas, {ether(cost)} at "
            f"today's price, so that a server loses money by every demand; set it to {ether(2 * cost)} or more",
            paid_for,
        )
    elif terms.demand_deposit < 2 * cost:
        yield Concern(
            "demand_deposit",
            f"demand_deposit is {ether(terms.demand_deposit)}: an answer costs up to {ether(cost)} at today's price "
            f"of gas, which changes; {ether(2 * cost)} or more is safer",
        )
    answers = _answers(terms, chain, gas)
    flood, reward = terms.demand_deposit * answers * (answers + 1) // 2, finder_reward(terms.bond)
    if flood <= reward:
        least = 2 * reward // (answers * (answers + 1)) + 1
        yield Concern(
            "demand_deposit",
            f"demand_deposit is {ether(terms.demand_deposit)}: a server gets about {answers} answers into "
            f"answer_seconds {terms.answer_seconds}, and as many demands cost {ether(flood)}, no more than the "
            f"{ether(reward)} that one more brings whoever floods it; set demand_deposit to {ether(least)} or "
            "more, or answer_seconds higher",
            paid_for,
        )
    if reward < cost:
        yield Concern(
            "bond",
            f"bond is {ether(terms.bond)}: a quarter of it is less than a challenge costs, {ether(cost)} at today's "
            "price of gas, so that nobody gains by one; set it higher",
        )


def _answers(terms: Terms, chain: Chain, gas: int) -> int:
    """How many answers a server surely gets in within `answer_seconds`: in half of the blocks, a quarter of each, and
    no more than `ANSWERS_A_BLOCK`."""
    blocks = terms.answer_seconds / max(chain.block_seconds, 1.0) / 2
    a_block = 1 if chain.block_gas is None else max(1, min(ANSWERS_A_BLOCK, chain.block_gas // (4 * gas)))
    return max(1, int(blocks * a_block))


def _pool(terms: Terms, pool: int) -> Iterator[Concern]:
    """What a lie can take back, and how long rewards wait."""
    covered = covered_rounds(terms.bond, pool, terms.rounds)
    open_rounds = min(terms.max_unsettled, terms.rounds)
    at_stake = open_rounds * pool // terms.rounds
    if 2 * at_stake > terms.bond:
        instead = "" if open_rounds <= covered else f", or max_unsettled to {covered} or less"
        yield Concern(
            "bond",
            f"bond is {ether(terms.bond)}: one wrong commit takes back what up to {open_rounds} rounds (max_unsettled) "
            f"have earned, {ether(at_stake)}, more than half of the bond; set bond to {ether(2 * at_stake)} or "
            f"more{instead}",
        )
    waits = (terms.rounds - 1) // terms.max_unsettled if terms.max_unsettled else 0
    if waits:
        yield Concern(
            "max_unsettled",
            f"max_unsettled is {terms.max_unsettled}: commits wait while as many rounds are in their window of "
            f"challenge_seconds {terms.challenge_seconds}, so that {terms.rounds} rounds take "
            f"{waits * terms.challenge_seconds / 3600:.3g} hours at least; raise it, and the bond with it, where that "
            "is too slow",
            hears=frozenset({Role.OWNER, Role.AUDIT}),
        )


def _caps(terms: Terms, limits: Limits) -> Iterator[Concern]:
    """What somebody is ready to pay."""
    if terms.bond > limits.bond:
        yield Concern(
            "bond",
            f"bond is {ether(terms.bond)}, and a server is to deposit {ether(limits.bond)} at most: raise --max-bond "
            "if that is meant",
            frozenset({Role.SERVER}),
            frozenset({Role.SERVER, Role.OWNER, Role.AUDIT}),
        )
    if terms.demand_deposit > limits.deposit:
        yield Concern(
            "demand_deposit",
            f"demand_deposit is {ether(terms.demand_deposit)}, and a demand is to cost {ether(limits.deposit)} at "
            "most: raise --max-deposit if that is meant",
            frozenset({Role.CLIENT, Role.WATCH}),
            EVERYBODY - {Role.SERVER},
        )


def _members(terms: Terms) -> Iterator[Concern]:
    """Who may take part, and who may leave out whom."""
    left = terms.max_clients - terms.min_clients
    if terms.max_excluded < left:
        yield Concern(
            "max_excluded",
            f"max_excluded is {terms.max_excluded}: where the content of more clients can't be had, a round waits for "
            f"twice aggregate_seconds {terms.aggregate_seconds}; {left} leaves min_clients {terms.min_clients} of "
            f"max_clients {terms.max_clients} at once, but lets a server leave out as many as it likes",
        )
    if terms.open:
        yield Concern(
            "open",
            f"open is true: anyone may join with many addresses, with a weight up to max_weight {terms.max_weight} "
            "each, and be most of a round; set open to false and admit clients by name where that matters",
            hears=frozenset({Role.OWNER, Role.AUDIT}),
        )
    if terms.server == ZERO_ADDRESS:
        yield Concern(
            "server",
            "no server is named: anyone with a bond may commit each round at once, and chooses what it includes; name "
            "a server where that matters",
            hears=frozenset({Role.OWNER, Role.AUDIT}),
        )
