"""Tracking: what is measured reaches TensorBoard, MLflow and CSV, once a round, whatever happens to the tracker."""

from __future__ import annotations

import csv
import logging
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

import galaxy_fl as galaxy
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.participants import events
from galaxy_fl.participants.tracking import About, Tracker, tracker, trackers_of, tracking
from galaxy_fl.participants.tracking.csv_file import HEADER, CsvFile
from galaxy_fl.participants.tracking.measured import measured
from tests.galaxy_fl.participants.test_best_and_early_stop import client, run, server, submit

ABOUT = About("7", "ab" * 32, "a job", "server", 4_000)


def committed(round: int, **more) -> events.Committed:
    fields = {
        "round": round, "attempt": round, "updates": 3, "excluded": {"c": "late"}, "seconds": 0.5, "transaction": None,
        "model": f"{round:02}" * 32, "gas": 91_000, "loss": 1 / round, "accuracy": 0.5, "test_samples": 360,
    }  # fmt: skip
    return events.Committed(**fields | more)


def trained(round: int, **more) -> events.Trained:
    fields = {
        "round": round, "attempt": 1, "gas": 50_000, "transaction": "0x1", "samples": 8, "loss": 0.25, "accuracy": None,
        "seconds": 1.0, "batches": 2,
    }  # fmt: skip
    return events.Trained(**fields | more)


FINISHED = events.Finished(rounds=3, model="cd" * 32, sha256="ef" * 32)


@pytest.fixture
def mlflow_folder(tmp_path, monkeypatch):
    """A store of files, which MLflow asks its users to allow."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return tmp_path / "runs"


def track(target: str, *told: events.Event, about: About = ABOUT) -> None:
    """Start a program that tracks, tell it something, and end it."""
    with tracking(target) as [one]:
        for event in told:
            one.of(about)(event, about.job)


# Imported when they are needed: every process of the tests imports every module of them.


def accumulator(folder: Path):
    """A run's folder as TensorBoard itself reads it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads in a run's folder."""
    found = accumulator(folder)
    return {tag: [(each.step, each.value) for each in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def mlflow_runs(folder: Path):
    from mlflow import MlflowClient

    there = MlflowClient(tracking_uri=folder.as_uri())
    experiment = there.get_experiment_by_name("galaxy")
    return there, there.search_runs([experiment.experiment_id])


def test_every_number_of_an_event_is_taken_by_name():
    assert dict(measured(committed(2), ABOUT).values) == {
        "test/loss": 0.5, "test/accuracy": 0.5, "test/samples": 360, "round/updates": 3, "round/seconds": 0.5,
        "round/gas": 91_000, "round/excluded": 1, "round/bytes": 12_000,
    }  # fmt: skip
    assert dict(measured(trained(2), ABOUT).values) == {
        "train/loss": 0.25, "train/samples": 8, "train/seconds": 1.0, "train/batches": 2, "train/gas": 50_000,
        "train/bytes": 4_000,
    }  # fmt: skip
    assert measured(FINISHED, ABOUT).texts == {"model": "cd" * 32, "model_sha256": "ef" * 32}
    assert measured(events.Noted(message="…"), ABOUT) is None

    class Wider(events.Trained):  # as an event that has more than today's
        epsilon: float

    wider = Wider(**trained(1).model_dump() | {"metrics": {"f1/=cmd": 0.5, "unknown": None}}, epsilon=1.5)
    values = measured(wider, ABOUT).values
    assert (values["train/epsilon"], values["train/f1__cmd"]) == (1.5, 0.5)


def test_tensorboard_has_each_step_once_over_restarts(tmp_path):
    target = f"tensorboard:{tmp_path / 'board'}"
    track(target, committed(1), committed(2))
    track(target, committed(2), committed(3), FINISHED)  # the second is told again
    folder = tmp_path / "board" / "job-7-abababab" / "server"
    assert len(list(folder.iterdir())) == 2
    found = scalars(folder)
    assert found["test/loss"] == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert [step for step, _ in found["round/gas"]] == [1, 2, 3]
    texts = accumulator(folder)
    assert [each.tensor_proto.string_val[0] for each in texts.Tensors("model")] == [
        *(f"{number:02}".encode() * 32 for number in (1, 2, 3)), b"cd" * 32,
    ]  # fmt: skip


@pytest.mark.parametrize("damage", [lambda content: content[:-5], lambda content: content[:-20] + bytes(400)])
def test_a_damaged_record_hides_nothing_that_comes_later(tmp_path, damage):
    target = f"tensorboard:{tmp_path}"
    track(target, committed(1))
    folder = tmp_path / "job-7-abababab" / "server"
    [file] = folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))  # the machine has lost power
    track(target, committed(2))
    assert (2, 0.5) in scalars(folder)["test/loss"]


def test_mlflow_continues_its_run(mlflow_folder, capsys):
    target = f"mlflow:{mlflow_folder}"
    track(target, committed(1), committed(2))
    there, [run] = mlflow_runs(mlflow_folder)
    assert run.info.status == "KILLED"  # its program was stopped
    track(target, committed(2), committed(3), FINISHED)
    there, [run] = mlflow_runs(mlflow_folder)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "job-7-abababab/server")
    assert [(each.step, each.value) for each in there.get_metric_history(run.info.run_id, "test/loss")] == [
        (1, 1.0), (2, 0.5), (3, 1 / 3),
    ]  # fmt: skip
    assert run.data.tags["galaxy.model"] == "cd" * 32
    assert run.data.tags["galaxy.job_name"] == "a job"
    assert capsys.readouterr().out == ""  # programs read events there


def test_csv_is_appended_once_a_round_by_all_programs(tmp_path):
    path = tmp_path / "all.csv"
    track(f"csv:{path}", committed(1), committed(2))
    track(f"csv:{path}", committed(2), committed(3), FINISHED)
    other = About("7", "ab" * 32, "a job", "client_1", 4_000)
    track(f"csv:{path}", trained(1), about=other)
    found = rows(path)
    assert list(found[0]) == HEADER
    assert [(row["round"], row["value"]) for row in found if row["metric"] == "test/loss"] == [
        ("1", "1.0"), ("2", "0.5"), ("3", repr(1 / 3)),
    ]  # fmt: skip
    assert {row["participant"] for row in found} == {"server", "client_1"}
    assert {row["model"] for row in found if row["round"] == "1" and row["participant"] == "server"} == {"01" * 32}
    # A round that a ledger has taken back, and that was committed anew, is another line.
    track(f"csv:{path}", committed(3, loss=0.125))
    assert [row["value"] for row in rows(path) if (row["round"], row["metric"]) == ("3", "test/loss")] == [
        repr(1 / 3), "0.125",
    ]  # fmt: skip


def test_half_a_line_of_csv_is_ended_and_another_table_refused(tmp_path):
    path = tmp_path / "all.csv"
    track(f"csv:{path}", committed(1))
    with path.open("a") as file:
        file.write("2026-11-26,7,ab")
    track(f"csv:{path}", committed(2))
    assert [row["value"] for row in rows(path) if row["metric"] == "test/loss"] == ["1.0", "0.5"]
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(ConfigurationError, match=r"it is another table, which begins with 'a,b', expected time,job"):
        trackers_of(f"csv:{other}")
    assert other.read_text() == "a,b\n1,2\n"


def test_the_name_of_a_figure_hides_no_other_number(tmp_path, mlflow_folder):
    """Names come from a model's code; MLflow refuses those that are folders, and all of an event with one."""
    event = trained(1).model_copy(update={"metrics": {"..": 0.25, ".": 0.5, "../../x": 0.75, "=1+1": 1.0}})
    path = tmp_path / "all.csv"
    for target in (f"csv:{path}", f"mlflow:{mlflow_folder}"):
        track(target, event)
    _, [run] = mlflow_runs(mlflow_folder)
    assert run.data.metrics["train/loss"] == event.loss
    assert {0.5, 0.75, 1.0} < set(run.data.metrics.values())
    assert all(row["metric"].startswith("train/") and ".." not in row["metric"][:8] for row in rows(path))


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\t=1", "\n=1", 'a","b\nc', "\x1b[2J"])
def test_a_strangers_name_is_made_harmless(tmp_path, mlflow_folder, name):
    hostile = About("7", "ab" * 32, name, "server", 4)
    path = tmp_path / "all.csv"
    for target in (f"csv:{path}", f"tensorboard:{tmp_path / 'board'}", f"mlflow:{mlflow_folder}"):
        track(target, committed(1), about=hostile)
    cells = {row["name"] for row in rows(path)}
    assert len(cells) == 1
    assert not cells.pop().startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert all(line.count("\x1b") == 0 for line in path.read_text().splitlines())
    assert [each.relative_to(tmp_path / "board").as_posix() for each in (tmp_path / "board").glob("*/*")] == [
        "job-7-abababab/server"
    ]
    _, [run] = mlflow_runs(mlflow_folder)
    assert run.data.tags["galaxy.job_name"].isprintable()


def test_a_tracker_that_fails_says_so_once_and_stops_nothing(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(tracker, "PAUSES", tracker.Backoff(0.01, 0.01))
    path = tmp_path / "all.csv"
    [one] = trackers_of(f"csv:{path}")
    path.unlink()
    path.mkdir()  # nobody can append to that
    said = threading.Event()
    caplog.handler.addFilter(lambda record: said.set() or True)
    with caplog.at_level(logging.WARNING):
        for number in range(1, 4):
            one.of(ABOUT)(committed(number), "7")
        assert said.wait(60)
        [record] = caplog.records
        assert "all.csv can't be written to, which stops nothing" in record.message
        path.rmdir()  # it can be written again, and nothing is lost
        one.close()
    assert len(caplog.records) == 1
    assert [row["value"] for row in rows(path) if row["metric"] == "test/loss"] == ["1.0", "0.5", repr(1 / 3)]


def test_a_full_disk_leaves_whole_lines(tmp_path):
    file = CsvFile(tmp_path / "all.csv")
    file.append([["now", "7", "ab", "n", "server", "1", "m", "1.0", ""]])
    before = file.path.read_bytes()
    program = f"""
        import resource, signal
        from pathlib import Path
        from galaxy_fl.participants.tracking.csv_file import CsvFile

        file = CsvFile(Path({str(file.path)!r}))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 40}, {len(before) + 40}))
        try:
            file.append([["now", "7", "ab", "n", "server", str(n), "metric", "1.0", ""] for n in range(9)])
        except OSError as error:
            print(error.strerror)
    """
    assert alone(program) == "File too large\n"
    assert file.path.read_bytes() == before


def test_a_server_that_is_away_delays_nobody_and_is_said_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(tracker, "PAUSES", tracker.Backoff(0.01, 0.01))
    monkeypatch.chdir(tmp_path)
    submit(2)
    with caplog.at_level(logging.WARNING):
        # Nobody listens there: each of MLflow's requests is refused.
        [mine], [outcome] = run(client(), server(track="mlflow:http://127.0.0.1:9"))
    assert (mine.rounds, outcome.rounds, mine.error, outcome.error) == (2, 2, None, None)
    said = [record.message for record in caplog.records if "MLflow" in record.message]
    assert len(said) == 2
    assert "MLflow at http://127.0.0.1:9 can't be written to, which stops nothing" in said[0]
    assert said[1].endswith("measurements were not written to MLflow at http://127.0.0.1:9")


def test_nothing_waits_for_a_destination_that_hangs(caplog, monkeypatch):
    monkeypatch.setattr(tracker, "MOST_WAITING", 3)
    monkeypatch.setattr(tracker, "CLOSING", 0.01)
    opened, released = threading.Event(), threading.Event()

    class Hangs:
        name = "a place that hangs"

        def open(self, about):
            opened.set()
            released.wait()
            raise OSError("it was away for too long")

    one = Tracker(Hangs())
    for number in range(1, 8):
        one.of(ABOUT)(committed(number), "7")
    assert opened.wait(60)
    one.close()
    released.set()
    assert caplog.records[0].message == "7 measurements were not written to a place that hangs"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("csv", "track begins with 'csv', expected tensorboard:DIR, mlflow:URI or csv:FILE"),
        ("csv:", "expected tensorboard:DIR"),
        ("wandb:x", "track begins with 'wandb', expected"),
        (3, "track is 3, expected"),
        (["csv:a.csv", "csv:a.csv"], "names a destination twice"),
        ("csv:/dev/null/x.csv", "can't be used for tracking: Not a directory"),
        ("tensorboard:/dev/null/x", "can't be used for tracking: name a folder"),
        ("mlflow:https://me:s3cret@tracking.example", "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        ("mlflow:https://tracking.example/?token=s3cret", "or MLFLOW_TRACKING_TOKEN"),
        ("mlflow:postgresql://me:s3cret@db/x", "MLFLOW_TRACKING_PASSWORD"),
        ("mlflow:/somewhere/else", "MLFLOW_ALLOW_FILE_STORE=true"),
    ],
)
def test_bad_destinations_are_named_and_secrets_are_not(tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(ConfigurationError) as refused:
        trackers_of([given] if isinstance(given, int) else given)
    assert message in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_several_clients_of_a_program_are_a_run_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = galaxy.submit(galaxy.Job(model="mlp", rounds=1), clients=2)
    targets = ["csv:all.csv", "tensorboard:board"]
    run(
        server(track=targets),
        galaxy.Client(data="digits", shards=["1/8", "2/8"], listeners=[], track=targets),
    )
    by = {(row["participant"], row["metric"]) for row in rows(Path("all.csv")) if row["job"] == job}
    assert {who for who, _ in by} == {"server", "client_1", "client_2"}
    assert {("server", "test/loss"), ("client_1", "train/loss"), ("client_2", "train/bytes")} <= by
    assert sorted(path.name for path in Path("board").glob("*/*")) == ["client_1", "client_2", "server"]


def alone(program: str) -> str:
    """What a program of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=300, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_missing_package_is_named_with_its_extra(tmp_path):
    said = alone(f"""
        import sys
        sys.modules["mlflow"] = sys.modules["tensorboard"] = None
        from galaxy_fl.exceptions import ConfigurationError
        from galaxy_fl.participants.tracking import trackers_of

        for target in ("mlflow:http://127.0.0.1:9", "tensorboard:{tmp_path}"):
            try:
                trackers_of(target)
            except ConfigurationError as error:
                print(error)
        trackers_of("csv:{tmp_path / "all.csv"}")
        print(any(name in sys.modules for name in ("torch", "requests", "pandas")))
    """)
    first, second, third = said.splitlines()
    for kind, line in (("mlflow", first), ("tensorboard", second)):
        assert line.startswith(f"tracking with {kind} needs a package that is missing")
        assert line.endswith("pip install 'galaxy-fl[tracking]'")
    assert third == "False"
