"""What a job whose rule keeps moments begins with, and what its document may say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from galaxy_fl.exceptions import JobDocumentError, VectorError
from galaxy_fl.jobs.document import BuiltinModel, JobDocument, RuleChoice
from galaxy_fl.jobs.first_model import averaged_by, check_first_model, first_model, read_weights
from galaxy_fl.vectors import write_vector

LAYOUT = [
    {"name": "weight", "shape": [4, 5], "fraction_bits": 24},
    {"name": "mean", "shape": [3], "fraction_bits": 16},
]
WEIGHTS = np.arange(23, dtype=np.int32)
AVERAGED = -(2**31)


def document(rule: str = "fedadam", **fields: Any) -> JobDocument:
    chosen: dict[str, Any] = {
        "name": "made up",
        "model": BuiltinModel(builtin="mlp"),
        "layout": LAYOUT,
        "rule": RuleChoice(name=rule),
        "averaged": averaged_by(rule, ["mean"]),
    }
    return JobDocument(**chosen | fields)


@pytest.mark.parametrize(("rule", "lanes"), [("fedavgm", 2), ("fedadam", 4)])
def test_moments_begin_with_zero_but_for_what_is_averaged(rule, lanes, tmp_path):
    job = document(rule)
    model = first_model(job, WEIGHTS)
    rows = model.reshape(-1, lanes)
    assert np.array_equal(rows[:, 0], WEIGHTS)
    assert rows[:20, 1:].any() == rows[:, 2:].any() == False  # noqa: E712
    assert rows[20:, 1].tolist() == [AVERAGED] * 3
    write_vector(tmp_path / "model", model)
    check_first_model(job, tmp_path / "model")
    assert np.array_equal(read_weights(job, tmp_path / "model"), WEIGHTS)


def test_a_rule_without_moments_begins_with_the_weights_alone(tmp_path):
    job = document("weighted_mean")
    assert first_model(job, WEIGHTS) is WEIGHTS
    write_vector(tmp_path / "model", WEIGHTS)
    check_first_model(job, tmp_path / "model")
    assert np.array_equal(read_weights(job, tmp_path / "model"), WEIGHTS)


@pytest.mark.parametrize(("parameter", "lane", "value"), [(0, 1, 1), (19, 3, -1), (7, 1, AVERAGED), (21, 1, 0)])
def test_any_other_moment_is_found(tmp_path, parameter, lane, value):
    """One of an earlier life, a parameter that is averaged in secret, a buffer that is not."""
    job = document()
    model = first_model(job, WEIGHTS)
    model[4 * parameter + lane] = value
    write_vector(tmp_path / "model", model)
    with pytest.raises(JobDocumentError, match=f"has moments .* at parameter {parameter}, expected zeros"):
        check_first_model(job, tmp_path / "model")


def test_a_model_of_another_length_is_refused(tmp_path):
    write_vector(tmp_path / "model", WEIGHTS)
    with pytest.raises(VectorError):
        read_weights(document(), tmp_path / "model")
    with pytest.raises(VectorError):
        first_model(document(), WEIGHTS[1:])


def test_a_document_comes_back_from_its_bytes_with_all_options():
    job = document()
    assert b'"tau":0.001' in job.to_bytes()
    assert b'"momentum"' not in job.to_bytes()
    assert JobDocument.from_bytes(job.to_bytes()) == job


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rule": "fedadam", "averaged": None}, "averaged belongs to the rules fedavgm and fedadam"),
        ({"rule": "weighted_mean", "averaged": []}, "averaged belongs to the rules fedavgm and fedadam"),
        ({"rule": "fedavgm", "averaged": ["mean", "mean"]}, "averaged names a tensor twice"),
        ({"rule": "fedavgm", "averaged": ["variance"]}, "or one that the layout does not have"),
        ({"rule": "fedadam", "averaged": []}, "'mean' has 16 fraction bits, and fedadam moves parameters of 24"),
    ],
)
def test_a_document_that_does_not_belong_together_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        document(**fields)


def test_a_document_that_leaves_an_option_out_is_not_canonical():
    content = document().to_bytes().replace(b',"tau":0.001', b"")
    with pytest.raises(JobDocumentError, match="not the canonical JSON"):
        JobDocument.from_bytes(content)
