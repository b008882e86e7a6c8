"""What every mode without a chain promises: one suite, which each of them inherits."""

from __future__ import annotations

import numpy as np
import pytest

from galaxy_fl.content import ContentId
from galaxy_fl.exceptions import (
    ConfigurationError,
    ContentAlteredError,
    ContentError,
    GalaxyError,
    GivenUpError,
    JobDocumentError,
    RoundMovedOnError,
)
from galaxy_fl.jobs.document import BuiltinModel, SourceModel, source_id
from galaxy_fl.jobs.first_model import read_weights
from galaxy_fl.modes import folder_coordinators
from galaxy_fl.rounds.client import run_client
from galaxy_fl.rounds.coordinator import Phase, Round, Submitted
from galaxy_fl.rounds.server import run_server
from galaxy_fl.vectors import read_vector, tree_root
from tests.galaxy_fl.modes.meeting import INITIAL, PARAMETERS, Meeting, Running, alter, document, eventually, vector
from tests.galaxy_fl.rounds.table import Counting
from tests.vectors import generate_optimizers as optimizers

SOURCE = b"class Net: ...\n"
SOURCE_MODEL = SourceModel(source=source_id(SOURCE), class_name="Net")


class ModeConformance:
    """The suite. A subclass names its mode."""

    mode: str

    @pytest.fixture
    def meeting(self, tmp_path):
        meeting = Meeting(self.mode, tmp_path)
        yield meeting
        meeting.close()

    @pytest.fixture
    def server(self, meeting):
        """The place of a server that is there from the beginning."""
        return meeting.server()

    def enter(self, meeting, name, samples=10, job_id="1"):
        """A client that takes part."""
        coordinator = meeting.client(name).open(job_id)
        coordinator.enter(samples)
        return coordinator

    def hand_in(self, client, value, weight=10):
        assert client.submit(client.round(), vector(value), weight) == 0

    # Whole jobs

    def test_a_job_runs_from_its_first_round_to_its_final_model(self, meeting, server):
        meeting.submit(rounds=3, min_clients=3)
        serving, committed, shown = server.open("1"), [], []
        running = Running(run_server, serving, lambda report: committed.append(report.committed))
        clients = [
            Running(
                run_client,
                meeting.client(f"c{step}").open("1"),
                Counting(step),
                10,
                model=lambda n, path, own: shown.append(n),
            )
            for step in (1, 2, 6)
        ]
        assert {client.finish() for client in clients} == {Round(4, 4, Phase.FINISHED, 0)}
        assert running.finish().phase is Phase.FINISHED
        assert np.array_equal(meeting.model(4), INITIAL + 9)
        assert [one.gas for one in committed] == [0, 0, 0]
        assert [one.model for one in committed] == [tree_root(INITIAL + np.int32(3 * n), 64) for n in (1, 2, 3)]
        assert sorted(shown) == [1, 1, 1, 2, 2, 2, 3, 3, 3]
        assert meeting.client("late").jobs() == []
        assert server.jobs() == ["1"]

    def test_weights_count(self, meeting, server):
        meeting.submit(rounds=1, min_clients=2)
        running = Running(run_server, server.open("1"))
        self.hand_in(self.enter(meeting, "a", 30), 4, 30)
        self.hand_in(self.enter(meeting, "b", 10), 8, 10)
        running.finish()
        assert np.array_equal(meeting.model(2), INITIAL + 5)

    def test_a_client_may_come_while_the_job_runs(self, meeting, server):
        meeting.submit(rounds=3)
        late = []

        def second():
            late.append(Running(run_client, meeting.client("late").open("1"), Counting(3), 10))
            # Round 2 waits for it, once it takes part.
            eventually(lambda: "late" in meeting.job().clients())

        class First(Counting):
            def train(self, task):
                if task.round == 2:
                    second()
                return super().train(task)

        serving = Running(run_server, server.open("1"))
        run_client(meeting.client("early").open("1"), First(1), 10)
        serving.finish()
        late[0].finish()
        assert np.array_equal(meeting.model(4), INITIAL + 1 + 2 + 2)

    def test_programs_may_start_before_there_is_a_job(self, meeting, server):
        client = meeting.client("a")
        assert client.jobs() == server.jobs() == []
        meeting.submit("7", rounds=1)
        meeting.submit("2", rounds=1)
        assert server.jobs() == ["7", "2"]
        assert eventually(client.jobs) == ["7", "2"]

    def test_jobs_run_side_by_side(self, meeting, server):
        for job in ("x", "y"):
            meeting.submit(job, rounds=2)
        place = meeting.client("a")
        running = [
            Running(run_server, server.open("x")),
            Running(run_server, server.open("y")),
            Running(run_client, place.open("x"), Counting(1), 10),
            Running(run_client, place.open("y"), Counting(2), 10),
        ]
        for one in running:
            one.finish()
        assert np.array_equal(meeting.model(3, "x"), INITIAL + 2)
        assert np.array_equal(meeting.model(3, "y"), INITIAL + 4)

    def test_a_distillation_learns_from_the_others_of_the_round_before(self, meeting, server):
        meeting.submit(rounds=3, min_clients=3, document=document("relay"))
        trainers = {"b": Counting(1), "a": Counting(10), "c": Counting(100)}
        taught = {name: [] for name in trainers}

        class Student:
            def __init__(self, name):
                self.name = name

            def train(self, task):
                taught[self.name].append(sorted(read_vector(path, PARAMETERS)[0].item() for path in task.teachers))
                return trainers[self.name].train(task)

        serving = Running(run_server, server.open("1"))
        clients = [Running(run_client, meeting.client(name).open("1"), Student(name), 10) for name in trainers]
        for one in (serving, *clients):
            one.finish()
        assert taught == {
            "a": [[], [1, 100], [2, 200]],
            "b": [[], [10, 100], [20, 200]],
            "c": [[], [1, 10], [2, 20]],
        }
        assert np.array_equal(meeting.model(4), INITIAL)

    def test_a_client_of_a_distillation_that_was_away_goes_on_from_its_own(self, meeting, server):
        meeting.submit(rounds=4, document=document("relay"))
        serving = server.open("1")
        a, b = self.enter(meeting, "a"), self.enter(meeting, "b")
        assert a.previous(a.round()) == b.previous(b.round()) == type(a.previous(a.round()))(None, [])
        self.hand_in(a, 7)
        b.close()
        for value in (1, 2, 3):
            if value > 1:
                self.hand_in(a, 10 * value)
            closed = eventually(lambda: self.closed(serving))
            serving.commit(closed, serving.model(closed), {})
        b = self.enter(meeting, "b")
        found = b.previous(b.round())
        assert (found.own, [read_vector(path, PARAMETERS)[0] for path in found.peers]) == (None, [30])
        a = self.enter(meeting, "a")
        mine = a.previous(a.round())
        assert (read_vector(mine.own, PARAMETERS)[0], mine.peers) == (30, [])

    # When a round closes

    def closed(self, serving):
        round = serving.round()
        return round if round.phase is Phase.CLOSED else None

    def test_everybody_who_is_there_is_waited_for(self, meeting, server):
        meeting.submit()
        serving = server.open("1")
        a, b = self.enter(meeting, "a"), self.enter(meeting, "b")
        self.hand_in(a, 1)
        assert serving.round() == serving.round() == Round(1, 1, Phase.COLLECTING, 1)
        self.hand_in(b, 1)
        assert serving.round() == Round(1, 1, Phase.CLOSED, 2)
        assert serving.updates(serving.round()) == [Submitted("a", 10), Submitted("b", 10)]
        assert a.wait(Round(1, 1, Phase.COLLECTING, 0)) == Round(1, 1, Phase.CLOSED, 0)

    def test_a_client_that_leaves_in_the_middle_of_a_round_is_not_waited_for(self, meeting, server):
        meeting.submit()
        serving = server.open("1")
        a, b = self.enter(meeting, "a"), self.enter(meeting, "b")
        self.hand_in(a, 1)
        assert serving.round().phase is Phase.COLLECTING
        b.close()
        assert eventually(lambda: self.closed(serving)).updates == 1
        serving.commit(serving.round(), serving.model(serving.round()), {})
        again = self.enter(meeting, "b")
        assert again.wants_update(again.round())

    def test_too_few_updates_wait_for_more(self, meeting, server):
        meeting.submit(min_clients=2, deadline=0)
        serving = server.open("1")
        a = self.enter(meeting, "a")
        self.hand_in(a, 1)
        a.close()
        assert serving.round() == serving.round() == Round(1, 1, Phase.COLLECTING, 1)
        self.hand_in(self.enter(meeting, "b"), 1)
        assert serving.round().phase is Phase.CLOSED

    def test_the_largest_number_of_updates_closes_the_round(self, meeting, server):
        meeting.submit(max_clients=2)
        serving = server.open("1")
        clients = [self.enter(meeting, name) for name in "cab"]
        self.hand_in(clients[0], 1)
        assert serving.round().phase is Phase.COLLECTING
        for client in clients[1:]:
            self.hand_in(client, 1)
        assert serving.round() == Round(1, 1, Phase.CLOSED, 2)
        assert [one.client for one in serving.updates(serving.round())] == ["a", "c"]

    def test_the_deadline_closes_the_round(self, meeting, server):
        meeting.submit(deadline=0.1)
        serving = server.open("1")
        a, _b = self.enter(meeting, "a"), self.enter(meeting, "b")
        self.hand_in(a, 1)
        assert eventually(lambda: self.closed(serving)).updates == 1

    # Updates

    def test_an_update_is_handed_in_once(self, meeting, server):
        meeting.submit(min_clients=2)
        a = self.enter(meeting, "a")
        assert a.wants_update(a.round())
        self.hand_in(a, 1)
        assert not a.wants_update(a.round())
        again = self.enter(meeting, "a")
        assert not again.wants_update(again.round())

    def test_an_update_that_is_late_is_refused(self, meeting, server):
        meeting.submit(max_clients=1)
        serving = server.open("1")
        a, slow = self.enter(meeting, "a"), self.enter(meeting, "slow")
        late = slow.round()
        self.hand_in(a, 1)
        assert serving.round().phase is Phase.CLOSED
        with pytest.raises(RoundMovedOnError, match="attempt 1 \\(closed"):
            slow.submit(late, vector(1), 10)
        assert not slow.wants_update(late)
        serving.commit(serving.round(), serving.model(serving.round()), {})
        with pytest.raises(RoundMovedOnError, match="attempt 2"):
            slow.submit(late, vector(1), 10)
        assert slow.round() == Round(2, 2, Phase.COLLECTING, 0)
        with pytest.raises(RoundMovedOnError, match="attempt 2"):
            slow.model(late)
        assert slow.wants_update(slow.round())

    def test_an_update_weighs_at_most_what_its_client_declared(self, meeting, server):
        meeting.submit()
        a = self.enter(meeting, "a", samples=10)
        with pytest.raises(ConfigurationError, match="weighs 11, expected 1 to 10"):
            a.submit(a.round(), vector(1), 11)

    def test_too_few_usable_updates_open_the_round_again(self, meeting, server):
        job = meeting.submit(rounds=1, min_clients=2)
        serving = server.open("1")
        a, b = self.enter(meeting, "a"), self.enter(meeting, "b")
        self.hand_in(a, 1)
        self.hand_in(b, 3)
        closed = serving.round()
        alter(job.update_file(1, 1, job.update_of("b", 1, 1)))
        ok, damaged = serving.updates(closed)
        usable, unusable = serving.gather(closed, [ok, damaged])
        assert usable.keys() == {ok}
        assert np.array_equal(read_vector(usable[ok], PARAMETERS), vector(1))
        assert unusable.keys() == {damaged}
        assert "the update of b in round 1 can't be used" in unusable[damaged]
        assert not serving.enough(1)
        serving.reopen(closed, {damaged: "damaged"})
        assert serving.round() == Round(1, 2, Phase.COLLECTING, 0)
        with pytest.raises(RoundMovedOnError):
            serving.reopen(closed, {})
        running = Running(run_server, serving)
        for client, value in ((a, 1), (b, 3)):
            assert client.wants_update(client.round())
            self.hand_in(client, value)
        assert running.finish().phase is Phase.FINISHED
        assert np.array_equal(meeting.model(2), INITIAL + 2)

    def test_peers_come_in_the_order_of_their_names(self, meeting, server):
        meeting.submit(rounds=2, document=document("relay"))
        clients = {name: self.enter(meeting, name) for name in ("d", "a", "c", "b")}
        for number, client in enumerate(clients.values()):
            self.hand_in(client, number)
        serving = server.open("1")
        serving.commit(serving.round(), serving.model(serving.round()), {})
        found = clients["c"].previous(clients["c"].round())
        assert [read_vector(path, PARAMETERS)[0] for path in found.peers] == [1, 3, 0]
        assert read_vector(found.own, PARAMETERS)[0] == 2

    def test_what_is_excluded_teaches_nobody(self, meeting, server):
        job = meeting.submit(rounds=2, document=document("relay"))
        clients = {name: self.enter(meeting, name) for name in "abc"}
        for number, client in enumerate(clients.values()):
            self.hand_in(client, number)
        serving = server.open("1")
        closed = serving.round()
        serving.commit(closed, serving.model(closed), {serving.updates(closed)[1]: "b is not liked"})
        found = clients["a"].previous(clients["a"].round())
        assert [read_vector(path, PARAMETERS)[0] for path in found.peers] == [2]
        alter(job.update_file(1, 1, job.update_of("c", 1, 1)))
        fresh = self.enter(meeting, "d")
        assert [read_vector(path, PARAMETERS)[0] for path in fresh.previous(fresh.round()).peers] == [0]

    # Restarts

    def test_a_server_that_is_started_again_goes_on_in_every_state(self, meeting, server):
        meeting.submit(rounds=1)
        server.close()
        serving = meeting.server().open("1")
        a = self.enter(meeting, "a")
        self.hand_in(a, 5)
        server = self.restarted(meeting)
        assert server.open("1").round() == Round(1, 1, Phase.CLOSED, 1)
        server = self.restarted(meeting)
        serving = server.open("1")
        assert serving.round() == Round(1, 1, Phase.CLOSED, 1)
        assert run_server(serving).phase is Phase.FINISHED
        server = self.restarted(meeting)
        assert run_server(server.open("1")).phase is Phase.FINISHED
        assert a.wait(Round(1, 1, Phase.CLOSED, 0)).phase is Phase.FINISHED
        assert np.array_equal(read_vector(a.model(a.round()), PARAMETERS), INITIAL + 5)

    def restarted(self, meeting):
        for client in meeting._clients.values():
            if self.mode == "cluster":
                client.heart.stop()
        meeting._server.close()
        return meeting.server()

    def test_a_folder_has_one_server(self, meeting, server):
        with pytest.raises(ConfigurationError, match="another server serves"):
            meeting.server()

    # What is not as it should be

    def test_a_model_that_was_altered_is_not_trained_on(self, meeting, server):
        job = meeting.submit()
        alter(job.path / "models" / "1")
        a = self.enter(meeting, "a")
        with pytest.raises(ContentAlteredError, match=" is baf"):
            a.model(a.round())

    def test_the_source_comes_with_the_job(self, meeting, server):
        job = meeting.submit(document=document(model=SOURCE_MODEL), source=SOURCE)
        client = meeting.client("a").open("1")
        assert client.source() == SOURCE
        assert client.job == job.document
        assert client.job_id == "1"
        assert client.rounds == 3
        assert server.open("1").source() == SOURCE

    def test_a_source_that_was_altered_is_refused(self, meeting, server):
        job = meeting.submit(document=document(model=SOURCE_MODEL), source=SOURCE)
        alter(job.path / "model.py")
        with pytest.raises(GalaxyError):
            meeting.client("a").open("1").source()

    def test_a_cancelled_job_is_over(self, meeting, server):
        job = meeting.submit()
        a = self.enter(meeting, "a")
        waiting = Running(run_client, a, Counting(1), 10)
        serving = Running(run_server, server.open("1"), waiting=lambda round: None)
        job.cancel()
        assert serving.finish().over
        assert waiting.finish().over

    @pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".x", "a\n", "a\x00", "ä", "x" * 65, "-a", "a b"])
    def test_names_stay_names(self, meeting, server, name):
        with pytest.raises(ConfigurationError, match="client_id is"):
            meeting.client(name)
        with pytest.raises(ConfigurationError, match="job_id is"):
            meeting.submit(name)
        with pytest.raises(ConfigurationError, match="job_id is"):
            meeting.client("a").open(name)
        with pytest.raises(ConfigurationError, match="job_id is"):
            server.open(name)

    def test_an_unknown_job_can_not_be_opened(self, meeting, server):
        for place in (server, meeting.client("a")):
            with pytest.raises(ContentError, match="there is no job 5"):
                place.open("5")

    @pytest.mark.parametrize("kind", ["submit", "client", "server"])
    def test_an_unknown_setting_is_refused(self, meeting, kind):
        call = {
            "submit": lambda **settings: meeting.mode.submit(None, **settings),
            "client": lambda **settings: meeting.mode.client_places("a", **settings),
            "server": meeting.mode.server_place,
        }[kind]
        with pytest.raises(
            ConfigurationError, match=f"settings of the {self.mode} mode: .*colour: there is no such key"
        ):
            call(colour="red")

    # Submitting

    def test_an_id_is_given_once(self, meeting):
        meeting.submit()
        with pytest.raises(ConfigurationError, match="there is a job 1"):
            meeting.submit()

    @pytest.mark.parametrize(
        ("given", "error", "message"),
        [
            ({"document": document(model=SOURCE_MODEL)}, JobDocumentError, "None was given"),
            ({"source": SOURCE}, JobDocumentError, "names the source None"),
            ({"document": document(model=SOURCE_MODEL), "source": b"other"}, JobDocumentError, "was given"),
            ({"document": document(reveal="after-close")}, JobDocumentError, "use 'immediate'"),
            ({"document": document(seal="members")}, JobDocumentError, "seal is 'members': without a ledger"),
            ({"document": document("coordinate_median"), "min_clients": 65}, ConfigurationError, "at most 64"),
            (
                {"document": document("trimmed_mean", word=2), "min_clients": 4},
                ConfigurationError,
                "min_clients is 4",
            ),
            ({"document": document(parameters=99, model=BuiltinModel(builtin="mlp"))}, None, ""),
        ],
    )
    def test_what_does_not_belong_together_is_not_published(self, meeting, given, error, message):
        if error is None:
            assert meeting.submit(**given).parameters == 99
            return
        with pytest.raises(error, match=message):
            meeting.submit(**given)
        assert not (meeting.folder / "res" / "jobs" / "1").exists()

    def test_the_final_model_is_the_same_in_every_mode(self, meeting, server):
        meeting.submit(rounds=2, min_clients=2)
        running = [
            Running(run_server, server.open("1")),
            *(Running(run_client, meeting.client(f"{n}").open("1"), Counting(n), 10) for n in (3, 8)),
        ]
        for one in running:
            one.finish()
        expected = INITIAL + np.int32(12)  # each mean of 3 and 8, 5.5, is rounded up, as on the chain
        assert meeting.job().state.model == ContentId.of(expected.astype("<i4").tobytes()).cid

    @pytest.mark.parametrize("rule", ["fedavgm", "fedadam"])
    def test_a_server_optimizer_is_the_same_in_every_mode(self, meeting, server, rule):
        job = document(rule, averaged=[])
        meeting.submit(rounds=2, min_clients=2, document=job)
        running = Running(run_server, server.open("1"))
        clients, lanes, model = [self.enter(meeting, name) for name in "ab"], job.lanes, []
        for weight in INITIAL.tolist():
            model += [weight] + [0] * (lanes - 1)
        for number in (1, 2):
            for client, value in zip(clients, (3_000_000 * number, -50_000), strict=True):
                round = eventually(lambda c=client, n=number: (r := c.round()).number == n and r)
                path = client.model(round)
                assert read_vector(path, PARAMETERS * lanes).tolist() == model
                assert read_weights(job, path).tolist() == model[::lanes]
                client.submit(round, vector(value), 10)
            sums = [10 * (3_000_000 * number - 50_000)] * PARAMETERS
            model = optimizers.finish(rule, job.rule.rule_word, model, sums, 20)
        running.finish()
        assert meeting.job().state.model == ContentId.of(np.array(model, "<i4").tobytes()).cid

    # Giving up

    def test_where_all_clients_give_up_so_does_the_server_and_late_clients_hear_of_it(
        self, meeting, server, monkeypatch
    ):
        monkeypatch.setattr(folder_coordinators, "LEAST_PATIENCE", 0.2)
        meeting.submit(min_clients=2, deadline=0)
        early = meeting.client("early").open("1")
        early.give_up("samples of shape (3,)\ndo not fit the model")
        a = self.enter(meeting, "a")
        a.give_up("no optimizer of that name")
        serving = Running(run_server, server.open("1"))
        with pytest.raises(GivenUpError, match=r"a: no optimizer .*; early: samples of shape \(3,\) do not fit"):
            serving.finish()
        late = meeting.client("late")
        assert late.jobs() == []
        with pytest.raises(GivenUpError, match="given"):
            run_client(late.open("1"), Counting(1), 10)

    def test_one_client_that_gives_up_ends_nothing_for_the_others(self, meeting, server, monkeypatch):
        monkeypatch.setattr(folder_coordinators, "LEAST_PATIENCE", 0)
        meeting.submit(rounds=1, min_clients=1, deadline=0)
        serving = server.open("1")
        working = self.enter(meeting, "working")
        for name in ("a", "b", "c"):
            meeting.client(name).open("1").give_up("this can't work")
        for _ in range(3):
            assert serving.round().phase is Phase.COLLECTING
        working.close()  # away, as after a crash, and expected back
        assert serving.round().phase is Phase.COLLECTING
        self.hand_in(self.enter(meeting, "working"), 1)
        assert run_server(serving).phase is Phase.FINISHED

    def test_one_that_hands_in_no_more_looks_on_and_is_not_waited_for(self, meeting, server):
        job = meeting.submit(rounds=2, min_clients=1, deadline=600)
        serving, looking = server.open("1"), self.enter(meeting, "looking")
        working = self.enter(meeting, "working")
        running = Running(run_server, serving)
        looking.retire("its privacy budget is spent")
        assert job.gave_up() == {"looking": "its privacy budget is spent"}
        for number in (1, 2):
            self.hand_in(working, number)
            round = eventually(lambda number=number: (r := looking.round()).number > number and r)
        assert round.phase is Phase.FINISHED
        assert np.array_equal(read_vector(looking.model(round), PARAMETERS), INITIAL + 3)
        running.finish()
        looking.close()

    def test_a_job_of_short_deadlines_waits_for_clients_that_are_starting(self, meeting, server):
        meeting.submit(deadline=0)
        serving = server.open("1")
        meeting.client("a").open("1").give_up("this can't work")
        for _ in range(3):
            assert serving.round().phase is Phase.COLLECTING

    def test_a_client_that_gave_up_may_come_back(self, meeting, server, monkeypatch):
        monkeypatch.setattr(folder_coordinators, "LEAST_PATIENCE", 0)
        job = meeting.submit(deadline=0)
        client = meeting.client("a").open("1")
        client.give_up("it has no data")
        assert job.gave_up() == {"a": "it has no data"}
        self.enter(meeting, "a")
        assert job.gave_up() == {}
        assert server.open("1").round().phase is Phase.COLLECTING

    def test_a_server_that_gives_up_says_so_to_the_clients_that_wait(self, meeting, server):
        meeting.submit(min_clients=2)
        serving, trainer = server.open("1"), Counting(3)
        client = Running(run_client, meeting.client("a").open("1"), trainer, 10)
        eventually(lambda: serving.round().updates == 1)
        serving.give_up("the disk is full")
        with pytest.raises(GivenUpError, match="the disk is full" if self.mode == "standalone" else "its log says"):
            client.finish()
        # Started again, a server takes it up, and so may the clients: nothing that was trained is lost.
        serving.enter()
        again = Running(run_client, meeting.client("a").open("1"), trainer, 10)
        other = Running(run_client, meeting.client("b").open("1"), Counting(5), 10)
        assert run_server(serving).phase is Phase.FINISHED
        assert again.finish() == other.finish() == Round(4, 4, Phase.FINISHED, 0)

    def test_a_job_that_is_over_is_not_given_up(self, meeting, server):
        job = meeting.submit(rounds=1)
        serving = server.open("1")
        self.hand_in(self.enter(meeting, "a"), 1)
        assert run_server(serving).phase is Phase.FINISHED
        serving.give_up("the disk is full")
        assert job.given_up is None
        assert meeting.client("b").open("1").round().phase is Phase.FINISHED
