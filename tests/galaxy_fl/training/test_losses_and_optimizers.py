"""By their names in torch, with the targets they want."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from galaxy_fl.exceptions import TrainingError
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.losses import LOSSES, build_loss, log_probabilities
from galaxy_fl.training.optimizers import OPTIMIZERS, build_optimizer
from galaxy_fl.training.trainer import evaluate, train

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
ONE_HOT = nn.functional.one_hot(LABELS, 4).float()


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


PROBABILITIES, LOGARITHMS = LOGITS.softmax(dim=1), LOGITS.log_softmax(dim=1)
ENDINGS = {"logits": LOGITS, "probabilities": PROBABILITIES, "log-probabilities": LOGARITHMS}


def loss(name, output, target, ending="logits", **options):
    return build_loss(TrainSpecification(loss=name, loss_options=options), ending)(output, target)


@pytest.mark.parametrize("ending", ENDINGS)
def test_negative_log_likelihood_is_the_same_whatever_the_model_ends_in(ending):
    output, expected = ENDINGS[ending], nn.functional.cross_entropy(LOGITS, LABELS)
    assert torch.allclose(loss("NLLLoss", output, LABELS, ending), expected, atol=1e-6)
    assert torch.allclose(log_probabilities(output, ending), LOGITS.log_softmax(dim=1), atol=1e-6)


def test_a_probability_of_zero_does_not_make_the_loss_infinite():
    certain = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    value = loss("NLLLoss", certain, torch.tensor([1, 1]), "probabilities")
    value.backward()
    assert value.isfinite()
    assert certain.grad.isfinite().all()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", ["BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "NLLLoss"])
def test_a_samples_loss_does_not_depend_on_its_neighbours(name, ending):
    output = ENDINGS[ending]
    alone = [loss(name, output[[one]], LABELS[[one]], ending) for one in range(6)]
    assert torch.allclose(torch.stack(alone).mean(), loss(name, output, LABELS, ending), atol=1e-6)
    positive, both = torch.tensor([[0.5]]), torch.tensor([[0.5], [-2.0]])
    summed = loss("BCELoss", both, torch.tensor([0, 0]), reduction="sum")
    others = loss("BCELoss", both[1:], torch.tensor([0]))
    assert summed - others == pytest.approx(loss("BCELoss", positive, torch.tensor([0])).item(), abs=1e-6)


@pytest.mark.parametrize("name", ["NLLLoss", "BCELoss", "MSELoss"])
@pytest.mark.parametrize("ending", ["probabilities", "log-probabilities"])
def test_an_output_that_is_not_what_the_job_says_is_refused(name, ending):
    if (name, ending) == ("NLLLoss", "log-probabilities"):
        return  # a log-softmax leaves those as they are, and makes them of logits
    with pytest.raises(TrainingError, match=f"its model ends in {ending}, but it gives"):
        loss(name, LOGITS, LABELS, ending)


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "NLLLoss", "KLDivLoss"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_categorical_losses_are_the_same_whatever_the_model_ends_in(name, ending):
    expected = nn.functional.cross_entropy(LOGITS, LABELS)
    assert torch.allclose(loss(name, ENDINGS[ending], LABELS, ending), expected, atol=1e-6)


@pytest.mark.parametrize("ending", ["probabilities", "log-probabilities"])
@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("L1Loss", {}, nn.functional.l1_loss(PROBABILITIES, ONE_HOT)),
        ("MSELoss", {}, nn.functional.mse_loss(PROBABILITIES, ONE_HOT)),
        ("SmoothL1Loss", {}, nn.functional.smooth_l1_loss(PROBABILITIES, ONE_HOT)),
        ("BCELoss", {}, nn.functional.binary_cross_entropy(PROBABILITIES, ONE_HOT)),
        ("BCEWithLogitsLoss", {}, nn.functional.binary_cross_entropy(PROBABILITIES, ONE_HOT)),
        ("PoissonNLLLoss", {}, nn.functional.poisson_nll_loss(LOGARITHMS, ONE_HOT)),
        ("PoissonNLLLoss", {"log_input": False}, nn.functional.poisson_nll_loss(PROBABILITIES, ONE_HOT, False)),
    ],
)
def test_losses_of_probabilities_are_the_same_for_softmax_and_log_softmax(name, options, expected, ending):
    assert torch.allclose(loss(name, ENDINGS[ending], LABELS, ending, **options), expected, atol=1e-6)


def test_bce_puts_logits_through_a_sigmoid_and_leaves_that_of_a_model_alone():
    expected = nn.functional.binary_cross_entropy_with_logits(LOGITS, ONE_HOT)
    assert torch.allclose(loss("BCELoss", LOGITS, LABELS), expected, atol=1e-6)
    assert torch.allclose(loss("BCELoss", LOGITS.sigmoid(), ONE_HOT, "probabilities"), expected, atol=1e-6)
    one, binary = LOGITS[:, :1], (LABELS % 2).float()[:, None]
    expected = nn.functional.binary_cross_entropy_with_logits(one, binary)
    assert torch.allclose(loss("BCELoss", one.sigmoid(), LABELS % 2, "probabilities"), expected, atol=1e-6)


def test_kl_divergence_takes_a_log_target_of_labels_too():
    expected = nn.functional.cross_entropy(LOGITS, LABELS)
    assert torch.allclose(loss("KLDivLoss", LOGITS, LABELS, log_target=True), expected, atol=1e-6)


def test_margin_ranking_compares_the_labelled_class_with_the_best_of_the_others():
    scores = torch.tensor([[0.1, 0.7, 0.3], [2.0, -1.0, 1.5]], requires_grad=True)
    value = loss("MarginRankingLoss", scores, torch.tensor([2, 0]), margin=1.0)
    assert value.item() == pytest.approx(((0.7 - 0.3 + 1) + (1.5 - 2.0 + 1)) / 2)
    value.backward()
    assert scores.grad.tolist() == [[0, 0.5, -0.5], [-0.5, 0, 0.5]]


SAID = {"softmax": "probabilities", "log_softmax": "log-probabilities", "identity": "logits"}


@pytest.mark.parametrize(
    "name", [*sorted(LOSSES.keys() - {"HingeEmbeddingLoss", "MultiLabelMarginLoss", "SoftMarginLoss"})]
)
@pytest.mark.parametrize("ending", ["softmax", "log_softmax", "identity"])
def test_losses_and_gradients_are_finite_for_a_model_that_is_certain(name, ending):
    extreme = torch.tensor([[200.0, -200.0, 0.0], [-200.0, 200.0, 0.0], [0.0, 0.0, 200.0]], requires_grad=True)
    output = extreme * 0.1 if ending == "identity" else getattr(extreme, ending)(dim=1)
    value = loss(name, output, torch.tensor([0, 0, 1]), SAID[ending])
    value.backward()
    assert value.isfinite()
    assert extreme.grad.isfinite().all()


class Ends(nn.Module):
    def __init__(self, ending):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 3))
        self.ending = ending

    def forward(self, samples):
        output = self.layers(samples)
        return output if self.ending == "identity" else getattr(output, self.ending)(dim=1)


PFL = [
    "L1Loss",
    "MSELoss",
    "CrossEntropyLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "KLDivLoss",
    "BCELoss",
    "BCEWithLogitsLoss",
]


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("ending", ["softmax", "log_softmax", "identity"])
@pytest.mark.parametrize("name", [*PFL, "MarginRankingLoss"])
def test_every_loss_trains_every_kind_of_model(name, ending, optimizer):
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(90) % 3
    corners = torch.tensor([[1.0, 0.0], [-0.5, 0.9], [-0.5, -0.9]])
    data = TensorDataset(corners[labels] + 0.1 * torch.randn(90, 2, generator=generator), labels)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = Ends(ending)
    rate = 0.3 if optimizer == "SGD" else 0.02
    options = {"margin": 0.2} if name == "MarginRankingLoss" else {}
    specification = TrainSpecification(
        optimizer=optimizer, learning_rate=rate, loss=name, loss_options=options, batch_size=15, local_epochs=15
    )
    before = evaluate(model, data, specification, ending=SAID[ending])
    train(model, data, specification, 0, ending=SAID[ending])
    after = evaluate(model, data, specification, ending=SAID[ending])
    assert after.loss < before.loss
    # The mean of absolute errors of logits is least where all are 0; of probabilities it is not.
    if (name, ending) != ("L1Loss", "identity"):
        assert after.accuracy > 0.9


@pytest.mark.parametrize(
    ("name", "output", "expected"),
    [
        ("MSELoss", LOGITS, nn.functional.mse_loss(LOGITS, ONE_HOT)),
        ("L1Loss", LOGITS, nn.functional.l1_loss(LOGITS, ONE_HOT)),
        ("BCEWithLogitsLoss", LOGITS, nn.functional.binary_cross_entropy_with_logits(LOGITS, ONE_HOT)),
        ("BCELoss", LOGITS, nn.functional.binary_cross_entropy(LOGITS.sigmoid(), ONE_HOT)),
        ("PoissonNLLLoss", LOGITS, nn.functional.poisson_nll_loss(LOGITS, ONE_HOT)),
        ("KLDivLoss", LOGITS, nn.functional.cross_entropy(LOGITS, LABELS)),
        ("CrossEntropyLoss", LOGITS, nn.functional.cross_entropy(LOGITS, LABELS)),
    ],
)
def test_class_labels_become_what_the_loss_takes(name, output, expected):
    assert torch.allclose(loss(name, output, LABELS), expected, atol=1e-6)


@pytest.mark.parametrize("ending", ENDINGS)
def test_real_targets_make_a_regression_and_leave_the_output_as_it_is(ending):
    output, target = ENDINGS[ending], torch.rand(6, 4)
    assert torch.equal(loss("MSELoss", output, target, ending), nn.functional.mse_loss(output, target))
    assert torch.equal(loss("MSELoss", output, target.double(), ending), nn.functional.mse_loss(output, target))


@pytest.mark.parametrize("output", [LOGITS[:, 0], LOGITS[:, :1]])
@pytest.mark.parametrize("target", [torch.arange(6.0), torch.arange(6.0)[:, None]])
def test_one_number_a_sample_is_compared_with_one_number(output, target):
    expected = nn.functional.mse_loss(LOGITS[:, 0], torch.arange(6.0))
    assert torch.equal(loss("MSELoss", output, target), expected)


def test_targets_of_another_shape_are_not_repeated():
    with pytest.raises(ValueError, match="differ in shape"):
        loss("MSELoss", LOGITS, torch.rand(6, 1))


def test_a_distribution_over_the_classes_may_be_the_target():
    soft = torch.rand(6, 4, generator=torch.Generator().manual_seed(3)).softmax(dim=1)
    expected = nn.functional.cross_entropy(LOGITS, soft)
    for ending, output in ENDINGS.items():
        assert torch.allclose(loss("CrossEntropyLoss", output, soft, ending), expected, atol=1e-6)


def test_a_model_of_one_output_takes_the_label_as_its_target():
    output, labels = torch.randn(6, 1), LABELS % 2
    expected = nn.functional.binary_cross_entropy_with_logits(output, labels.float()[:, None])
    assert torch.equal(loss("BCEWithLogitsLoss", output, labels), expected)


def test_options_reach_the_loss():
    expected = nn.functional.cross_entropy(LOGITS, LABELS, label_smoothing=0.1)
    assert torch.equal(loss("CrossEntropyLoss", LOGITS, LABELS, label_smoothing=0.1), expected)


WEIGHTS = [0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize("spell", [list, tuple, np.array, torch.tensor])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("CrossEntropyLoss", ["weight"]),
        ("NLLLoss", ["weight"]),
        ("BCELoss", ["weight"]),
        ("BCEWithLogitsLoss", ["weight", "pos_weight"]),
        ("MultiLabelSoftMarginLoss", ["weight"]),
        ("MultiMarginLoss", ["weight"]),
    ],
)
def test_every_loss_takes_its_class_weights_in_every_spelling(name, options, spell):
    specification = TrainSpecification(loss=name, loss_options={option: spell(WEIGHTS) for option in options})
    assert specification.model_dump()["loss_options"] == dict.fromkeys(options, WEIGHTS)
    criterion = getattr(nn, name)(**{option: torch.tensor(WEIGHTS) for option in options})
    output = {"NLLLoss": LOGARITHMS, "BCELoss": LOGITS.sigmoid()}.get(name, LOGITS)
    target = LABELS if name in ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss") else ONE_HOT
    assert torch.allclose(build_loss(specification)(LOGITS, LABELS), criterion(output, target), atol=1e-6)
    double = build_loss(specification)(LOGITS.double(), LABELS)  # the weights take the model's type
    assert torch.allclose(double.float(), criterion(output, target), atol=1e-6)


@pytest.mark.parametrize("weights", [torch.tensor(WEIGHTS)[:, None, None], WEIGHTS])
def test_class_weights_of_images_are_of_their_classes(weights):
    output, target = torch.randn(2, 4, 3, 5), torch.rand(2, 4, 3, 5).round()
    shaped = torch.tensor(WEIGHTS)[:, None, None]
    expected = nn.functional.binary_cross_entropy_with_logits(output, target, pos_weight=shaped)
    assert torch.allclose(loss("BCEWithLogitsLoss", output, target, pos_weight=weights), expected)


def test_a_single_output_takes_a_number_as_its_weight():
    expected = nn.functional.binary_cross_entropy_with_logits(
        LOGITS[:, 0], (LABELS % 2).float(), pos_weight=torch.tensor(3.0)
    )
    for weight in (3.0, [3.0], np.float32(3), torch.tensor(3.0)):
        found = loss("BCEWithLogitsLoss", LOGITS[:, :1], LABELS % 2, pos_weight=weight)
        assert torch.allclose(found, expected)


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "BCEWithLogitsLoss", "MultiMarginLoss"])
def test_weights_that_are_not_as_many_as_the_classes_are_refused_with_both_numbers(name):
    with pytest.raises(TrainingError, match=rf"weight of {name} has 3 numbers, .* has 4 classes"):
        loss(name, LOGITS, LABELS, weight=[1.0, 2.0, 3.0])


@pytest.mark.parametrize("wrong", ["balanced", True, []])
def test_weights_that_are_no_numbers_are_refused(wrong):
    with pytest.raises(TrainingError, match=r"weight is .*, expected a list of numbers"):
        loss("CrossEntropyLoss", LOGITS, LABELS, weight=wrong)


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
    assert not {"CTCLoss", "GaussianNLLLoss", "LinearCrossEntropyLoss", "TripletMarginLoss"} & LOSSES.keys()


def optimizer(**specification):
    return build_optimizer([nn.Parameter(torch.zeros(2, 2))], TrainSpecification(**specification))


def test_options_may_be_lists():
    assert tuple(optimizer(optimizer="Adam", optimizer_options={"betas": [0.8, 0.99]}).defaults["betas"]) == (0.8, 0.99)


def test_sgd_has_momentum_one_half_unless_it_is_given():
    assert optimizer().defaults["momentum"] == 0.5
    assert optimizer(optimizer_options={"momentum": 0.9}).defaults["momentum"] == 0.9


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_an_optimizer_is_found_by_its_name(name):
    built = optimizer(optimizer=name, learning_rate=0.25)
    assert isinstance(built, getattr(torch.optim, name))
    assert type(built).__name__ == name
    assert built.defaults["lr"] == 0.25


def stepped(built, parameter):
    """The parameter after steps with gradients, one of them without."""
    for step in range(4):
        built.zero_grad()
        assert parameter.grad is None
        if step != 2:
            (parameter.sin() ** 2 * (1 + step)).sum().backward()
        built.step()
    return parameter.detach()


@pytest.mark.parametrize("name", sorted(OPTIMIZERS.keys() - {"SparseAdam"}))
@pytest.mark.parametrize("round", [1, 2])
def test_an_optimizer_steps_as_torchs_own_to_the_bit(name, round):
    """In the second round torch has wrapped its class's step, for torch's own has been used."""
    ours, its = (nn.Parameter(torch.linspace(-1, 1, 6).view(2, 3)) for _ in range(2))
    built = build_optimizer([ours], TrainSpecification(optimizer=name, learning_rate=0.1))
    its_own = getattr(torch.optim, name)([its], **{"momentum": 0.5} if name == "SGD" else {}, lr=0.1)
    assert torch.equal(stepped(built, ours), stepped(its_own, its))
    assert not torch.equal(ours, torch.linspace(-1, 1, 6).view(2, 3))
    assert ours.requires_grad


@pytest.mark.parametrize(
    ("specification", "said"),
    [
        ({"optimizer": "sgd"}, "did you mean SGD"),
        ({"optimizer": "Optimizer"}, "unknown optimizer 'Optimizer'"),
        ({"optimizer": "LBFGS"}, "unknown optimizer 'LBFGS'"),
        ({"optimizer_options": {"momentun": 0.9}}, "momentun"),
        ({"optimizer_options": {"momentum": -1}}, "Invalid momentum"),
        ({"optimizer": "Adam", "optimizer_options": {"betas": [0.9]}}, "betas"),
        ({"optimizer": "Adam", "optimizer_options": {"betas": [0.9, 1.5]}}, "beta"),
    ],
)
def test_what_is_wrong_with_an_optimizer_is_said(specification, said):
    with pytest.raises(TrainingError, match=said):
        optimizer(**specification)


@pytest.mark.parametrize("name", ["MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "PoissonNLLLoss"])
@pytest.mark.parametrize("ending", sorted(ENDINGS))
@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 1)])
def test_whole_numbers_that_a_sequence_is_to_meet_are_no_class_labels(name, ending, shape):
    output = ENDINGS[ending].reshape(shape)
    numbers = torch.arange(24).view(6, 4) % 9
    loss = build_loss(TrainSpecification(loss=name), ending)
    assert torch.equal(loss(output, numbers), getattr(nn, name)()(output, numbers.float().view(shape)))
    assert torch.equal(loss(output, numbers.float()), loss(output, numbers))


@pytest.mark.parametrize("name", ["BCELoss", "BCEWithLogitsLoss", "MultiLabelSoftMarginLoss"])
def test_a_loss_of_yes_and_no_takes_no_other_numbers(name):
    loss = build_loss(TrainSpecification(loss=name, batch_size=2, local_epochs=1, learning_rate=0.1))
    output = torch.zeros(2, 1)
    assert loss(output, torch.tensor([0, 1])).isfinite()
    for target in (torch.tensor([3, 9]), torch.tensor([[-0.5], [0.5]]), torch.tensor([torch.nan, 1.0])):
        with pytest.raises(ValueError, match="takes targets from 0"):
            loss(output, target)
