"""What a client has spent: counted before anything can leave, kept, and never taken back."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from galaxy_fl.exceptions import ConfigurationError, DataError, RoundMovedOnError, TrainingError
from galaxy_fl.jobs.privacy import ExamplePrivacy, UpdatePrivacy
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.participants.events import Exhausted, Spent
from galaxy_fl.participants.guard import Guard
from galaxy_fl.privacy import account as account_module
from galaxy_fl.privacy.account import Account
from galaxy_fl.privacy.accountant import Mechanism, epsilon_of, mechanism_of
from galaxy_fl.rounds.client import run_client
from galaxy_fl.rounds.coordinator import Phase
from galaxy_fl.vectors import read_vector
from tests.galaxy_fl.rounds.table import PARAMETERS, ClientSeat, Counting, Table

pytestmark = pytest.mark.xdist_group("opacus")  # it takes seconds to import

UPDATE = UpdatePrivacy(clip=1e-4, noise_multiplier=2.0, delta=1e-5)
EXAMPLE = ExamplePrivacy(max_grad_norm=1.0, noise_multiplier=1.0, delta=1e-5)
ONE = mechanism_of(UPDATE, TrainSpecification(), 10)


def epsilon(trainings):
    return epsilon_of([ONE] * trainings, UPDATE.delta)


# ---- Epsilon --------------------------------------------------------------------------------------------------


def test_another_update_of_a_client_may_be_twice_the_clip_away():
    assert Mechanism(noise_multiplier=1.0, sample_rate=1.0, steps=1) == ONE


@pytest.mark.parametrize(
    ("batch_size", "samples", "expected"),
    [(10, 100, (0.1, 10 * 3)), (10, 95, (10 / 95, 10 * 3)), (0, 100, (1.0, 3)), (500, 100, (1.0, 3)), (1, 1, (1.0, 3))],
)
def test_steps_of_dp_sgd(batch_size, samples, expected):
    found = mechanism_of(EXAMPLE, TrainSpecification(batch_size=batch_size, local_epochs=3), samples)
    assert (found.sample_rate, found.steps) == expected


def test_epsilon_is_what_opacus_says_and_grows_with_each_training():
    from opacus.accountants import RDPAccountant

    theirs = RDPAccountant()
    for _ in range(300):
        theirs.step(noise_multiplier=1.1, sample_rate=0.02)
    ours = epsilon_of([Mechanism(noise_multiplier=1.1, sample_rate=0.02, steps=300)], 1e-5)
    assert ours == pytest.approx(theirs.get_epsilon(1e-5), rel=1e-6)
    assert 0 == epsilon(0) < epsilon(1) < epsilon(2) < epsilon(3)
    assert epsilon_of([ONE.model_copy(update={"steps": 3})], 1e-5) == epsilon(3)


@pytest.mark.parametrize("noise_multiplier", [0.005, 0.01, 1.0, 500.0])
@pytest.mark.parametrize("sample_rate", [1e-6, 0.1, 0.999, 1.0])
def test_extremes_have_an_epsilon(noise_multiplier, sample_rate):
    found = epsilon_of([Mechanism(noise_multiplier=noise_multiplier, sample_rate=sample_rate, steps=7)], 1e-6)
    assert 0 <= found < np.inf


# ---- The account ----------------------------------------------------------------------------------------------


def test_what_was_spent_outlives_the_program_and_counts_each_training(tmp_path):
    path = tmp_path / "client" / "spent.json"
    for _ in range(3):
        Account(path).charge(ONE)
    other = ONE.model_copy(update={"noise_multiplier": 3.0})
    Account(path).charge(other)
    found = Account(path)
    assert found.trainings == 4
    assert found.epsilon(1e-5) == epsilon_of([ONE, ONE, ONE, other], 1e-5)
    assert found.epsilon(1e-5, other) == epsilon_of([ONE, ONE, ONE, other, other], 1e-5)


@pytest.mark.parametrize("content", ["", "{", '{"version": 1, "trainings": -1, "spent": []}', '{"version": 2}'])
def test_a_damaged_account_is_no_empty_one(tmp_path, content):
    (tmp_path / "spent.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"spent.json, the account of .* is damaged .*: bring it back"):
        Account(tmp_path / "spent.json")


def test_an_account_that_can_not_be_written_is_not_charged(tmp_path, monkeypatch):
    one = Account(tmp_path / "spent.json")

    def full(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(account_module, "write_durably", full)
    with pytest.raises(OSError, match="no space"):
        one.charge(ONE)
    assert one.trainings == 0


# ---- The loop -------------------------------------------------------------------------------------------------


class Watched(Counting):
    """A trainer that looks at the account when it begins, and may fail."""

    def __init__(self, folder, fails=()):
        super().__init__(50)
        self.folder, self.fails, self.seen = folder, list(fails), []

    def train(self, task):
        self.seen.append(json.loads((self.folder / "spent.json").read_text())["trainings"])
        if self.fails and self.fails.pop(0):
            raise TrainingError("the machine has lost its power")
        return super().train(task)


@pytest.fixture
def table(tmp_path):
    table = Table(tmp_path, wanted=1)
    table.job = table.job.model_copy(update={"privacy": UPDATE})
    return table


class Client:
    """A client of a table, whose program may be started again."""

    def __init__(self, table, stop_at=None):
        self.table, self.stop_at = table, stop_at
        self.folder = table.folder / "client"
        self.heard = []

    def run(self, *turns, fails=()):
        seat, trainer = ClientSeat(self.table, "a", *turns), Watched(self.folder, fails)
        self.seat, self.trainer = seat, trainer
        guard = Guard(self.table.job, 10, self.folder / "spent.json", self.stop_at, self.heard.append)
        return run_client(seat, trainer, 10, folder=self.folder, guard=guard)

    def of(self, kind):
        return [event for event in self.heard if isinstance(event, kind)]


def advance(table, handed_in=None):
    def turn():
        if handed_in is not None and table.submissions:
            handed_in.append(read_vector(table.submissions["a"][0], PARAMETERS).copy())
        table.next_attempt(advance=True)

    return turn


def reopen(table):
    return lambda: table.next_attempt(advance=False)


def test_each_training_is_on_the_disk_before_it_begins_and_what_is_handed_in_is_noised(table):
    client, handed_in = Client(table), []
    client.run(*[advance(table, handed_in)] * 3)
    assert client.trainer.seen == [1, 2, 3]
    assert [(e.round, e.trainings, e.epsilon) for e in client.of(Spent)] == [(n, n, epsilon(n)) for n in (1, 2, 3)]
    assert {e.delta for e in client.of(Spent)} == {1e-5}
    for update in handed_in:
        assert len(np.unique(update)) > 50  # the trainer adds the same to all
        assert not (update == 50).all()
    assert not np.array_equal(handed_in[0], handed_in[1])


def test_a_training_that_a_crash_cut_short_costs_and_the_next_costs_again(table):
    client = Client(table)
    with pytest.raises(TrainingError):
        client.run(fails=[True])
    client.run(*[advance(table)] * 3)
    assert client.trainer.seen == [2, 3, 4]
    assert [e.trainings for e in client.of(Spent)] == [1, 2, 3, 4]


def test_what_was_trained_and_kept_is_handed_in_again_for_nothing(table):
    client, handed_in = Client(table), []

    def crash():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.run(crash)
    first = read_vector(table.submissions.pop("a")[0], PARAMETERS).copy()
    client.run(advance(table, handed_in), advance(table), advance(table))
    assert np.array_equal(handed_in[0], first)  # other noise on the same training would tell more
    assert client.trainer.seen == [2, 3]
    assert client.of(Spent)[-1].trainings == 3


def test_what_the_worker_may_write_later_is_not_what_is_handed_in(table):
    """Its code may have left a thread or a process behind, which writes once more what it was told to write."""
    handed_in = []

    class Lingering(Watched):
        def train(self, task):
            self.task = task
            return super().train(task)

    client = Client(table)
    trainer = Lingering(client.folder)

    class Seat(ClientSeat):
        def submit(self, round, update, weight):
            handed_in.append(read_vector(update.path, 100).copy())
            return super().submit(round, update, weight)

    class Late(Guard):
        def protect(self, raw, update):
            super().protect(raw, update)
            assert not raw.exists()
            Counting.train(trainer, trainer.task)

    guard = Late(table.job, 10, client.folder / "spent.json", None, client.heard.append)
    run_client(Seat(table, "a", *[advance(table)] * 3), trainer, 10, folder=client.folder, guard=guard)
    assert len(handed_in) == 3
    assert all(len(np.unique(update)) > 50 for update in handed_in)
    assert not (client.folder / "raw").exists()


def test_a_worker_can_not_tell_anything_by_the_weight(table):
    """It says of each training how many samples it was, and a weight is public."""
    weights = []

    class Telling(Watched):
        def train(self, task):
            return super().train(task).model_copy(update={"samples": 1000 + task.round})

    class Seat(ClientSeat):
        def submit(self, round, update, weight):
            weights.append(weight)
            return super().submit(round, update, weight)

    client = Client(table)
    guard = Guard(table.job, 10, client.folder / "spent.json", None, client.heard.append)
    seat = Seat(table, "a", *[advance(table)] * 3)
    run_client(seat, Telling(client.folder), 10, folder=client.folder, guard=guard)
    assert weights == [10, 10, 10]


def test_two_programs_do_not_train_in_one_folder(table):
    """The second would overwrite what the first has protected, and each what the other has spent."""
    client, other = Client(table), Client(table)

    def begins():
        with pytest.raises(
            ConfigurationError, match=r"another program takes part in this job with the folder .*client"
        ):
            other.run()
        table.next_attempt(advance=True)

    client.run(begins, *[advance(table)] * 2)
    assert client.trainer.seen == [1, 2, 3]
    assert other.trainer.seen == []


def test_what_another_program_has_spent_since_counts(table):
    client, other = Client(table, epsilon(4)), Client(table, epsilon(4))
    guard = Guard(table.job, 10, client.folder / "spent.json", epsilon(4), client.heard.append)  # before the other
    other.run(*[advance(table)] * 3)
    assert guard.admits(4)
    assert not guard.admits(5)
    assert Account(client.folder / "spent.json").trainings == 4


def test_a_round_that_is_collected_again_costs_nothing_and_another_drawing_does(table):
    client = Client(table)
    client.run(reopen(table), *[advance(table)] * 3)
    assert client.of(Spent)[-1].trainings == 3

    class Public(ClientSeat):
        def round(self):
            round = super().round()
            return type(round)(round.number, round.attempt, round.phase, round.updates, draw=round.attempt - 4)

    table.number, table.rounds = 1, 1
    guard = Guard(table.job, 10, client.folder / "spent.json", None, client.heard.append)
    seat = Public(table, "a")
    seat.wait = lambda seen: (seat.turns.pop(0)(), seat.round())[1]
    seat.turns = [reopen(table), advance(table)]
    run_client(seat, Watched(client.folder), 10, folder=client.folder, guard=guard)
    assert client.of(Spent)[-1].trainings == 5


def test_a_round_that_is_taken_back_costs_again(table):
    """The model that it begins with is another one then."""
    client = Client(table)

    def taken_back():
        table.number, table.attempt, table.submissions = 1, table.attempt + 1, {}
        table.model_file.write_bytes(np.full(PARAMETERS, 3, np.int32).tobytes())

    client.run(advance(table), taken_back, *[advance(table)] * 3)
    assert client.of(Spent)[-1].trainings == 5
    assert client.trainer.seen == [1, 2, 3, 4, 5]


def test_a_training_that_comes_too_late_costs(table):
    client = Client(table)

    class Late(ClientSeat):
        def submit(self, round, update, weight):
            if round.attempt == 1:
                self.table.next_attempt(advance=True)
                raise RoundMovedOnError("the round is over")
            return super().submit(round, update, weight)

    guard = Guard(table.job, 10, client.folder / "spent.json", None, client.heard.append)
    seat = Late(table, "a", advance(table), advance(table))
    run_client(seat, Watched(client.folder), 10, folder=client.folder, guard=guard)
    assert client.of(Spent)[-1].trainings == 3


def test_a_budget_ends_its_part_before_the_training_that_would_exceed_it(table):
    client = Client(table, stop_at=epsilon(2))
    shown = []
    seat, trainer = ClientSeat(table, "a", *[advance(table)] * 3), Watched(client.folder)
    guard = Guard(table.job, 10, client.folder / "spent.json", client.stop_at, client.heard.append)
    end = run_client(seat, trainer, 10, model=lambda n, path, own: shown.append(n), folder=client.folder, guard=guard)
    assert end.phase is Phase.FINISHED  # it looks on
    assert trainer.seen == [1, 2]
    assert seat.said == ["enter 10", "retire: it has spent its privacy budget in this job"]
    assert shown[-1] == 3
    [ended] = client.of(Exhausted)
    assert (ended.round, ended.trainings, ended.epsilon, ended.next) == (3, 2, epsilon(2), epsilon(3))
    assert ended.stop_at == epsilon(2) < ended.next


def test_the_smaller_of_two_budgets_counts_and_a_restart_changes_nothing(table):
    table.job = table.job.model_copy(update={"privacy": UPDATE.model_copy(update={"stop_at_epsilon": epsilon(1)})})
    client = Client(table, stop_at=epsilon(5))
    client.run(*[advance(table)] * 3)
    assert client.trainer.seen == [1]
    table.number, table.submissions = 1, {}
    client.run(*[advance(table)] * 3)
    assert client.trainer.seen == []
    assert client.of(Exhausted)[-1].stop_at == epsilon(1)
    assert json.loads((client.folder / "spent.json").read_text())["trainings"] == 1


# ---- Refused --------------------------------------------------------------------------------------------------


def test_a_delta_that_lets_one_example_be_given_away_is_refused(table, tmp_path):
    private = table.job.model_copy(update={"privacy": EXAMPLE.model_copy(update={"delta": 0.01})})
    with pytest.raises(DataError, match=r"delta 0.01, and this client 100 samples.*smaller delta"):
        Guard(private, 100, tmp_path / "spent.json", None, print)
    Guard(private, 99, tmp_path / "spent.json", None, print)


def test_without_opacus_the_extra_is_named(tmp_path):
    program = """
import sys
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "opacus" else found(name, package)
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.privacy.accountant import expect_opacus
try:
    expect_opacus()
except ConfigurationError as error:
    print(error)
assert "torch" not in sys.modules and "opacus" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout == (
        "a private job needs Opacus, which is not installed here: pip install 'galaxy-fl[privacy]'\n"
    )


def test_epsilon_needs_no_torch():
    program = """
import sys
from galaxy_fl.privacy.accountant import Mechanism, epsilon_of
assert epsilon_of([Mechanism(noise_multiplier=1.0, sample_rate=0.5, steps=2)], 1e-5) > 1
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)
