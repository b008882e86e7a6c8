"""Models that a job names."""

import pytest
import torch

from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.jobs.document import BuiltinModel
from galaxy_fl.training.models import build_model


@pytest.mark.parametrize(
    ("model", "sample", "outputs"),
    [
        ({"builtin": "cnn"}, (1, 8, 8), 10),
        (
            {"builtin": "cnn", "options": {"channels": 3, "size": 32, "outputs": 7, "width": 4}},
            (3, 32, 32),
            7,
        ),
        ({"builtin": "cnn", "options": {"size": 28}}, (1, 28, 28), 10),
        ({"builtin": "mlp", "options": {"inputs": 12, "hidden": 5, "outputs": 2}}, (3, 4), 2),
        ({"builtin": "lenet"}, (1, 28, 28), 10),
        ({"builtin": "torchvision:resnet18", "options": {"num_classes": 3}}, (3, 32, 32), 3),
    ],
)
def test_a_model_takes_its_samples_and_gives_logits(model, sample, outputs):
    output = build_model(BuiltinModel.model_validate(model), seed=0)(torch.rand(2, *sample))
    assert output.shape == (2, outputs)
    assert not torch.allclose(output.sum(dim=1), torch.ones(2))


def test_the_default_cnn_has_the_size_it_says_and_no_buffers():
    model = build_model(BuiltinModel(builtin="cnn"), seed=0)
    assert sum(parameter.numel() for parameter in model.parameters()) == 38_282
    assert not list(model.buffers())


@pytest.mark.parametrize("name", ["cnn", "mlp", "lenet"])
def test_initial_weights_follow_from_the_seed_and_leave_the_random_state_alone(name):
    before = torch.get_rng_state()
    first, same, other = (build_model(BuiltinModel(builtin=name), seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"builtin": "vgg"}, "unknown builtin model 'vgg': use one of cnn, lenet, mlp"),
        ({"builtin": "torchvision:resnet19"}, "did you mean .*resnet18"),
        ({"builtin": "torchvision:resnet18", "options": {"weights": "DEFAULT"}}, "never downloaded"),
        ({"builtin": "cnn", "options": {"depth": 3}}, "depth"),
        ({"builtin": "cnn", "options": {"width": 10**12}}, "width"),
        ({"builtin": "cnn", "options": {"width": "16"}}, "width"),
    ],
)
def test_what_is_wrong_with_a_model_is_said(model, said):
    with pytest.raises(JobDocumentError, match=said):
        build_model(BuiltinModel.model_validate(model), seed=0)
