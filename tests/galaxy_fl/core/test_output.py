"""What a submitted model ends in is in its job's document, told by its structure or by its author."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from galaxy_fl.core.job_manager import JobManager
from galaxy_fl.core.strategy import RunTimeStrategy, TrainStrategyFatorcy
from galaxy_fl.exceptions.fl_expection import PFLException
from galaxy_fl.jobs.document import JobDocument
from tests.galaxy_fl.core.models import Net


class Normalized(nn.Module):
    """Probabilities that no softmax made."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(64, 10)

    def forward(self, samples: Tensor) -> Tensor:
        scores = self.out(samples.flatten(1)).square()
        return scores / scores.sum(dim=1, keepdim=True)


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def submitted(model: nn.Module, loss: str = RunTimeStrategy.NLL_LOSS, **given) -> JobDocument:
    strategy = TrainStrategyFatorcy(loss_function=loss, loss_options=given.pop("loss_options", None))
    job = JobManager().generate_job(train_strategy=strategy, model=type(model), **given)
    JobManager().submit_job(job, model)
    document = JobDocument.from_bytes(Path(f"res/jobs/{job.get_job_id()}/job.json").read_bytes())
    assert job.output == document.output
    return document


def test_its_structure_says_it():
    assert submitted(Net()).output == "probabilities"
    assert submitted(Net(), RunTimeStrategy.BCE_LOSS).output == "probabilities"


def test_its_author_says_it():
    assert submitted(Net(), output="logits").output == "logits"
    assert submitted(Normalized(), output="probabilities").output == "probabilities"
    with pytest.raises(PFLException, match=r"output: .*'softmax'"):
        submitted(Net(), output="softmax")


def test_what_can_not_be_told_is_not_submitted():
    with pytest.raises(PFLException, match="what the model Normalized ends in can't be told"):
        submitted(Normalized())
    assert not list(Path().glob("res/jobs/*"))


def test_class_weights_are_a_list_of_numbers_in_the_document():
    weights = torch.arange(1.0, 11.0)
    document = submitted(Net(), loss_options={"weight": weights})
    assert document.train.loss_options == {"weight": weights.tolist()}
