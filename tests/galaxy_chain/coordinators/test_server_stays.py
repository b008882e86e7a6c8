"""A server neither ends nor is kept up while its bond answers for what it committed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from galaxy_chain.coordinators import LedgerServerCoordinator, Patience
from galaxy_chain.following import view
from galaxy_chain.ledger.events import BalanceWithdrawn, JobFinalized, RoundCommitted, RoundReopened, RoundSettled
from galaxy_fl.participants.job_server import JobServer
from galaxy_fl.rounds.coordinator import Phase
from galaxy_fl.rounds.server import run_server
from galaxy_fl.trust import Trust
from tests.adversary.arena import events, stranger
from tests.galaxy_chain.coordinators.test_answering import answered, demand, wait_until
from tests.galaxy_chain.federation import PATIENCE

LONG = 300.0


class Serving:
    """A server's program in a thread, as `galaxy-chain server` runs it."""

    def __init__(self, federation, patience=PATIENCE, **options):
        ledger = federation.ledger(federation.server)
        self.coordinator = LedgerServerCoordinator(ledger, federation.store, federation.job, patience, **options)
        self.said: list[dict] = []
        self.end: list[object] = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        server = JobServer(self.coordinator, None, Trust(), output=None, listeners=[self._hear], alone=True)
        try:
            self.end.append(server.run().cancelled)
        except BaseException as error:
            self.end.append(error)
        self.coordinator.close()

    def _hear(self, event, job: str) -> None:
        self.said.append(event.model_dump(mode="json"))

    def has_said(self, event: str) -> bool:
        return any(said["event"] == event for said in self.said)

    def wait(self, event: str) -> None:
        wait_until(lambda: self.has_said(event) or self.end)
        assert self.has_said(event), self.end


@contextmanager
def serving(federation, patience=PATIENCE, **options) -> Iterator[Serving]:
    one = Serving(federation, patience, **options)
    try:
        yield one
    finally:
        one.coordinator.leave = True  # ends a server that waits for nothing else
        one.coordinator.answering.stop()


@pytest.fixture
def short(federation):
    """A job of one round, of which three updates are in."""
    federation.job = federation.register(rounds=1)
    federation.submit(0, 1, 2)
    return federation


def test_it_stays_after_the_last_round_answers_and_ends_by_a_blocks_time(short, monkeypatch):
    ahead = SimpleNamespace(time=lambda: time.time() + 10**6, monotonic=time.monotonic)
    monkeypatch.setattr(view, "time", ahead)  # its own clock says that the window is long over
    with serving(short) as server:
        server.wait("staying")
        demand(short, 1)
        wait_until(lambda: answered(short) == [1] or server.end)
        short.travel(80_000)
        demand(short, 2)
        wait_until(lambda: answered(short) == [1, 2] or server.end)
        assert not server.end
        short.travel(7_000)
        server.thread.join(LONG)
    assert server.end == [False]
    assert [said["event"] for said in server.said] == ["started", "committed", "finished", "staying", "paid"]
    assert server.said[-1]["amount"] == 2 * 10**16, "the deposits of the demands that it answered"
    short.ledger(short.server).withdraw_bond(short.job).transact()


def test_it_stays_where_a_cancelled_job_is_not_brought_to_its_end(federation):
    federation.submit(0, 1, 2)
    with serving(federation) as server:
        server.wait("committed")
        federation.ledger(federation.owner).cancel_job(federation.job).transact()
        demand(federation, 0)
        wait_until(lambda: answered(federation) == [0] or server.end)
        assert not server.has_said("cancelled")
        federation.travel(87_000)
        wait_until(lambda: events(federation, RoundSettled) or server.end)
        federation.travel(2 * 7_200 + 100)
        server.thread.join(LONG)
    assert server.end == [True]
    federation.ledger(federation.server).withdraw_bond(federation.job).transact()


def test_it_stays_until_its_share_is_out_and_settles_for_that(federation):
    federation.job = federation.register(rounds=1, pool=10**18)
    federation.submit(0, 1, 2)
    with serving(federation) as server:
        server.wait("staying")
        assert events(federation, RoundSettled) == []
        federation.travel(86_500)
        server.thread.join(LONG)
    assert server.end == [False]
    assert server.said[-1] == {"event": "paid", "amount": 2 * 10**17}
    assert [event.amount for event in events(federation, BalanceWithdrawn)] == [2 * 10**17]


def test_a_late_server_finalizes_the_job_because_its_bond_is_locked_until_then(federation):
    federation.job = federation.register(rounds=2)
    federation.submit(0, 1, 2)
    federation.commit()
    record = federation.serve().history.commits[1].record
    other = federation.serve(federation.clients[0])
    federation.travel(7_300)
    other.ledger.supersede(federation.job, record).transact()
    federation.commit(account=federation.clients[0])
    federation.submit(0, 1, 2, seed=2)
    federation.commit(account=federation.clients[0])
    with serving(federation) as server:
        server.wait("staying")
        federation.travel(87_500)
        server.thread.join(LONG)
    assert server.end == [False]
    assert len(events(federation, JobFinalized)) == 1
    federation.ledger(federation.server).withdraw_bond(federation.job).transact()


def test_a_demand_that_waits_keeps_it_after_its_window(short):
    with serving(short) as server:
        server.wait("staying")
        server.coordinator.answering.stop()
        server.coordinator.answering.start = lambda: None
        demand(short, 1)
        short.travel(87_000)
        # Its thread has ended, and the demand is overdue: nothing is free before somebody lets it expire.
        seen = short.rpc.number("eth_blockNumber")
        wait_until(lambda: server.coordinator._follower.number >= seen)
        assert not server.end
        record = server.coordinator.history.commits[1].record
        short.ledger(stranger(short)).expire(short.job, record, 0, 1).transact()
        wait_until(lambda: server.end)
    (end,) = server.end
    assert "barred" in str(end)


def test_who_means_it_leaves(short):
    with serving(short, leave=True) as server:
        server.thread.join(LONG)
    assert server.end == [False]
    assert server.said[-1]["event"] == "leaving"


def test_it_answers_while_it_waits_for_a_silent_client(federation):
    federation.job = federation.register(max_excluded=0)
    federation.submit(0, 1, 2)
    federation.commit()
    federation.submit(0, 1, 2, seed=2)
    path = federation.content(list(federation.serve().history.entries)[1].update.content)
    silent = path.read_bytes()
    path.unlink()
    with serving(federation, Patience(poll=0.02, content=10**6), leave=True) as server:
        server.wait("started")
        for asked in ([2], [2, 0]):  # a demand's price follows from how many are open
            demand(federation, asked[-1])
            wait_until(lambda asked=asked: answered(federation) == asked or server.end)
        assert not server.has_said("committed")
        federation.store.put(silent)
        server.thread.join(LONG)
    assert server.end == [False]


def test_no_error_ends_it_with_money_at_stake(federation, monkeypatch, caplog):
    federation.submit(0, 1, 2)
    federation.commit()
    federation.submit(0, 1, 2, seed=2)
    failures = [MemoryError("no room"), OSError("no disk"), KeyError("a mistake of ours")]
    commit = LedgerServerCoordinator.commit

    def fails(*arguments):
        if failures:
            raise failures.pop(0)
        return commit(*arguments)

    monkeypatch.setattr(LedgerServerCoordinator, "commit", fails)
    with serving(federation, leave=True) as server:
        server.thread.join(LONG)
    assert server.end == [False]
    assert not failures
    assert [message.rpartition(": ")[2] for message in caplog.messages if "tries again" in message] == [
        "no room",
        "no disk",
        "'a mistake of ours'",
    ]


def test_an_error_ends_it_where_nothing_is_at_stake(federation, monkeypatch):
    federation.submit(0, 1, 2)

    def fails(*arguments):
        raise MemoryError("no room")

    monkeypatch.setattr(LedgerServerCoordinator, "commit", fails)
    with serving(federation) as server:
        server.thread.join(LONG)
    assert [str(end) for end in server.end] == ["no room"]


@pytest.mark.parametrize("how", ["empty", "no folder"])
def test_a_store_that_fails_is_blamed_on_nobody(short, how, caplog):
    serving = short.serve()
    serving.leave = True
    serving.model(serving.round())
    objects, away = short.store.root / "objects", short.store.root.parent / "away"
    objects.rename(away)
    objects.mkdir() if how == "empty" else objects.write_bytes(b"")
    short.travel(500)  # a longer patience than that for a round of which nothing comes
    thread = threading.Thread(target=lambda: run_server(serving), daemon=True)
    thread.start()
    wait_until(lambda: any("store does not give" in message for message in caplog.messages))
    assert thread.is_alive()
    objects.rmdir() if how == "empty" else objects.unlink()
    away.rename(objects)
    thread.join(LONG)
    (committed,) = events(short, RoundCommitted)
    assert committed.record.excluded == b"\0"
    assert events(short, RoundReopened) == []


def test_a_round_of_which_nothing_comes_is_reopened_in_the_end(federation):
    federation.submit(0, 1, 2)
    serving = federation.serve()
    serving.leave = True
    for submission in serving.history.entries:
        federation.content(submission.update.content).unlink()
    assert serving.round().phase is Phase.CLOSED
    thread = threading.Thread(target=lambda: run_server(serving), daemon=True)
    thread.start()
    federation.travel(2_300)
    assert events(federation, RoundReopened) == []
    federation.travel(200)
    wait_until(lambda: events(federation, RoundReopened))
    federation.ledger(federation.owner).cancel_job(federation.job).transact()
    federation.travel(2 * 7_200 + 100)
    thread.join(LONG)
    assert not thread.is_alive()
