"""A pool of workers, shared by many clients: what each gets is what it would get alone, whatever happens to others."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from galaxy_fl.exceptions import ConfigurationError, DataError, DivergedError, EncodingError, TrainingError
from galaxy_fl.jobs.document import BuiltinModel, JobDocument, RuleChoice, SourceModel, source_id
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.task import TrainTask
from galaxy_fl.worker import pool as pools
from galaxy_fl.worker import worker as workers
from galaxy_fl.worker.messages import WorkerSettings
from galaxy_fl.worker.pool import WorkerPool, _Idle, _Turn
from galaxy_fl.worker.served_data import ServedData
from galaxy_fl.worker.worker import Worker
from tests.galaxy_fl.worker.test_forkserver import wait_until_gone

MODEL = BuiltinModel(builtin="mlp")
TRAIN = TrainSpecification(learning_rate=0.1, batch_size=16)
FOREIGN = "tests.galaxy_fl.worker.foreign"
LONG = 120
SOURCE = b"""\
import os
import random
from pathlib import Path

import numpy
import torch
from torch import nn

seen = []


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(), nn.Linear(16, 10))
        self.calls = 0
        Path("ran").mkdir(exist_ok=True)
        (Path("ran") / str(os.getpid())).touch()

    def forward(self, samples):
        # What would show that a client comes after another, in the same process.
        self.calls += 1
        seen.append(1)
        drawn = random.random() + numpy.random.rand() + torch.rand(1).item()
        return self.layers(samples) * (1 + 0.01 * (self.calls + len(seen) + drawn))
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def described(source=None, name="job", train=TRAIN, **fields):
    """The document of a job, whose initial vector goes to the file `initial`."""
    model = MODEL if source is None else SourceModel(source=source_id(source), class_name="Net")
    with Worker() as worker:
        found = worker.describe(model, train, Path("initial"), source)
    return JobDocument(
        name=name, model=model, layout=found.layout.to_json(), train=train, local=list(found.local), **fields
    )


def digits(client=1, clients=20, **more):
    return WorkerSettings(data="digits", shard=f"{client}/{clients}", partition="dirichlet:0.5", **more)


def task(name, round=1, seed=1, **more):
    return TrainTask(Path("initial"), Path(name), round, seed, **more)


def in_threads(*calls):
    """Calls all at once, and gives what each returned or raised."""
    ends = [None] * len(calls)

    def run(number):
        try:
            ends[number] = calls[number]()
        except BaseException as error:
            ends[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()
    return ends


ROUNDS = 2


def rounds_of(client, worker, prefix):
    """Two rounds of a client, each beginning with its own vector of the one before; what they came to."""
    results = []
    for number in range(1, ROUNDS + 1):
        start = Path("initial") if number == 1 else Path(f"{prefix}-{client}-{number - 1}")
        local = Path(f"{prefix}-local-{client}-{number - 1}")
        local = local if local.exists() else None
        trained, after = Path(f"{prefix}-{client}-{number}"), Path(f"{prefix}-local-{client}-{number}")
        result = worker.train(TrainTask(start, trained, number, 10 * client + number, (), local, after))
        results.append(result.model_copy(update={"seconds": 0.0}))
        results.append(worker.evaluate(trained))
    return results


@pytest.mark.parametrize("source", [pytest.param(None, marks=pytest.mark.extended), SOURCE])
def test_twenty_clients_on_two_workers_get_what_each_gets_alone(source):
    job, clients = described(source), range(1, 21)
    alone = {}
    for client in clients:
        with Worker() as worker:
            worker.prepare(job, digits(client), source)
            alone[client] = rounds_of(client, worker, "alone")
    with WorkerPool(2) as pool:
        sessions = {client: pool.session() for client in clients}
        order = random.Random(0).sample(clients, 20)

        def take_part(client):
            prepared = sessions[client].prepare(job, digits(client), source)
            assert prepared.samples == alone[client][0].samples
            return rounds_of(client, sessions[client], "pool")

        together = dict(zip(order, in_threads(*(lambda one=one: take_part(one) for one in order)), strict=True))
        assert len(pool._idle) == 2
        # And once more the other way round, one after the other.
        backwards = {client: rounds_of(client, sessions[client], "again") for client in reversed(clients)}
    assert together == backwards == alone
    for client in clients:
        for number in range(1, ROUNDS + 1):
            expected = Path(f"alone-{client}-{number}").read_bytes()
            assert Path(f"pool-{client}-{number}").read_bytes() == expected
            assert Path(f"again-{client}-{number}").read_bytes() == expected
            assert Path(f"alone-local-{client}-{number}").exists() == bool(job.local)
            if job.local:
                local = Path(f"alone-local-{client}-{number}").read_bytes()
                assert Path(f"pool-local-{client}-{number}").read_bytes() == local
    assert len({Path(f"alone-{client}-2").read_bytes() for client in clients}) == 20


@pytest.mark.parametrize("name", ["mobilenet_v3_small", pytest.param("squeezenet1_1", marks=pytest.mark.extended)])
def test_a_model_that_is_used_again_is_as_a_new_one(name):
    """Those that come with Galaxy and torchvision are made once in a process: statistics, dropout, a divergence."""
    model, train = BuiltinModel(builtin=f"torchvision:{name}"), TRAIN.model_copy(update={"batch_size": 2})
    settings = WorkerSettings(data=None)
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(3, 4, 3, 32, 32, generator=generator)
    datas = [ServedData(TensorDataset(one, torch.arange(4))) for one in images]
    broken = ServedData(TensorDataset(images[0] * 1e30, torch.arange(4)))
    with Worker() as worker:
        found = worker.describe(model, train, Path("initial"))
    job = JobDocument(name="job", model=model, layout=found.layout.to_json(), train=train, local=list(found.local))
    results = {}
    with WorkerPool(1) as pool:
        sessions = [pool.session() for _ in range(4)]
        for session, served in zip(sessions, (*datas, datas[0]), strict=True):
            session.prepare(job, settings, served=served)
        for number in (2, 0, 1):
            results[number] = sessions[number].train(task(f"shared-{number}", seed=number))
            with pool._lend(job.digest, 9) as worker:
                worker.prepare(job, settings, served=broken, session=9, again=True)
                with pytest.raises((DivergedError, EncodingError)):
                    worker.train(task("broken"), 9)
    for number, served in enumerate(datas):
        with Worker() as worker:
            worker.prepare(job, settings, served=served)
            alone = worker.train(task("alone", seed=number))
        assert alone.model_copy(update={"seconds": 0.0}) == results[number].model_copy(update={"seconds": 0.0})
        assert Path("alone").read_bytes() == Path(f"shared-{number}").read_bytes()


def test_a_hundred_clients_take_little_memory_beyond_that_of_the_fork_server():
    def own(pid):
        """What no other process shares, in MiB."""
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024

    job = described()
    with WorkerPool(2) as pool:
        sessions = [pool.session() for _ in range(100)]

        def go(number, session):
            session.prepare(job, WorkerSettings(data="digits", shard=f"{number}/100"))
            session.train(task(f"trained-{number}"))

        assert in_threads(*(partial(go, *one) for one in enumerate(sessions, 1))) == [None] * 100
        assert sum(own(idle.worker.pid) for idle in pool._idle) < 200


def test_a_distillation_has_the_same_bits_on_a_pool():
    job = described(rule=RuleChoice(name="relay"), distillation_alpha=1.0)
    with Worker() as worker, WorkerPool(1) as pool:
        worker.prepare(job, digits(1))
        sessions = [pool.session() for _ in range(3)]
        for client, session in enumerate(sessions, 1):
            session.prepare(job, digits(client))
            session.train(task(f"teacher-{client}", seed=client))
        teachers = [Path("teacher-2"), Path("teacher-3")]
        worker.train(task("alone", 2, 5, teachers=teachers))
        sessions[2].train(task("between"))
        sessions[0].train(task("shared", 2, 5, teachers=teachers))
    assert Path("alone").read_bytes() == Path("shared").read_bytes()


def test_a_client_alone_has_one_worker_and_none_after_its_job():
    job = described()
    with WorkerPool(4) as pool:
        with pool.session() as session:
            session.prepare(job, digits())
            session.train(task("a"))
            session.train(task("b"))
            [idle] = pool._idle
            pid = idle.worker.pid
        wait_until_gone(pid)
        assert not pool._idle


def test_sources_of_two_jobs_never_run_in_one_process():
    jobs = {name: described(SOURCE + f"# {name}\n".encode(), name) for name in ("a", "b", "c")}
    with WorkerPool(2) as pool:
        sessions = {(name, client): pool.session() for name in jobs for client in (1, 2)}
        for (name, client), session in sessions.items():
            session.prepare(jobs[name], digits(client), SOURCE + f"# {name}\n".encode())
        ran = {}
        for _ in range(3):
            for (name, _client), session in sessions.items():
                for path in Path("ran").iterdir():
                    path.unlink()
                session.train(task("trained"))
                [process] = [path.name for path in Path("ran").iterdir()]
                assert ran.setdefault(process, name) == name
        # Each job keeps a worker, although no more than two may work at a time.
        assert sorted(ran.values()) == ["a", "b", "c"]


def test_no_more_work_at_a_time_than_there_are_workers():
    def counted(index):
        with lock:
            inside.add(threading.get_ident())
            most.append(len(inside))
        with lock:
            inside.discard(threading.get_ident())
        return index

    job, lock, inside, most = described(), threading.Lock(), set(), []
    with WorkerPool(2) as pool:
        sessions = [pool.session() for _ in range(12)]

        def go(session):
            session.prepare(job, digits())
            session.train(task(f"trained-{id(session)}"), lambda: counted(0))

        assert in_threads(*(lambda one=one: go(one) for one in sessions)) == [None] * 12
        assert len(pool._idle) <= 2
        assert not pool._working
    assert max(most) <= 2


def test_a_worker_that_dies_fails_its_request_alone_and_is_replaced():
    job = described()
    with WorkerPool(1) as pool, pool.session() as one, pool.session() as other:
        for client, session in enumerate((one, other), 1):
            session.prepare(job, digits(client))

        def kill():
            [worker] = pool._busy
            os.kill(worker.pid, signal.SIGKILL)
            wait_until_gone(worker.pid)

        with pytest.raises(TrainingError, match="train: the worker was killed by SIGKILL"):
            one.train(task("killed"), kill)
        assert not Path("killed").exists()
        expected = other.train(task("trained"))
        assert expected.samples == other.train(task("again")).samples
        assert Path("trained").read_bytes() == Path("again").read_bytes()
        one.train(task("after"))
        # One that dies while nobody asks it for anything fails nothing.
        [idle] = pool._idle
        os.kill(idle.worker.pid, signal.SIGKILL)
        wait_until_gone(idle.worker.pid)
        one.train(task("once more"))
        assert Path("after").read_bytes() == Path("once more").read_bytes()


def test_a_client_whose_data_are_wrong_leaves_the_others_alone():
    def served(samples, labels):
        return ServedData(TensorDataset(samples, labels))

    job, settings = described(), WorkerSettings(data=None)
    labels = torch.arange(20) % 10
    with WorkerPool(2) as pool:
        good = pool.session()
        good.prepare(job, settings, served=served(torch.rand(20, 1, 8, 8), labels))
        for samples, wrong, said in (
            (torch.rand(20, 3), labels, "samples of shape"),
            (torch.rand(20, 1, 8, 8), labels + 1, "targets of shape .* out of bounds"),
            (torch.rand(20, 1, 8, 8, dtype=torch.float64), labels, "type torch.float64 do not fit"),
            (torch.rand(20, 1, 8, 8), labels.float(), "targets of shape"),
            (torch.full((20, 1, 8, 8), float("nan")), labels, "diverged"),
        ):
            with pytest.raises(TrainingError if said == "diverged" else DataError, match=said):
                pool.session().prepare(job, settings, served=served(samples, wrong))
        assert good.train(task("trained")).samples == 20
        with pytest.raises(DataError, match="1437 samples"):
            pool.session().prepare(job, digits(1, 2000))
        with pytest.raises(TrainingError, match="exit code 7"):
            pool.session().prepare(job, WorkerSettings(data=f"{FOREIGN}:exits"))
        assert good.train(task("again")).samples == 20
        assert Path("trained").read_bytes() == Path("again").read_bytes()


def test_what_is_forgotten_is_prepared_again_unnoticed(monkeypatch):
    monkeypatch.setattr(workers, "MOST_SESSIONS", 2)
    job = described()
    with WorkerPool(1) as pool:
        sessions = [pool.session() for _ in range(5)]
        for client, session in enumerate(sessions, 1):
            session.prepare(job, digits(client))
        [idle] = pool._idle
        assert len(idle.worker._sessions) == 2
        first = [session.train(task(f"first-{number}")).samples for number, session in enumerate(sessions)]
        again = [session.train(task(f"again-{number}")).samples for number, session in enumerate(sessions)]
        assert first == again
        assert len(idle.worker._sessions) == 2
    for number in range(5):
        assert Path(f"first-{number}").read_bytes() == Path(f"again-{number}").read_bytes()


def test_a_closed_session_is_forgotten_and_can_not_train():
    job = described()
    with WorkerPool(1) as pool, pool.session() as stays, pool.session() as leaves:
        stays.prepare(job, digits(1))
        leaves.prepare(job, digits(2))
        leaves.close()
        leaves.close()
        [idle] = pool._idle
        assert not idle.worker.has(2)
        with pytest.raises(TrainingError, match="prepared first"):
            leaves.train(task("trained"))
        stays.train(task("trained"))


def test_closing_ends_who_works_and_who_waits():
    job = described()
    pool = WorkerPool(1)
    sessions = [pool.session() for _ in range(4)]
    for session in sessions[:-1]:
        session.prepare(job, digits())
    [idle] = pool._idle

    def hangs():
        sessions[-1].prepare(job, WorkerSettings(data=f"{FOREIGN}:hangs"))

    def waits(session):
        while not Path("hanging").exists():
            time.sleep(0.01)
        session.train(task("trained"))

    def close():
        while len(pool._waiting) < 3:
            time.sleep(0.01)
        pool.close()

    ends = in_threads(hangs, *(lambda one=one: waits(one) for one in sessions[:-1]), close)
    assert ends.pop() is None
    assert all(isinstance(end, TrainingError) and "closed" in str(end) for end in ends)
    wait_until_gone(idle.worker.pid)
    with pytest.raises(TrainingError, match="closed"):
        pool.session().prepare(job, digits())


def test_a_final_model_is_written_once_for_all_clients():
    job = described()
    with WorkerPool(2) as pool:
        destination = Path("final").absolute()
        pool.export(job, Path("initial"), destination, "a")
        written = destination.stat().st_ino
        pool.export(job, Path("initial"), destination, "a", own=Path("integers, which nobody's file has"))
        assert destination.stat().st_ino == written
        destination.with_name("final.safetensors").unlink()
        pool.export(job, Path("initial"), destination, "a")
        assert destination.stat().st_ino != written
        written = destination.stat().st_ino
        pool.export(job, Path("initial"), destination, "b")
        assert destination.stat().st_ino != written


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "2"])
def test_workers_are_a_number(wrong):
    with pytest.raises(ConfigurationError, match="workers is .*expected a whole number from 1 on"):
        WorkerPool(wrong)


def test_there_are_as_many_workers_as_processors():
    assert WorkerPool().size == len(os.sched_getaffinity(0))


def test_secrets_do_not_reach_a_pool(monkeypatch):
    monkeypatch.setenv("GALAXY_KEY", "sesame")
    with WorkerPool(1) as pool, pool.session() as session:
        session.prepare(described(), WorkerSettings(data=f"{FOREIGN}:environment"))
    assert "GALAXY_KEY" not in json.loads(Path("environment.json").read_text())


def test_a_job_whose_code_never_ends_keeps_no_other_job_from_training_for_ever(monkeypatch):
    monkeypatch.setattr(pools, "PATIENCE", 0.05)
    hanging, fine = described(name="hanging"), described(name="fine")
    with WorkerPool(1) as pool, pool.session() as one, pool.session() as late, pool.session() as other:
        stuck = WorkerSettings(data=f"{FOREIGN}:hangs")
        for session in (one, late):
            threading.Thread(target=lambda s=session: ended(lambda: s.prepare(hanging, stuck)), daemon=True).start()
        while not Path("hanging").exists():
            time.sleep(0.01)

        def trains():
            other.prepare(fine, digits())
            for number in (1, 2):
                other.train(task(f"trained-{number}"))

        assert in_threads(trains) == [None]
        assert Path("trained-2").exists()
        assert len(pool._busy) == len(pool._working) == 1  # the job that hangs has no more than its place
        pool.close()


def ended(call):
    """Waits for the end of a call whose worker is closed under it."""
    with pytest.raises(TrainingError):
        call()


class Prepared:
    """What an idle worker tells of itself."""

    def __init__(self, *sessions: int) -> None:
        self.sessions = sessions

    def has(self, session: int) -> bool:
        return session in self.sessions


@pytest.mark.parametrize(
    ("idle", "first"),
    [
        ([("one", (3,))], ("one", 3)),  # prepared for that one
        ([("one", (9,))], ("one", 1)),  # for nobody who waits: then the oldest
        ([("other", (2,))], ("one", 1)),  # never before the job that has waited longest
        ([], ("one", 1)),
    ],
)
def test_of_the_job_that_has_waited_longest_those_come_first_that_a_worker_is_prepared_for(idle, first):
    pool = WorkerPool(2)
    pool._idle.extend(_Idle(Prepared(*sessions), job) for job, sessions in idle)
    for job, session in (("one", 1), ("other", 2), ("one", 3)):
        pool._enlist(_Turn(job, session))
    turn = pool._next()
    assert (turn.job, turn.session) == first
