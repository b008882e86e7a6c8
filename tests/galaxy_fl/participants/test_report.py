"""Reports survive restarts, say what was measured, and are never half written."""

from __future__ import annotations

import json
import os

import pytest

from galaxy_fl.participants.report import ReportFile
from galaxy_fl.training.results import Evaluation, TrainResult

TRAINED = TrainResult(samples=10, loss=1.5, accuracy=0.5, seconds=0.25, batches=2)
TESTED = Evaluation(samples=5, loss=1.25, accuracy=None)


def report(folder, document="d", participant="client 1"):
    return ReportFile(folder / "report_7_client_1", "7", document, "Net", participant)


def read(folder):
    return json.loads((folder / "report_7_client_1.json").read_text())


def test_round_by_round(tmp_path):
    file = report(tmp_path)
    file.trained(1, TRAINED)
    assert read(tmp_path)["rounds"] == [{"round": 1, "train": TRAINED.model_dump(), "test": None, "updates": None}]
    file.tested(1, TESTED)
    file.aggregated(2, 3, TESTED)
    file.finished("ab")
    found = read(tmp_path)
    assert (found["job"], found["participant"], found["final_model"]) == ("7", "client 1", "ab")
    assert [line["test"] for line in found["rounds"]] == [TESTED.model_dump()] * 2
    assert found["rounds"][1]["updates"] == 3
    assert (tmp_path / "report_7_client_1.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(os.listdir(tmp_path)) == ["report_7_client_1.json", "report_7_client_1.png"]


def test_a_restarted_participant_goes_on_with_its_report(tmp_path):
    report(tmp_path).trained(1, TRAINED)
    report(tmp_path).trained(2, TRAINED)
    assert [line["round"] for line in read(tmp_path)["rounds"]] == [1, 2]


@pytest.mark.parametrize("other", [{"document": "e"}, {"participant": "client 2"}])
def test_another_jobs_report_is_not_gone_on_with(tmp_path, other):
    report(tmp_path).trained(1, TRAINED)
    report(tmp_path, **other).trained(2, TRAINED)
    assert [line["round"] for line in read(tmp_path)["rounds"]] == [2]


def test_a_file_that_is_no_report_is_replaced(tmp_path):
    (tmp_path / "report_7_client_1.json").write_text("{")
    report(tmp_path).trained(1, TRAINED)
    assert len(read(tmp_path)["rounds"]) == 1


def test_a_round_that_is_trained_again_replaces_its_line(tmp_path):
    file = report(tmp_path)
    file.trained(1, TRAINED)
    file.trained(1, TRAINED.model_copy(update={"loss": 0.5}))
    assert [line["train"]["loss"] for line in read(tmp_path)["rounds"]] == [0.5]
