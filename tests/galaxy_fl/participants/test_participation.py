"""Jobs are found as they appear and run side by side; what goes wrong with one or with a place is said, once."""

from __future__ import annotations

import signal
import threading
import time
import weakref

import pytest

from galaxy_fl import floor
from galaxy_fl.exceptions import ContentError, DataError, RoundMovedOnError, TrainingError, UnreachableError
from galaxy_fl.interrupts import interrupts_are_heard
from galaxy_fl.participants.console import Console
from galaxy_fl.participants.participant import Outcome
from galaxy_fl.participants.participation import Participation
from galaxy_fl.participants.work import StoppedError, Work

LONG = 120
"""Seconds after which what is waited for does not come any more, however busy the machine."""


class Shelf:
    """A place whose jobs are taken from a list of what each look finds; the last one is found again and again."""

    name = "the shelf"

    def __init__(self, *looks):
        self.looks = list(looks)
        self.closed = False

    def jobs(self):
        found = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(found, Exception):
            raise found
        return found

    def close(self):
        self.closed = True


def participation(take_part, *places):
    """What takes part in jobs, each of which just ends, with lines for people."""

    def until_the_end(place, job_id, work):
        take_part(place, job_id, work)
        return Outcome(job_id)

    return Participation(places, until_the_end, [Console()])


def test_jobs_of_all_places_run_side_by_side():
    both_run = threading.Barrier(3, timeout=60)
    done = []

    def take_part(place, job_id, work):
        both_run.wait()
        done.append((place, job_id))

    places = [Shelf(["1", "2"]), Shelf(["1"])]
    participation(take_part, *places).run()
    assert len(done) == 3
    assert set(done) == {(places[0], "1"), (places[0], "2"), (places[1], "1")}
    assert all(place.closed for place in places)


def test_of_several_clients_one_works_at_a_time(monkeypatch):
    monkeypatch.setattr(floor, "PATIENCE", LONG)
    alone, done = threading.Lock(), []

    def take_part(place, job_id, work):
        assert alone.acquire(blocking=False)
        time.sleep(0.01)
        alone.release()
        with floor.FLOOR.waiting():
            done.append(job_id)
        return Outcome(job_id)

    shelves = [Shelf(["1"]) for _ in range(8)]
    outcomes = Participation(shelves, take_part, [Console()], clients=[str(each) for each in range(8)]).run()
    assert len(outcomes) == len(done) == 8


def test_a_job_that_appears_later_is_found_while_another_runs():
    second = threading.Event()

    def take_part(place, job_id, work):
        if job_id == "2":
            second.set()
        assert second.wait(60)

    participation(take_part, Shelf([], ["1"], ["1", "2"])).run()


def test_a_job_that_fails_is_said_and_leaves_the_others_alone(capfd):
    done = []

    def take_part(place, job_id, work):
        if job_id == "1":
            raise DataError("samples of shape (3,) do not fit the model")
        done.append(job_id)

    participation(take_part, Shelf(["1", "2"], ["1", "2"])).run()
    assert done == ["2"]
    assert capfd.readouterr().err == "job 1: given up: samples of shape (3,) do not fit the model\n"


def test_a_mistake_in_the_program_is_said_with_where_it_is(capfd):
    def take_part(place, job_id, work):
        raise AssertionError("impossible")

    participation(take_part, Shelf(["1"])).run()
    assert "in take_part" in capfd.readouterr().err


@pytest.mark.parametrize("passing", [RoundMovedOnError, UnreachableError])
def test_what_passes_is_tried_again(capfd, passing):
    tries = []

    def take_part(place, job_id, work):
        tries.append(job_id)
        if len(tries) < 3:
            raise passing("the round is over")

    participation(take_part, Shelf(["1"])).run()
    assert tries == ["1"] * 3
    assert capfd.readouterr().err == ""


def test_a_place_that_is_away_is_said_once_and_asked_again(capfd):
    away = ContentError("no route to the server")
    done = []
    participation(lambda place, job_id, work: done.append(job_id), Shelf(away, away, ["1"])).run()
    said = capfd.readouterr().out.splitlines()
    assert done == ["1"]
    assert said.count("the shelf can't be reached now, and is tried again: no route to the server") == 1
    assert said.count("waiting for jobs in the shelf") == 1


def run_until_interrupted(take_part, place):
    """As clients and servers do, which hear interrupts that Python swallows; and no longer than minutes."""
    stuck = threading.Event()

    def give_up():
        stuck.set()
        signal.raise_signal(signal.SIGINT)

    ceiling = threading.Timer(LONG, give_up)
    ceiling.start()
    try:
        with interrupts_are_heard(), pytest.raises(KeyboardInterrupt):
            participation(take_part, place).run(forever=True)
    finally:
        ceiling.cancel()
    assert not stuck.is_set()


def test_an_interrupt_ends_it_while_a_job_waits():
    over = threading.Event()

    def take_part(place, job_id, work):
        signal.raise_signal(signal.SIGINT)  # as from the terminal: it reaches the main thread
        over.wait(2 * LONG)

    place = Shelf(["1"])
    run_until_interrupted(take_part, place)
    assert place.closed
    over.set()


def test_an_interrupt_that_python_swallows_ends_it_all_the_same():
    class Interrupting(Shelf):
        def jobs(self):
            if self.looks:
                self.looks.clear()
                thing = set()
                kept.append(weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT)))
                del thing  # calls that, and what it raises goes nowhere
            return []

    kept = []
    place = Interrupting([])
    run_until_interrupted(lambda place, job_id, work: None, place)
    assert place.closed


def test_an_interrupt_waits_until_sections_are_left():
    entered, left = threading.Event(), threading.Event()

    def take_part(place, job_id, work):
        with work.section():
            entered.set()
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.2)
            left.set()
        with work.section():
            raise AssertionError("the program goes on")

    run_until_interrupted(take_part, Shelf(["1"]))
    assert entered.is_set()
    assert left.is_set()


def test_a_workers_training_is_ended_by_an_interrupt():
    failed = threading.Event()

    def take_part(place, job_id, work):
        with work.pool._lend("a job", 1) as worker, work.section():
            signal.raise_signal(signal.SIGINT)
            try:
                worker._child.connection.recv_bytes()  # what a request does until it is answered
            except (EOFError, OSError):
                failed.set()

    run_until_interrupted(take_part, Shelf(["1"]))
    assert failed.is_set()


def test_who_is_stopped_while_it_waits_for_a_worker_has_not_failed():
    """It would tell the others that it gives up, and is only begun again later."""
    work, entered, ends = Work(1), threading.Semaphore(0), []

    def asks():
        try:
            with work.section():
                entered.release()
                with work.pool._lend("a job", 1):
                    while not work.pool._closed:
                        time.sleep(0.01)
                    raise TrainingError("train: the worker was closed")
        except BaseException as error:
            ends.append(type(error))

    threads = [threading.Thread(target=asks, daemon=True) for _ in range(5)]
    for thread in threads:
        thread.start()
    for _ in threads:
        entered.acquire()
    work.stop()
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()
    assert ends == [StoppedError] * 5
    with pytest.raises(StoppedError), work.section():
        raise AssertionError("the program goes on")


def test_a_failure_of_training_is_one_while_the_program_goes_on():
    with pytest.raises(TrainingError), Work(1).section():
        raise TrainingError("train: the worker was killed")
