"""galaxy-chain job show."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from galaxy_chain.cli.console import console, print_json, print_table, short
from galaxy_chain.cli.job_views import digits, document_of, rounds_of, state_of, when
from galaxy_chain.cli.options import JobNumber, Json, Where
from galaxy_chain.following.books import books
from galaxy_chain.following.claims import earnings
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.following.turns import bond_free_from
from galaxy_chain.jobs.rounds import metrics_of
from galaxy_chain.lane.lanes import lanes as lanes_of
from galaxy_chain.ledger.structs import status_of
from galaxy_chain.shown import ETHER, ether
from galaxy_chain.shown.document import choices_of, readable_choices
from galaxy_chain.shown.terms import readable_terms, terms_shown

__all__ = ["show"]


def show(
    job: JobNumber,
    where: Where,
    lanes: Annotated[
        bool,
        typer.Option(
            "--lanes",
            help="Show, too, which updates came in signed and by whom they were handed in. This asks for a transaction "
            "each time that updates came in.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Show a job: document, terms, participants, money, and rounds with their hashes and what may still happen to them.

    A server's metrics are shown on its own machine.
    """
    ledger = where.connect()
    follower = JobFollower(ledger, job)
    history = follower.history
    terms, money = history.terms, books(history)
    rounds = rounds_of(history, metrics_of(where.at().metrics(ledger.address, job)))
    servers = {commit.record.server for commit in (*history.commits.values(), *history.void.values())}
    bonds: dict[str, dict[str, Any]] = {
        server: {
            "bond": own.bond,
            "barred": own.barred,
            "late": own.late,
            "demands": own.demands,
            "free_from": bond_free_from(history, server),
        }
        for server, own in sorted(history.accounts.items())
        if own.bond or own.barred or server in servers
    }
    document = document_of(where.existing(), terms.spec)
    shown: dict[str, Any] = {
        "job": job,
        "name": None if document is None else document.name,
        "owner": history.owner,
        "status": status_of(history.round, history.last_round, history.status, history.cancelled),
        "cancelled": history.cancelled,
        "round": history.round,
        "last_round": history.last_round,
        "settled": history.settled,
        "document": None if document is None else choices_of(document),
        "terms": terms_shown(terms),
        "clients": history.clients,
        "expelled": sorted(history.expelled),
        "earned": {each: vars(earnings(history, each)) for each in sorted({*history.clients, *servers})},
        "servers": bonds,
        "money": vars(money),
        "model": history.model.root.hex(),
        "rounds": rounds,
    }
    if document is not None and document.privacy is not None:
        from galaxy_chain.jobs.published import published  # few jobs are private

        of = published(history, document)
        shown["privacy"] = {
            **document.privacy.model_dump(mode="json"),
            "clients": {client: vars(each) for client, each in of.items()},
        }
    if lanes:
        shown["lanes"] = [vars(each) | {"clients": list(each.clients)} for each in lanes_of(ledger, follower)]
    if json:
        print_json(shown)
        return
    console.print(f"job {job}: {shown['name'] or '(its document is not in the store)'}", style="bold", end="")
    console.print(f"  {shown['status']}, owner {history.owner}")
    if document is not None:
        print_table(("document", "value"), readable_choices(shown["document"]).items())
        console.print()
    print_table(("term", "value"), (shown["terms"] | readable_terms(terms)).items())
    console.print()
    print_table(
        ("account", "samples", "balance", "to be claimed", "not settled"),
        [
            (each, history.clients.get(each), ether(of["balance"]), ether(of["claimable"]), ether(of["unsettled"]))
            for each, of in shown["earned"].items()
        ],
    )
    console.print()
    if "privacy" in shown:
        print_table(
            ("client", "trainings published", f"epsilon at least (delta {shown['privacy']['delta']:g})"),
            [
                (client, each["trainings"], digits(each["epsilon"]))
                for client, each in shown["privacy"]["clients"].items()
            ],
        )
        console.print()
    print_table(
        ("server", "bond", "demands", "free from", ""),
        [
            (
                server, ether(of["bond"]), of["demands"], when(of["free_from"]),
                ", ".join(word for word in ("barred", "late") if of[word]),
            )
            for server, of in bonds.items()
        ],
    )  # fmt: skip
    console.print()
    console.print(
        f"pool {ether(money.pool)}: {ether(money.paid)} paid, {ether(money.claimable)} to be claimed, "
        f"{ether(money.open)} open in rounds that are not settled, {ether(money.rest)} "
        + ("back to the owner" if money.final else "not allotted yet")
    )
    console.print(f"{history.settled} of {history.last_round} rounds settled\n")
    print_table(
        (
            "round", "updates", "blocks", "excluded", "nodes", "model", "loss", "accuracy", "gas", "seconds", "block",
            "ether", "state",
        ),
        [
            (
                row["round"], row["updates"], row["blocks"], len(row["excluded"]), row["nodes"] or "",
                short(row["model"]), digits(row["loss"]), digits(row["accuracy"]), row["gas"], digits(row["seconds"]),
                row["block"], f"{row['reward'] / ETHER:g}", state_of(row),
            )
            for row in rounds
        ],
    )  # fmt: skip
    if any(row["metrics"] for row in rounds):
        console.print()
        names = list(dict.fromkeys(name for row in rounds for name in row["metrics"]))
        print_table(
            ("round", *names),
            [(row["round"], *(digits(row["metrics"].get(name)) for name in names)) for row in rounds],
        )
    if lanes:
        console.print()
        print_table(
            ("attempt", "updates", "lane", "handed in by", "clients"),
            [
                (each["attempt"], len(each["clients"]), each["lane"], each["by"], ", ".join(each["clients"]))
                for each in shown["lanes"]
            ],
        )
