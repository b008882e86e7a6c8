"""Metrics of torchmetrics, and what a model's own step says."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from galaxy_fl.exceptions import DataError, JobDocumentError, TrainingError
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.jobs.train import Train
from galaxy_fl.training.metrics import check_metrics
from galaxy_fl.training.trainer import evaluate, train
from tests.examples.stage import Stage

MULTICLASS = {"task": "multiclass", "num_classes": 3, "average": "macro"}


def classes(samples: int = 600) -> TensorDataset:
    torch.manual_seed(0)
    inputs = torch.randn(samples, 3)
    return TensorDataset(inputs, (inputs + 0.5 * torch.randn(samples, 3)).argmax(dim=1))


def f1(predicted: torch.Tensor, target: torch.Tensor) -> float:
    """The macro F1 score by its definition."""
    scores = []
    for each in range(3):
        right = int(((predicted == each) & (target == each)).sum())
        scores.append(2 * right / (int((predicted == each).sum()) + int((target == each).sum())))
    return sum(scores) / 3


def test_a_metric_is_of_all_data_and_not_a_mean_of_batches():
    specification = Train(metrics={"f1_score": MULTICLASS}, batch_size=7).specification()
    assert specification.metrics == {"F1Score": MULTICLASS}
    model, data = nn.Linear(3, 3), classes()
    found = evaluate(model, data, specification)  # in batches of 512 and 88
    assert found.metrics == {"F1Score": pytest.approx(f1(model(data.tensors[0]).argmax(dim=1), data.tensors[1]))}
    trained = train(model, data, specification, 0)
    assert trained.metrics.keys() == {"F1Score"}


def test_targets_of_yes_and_no_and_numbers_fit_one_output_a_sample():
    torch.manual_seed(0)
    data = TensorDataset(torch.rand(20, 2), (torch.rand(20) > 0.5).float())
    specification = TrainSpecification(
        loss="BCEWithLogitsLoss", metrics={"AUROC": {"task": "binary"}, "MeanAbsoluteError": {}}
    )
    found = evaluate(nn.Linear(2, 1), data, specification)
    assert 0 <= found.metrics["AUROC"] <= 1
    assert found.metrics["MeanAbsoluteError"] > 0
    one_class = TensorDataset(data.tensors[0][:1], torch.ones(1))
    regression = TrainSpecification(loss="MSELoss", metrics={"PearsonCorrCoef": {}})
    assert evaluate(nn.Linear(2, 1), one_class, regression).metrics == {"PearsonCorrCoef": None}


class Own(nn.Linear):
    def training_step(self, batch):
        inputs, targets = batch
        output = self(inputs)
        return {"loss": nn.functional.cross_entropy(output, targets), "preds": output, "target": targets,
                "samples_seen": len(targets), "accuracy": 0.25}  # fmt: skip


def test_what_the_models_own_step_says_is_averaged_over_samples():
    specification = TrainSpecification(
        loss="training_step", batch_size=512, metrics={"Accuracy": MULTICLASS | {"average": "micro"}}
    )
    model, data = Own(3, 3), classes()
    found = evaluate(model, data, specification)
    right = float((model(data.tensors[0]).argmax(dim=1) == data.tensors[1]).double().mean())
    assert found.accuracy == 0.25
    assert found.metrics == {"samples_seen": pytest.approx((512**2 + 88**2) / 600), "Accuracy": pytest.approx(right)}


def test_a_step_that_does_not_say_what_a_metric_takes_is_told_so():
    class Silent(nn.Linear):
        def training_step(self, batch):
            return self(batch[0]).square().mean()

    with pytest.raises(TrainingError, match="measures MeanSquaredError.*'loss', 'preds' and 'target'"):
        evaluate(Silent(3, 3), classes(), TrainSpecification(loss="training_step", metrics={"MeanSquaredError": {}}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["F2Scoer"]}, "unknown metric 'F2Scoer': did you mean .*F1Score"),
        ({"metrics": {"F1Score": {"task": "multiclass"}}}, "metric F1Score with options .*num_classes"),
        ({"metrics": {"F1Score": MULTICLASS | {"avrage": 1}}}, "metric F1Score with options .*avrage"),
        ({"metrics": ["MeanMetric"]}, "metric MeanMetric does not compare an output with a target"),
        ({"metrics": "F1Score"}, "metrics is 'F1Score', expected a list of names"),
        ({"metrics": {"F1Score": 3}}, "metrics is .*expected a list of names"),
        ({"metrics": {"F1Score": MULTICLASS | {"of": {"deep": 1}}}}, "metrics.F1Score.of: expected true, false"),
    ],
)
def test_metrics_that_do_not_exist_or_make_no_sense_are_refused(options, message):
    with pytest.raises(JobDocumentError, match=message):
        Train(**options)


def test_several_numbers_are_no_metric_and_outputs_have_to_fit():
    several = TrainSpecification(metrics={"F1Score": MULTICLASS | {"average": "none"}})
    with pytest.raises(DataError, match="metric F1Score gives 3 numbers, expected one.*average = 'macro'"):
        evaluate(nn.Linear(3, 3), classes(), several)
    with pytest.raises(DataError, match=r"metric F1Score does not fit an output of shape \(512, 2\)"):
        evaluate(nn.Linear(3, 2), TensorDataset(torch.rand(600, 3), torch.zeros(600).long()),
                 TrainSpecification(metrics={"F1Score": MULTICLASS}))  # fmt: skip


def test_without_torchmetrics_the_message_names_the_extra(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys; sys.modules['torchmetrics'] = None\n"
        "from galaxy_fl.jobs.train import Train\n"
        "from galaxy_fl.exceptions import JobDocumentError\n"
        "Train()\n"
        "try:\n    Train(metrics=['F1Score'])\n"
        "except JobDocumentError as error:\n    print(error)\n"
    )
    with Stage(tmp_path) as stage:
        assert "not installed here: pip install 'galaxy-fl[metrics]'" in stage.run(str(program))


@pytest.mark.parametrize("name", ["BERTScore", "InfoLM", "ROUGEScore", "WordErrorRate"])
def test_a_metric_that_loads_what_its_options_name_is_none(name):
    """Of strangers' jobs, too, those with a builtin model run without a word of trust."""
    with pytest.raises(TrainingError, match=f"unknown metric '{name}'"):
        check_metrics({name: {"model_name_or_path": "somebody/anything"}})
    check_metrics({"Perplexity": {}})
