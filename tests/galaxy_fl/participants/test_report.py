"""Reports survive restarts, say what was measured, and are never half written."""

from __future__ import annotations

import json
import os
import time

import pytest

from galaxy_fl.participants.events import Committed, Evaluated, Finished, Trained
from galaxy_fl.participants.report import SELDOM_SECONDS, ReportFile
from galaxy_fl.training.results import Evaluation, TrainResult

TRAINED = TrainResult(samples=10, loss=1.5, accuracy=0.5, seconds=0.25, batches=2)
TESTED = Evaluation(samples=5, loss=1.25, accuracy=None)


def trained(round, **changed):
    return Trained(round=round, attempt=round, gas=0, transaction=None, **TRAINED.model_dump() | changed)


def report(folder, document="d", participant="client 1"):
    return ReportFile(folder / "report_7_client_1", "7", document, "Net", participant)


def read(folder):
    return json.loads((folder / "report_7_client_1.json").read_text())


def test_round_by_round(tmp_path):
    file = report(tmp_path)
    file(trained(1), "7")
    assert read(tmp_path)["rounds"] == [
        {"round": 1, "train": TRAINED.model_dump(), "test": None, "updates": None, "epsilon": None}
    ]
    file(Evaluated(round=1, **TESTED.model_dump()), "7")
    measured = {"loss": TESTED.loss, "accuracy": TESTED.accuracy, "test_samples": TESTED.samples}
    made = {"model": "00", "gas": 0, "seconds": 0.5, "transaction": None, "excluded": {}}
    file(Committed(round=2, attempt=2, updates=3, **made, **measured), "7")
    file(Finished(rounds=2, model=None, sha256="ab"), "7")
    found = read(tmp_path)
    assert (found["job"], found["participant"], found["final_model"]) == ("7", "client 1", "ab")
    assert [line["test"] for line in found["rounds"]] == [TESTED.model_dump()] * 2
    assert found["rounds"][1]["updates"] == 3
    picture = (tmp_path / "report_7_client_1.svg").read_text()
    # Two rounds with a loss on test data, one with a loss and an accuracy in training.
    assert [picture.count(f'<circle cx="{x}" cy=') for x in ("171.8", "371.2", "666.8")] == [2, 1, 1]
    assert all(f">{text}</text>" in picture for text in ("Job 7, client 1", "train", "test"))
    assert sorted(os.listdir(tmp_path)) == ["report_7_client_1.json", "report_7_client_1.svg"]


def test_of_many_clients_each_report_is_written_now_and_then_and_at_the_end(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    file = ReportFile(tmp_path / "report_7_client_1", "7", "d", "Net", "client 1", hosted=True)
    file(trained(1), "7")
    assert not file.path.exists()
    now[0] += SELDOM_SECONDS + 1
    file(trained(2), "7")
    assert len(read(tmp_path)["rounds"]) == 2
    file(trained(3), "7")
    assert len(read(tmp_path)["rounds"]) == 2
    file.close()
    assert len(read(tmp_path)["rounds"]) == 3
    file(Finished(rounds=3, model=None, sha256="ab"), "7")
    assert read(tmp_path)["final_model"] == "ab"
    assert os.listdir(tmp_path) == ["report_7_client_1.json"]


def test_what_a_full_disk_did_not_take_is_written_at_the_end(tmp_path, monkeypatch):
    file = report(tmp_path)
    with monkeypatch.context() as full:

        def write_text(path, text, **more):
            raise OSError(28, "No space left on device")

        full.setattr(type(tmp_path), "write_text", write_text)
        with pytest.raises(OSError, match="No space"):
            file(trained(1), "7")
    file.close()
    assert len(read(tmp_path)["rounds"]) == 1


def test_a_loss_below_zero_is_in_the_picture(tmp_path):
    file = report(tmp_path)
    file(trained(1, loss=-2.0), "7")
    file(Finished(rounds=1, model=None, sha256="ab"), "7")
    picture = (tmp_path / "report_7_client_1.svg").read_text()
    assert ">-2</text>" in picture


def test_who_comes_after_the_end_has_a_report_without_a_picture(tmp_path):
    report(tmp_path)(Finished(rounds=2, model=None, sha256="ab"), "7")
    assert (read(tmp_path)["rounds"], read(tmp_path)["final_model"]) == ([], "ab")
    assert os.listdir(tmp_path) == ["report_7_client_1.json"]


def test_a_restarted_participant_goes_on_with_its_report(tmp_path):
    report(tmp_path)(trained(1), "7")
    report(tmp_path)(trained(2), "7")
    assert [line["round"] for line in read(tmp_path)["rounds"]] == [1, 2]


@pytest.mark.parametrize("other", [{"document": "e"}, {"participant": "client 2"}])
def test_another_jobs_report_is_not_gone_on_with(tmp_path, other):
    report(tmp_path)(trained(1), "7")
    report(tmp_path, **other)(trained(2), "7")
    assert [line["round"] for line in read(tmp_path)["rounds"]] == [2]


def test_a_file_that_is_no_report_is_replaced(tmp_path):
    (tmp_path / "report_7_client_1.json").write_text("{")
    report(tmp_path)(trained(1), "7")
    assert len(read(tmp_path)["rounds"]) == 1


def test_a_round_that_is_trained_again_replaces_its_line(tmp_path):
    file = report(tmp_path)
    file(trained(1), "7")
    file(trained(1, loss=0.5), "7")
    assert [line["train"]["loss"] for line in read(tmp_path)["rounds"]] == [0.5]
