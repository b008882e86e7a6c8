"""Whether somebody takes part in a job under its terms, on the chain that the job is on."""

from __future__ import annotations

from galaxy_chain.exceptions import UnsoundTermsError
from galaxy_chain.jobs.terms import Chain, Concern, Limits, Role, check_terms
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.structs import Terms
from galaxy_chain.rpc.rpc import Rpc

__all__ = ["accept_terms", "chain_of"]

BLOCKS = 100
"""How many of the latest blocks the time of a block is the mean of."""
UNKNOWN_BLOCK_SECONDS = 12.0


def chain_of(rpc: Rpc) -> Chain:
    """What terms depend on, as a node tells it now.

    Raises:
        RpcError: the node fails.
    """
    latest = rpc.block("latest")
    earlier = max(0, latest.number - BLOCKS)
    # The first block of many chains has the time 0, or that of their conception.
    if earlier == 0 and latest.number > 1:
        earlier = 1
    seconds = UNKNOWN_BLOCK_SECONDS
    if earlier < latest.number:
        seconds = max(0, latest.time - rpc.block(earlier).time) / (latest.number - earlier)
    return Chain(rpc.number("eth_chainId"), seconds, rpc.number("eth_gasPrice"), latest.gas_limit)


def accept_terms(
    ledger: LedgerContract,
    what: str,
    terms: Terms,
    rule: str,
    role: Role,
    limits: Limits,
    *,
    pool: int = 0,
    entered: bool = False,
) -> list[Concern]:
    """What is to be said of a job's terms to somebody who takes part, or wants to.

    Args:
        ledger: Which the job is on, or is to be.
        what: The job, to name it.
        terms, rule, limits, pool: As for `check_terms`.
        role: Of whoever asks.
        entered: It has joined, or deposited its bond, already. All is said and nothing refused: who leaves for a price
            of gas that has risen since could lose what is at stake.

    Raises:
        UnsoundTermsError: the terms stop somebody of this role.
        RpcError: the node fails.
    """
    found = check_terms(terms, rule, chain_of(ledger.rpc), limits, pool)
    concerns = [concern for concern in found if role in concern.hears]
    stopped = [concern.message for concern in concerns if role in concern.stops]
    if stopped and not entered:
        raise UnsoundTermsError(f"the terms of {what} are refused:\n" + "\n".join(f"- {each}" for each in stopped))
    return concerns
