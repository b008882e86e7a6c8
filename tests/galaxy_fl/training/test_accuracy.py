"""What counts as right."""

import pytest
import torch
from torch.utils.data import TensorDataset

from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.accuracy import Accuracy
from galaxy_fl.training.trainer import evaluate

SCORES = torch.tensor([[2.0, -1.0, 0.5], [-1.0, -2.0, -3.0], [0.0, 1.0, 3.0], [1.0, 2.0, 0.0]])
LABELS = torch.tensor([0, 1, 2, 1])
ONE_HOT = torch.nn.functional.one_hot(LABELS, 3).float()


def accuracy(loss, *batches, ending="logits", **options):
    counted = Accuracy(TrainSpecification(loss=loss, loss_options=options), ending)
    for output, targets in batches:
        counted.add(output, targets)
    return counted.value


def test_labels_are_named_by_the_largest_output():
    assert accuracy("CrossEntropyLoss", (SCORES, LABELS)) == 0.75
    assert accuracy("MultiMarginLoss", (SCORES[:2], LABELS[:2]), (SCORES[2:], LABELS[2:])) == 0.75


@pytest.mark.parametrize(("loss", "options"), [("CrossEntropyLoss", {}), ("NLLLoss", {"ignore_index": 0})])
def test_padding_is_not_counted(loss, options):
    padding = options.get("ignore_index", -100)
    targets = torch.tensor([[2, 1, 1, 1], [padding] * 4])
    output = torch.zeros(2, 3, 4)
    output[:, 1] = 1
    assert accuracy(loss, (output, targets), **options) == 0.75
    assert accuracy(loss, (output[1:], targets[1:]), **options) is None


def test_padding_is_not_counted_in_an_evaluation():
    class Second(torch.nn.Module):
        def forward(self, samples):
            return torch.nn.functional.one_hot(samples.long(), 3).movedim(-1, 1).float()

    targets = torch.tensor([[1, 1, -100, -100]] * 3)
    found = evaluate(Second(), TensorDataset(torch.ones(3, 4), targets), TrainSpecification())
    assert found.accuracy == 1


@pytest.mark.parametrize("loss", ["CrossEntropyLoss", "KLDivLoss", "BCEWithLogitsLoss", "BCELoss", "MSELoss"])
@pytest.mark.parametrize("kind", [torch.float, torch.int64])
def test_one_hot_targets_are_labels(loss, kind):
    assert accuracy(loss, (SCORES, ONE_HOT.to(kind))) == 0.75


def test_what_targets_are_is_a_matter_of_all_of_them():
    second = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 1], [1, 1, 0]])  # not one-hot: yes and no each
    assert accuracy("BCEWithLogitsLoss", (SCORES, ONE_HOT), (SCORES, second)) == pytest.approx(18 / 24)
    assert accuracy("MSELoss", (SCORES, ONE_HOT), (SCORES, second)) is None


def test_a_distribution_counts_by_its_largest_class():
    soft = torch.tensor([[0.6, 0.2, 0.2], [0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1]])
    assert accuracy("CrossEntropyLoss", (SCORES, soft)) == 0.75
    assert accuracy("KLDivLoss", (SCORES, soft.log()), log_target=True) == 0.75
    assert accuracy("MSELoss", (SCORES, soft)) is None
    assert accuracy("BCEWithLogitsLoss", (SCORES, soft)) is None


def test_several_labels_a_sample_are_counted_one_by_one():
    targets = torch.tensor([[1.0, 0, 1], [1, 0, 0], [0, 1, 1], [0, 0, 0]])
    for loss in ("BCEWithLogitsLoss", "BCELoss", "MultiLabelSoftMarginLoss"):
        assert accuracy(loss, (SCORES, targets)) == pytest.approx(9 / 12)
        assert accuracy(loss, (SCORES.sigmoid(), targets), ending="probabilities") == pytest.approx(9 / 12)
    assert accuracy("MSELoss", (SCORES, targets)) is None


@pytest.mark.parametrize("loss", ["BCEWithLogitsLoss", "BCELoss"])
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
@pytest.mark.parametrize("targets", [torch.tensor([1, 0, 1, 1]), torch.tensor([[1.0], [0.0], [1.0], [1.0]])])
def test_a_single_output_says_yes_or_no(loss, shape, targets):
    output = torch.tensor([0.3, -0.3, -2.0, 4.0]).view(shape)
    assert accuracy(loss, (output, targets)) == 0.75
    assert accuracy(loss, (output.sigmoid(), targets), ending="probabilities") == 0.75
    assert accuracy(loss, (output.sigmoid().log(), targets), ending="log-probabilities") == 0.75


def test_numbers_have_no_accuracy():
    assert accuracy("MSELoss", (torch.rand(4, 1), torch.rand(4, 1))) is None
    assert accuracy("BCELoss", (torch.rand(4, 1), torch.rand(4, 1))) is None
    assert accuracy("PoissonNLLLoss", (SCORES, ONE_HOT)) is None


def test_whole_numbers_that_a_sequence_is_to_meet_are_no_class_labels():
    assert accuracy("MSELoss", (torch.rand(4, 5, 1), torch.arange(20).view(4, 5) % 5)) is None
