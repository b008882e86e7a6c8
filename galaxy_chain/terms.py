"""What the terms of a job come to: whether a commit can be challenged, what an answer takes, who would lose money.

Pure: the chain's figures are arguments (`acceptance.py` reads them). All formulas about terms are here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from galaxy_chain.ledger.structs import ZERO_ADDRESS, Terms
from galaxy_fl.aggregation import RULES
from galaxy_fl.aggregation.sorting_network import comparators
from galaxy_fl.vectors.chunk_tree import depth

__all__ = [
    "DEVELOPMENT_CHAINS",
    "Chain",
    "Concern",
    "Limits",
    "Role",
    "answer_bytes",
    "answer_gas",
    "check_terms",
    "ether",
    "most_updates",
]

DEVELOPMENT_CHAINS = frozenset({1337, 31337})
"""Of the embedded chain and of anvil. Their ether is worth nothing and their time is at everybody's command."""

LARGEST_TRANSACTION = 131_072
"""Bytes: the largest that geth's pool takes."""
ENVELOPE = 150
"""More than a transaction has beside its calldata: fees, signature, lengths."""
LARGEST_GAS = 15_000_000
"""Of an answer. EIP-7825 ends a transaction at 2**24, and a chain's next rules may price calldata higher."""
LARGEST_RECOMPUTATION = 16_384
"""The ledger's own bound of `chunkParameters * maxUpdates`."""

SHORTEST_ANSWER, SHORTEST_ANSWER_BLOCKS = 300, 25
"""Seconds and blocks in which a server that runs sees a demand, builds the openings and gets a transaction in."""
SHORTEST_CHALLENGE, SHORTEST_CHALLENGE_BLOCKS = 600, 50
"""The same for a participant that has to recompute a commit first."""
SHORTEST_TURN_BLOCKS = 5
"""Blocks that the named server should have to commit."""
ANSWERS_A_BLOCK = 4
"""What a server's program is trusted to send a block."""
LONGEST_LOCK = 30 * 86_400
"""Seconds: a bond is locked, and rewards wait, for `challengeSeconds`."""

ETHER = 10**18


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


def ether(amount: int) -> str:
    """An amount of wei for people."""
    return f"{amount / ETHER:g} ether"


def answer_bytes(updates: int, chunk_parameters: int, depth: int) -> int:
    """The calldata of an answer, or of a challenge, that opens a chunk of so many updates; protocol section 7."""
    return 932 + 8 * chunk_parameters + 64 * depth + updates * (288 + 4 * chunk_parameters + 32 * depth)


def answer_gas(rule: str, updates: int, chunk_parameters: int, depth: int) -> int:
    """What an answer, or a challenge, costs at most, whatever the values are.

    Fitted to measurements on the compiled contracts and never below one; `tests/galaxy_chain/test_terms.py` measures.
    """
    n, size = updates, chunk_parameters
    gas = 93_000 + 7_000 * n + 950 * size + 222 * n * size + 1_000 * (n + 2) * depth
    if rule in ("coordinate_median", "trimmed_mean"):
        # The contract looks at each pair of every pass over the words, and exchanges those of the network.
        gas += (32 * _pairs(n) + 16 * len(comparators(n)) - 20 * n) * size
    if rule == "trimmed_mean":
        gas += (54 * n + 210) * size
    # The floor of EIP-7623: 40 a byte, 10 a zero, which at least 180 of each update are.
    return max(gas, 21_000 + 40 * answer_bytes(updates, chunk_parameters, depth) - 30 * 180 * updates)


def _pairs(count: int) -> int:
    """How many pairs the passes of the sorting network look at."""
    top = 1 << max(0, (count - 1).bit_length() - 1)
    pairs, p = 0, top
    while p and count > 1:
        q, distance = top, p
        while True:
            pairs += count - distance
            if q == p:
                break
            distance, q = q - p, q // 2
        p //= 2
    return pairs


def most_updates(rule: str, parameters: int, chunk_parameters: int) -> int:
    """How many updates a round may have so that an answer has room for them; 0 where not even one has."""
    levels = depth(parameters, chunk_parameters)
    most = min(RULES[rule].max_updates, LARGEST_RECOMPUTATION // chunk_parameters)
    return next(
        (count for count in range(most, 0, -1) if _fits(rule, count, chunk_parameters, levels)),
        0,
    )


def _fits(rule: str, updates: int, chunk_parameters: int, levels: int) -> bool:
    return (
        answer_bytes(updates, chunk_parameters, levels) + ENVELOPE <= LARGEST_TRANSACTION
        and answer_gas(rule, updates, chunk_parameters, levels) <= LARGEST_GAS
    )


def check_terms(terms: Terms, rule: str, chain: Chain, limits: Limits = Limits()) -> list[Concern]:
    """What is to be said of a job's terms on a chain, what stops somebody first.

    On a development chain nobody is stopped for what depends on time, size or the price of gas: demonstrations and
    tests want windows of seconds, such a node takes transactions of any size, and nobody can lose anything there. It
    is said all the same. A rule that can never aggregate, and what somebody is ready to pay, are the same everywhere.

    Args:
        terms: The job's.
        rule: The name of its rule.
        chain: Where the job is.
        limits: What whoever asks is ready to pay.
    """
    concerns = []
    for concern in (
        *_windows(terms, chain),
        *_sizes(terms, rule, chain),
        *_money(terms, rule, chain),
    ):
        concerns.append(replace(concern, stops=frozenset()) if chain.development or limits.any_terms else concern)
    concerns += [*_caps(terms, limits), *_members(terms, rule)]
    return sorted(concerns, key=lambda concern: not concern.stops)


def _windows(terms: Terms, chain: Chain) -> Iterator[Concern]:
    """Seconds, against the chain's blocks and against each other."""
    block = f"{chain.block_seconds:g} s a block"
    least = _at_least(SHORTEST_ANSWER, SHORTEST_ANSWER_BLOCKS, chain)
    if terms.answer_seconds < least:
        yield Concern(
            "answer_seconds",
            f"answer_seconds is {terms.answer_seconds}: an honest server can't be sure to answer a demand in that time "
            f"({block}), and loses its bond if it does not; set it to {least} or more",
            frozenset({Role.OWNER, Role.SERVER}),
        )
    elif terms.answer_seconds < 4 * least:
        yield Concern(
            "answer_seconds",
            f"answer_seconds is {terms.answer_seconds}: a server that is down for that long with a demand open loses "
            f"its bond; {4 * least} leaves time to start it again",
        )
    levels = depth(terms.parameters, terms.chunk_parameters)
    search = (levels + 1) * terms.answer_seconds
    if terms.challenge_seconds <= search:
        yield Concern(
            "challenge_seconds",
            f"challenge_seconds is {terms.challenge_seconds}: to find the wrong chunk of a withheld model takes "
            f"{levels + 1} demands of answer_seconds {terms.answer_seconds} each, so that a server can sit the search "
            f"out; set challenge_seconds to more than {search}, or lower answer_seconds",
            PARTICIPANTS,
        )
    least = _at_least(SHORTEST_CHALLENGE, SHORTEST_CHALLENGE_BLOCKS, chain)
    if terms.challenge_seconds < least:
        yield Concern(
            "challenge_seconds",
            f"challenge_seconds is {terms.challenge_seconds}: nobody can be sure to recompute a commit and to get a "
            f"challenge in in that time ({block}); set it to {least} or more",
            PARTICIPANTS,
        )
    if terms.challenge_seconds > LONGEST_LOCK:
        yield Concern(
            "challenge_seconds",
            f"challenge_seconds is {terms.challenge_seconds}: bonds and rewards stay locked for "
            f"{terms.challenge_seconds / 86_400:.0f} days after the last commit; set it to {LONGEST_LOCK} or less",
            frozenset({Role.OWNER, Role.SERVER}),
        )
    least = _at_least(60, SHORTEST_TURN_BLOCKS, chain)
    if terms.aggregate_seconds < least and terms.server != ZERO_ADDRESS:
        yield Concern(
            "aggregate_seconds",
            f"aggregate_seconds is {terms.aggregate_seconds}: anyone may commit before the named server can be sure to "
            f"({block}); set it to {least} or more",
        )
    for name, value in (("collect_seconds", terms.collect_seconds), ("aggregate_seconds", terms.aggregate_seconds)):
        if value > LONGEST_LOCK:
            yield Concern(
                name,
                f"{name} is {value}: a round may wait {value / 86_400:.0f} days; set it to {LONGEST_LOCK} or less",
            )
    if terms.max_updates > terms.min_updates and terms.collect_seconds < 2 * chain.block_seconds:
        yield Concern(
            "collect_seconds",
            f"collect_seconds is {terms.collect_seconds}: only the fastest min_updates {terms.min_updates} clients get "
            f"into a round ({block}); set it to what slower clients need",
        )


def _at_least(seconds: int, blocks: int, chain: Chain) -> int:
    return max(seconds, int(blocks * chain.block_seconds + 0.999))


def _sizes(terms: Terms, rule: str, chain: Chain) -> Iterator[Concern]:
    """Whether an answer and a challenge fit a transaction."""
    levels = depth(terms.parameters, terms.chunk_parameters)
    most = most_updates(rule, terms.parameters, terms.chunk_parameters)
    instead = f"set max_updates to {most} or less" if most else "lower chunk_parameters"
    length = answer_bytes(terms.max_updates, terms.chunk_parameters, levels)
    if length + ENVELOPE > LARGEST_TRANSACTION:
        yield Concern(
            "max_updates",
            f"max_updates is {terms.max_updates}: an answer or a challenge then has {length} bytes, and nodes take "
            f"transactions of {LARGEST_TRANSACTION}, so that nobody could challenge a wrong commit and no server could "
            f"answer; {instead}",
            PARTICIPANTS,
        )
    gas = answer_gas(rule, terms.max_updates, terms.chunk_parameters, levels)
    if gas > LARGEST_GAS:
        yield Concern(
            "max_updates",
            f"max_updates is {terms.max_updates}: an answer or a challenge then takes up to {gas} gas, more than "
            f"{LARGEST_GAS}, so that it may not fit a transaction; {instead}, or lower chunk_parameters",
            PARTICIPANTS,
        )
    elif chain.block_gas is not None and gas > chain.block_gas:
        yield Concern(
            "max_updates",
            f"max_updates is {terms.max_updates}: an answer or a challenge then takes up to {gas} gas, more than the "
            f"{chain.block_gas} of a block on this chain; lower max_updates or chunk_parameters",
            PARTICIPANTS,
        )


def _money(terms: Terms, rule: str, chain: Chain) -> Iterator[Concern]:
    """Bond and deposit, against each other and against the price of gas."""
    levels = depth(terms.parameters, terms.chunk_parameters)
    gas = answer_gas(rule, terms.max_updates, terms.chunk_parameters, levels)
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
    flood = terms.demand_deposit * answers * (answers + 1) // 2
    if flood <= terms.bond // 2:
        least = terms.bond // (answers * (answers + 1)) + 1
        yield Concern(
            "demand_deposit",
            f"demand_deposit is {ether(terms.demand_deposit)}: a server gets about {answers} answers into "
            f"answer_seconds {terms.answer_seconds}, and as many demands cost {ether(flood)}, less than the "
            f"{ether(terms.bond // 2)} that one more brings whoever floods it; set demand_deposit to {ether(least)} or "
            "more, or answer_seconds higher",
            paid_for,
        )
    if terms.bond // 2 < cost:
        yield Concern(
            "bond",
            f"bond is {ether(terms.bond)}: half of it is less than a challenge costs, {ether(cost)} at today's price "
            "of gas, so that nobody gains by one; set it higher",
        )


def _answers(terms: Terms, chain: Chain, gas: int) -> int:
    """How many answers a server surely gets in within `answer_seconds`: in half of the blocks, a quarter of each, and
    no more than `ANSWERS_A_BLOCK`."""
    blocks = terms.answer_seconds / max(chain.block_seconds, 1.0) / 2
    a_block = 1 if chain.block_gas is None else max(1, min(ANSWERS_A_BLOCK, chain.block_gas // (4 * gas)))
    return max(1, int(blocks * a_block))


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


def _members(terms: Terms, rule: str) -> Iterator[Concern]:
    """Numbers of updates, and who may take part."""
    trimmed = 2 * int.from_bytes(terms.rule_parameters, "big")
    if rule == "trimmed_mean" and terms.min_updates <= trimmed:
        yield Concern(
            "min_updates",
            f"min_updates is {terms.min_updates}, but the trimmed mean leaves out {trimmed} updates, so that a round "
            f"of {terms.min_updates} can't be aggregated; set min_updates to more than {trimmed}",
            PARTICIPANTS,
        )
    left = terms.max_updates - terms.min_updates
    if terms.max_excluded < left:
        yield Concern(
            "max_excluded",
            f"max_excluded is {terms.max_excluded}: clients whose content can't be had stop a round with more of them; "
            f"{left} leaves min_updates {terms.min_updates} of max_updates {terms.max_updates}",
        )
    if terms.open:
        yield Concern(
            "open",
            "open is true: anyone may join with many addresses, with any weight each, and be most of a round; set "
            "open to false and admit clients by name where that matters",
            hears=frozenset({Role.OWNER, Role.AUDIT}),
        )
    if terms.server == ZERO_ADDRESS:
        yield Concern(
            "server",
            "no server is named: anyone with a bond may commit each round at once, and chooses what it includes; name "
            "a server where that matters",
            hears=frozenset({Role.OWNER, Role.AUDIT}),
        )
