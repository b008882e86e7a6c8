"""By their names in torch, with the targets they want."""

import pytest
import torch
from torch import nn

from galaxy_fl.exceptions import TrainingError
from galaxy_fl.training.losses import LOSSES, build_loss, log_probabilities
from galaxy_fl.training.optimizers import build_optimizer
from galaxy_fl.training.specification import TrainSpecification

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
ONE_HOT = nn.functional.one_hot(LABELS, 4).float()


def loss(name, output, target, **options):
    return build_loss(TrainSpecification(loss=name, loss_options=options))(output, target)


@pytest.mark.parametrize(
    "output",
    [LOGITS, LOGITS.softmax(dim=1), LOGITS.log_softmax(dim=1)],
    ids=["logits", "softmax", "log-softmax"],
)
def test_negative_log_likelihood_is_the_same_whatever_the_model_ends_in(output):
    assert torch.allclose(loss("NLLLoss", output, LABELS), nn.functional.cross_entropy(LOGITS, LABELS), atol=1e-6)
    assert torch.allclose(log_probabilities(output), LOGITS.log_softmax(dim=1), atol=1e-6)


def test_a_probability_of_zero_does_not_make_the_loss_infinite():
    certain = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    value = loss("NLLLoss", certain, torch.tensor([1, 1]))
    value.backward()
    assert value.isfinite()
    assert certain.grad.isfinite().all()


@pytest.mark.parametrize(
    ("name", "output", "expected"),
    [
        ("MSELoss", LOGITS, nn.functional.mse_loss(LOGITS, ONE_HOT)),
        ("L1Loss", LOGITS, nn.functional.l1_loss(LOGITS, ONE_HOT)),
        ("BCEWithLogitsLoss", LOGITS, nn.functional.binary_cross_entropy_with_logits(LOGITS, ONE_HOT)),
        ("BCELoss", LOGITS.sigmoid(), nn.functional.binary_cross_entropy(LOGITS.sigmoid(), ONE_HOT)),
        ("PoissonNLLLoss", LOGITS, nn.functional.poisson_nll_loss(LOGITS, ONE_HOT)),
        ("KLDivLoss", LOGITS, nn.functional.cross_entropy(LOGITS, LABELS)),
        ("CrossEntropyLoss", LOGITS, nn.functional.cross_entropy(LOGITS, LABELS)),
    ],
)
def test_class_labels_become_what_the_loss_takes(name, output, expected):
    assert torch.allclose(loss(name, output, LABELS), expected, atol=1e-6)


def test_float_targets_are_left_as_they_are():
    target = torch.rand(6, 4)
    assert torch.equal(loss("MSELoss", LOGITS, target), nn.functional.mse_loss(LOGITS, target))


def test_a_model_of_one_output_takes_the_label_as_its_target():
    output, labels = torch.randn(6, 1), LABELS % 2
    expected = nn.functional.binary_cross_entropy_with_logits(output, labels.float()[:, None])
    assert torch.equal(loss("BCEWithLogitsLoss", output, labels), expected)


def test_options_reach_the_loss():
    expected = nn.functional.cross_entropy(LOGITS, LABELS, label_smoothing=0.1)
    assert torch.equal(loss("CrossEntropyLoss", LOGITS, LABELS, label_smoothing=0.1), expected)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("CrossEntropyLos", {}, "did you mean CrossEntropyLoss"),
        ("crossentropyloss", {}, "did you mean CrossEntropyLoss"),
        ("Module", {}, "unknown loss 'Module'"),
        ("TripletMarginLoss", {}, "unknown loss"),
        ("MSELoss", {"smoothing": 1}, "smoothing"),
        ("MSELoss", {"reduction": "none"}, "use 'mean'"),
    ],
)
def test_a_loss_that_torch_does_not_have_is_told_what_it_has(name, options, said):
    with pytest.raises(TrainingError, match=said):
        build_loss(TrainSpecification(loss=name, loss_options=options))


def test_only_losses_of_an_output_and_a_target_are_offered():
    assert {"CrossEntropyLoss", "NLLLoss", "MSELoss", "BCELoss"} <= LOSSES.keys()
    assert not {"MarginRankingLoss", "CTCLoss", "GaussianNLLLoss", "TripletMarginLoss"} & LOSSES.keys()


def optimizer(**specification):
    return build_optimizer([nn.Parameter(torch.zeros(2, 2))], TrainSpecification(**specification))


def test_sgd_has_momentum_one_half_unless_it_is_given():
    assert optimizer().defaults["momentum"] == 0.5
    assert optimizer(optimizer_options={"momentum": 0.9}).defaults["momentum"] == 0.9


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_an_optimizer_is_found_by_its_name(name):
    built = optimizer(optimizer=name, learning_rate=0.25)
    assert type(built) is getattr(torch.optim, name)
    assert built.defaults["lr"] == 0.25


@pytest.mark.parametrize(
    ("specification", "said"),
    [
        ({"optimizer": "sgd"}, "did you mean SGD"),
        ({"optimizer": "Optimizer"}, "unknown optimizer 'Optimizer'"),
        ({"optimizer": "LBFGS"}, "unknown optimizer 'LBFGS'"),
        ({"optimizer_options": {"momentun": 0.9}}, "momentun"),
        ({"optimizer_options": {"momentum": -1}}, "Invalid momentum"),
    ],
)
def test_what_is_wrong_with_an_optimizer_is_said(specification, said):
    with pytest.raises(TrainingError, match=said):
        optimizer(**specification)
