"""galaxy-chain audit: recompute a job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Annotated

import typer

from galaxy_chain.cli.console import console, print_json, short
from galaxy_chain.cli.options import Account, JobNumber, Json, Keys, Where
from galaxy_chain.jobs.acceptance import accept_terms
from galaxy_chain.jobs.terms import Limits, Role
from galaxy_chain.shown import ether
from galaxy_chain.verify.audit import AuditedRound, Auditor, WrongAggregateError
from galaxy_chain.verify.challenge import challenge as send
from galaxy_fl.exceptions import GalaxyError

__all__ = ["audit"]


def audit(
    job: JobNumber,
    sender: Account,
    where: Where,
    keys: Keys,
    challenge: Annotated[
        bool, typer.Option("--challenge", help="Challenge a commit that is found wrong, as --account.")
    ] = False,
    json: Json = False,
) -> None:
    """Recompute every round of a job from the ledger's events and the content, to the bit. Needs no key."""
    keys.take(where.home)
    ledger = where.connect(sender if challenge else None)
    auditor = Auditor(ledger, where.existing(), job, where.home)
    terms, rule = auditor.history.terms, auditor.document.rule.name
    for concern in accept_terms(ledger, f"job {job}", terms, rule, Role.AUDIT, Limits(), pool=auditor.history.pool):
        typer.echo(f"warning: {concern.message}", err=True)
    count = objections = 0
    for audited in _rounds(auditor, challenge):
        count += 1
        objections += len(audited.objections)
        if json:
            print_json(
                {
                    "round": audited.round,
                    "updates": audited.updates,
                    "excluded": list(audited.excluded),
                    "server": audited.server,
                    "model": audited.root.hex(),
                    "right": True,
                    "settled": audited.settled,
                    "reward": audited.reward,
                    "server_amount": audited.server_amount,
                    "client_amount": audited.client_amount,
                    "objections": list(audited.objections),
                }
            )
        else:
            excluded = f", {len(audited.excluded)} excluded" if audited.excluded else ""
            console.print(
                f"round {audited.round}: right: {audited.updates} updates{excluded} by {short(audited.server)} make "
                f"the model {short(audited.root)}, {'settled' if audited.settled else 'not settled yet'}"
            )
            _object(audited.objections)
    for aside in chain(auditor.reopenings(), auditor.supersedings()):
        objections += len(aside.objections)
        if json:
            kind = "reopened" if aside.server is None else "superseded"
            print_json({kind: aside.round, **{name: value for name, value in vars(aside).items() if value is not None}})
            continue
        by = f"by {short(aside.sender)}"
        if aside.server is None:
            what = f"reopened {by} at attempt {aside.attempt}, with {aside.updates} updates"
        else:
            what = f"the commit of {short(aside.server)} at attempt {aside.attempt} was superseded {by}"
        console.print(f"round {aside.round}: {what}")
        _object(aside.objections)
    for each in auditor.servers():
        if json:
            print_json(vars(each))
        else:
            was = "proved wrong, and is barred" if each.barred else "superseded, and is late"
            console.print(f"a commit of {short(each.server)} was {was}")
    money = auditor.money()
    if json:
        print_json(vars(money))
    elif money.pool:
        console.print(
            f"of {ether(money.pool)} in the pool {ether(money.allotted)} are allotted: {ether(money.credited)} "
            f"credited, {ether(money.claimable)} to be claimed, {ether(money.unsettled)} not settled yet"
        )
    if not json:
        but = f"; but {objections} objections, which the ledger does not punish" if objections else ""
        console.print(
            f"job {job}: {count} of {auditor.history.terms.rounds} rounds are committed, and all are right{but}"
        )


def _object(objections: Iterable[str]) -> None:
    for objection in objections:
        console.print(f"  objection: {objection}")


def _rounds(auditor: Auditor, challenge: bool) -> Iterator[AuditedRound]:
    """The audited rounds; a wrong one is challenged, if it is to be, before the audit ends on it."""
    try:
        yield from auditor.rounds()
    except WrongAggregateError as error:
        if challenge:
            number, node, chunk = error.commit.record.round, error.node, error.chunk
            try:
                sent = send(auditor.ledger, auditor.verifier, auditor.job, auditor.history, error.commit, node, chunk)
            except GalaxyError as failure:
                console.print(f"round {number}: it can't be challenged by chunk {chunk}: {failure}")
            else:
                done = f"challenged by chunk {chunk}, and reverted" if sent else "somebody else was faster"
                console.print(f"round {number}: {done}")
        raise
