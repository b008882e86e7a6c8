"""The two loops, at a table in memory."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from galaxy_fl.exceptions import DivergedError
from galaxy_fl.rounds.client import round_seed, run_client
from galaxy_fl.rounds.coordinator import Phase
from galaxy_fl.rounds.server import run_server
from galaxy_fl.vectors import read_vector
from tests.galaxy_fl.rounds.table import PARAMETERS, ClientSeat, Counting, ServerSeat, Table

INITIAL = np.arange(PARAMETERS)


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path)


def vector(value):
    return np.full(PARAMETERS, value, dtype=np.int32)


def model(table):
    return read_vector(table.model_file, PARAMETERS)


def updates(table, *values):
    """What other clients hand in, all at once."""

    def turn():
        for index, value in enumerate(values):
            table.hand_in(f"client {index}", vector(value), 1)

    return turn


def test_a_server_aggregates_each_round_until_the_last(table):
    reports, waits = [], []
    seat = ServerSeat(table, updates(table, 1, 3), updates(table, 10, 20), updates(table, -7, -7))
    end = run_server(seat, reports.append, waits.append)
    assert (end.phase, end.number) == (Phase.FINISHED, 4)
    assert seat.said == ["enter"]
    assert [(r.round.number, r.updates, r.excluded, r.committed.gas) for r in reports] == [
        (1, 2, {}, 9), (2, 2, {}, 9), (3, 2, {}, 9),
    ]  # fmt: skip
    assert [w.phase for w in waits] == [Phase.COLLECTING] * 3
    assert np.array_equal(model(table), INITIAL + 2 + 15 - 7)


def test_a_server_that_comes_late_finds_the_round_closed(table):
    updates(table, 1, 3)()
    seat = ServerSeat(table, lambda: setattr(table, "cancelled", True))
    waits = []
    end = run_server(seat, waiting=waits.append)
    assert end.phase is Phase.CANCELLED
    assert [w.number for w in waits] == [2]


def test_a_finished_job_is_not_entered(table):
    table.number = 4
    server, client = ServerSeat(table), ClientSeat(table, "a")
    assert run_server(server).phase is Phase.FINISHED
    assert run_client(client, Counting(1), 10).phase is Phase.FINISHED
    assert server.said == client.said == []


def test_the_models_file_is_there_while_it_is_reported(table):
    sizes = []
    seat = ServerSeat(table, updates(table, 1, 3), lambda: setattr(table, "cancelled", True))
    run_server(seat, lambda report: sizes.append(report.model.stat().st_size))
    assert sizes == [4 * PARAMETERS]


def test_an_update_that_is_lost_is_left_out(table):
    table.lost = {"client 1"}
    reports = []
    seat = ServerSeat(table, updates(table, 4, 100, 8), lambda: setattr(table, "cancelled", True))
    run_server(seat, reports.append)
    assert reports[0].updates == 3
    assert {s.client: why for s, why in reports[0].excluded.items()} == {"client 1": "client 1 is lost"}
    assert np.array_equal(model(table), INITIAL + 6)


def test_too_few_usable_updates_open_the_round_again(table):
    table.lost = {"client 1"}
    reports = []
    seat = ServerSeat(table, updates(table, 4, 100), lambda: setattr(table, "cancelled", True))
    end = run_server(seat, reports.append)
    assert (reports[0].model, reports[0].committed) == (None, None)
    assert (end.number, end.attempt) == (1, 2)
    assert np.array_equal(model(table), INITIAL)


def test_a_server_that_was_beaten_looks_again(table):
    class Beaten(ServerSeat):
        def commit(self, round, next_model, excluded):
            if self.turns and not self.said[1:]:
                self.said.append("beaten")
                self.table.next_attempt(advance=True)
            return super().commit(round, next_model, excluded)

    reports = []
    end = run_server(
        Beaten(table, updates(table, 1, 1), updates(table, 5, 5), lambda: setattr(table, "cancelled", True)),
        reports.append,
    )
    assert [report.round.number for report in reports] == [2]
    assert end.number == 3


def test_a_model_that_is_removed_while_a_client_trains_costs_no_update(table, tmp_path):
    class Removing(Counting):
        def train(self, task):
            result = super().train(task)
            task.start.unlink()
            return result

    seat = ClientSeat(table, "a", lambda: setattr(table, "cancelled", True))
    assert run_client(seat, Removing(5), 10, folder=tmp_path / "kept").phase is Phase.CANCELLED
    assert read_vector(table.submissions["a"][0], PARAMETERS)[0] == 5


def test_clients_of_a_program_share_a_folder_and_leave_nothing_there(table, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    there = []

    def while_both_wait():
        there.extend(path.name.partition("-")[2] for path in scratch.iterdir())
        table.cancelled = True

    def meanwhile():
        run_client(ClientSeat(table, "b", while_both_wait), Counting(8), 10, scratch=scratch)

    run_client(ClientSeat(table, "a", meanwhile), Counting(5), 10, scratch=scratch)
    assert there == ["update-1", "update-1"]
    handed_in = {client: read_vector(path, PARAMETERS)[0] for client, (path, _) in table.submissions.items()}
    assert handed_in == {"a": 5, "b": 8}
    assert list(scratch.iterdir()) == []


def test_a_client_trains_once_a_round_and_hands_in_the_difference(table):
    table.wanted = 1
    trainer, reports = Counting(5), []
    handed_in = []

    def turn():
        handed_in.append(read_vector(table.submissions["a"][0], PARAMETERS).copy())
        table.model_file.write_bytes(model(table).tobytes())
        table.next_attempt(advance=True)

    seat = ClientSeat(table, "a", turn, turn, turn)
    end = run_client(seat, trainer, 10, reports.append)
    assert end.phase is Phase.FINISHED
    assert seat.said == ["enter 10"]
    assert all(np.array_equal(update, vector(5)) for update in handed_in)
    assert [(report.round.number, report.gas) for report in reports] == [(1, 7), (2, 7), (3, 7)]
    assert [(task.round, task.seed) for task in trainer.tasks] == [(n, round_seed(0, n)) for n in (1, 2, 3)]
    assert not any(task.teachers for task in trainer.tasks)


def test_for_relay_the_trained_vector_itself_is_handed_in(tmp_path):
    table = Table(tmp_path, rounds=1, rule="relay")
    seat = ClientSeat(table, "a", lambda: setattr(table, "cancelled", True))
    run_client(seat, Counting(5), 10)
    assert np.array_equal(read_vector(table.submissions["a"][0], PARAMETERS), INITIAL + 5)


def test_in_a_distillation_a_client_goes_on_from_its_own_weights_and_learns_from_the_others(tmp_path):
    table = Table(tmp_path, rounds=3, rule="relay")
    own = []

    def turn():
        own.append(read_vector(table.submissions["a"][0], PARAMETERS).copy())
        table.hand_in("c", vector(200 + table.number), 10)
        table.hand_in("b", vector(100 + table.number), 10)
        table.next_attempt(advance=True)

    trainer, models = Counting(5), []
    run_client(
        ClientSeat(table, "a", turn, turn, turn),
        trainer,
        10,
        model=lambda rounds, path, own: models.append((rounds, read_vector(path, PARAMETERS)[0])),
    )
    assert [update[0] for update in own] == [5, 10, 15]
    assert models == [(1, 5), (2, 10), (3, 15)]
    taught = [[read_vector(path, PARAMETERS)[0] for path in task.teachers] for task in trainer.tasks]
    assert [sorted(round) for round in taught] == [[], [101, 201], [102, 202]]


def test_a_client_that_starts_again_in_a_distillation_goes_on_from_what_it_handed_in(tmp_path):
    table = Table(tmp_path, rounds=2, rule="relay")
    table.hand_in("a", vector(50), 10)
    table.next_attempt(advance=True)
    run_client(ClientSeat(table, "a", lambda: setattr(table, "cancelled", True)), Counting(5), 10)
    assert read_vector(table.submissions["a"][0], PARAMETERS)[0] == 55


def test_a_client_is_shown_each_model_and_the_final_one(table):
    table.wanted = 1
    shown = []

    def turn():
        table.model_file = table._keep(f"model-{table.number}", model(table) + np.int32(1))
        table.next_attempt(advance=True)

    run_client(
        ClientSeat(table, "a", turn, turn, turn),
        Counting(5),
        10,
        model=lambda rounds, path, own: shown.append((rounds, read_vector(path, PARAMETERS)[0])),
    )
    assert shown == [(1, 1), (2, 2), (3, 3)]


def test_a_round_that_is_collected_again_takes_what_was_trained_for_it(table):
    trainer = Counting(5)
    seat = ClientSeat(table, "a", lambda: table.next_attempt(advance=False), lambda: setattr(table, "cancelled", True))
    run_client(seat, trainer, 10)
    assert len(trainer.tasks) == 1
    assert np.array_equal(read_vector(table.submissions["a"][0], PARAMETERS), vector(5))


def test_in_a_job_with_uniform_weights_every_update_weighs_one(table):
    table.job = table.job.model_copy(update={"weighting": "uniform"})
    run_client(ClientSeat(table, "a", lambda: setattr(table, "cancelled", True)), Counting(5), 10)
    assert table.submissions["a"][1] == 1


def test_in_a_job_with_uniform_weights_whoever_gives_itself_more_is_left_out(table):
    table.job = table.job.model_copy(update={"weighting": "uniform"})
    table.hand_in("greedy", vector(1000), 2**24 - 1)
    updates(table, 1, 3)()
    reports = []
    seat = ServerSeat(table, lambda: setattr(table, "cancelled", True))
    run_server(seat, reports.append)
    assert np.array_equal(model(table), INITIAL + 2)
    ((left_out, why),) = reports[0].excluded.items()
    assert (left_out.client, why) == ("greedy", "it weighs 16777215, but each update of this job weighs 1")


def test_a_client_whose_update_is_too_late_goes_on_with_the_next_round(table):
    class Slow(Counting):
        def train(self, *arguments):
            result = super().train(*arguments)
            if len(self.tasks) == 1:
                table.next_attempt(advance=True)
            return result

    reports = []
    seat = ClientSeat(table, "a", lambda: setattr(table, "cancelled", True))
    run_client(seat, Slow(5), 10, reports.append)
    assert [(report.round.number, report.gas) for report in reports] == [(1, None), (2, 7)]


def test_a_client_whose_training_fails_hands_in_nothing(table):
    class Diverging(Counting):
        def train(self, *arguments):
            raise DivergedError("the loss became nan")

    with pytest.raises(DivergedError):
        run_client(ClientSeat(table, "a"), Diverging(5), 10)
    assert table.submissions == {}


def test_the_seed_of_a_round_is_the_same_on_every_machine():
    digest = hashlib.sha256(b"galaxy round 7 3").digest()
    assert round_seed(7, 3) == int.from_bytes(digest[:8], "big") >> 1
    seeds = {round_seed(seed, number) for seed in range(20) for number in range(20)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_clients_and_a_server_together_make_the_weighted_mean(table):
    other = ClientSeat(table, "b")

    def turn():
        """The other client's turn, then the server's."""
        table.hand_in(other.name, vector(10), 30)
        server_turn_once(table)

    end = run_client(ClientSeat(table, "a", turn, turn, turn), Counting(2), 10)
    assert end.phase is Phase.FINISHED
    assert np.array_equal(model(table), INITIAL + 3 * 8)


def server_turn_once(table):
    class Once(ServerSeat):
        def commit(self, *arguments):
            committed = super().commit(*arguments)
            self.table.cancelled = True
            return committed

    run_server(Once(table))
    table.cancelled = False


def test_a_client_that_starts_again_trains_nothing_twice(table):
    folder, trainer = table.folder / "kept", Counting(5)

    class Crashed(Exception):
        pass

    class Crashing(ClientSeat):
        def submit(self, round, update, weight):
            raise Crashed

    with pytest.raises(Crashed):
        run_client(Crashing(table, "a"), trainer, 10, folder=folder)
    seat = ClientSeat(table, "a", lambda: setattr(table, "cancelled", True))
    run_client(seat, trainer, 10, folder=folder)
    assert len(trainer.tasks) == 1
    assert np.array_equal(read_vector(table.submissions["a"][0], PARAMETERS), vector(5))


def test_what_was_trained_for_another_model_is_trained_again(table):
    folder, trainer = table.folder / "kept", Counting(5)
    run_client(ClientSeat(table, "a", lambda: setattr(table, "cancelled", True)), trainer, 10, folder=folder)
    table.cancelled = False
    table.model_file.write_bytes(vector(99).tobytes())
    table.next_attempt(advance=False)
    run_client(ClientSeat(table, "a", lambda: setattr(table, "cancelled", True)), trainer, 10, folder=folder)
    assert len(trainer.tasks) == 2


def test_a_program_that_dies_while_it_trains_again_takes_no_half_for_what_it_had(table):
    """A reorganisation brings a round on another model, and takes that back."""
    folder = table.folder / "kept"
    first = table.model_file.read_bytes()
    run_client(ClientSeat(table, "a", lambda: setattr(table, "cancelled", True)), Counting(5), 10, folder=folder)

    class Dying(Counting):
        def train(self, task):
            task.trained.write_bytes(vector(4711).tobytes())
            raise DivergedError("killed")

    table.cancelled = False
    table.model_file.write_bytes(vector(99).tobytes())
    table.next_attempt(advance=False)
    with pytest.raises(DivergedError):
        run_client(ClientSeat(table, "a"), Dying(5), 10, folder=folder)
    table.model_file.write_bytes(first)
    table.next_attempt(advance=False)
    run_client(ClientSeat(table, "a", lambda: setattr(table, "cancelled", True)), Counting(5), 10, folder=folder)
    assert np.array_equal(read_vector(table.submissions["a"][0], PARAMETERS), vector(5))


@pytest.mark.parametrize("spoilt", ["update-1", "kept.json"])
def test_what_a_loss_of_power_has_spoilt_is_trained_again(table, spoilt):
    """Nothing waits for the disk, so of a file there may be less than was written, whichever of them came first."""
    folder, trainer = table.folder / "kept", Counting(5)
    run_client(ClientSeat(table, "a", lambda: setattr(table, "cancelled", True)), trainer, 10, folder=folder)
    path = folder / spoilt
    written = path.read_bytes()
    path.unlink()
    path.write_bytes(written[:40].ljust(len(written), b"\0"))
    table.cancelled = False
    table.next_attempt(advance=False)
    run_client(ClientSeat(table, "a", lambda: setattr(table, "cancelled", True)), trainer, 10, folder=folder)
    assert len(trainer.tasks) == 2
    assert np.array_equal(read_vector(table.submissions["a"][0], PARAMETERS), vector(5))


def test_what_was_handed_in_is_not_written_to_again(table):
    """A store has the file of an update, and of a model, as its own: the next one is another file."""
    held = []

    class Holding(ServerSeat):
        def commit(self, round, next_model, excluded):
            held.append((next_model.stat().st_ino, next_model.open("rb"), next_model.read_bytes()))
            return super().commit(round, next_model, excluded)

    def turn():
        updates(table, 1, 3)()

    run_server(Holding(table, turn, turn, turn))
    assert len({inode for inode, _, _ in held}) == 3
    for _, file, content in held:
        with file:
            assert file.read() == content


def test_a_server_goes_on_after_what_its_coordinator_endures_and_where_it_stays(table):
    class Failing(ServerSeat):
        endured = True

        def commit(self, *arguments):
            if "endured no room" not in self.said:
                raise MemoryError("no room")
            return super().commit(*arguments)

    ends = []
    seat = Failing(table, updates(table, 1, 3), updates(table, 1, 1), updates(table, 2, 2), updates(table, 2, 2))
    # When the last round is over, its commit is taken back, and the job goes on.
    seat.stays = [lambda: setattr(table, "number", 3)]
    end = run_server(seat, ended=lambda round: ends.append(round.number))
    assert (end.phase, end.number) == (Phase.FINISHED, 4)
    assert seat.said == ["enter", "endured no room"]
    assert ends == [4, 4]


def test_an_error_that_is_not_endured_ends_a_server(table):
    class Failing(ServerSeat):
        def commit(self, *arguments):
            raise MemoryError("no room")

    seat = Failing(table, updates(table, 1, 3))
    with pytest.raises(MemoryError):
        run_server(seat)
    assert seat.said == ["enter", "endured no room"]


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"round": 1, "begin": "x", "result": {}}'])
def test_a_damaged_note_of_what_was_trained_only_costs_training(table, damage):
    folder, trainer = table.folder / "kept", Counting(5)
    run_client(ClientSeat(table, "a", lambda: setattr(table, "cancelled", True)), trainer, 10, folder=folder)
    (folder / "kept.json").write_bytes(damage)
    table.cancelled = False
    table.next_attempt(advance=False)
    run_client(ClientSeat(table, "a", lambda: setattr(table, "cancelled", True)), trainer, 10, folder=folder)
    assert len(trainer.tasks) == 2


class Remembering(Counting):
    """A trainer that leaves a note of each round, and notes what it found."""

    def __init__(self, step):
        super().__init__(step)
        self.found = []

    def train(self, task):
        self.found.append((task.round, None if task.own is None else task.own.read_text()))
        task.own_after.write_text(f"of round {task.round}, attempt {len(self.found)}")
        return super().train(task)


def test_a_client_goes_on_from_its_own_integer_tensors_whatever_is_taken_back(table):
    folder, trainer = table.folder / "kept", Remembering(5)
    table.rounds = 5

    def a_round():
        table.cancelled = False
        stop = lambda: setattr(table, "cancelled", True)  # noqa: E731
        run_client(ClientSeat(table, "a", stop), trainer, 10, folder=folder)

    def commit(number):
        table.model_file.write_bytes(vector(number).tobytes())
        table.next_attempt(advance=True)

    for number in (1, 2):
        a_round()
        commit(number)
    a_round()
    assert trainer.found == [(1, None), (2, "of round 1, attempt 1"), (3, "of round 2, attempt 2")]
    # Round 1's commit is taken back, and another takes its place: rounds 2 and 3 were trained on a model that is void.
    table.number = 1
    commit(7)
    a_round()
    assert trainer.found[3:] == [(2, "of round 1, attempt 1")]
    commit(8)
    a_round()
    assert trainer.found[4:] == [(3, "of round 2, attempt 4")]
    assert sorted(path.name for path in folder.glob("own-*")) == ["own-1", "own-2", "own-3"]
    # Once nothing takes back round 2, nothing begins again with what was left of the rounds before.
    table.first_open = 3
    commit(9)
    a_round()
    assert sorted(path.name for path in folder.glob("own-*")) == ["own-2", "own-3", "own-4"]


def test_a_client_that_dies_before_it_has_kept_what_it_trained_trains_it_again_from_before(table):
    folder, trainer = table.folder / "kept", Remembering(5)
    stop = lambda: setattr(table, "cancelled", True)  # noqa: E731

    def dying(task):
        Remembering.train(trainer, task)
        raise KeyboardInterrupt

    run_client(ClientSeat(table, "a", stop), trainer, 10, folder=folder)
    table.cancelled = False
    table.next_attempt(advance=True)
    trainer.train = dying
    with pytest.raises(KeyboardInterrupt):
        run_client(ClientSeat(table, "a", stop), trainer, 10, folder=folder)
    assert {path.name for path in folder.iterdir()} >= {"own-1", "own-new"}
    del trainer.train
    # Whether it is the same round still, or the next one already.
    run_client(ClientSeat(table, "a", stop), trainer, 10, folder=folder)
    assert trainer.found == [(1, None), (2, "of round 1, attempt 1"), (2, "of round 1, attempt 1")]
    assert (folder / "own-2").read_text() == "of round 2, attempt 3"


@pytest.mark.parametrize("settled", [True, False])
def test_what_a_client_keeps_is_removed_when_the_job_is_over_for_good(table, settled):
    folder, trainer = table.folder / "kept", Remembering(5)
    table.rounds, table.settled = 1, settled

    def finish():
        table.next_attempt(advance=True)

    run_client(ClientSeat(table, "a", finish), trainer, 10, folder=folder)
    assert (list(folder.iterdir()) == []) == settled
