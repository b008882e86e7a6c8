"""Jobs, their participants and their curves as the page shows them."""

from __future__ import annotations

import time
from collections import Counter
from itertools import islice
from typing import Any, cast

from galaxy_chain.dashboard.job import FollowedJob
from galaxy_chain.dashboard.ledger import FIRST_ANSWER, WatchedLedger
from galaxy_chain.dashboard.rounds import commit_of
from galaxy_chain.dashboard.schema import (
    Curve,
    Curves,
    Demand,
    Ending,
    JobDetail,
    JobRow,
    Jobs,
    Judgement,
    Lane,
    Participant,
    Participants,
    Pool,
    Server,
)
from galaxy_chain.dashboard.words import money, terms_of
from galaxy_chain.following.books import books
from galaxy_chain.following.history import JobHistory
from galaxy_chain.following.turns import bond_free_from, commit_from
from galaxy_chain.ledger.contract import JobOnLedger
from galaxy_chain.ledger.records import server_amount
from galaxy_chain.ledger.structs import NEVER, status_of
from galaxy_chain.shown.document import choices_of, readable_choices
from galaxy_fl.content import ContentId

__all__ = ["curves_of", "detail_of", "jobs_of", "participants_of"]

MOST_SERVERS = 1_000
MOST_DEMANDS = 1_000
MOST_WRONG = 100
MOST_METRICS = 30
"""Curves of metrics that a server names, and of reports that participants have written, each."""


def jobs_of(watched: WatchedLedger, highest: int | None, count: int) -> Jobs:
    """A page of the jobs, the newest first.

    Raises:
        GalaxyError: the node fails.
    """
    total = watched.count
    begin = total if highest is None else min(highest, total)
    last = max(0, begin - count)
    until = time.monotonic() + FIRST_ANSWER  # for all of them: a store that is slow keeps nobody waiting
    rows = [_row(watched, number, watched.row(number), until) for number in range(begin, last, -1)]
    return Jobs(total=total, jobs=rows, next=last or None)


def _row(watched: WatchedLedger, number: int, found: JobOnLedger, until: float) -> JobRow:
    state, terms = found.state, found.terms
    document, _ = watched.documents.get(terms.spec, wait=max(0.0, until - time.monotonic()))
    job = watched.following(number)
    return JobRow(
        job=number,
        name=None if document is None else document.name,
        status=cast(Any, status_of(state.round, state.last_round, state.status, state.cancelled)),
        round=min(state.round, state.last_round),
        done=max(0, state.round - 1),
        settled=state.settled,
        planned=state.last_round,
        clients=None if job is None else len(job.history.clients),
        updates=state.updates if state.round <= state.last_round else 0,
        pool=money(found.pool),
        bond=money(terms.bond),
        owner=found.owner,
        wrong=None if job is None else len(_wrong(watched, number)),
    )


def _wrong(watched: WatchedLedger, number: int) -> list[int]:
    found = watched.judge.all(number)
    wrong = {each.commit.record.round for each in found if each.judgement is Judgement.WRONG}
    return sorted(wrong, reverse=True)


def detail_of(watched: WatchedLedger, job: FollowedJob) -> JobDetail:
    """A job."""
    history = job.history
    terms, money_of = history.terms, books(history)
    document, problem = watched.documents.get(terms.spec)
    chosen = None if document is None else choices_of(document)
    judged = watched.judge.all(job.number)
    problem = problem or watched.judge.problem(job.number)
    running = not history.finished
    watched.find_epsilon(job)
    epsilons = job.epsilon.newest
    return JobDetail(
        job=job.number,
        name=None if document is None else document.name,
        notes=None if document is None else document.notes,
        owner=history.owner or "",
        status=cast(Any, status_of(history.round, history.last_round, history.status, history.cancelled)),
        document=chosen,
        document_words={} if chosen is None else readable_choices(chosen),
        document_problem=problem,
        document_id=ContentId(terms.spec, 0).cid,
        terms=terms_of(terms, document, history.pool),
        round=min(history.round, history.last_round),
        attempt=history.attempt,
        last_round=history.last_round,
        settled=history.settled,
        collected=len(history.entries) if running else 0,
        least=terms.min_clients,
        most=terms.max_clients,
        closes_at=history.closes_at if running and history.closes_at != NEVER else None,
        commit_from=commit_from(history, terms.server) if running and history.closes_at != NEVER else None,
        clients=len(history.clients),
        expelled=len(history.expelled),
        model=history.model.root.hex(),
        model_id=ContentId(
            history.model.content, 4 * terms.parameters * (1 if document is None else document.lanes)
        ).cid,
        pool=Pool(
            pool=money(money_of.pool), paid=money(money_of.paid), claimable=money(money_of.claimable),
            open=money(money_of.open), dust=money(money_of.dust), rest=money(money_of.rest), final=money_of.final,
        ),
        servers=_servers(history),
        demands=_demands(history),
        ending=_ending(job),
        privacy=None
        if document is None or document.privacy is None
        else document.privacy.model_dump(mode="json"),
        epsilon=max((each for each in epsilons.values() if each is not None), default=None),
        verdicts=dict(Counter(each.judgement for each in judged)),
        wrong=_wrong(watched, job.number)[:MOST_WRONG],
        objections=_objections(watched, job),
        problem=job.problem,
        block=job.block,
        time=job.chain_time,
        check=f"galaxy-chain audit {job.number}{watched.source.options}",
    )  # fmt: skip


def _servers(history: JobHistory) -> list[Server]:
    earned: Counter[str] = Counter()
    unsettled: Counter[str] = Counter()
    rounds: Counter[str] = Counter()
    for number, commit in history.commits.items():
        server = commit.record.server
        rounds[server] += 1
        (earned if number <= history.settled else unsettled)[server] += server_amount(commit.record)
    void = {commit.record.server for commit in history.void.values()}
    known = {each for each, own in history.accounts.items() if own.bond or own.barred}
    return [
        Server(
            address=each,
            named=each == history.terms.server,
            bond=money(own.bond),
            barred=own.barred,
            late=own.late,
            demands=own.demands,
            free_from=bond_free_from(history, each),
            rounds=rounds[each],
            earned=money(earned[each]),
            unsettled=money(unsettled[each]),
            balance=money(own.balance),
        )
        for each in islice(sorted({*known, *rounds, *void}), MOST_SERVERS)
        for own in (history.account(each),)
    ]


def _demands(history: JobHistory) -> list[Demand]:
    commits = {commit.word: commit for commit in (*history.void.values(), *history.commits.values())}
    return [
        Demand(
            round=commits[word].record.round,
            attempt=commits[word].attempt,
            record="0x" + word.hex(),
            node=each.node,
            chunk=each.index,
            demander=each.demander,
            answer_by=each.answer_by,
            deposit=money(each.deposits * history.terms.demand_deposit),
        )
        for word, waiting in history.demands.items()
        if word in commits
        for each in islice(waiting.values(), MOST_DEMANDS)
    ][:MOST_DEMANDS]


def _ending(job: FollowedJob) -> Ending | None:
    event = job.timeline.cancelled
    if event is None:
        return None
    return Ending(
        planned=job.history.terms.rounds, last_round=event.last_round, by=event.sender, time=event.time,
        transaction="0x" + event.transaction.hex(),
    )  # fmt: skip


def _objections(watched: WatchedLedger, job: FollowedJob) -> list[str]:
    """Commits that were superseded though this process finds that their models are there and right."""
    said = []
    for superseding in job.history.supersedings[-MOST_WRONG:]:
        found = watched.judge.found(job.number, superseding.commit)
        if found is not None and found.judgement is Judgement.RIGHT:
            record = superseding.commit.record
            said.append(
                f"round {record.round}: {superseding.sender} had the commit of {record.server} superseded, but its "
                "model is there and right"
            )
    return said


# Participants


def participants_of(watched: WatchedLedger, job: FollowedJob, first: int, count: int) -> Participants:
    """A page of the clients, in the order of joining."""
    history, tally = job.history, job.tally
    tally.count(history)
    clients = list(islice(history.clients.items(), first, first + count))
    epsilons, trainings = job.epsilon.newest, job.epsilon.trainings
    return Participants(
        total=len(history.clients),
        first=first,
        participants=[
            Participant(
                address=client,
                samples=samples,
                expelled=client in history.expelled,
                in_round=not history.finished and history.has_entry(client),
                rounds=tally.rounds[client],
                excluded=tally.excluded[client],
                lanes=_lanes(watched, job, client),
                earned=money(tally.worth[client] - tally.unsettled[client]),
                claimable=money(tally.worth[client] - tally.unsettled[client] - tally.credited[client]),
                balance=money(history.account(client).balance),
                unsettled=money(tally.unsettled[client]),
                trainings=trainings.get(client),
                epsilon=epsilons.get(client),
            )
            for client, samples in clients
        ],
    )


def _lanes(watched: WatchedLedger, job: FollowedJob, client: str) -> dict[Lane, int] | None:
    """How a client's updates of the newest rounds came in, where somebody has had that looked up."""
    counted: Counter[Lane] = Counter()
    for number in range(job.timeline.rounds, max(0, job.timeline.rounds - 20), -1):
        for tried in job.timeline.attempts(number)[-1:]:
            commit = commit_of(job, tried)
            if commit is None or client not in commit.number_of:
                continue
            place = commit.number_of[client]
            for each in job.timeline.entries_of(tried):
                sent = watched.receipts.sent((each.transaction, each.block))
                if sent is not None and each.first <= place < each.first + each.count:
                    counted[Lane(sent.lane)] += 1
    return dict(counted) or None


# Curves


def curves_of(watched: WatchedLedger, job: FollowedJob, points: int) -> Curves:
    """What changes from round to round: of all rounds that are committed, or of evenly spread ones, the last among
    them."""
    history = job.history
    all_rounds = sorted(history.commits)
    step = max(1, -(-len(all_rounds) // points))
    rounds = all_rounds[::-1][::step][::-1]
    commits = [history.commits[number] for number in rounds]
    measured = job.measurements.by_commit()
    of_round = [measured.get((commit.attempt, commit.record.next.root.hex()), {}) for commit in commits]
    curves = [
        Curve(name="updates", source="ledger", values=[float(len(c.entries) - len(c.left_out)) for c in commits]),
        Curve(name="samples", source="ledger", values=[float(job.tally.samples_of(c)) for c in commits]),
    ]
    gas = [_gas(watched, job, number) for number in rounds]
    curves.append(Curve(name="gas", source="ledger", values=gas))
    epsilon = job.epsilon.by_round
    curves.append(Curve(name="epsilon", source="ledger", values=[epsilon.get(number) for number in rounds]))
    for name in ("loss", "accuracy"):
        curves.append(Curve(name=name, source="server", values=[_number(each.get(name)) for each in of_round]))
    names = dict.fromkeys(name for each in of_round for name in each.get("metrics", {}))
    for name in islice(names, MOST_METRICS):
        values = [_number(each.get("metrics", {}).get(name)) for each in of_round]
        curves.append(Curve(name=name[:200], source="server", values=values))
    for report in islice(job.measurements.reports(history.terms.spec.hex()), MOST_METRICS):
        lines = {line.round: line for line in report.rounds}
        found = [lines.get(number) for number in rounds]
        tested = [None if x is None else x.test for x in found]
        reported = {
            "loss": [None if x is None else _number(x.loss) for x in tested],
            "accuracy": [None if x is None else _number(x.accuracy) for x in tested],
            "epsilon": [None if x is None else _number(x.epsilon) for x in found],
        }
        curves += [
            Curve(name=name, source=report.participant[:200], values=each)
            for name, each in reported.items()
            if not _is_known(name, each, curves)  # a server's report has what its metrics have
        ]
    return Curves(rounds=rounds, curves=[each for each in curves if any(value is not None for value in each.values)])


def _is_known(name: str, values: list[float | None], curves: list[Curve]) -> bool:
    """Whether a server's metrics say all that a curve does."""
    return any(
        all(value is None or value == known for value, known in zip(values, each.values, strict=True))
        for each in curves
        if (each.name, each.source) == (name, "server")
    )


def _gas(watched: WatchedLedger, job: FollowedJob, number: int) -> float | None:
    """What a round's transactions cost, as far as somebody has looked at the round."""
    for tried in job.timeline.attempts(number)[-1:]:
        if tried.committed is None:
            return None
        places = [(each.transaction, each.block) for each in job.timeline.entries_of(tried)]
        places.append((tried.committed.transaction, tried.committed.block))
        known = [watched.receipts.gas(place) for place in places]
        return float(sum(each or 0 for each in known)) if None not in known else None
    return None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < float("inf") else None
