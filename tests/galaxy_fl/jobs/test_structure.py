"""What a model ends in, told by its structure."""

from collections import namedtuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from galaxy_fl.exceptions import TrainingError
from galaxy_fl.jobs.structure import decide_ending


class Ends(nn.Module):
    """Two layers, and a function of what they give."""

    def __init__(self, end):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))
        self.end = end

    def forward(self, samples):
        return self.end(self.layers(samples.view(samples.size(0), -1)))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, samples):
        begin = torch.zeros(1, samples.size(0), 5)
        found, _ = self.lstm(samples, (begin, begin))
        return F.log_softmax(self.out(found[:, -1]), dim=1)


Auxiliary = namedtuple("Auxiliary", ["logits", "aux_logits"])


class Both(nn.Module):
    """As GoogLeNet, in training, and a residual connection."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, samples):
        output = samples + self.first(samples)
        return Auxiliary(output, self.second(samples)) if self.training else output


@pytest.mark.parametrize(
    ("model", "ending"),
    [
        (Ends(lambda output: output), "logits"),
        (Ends(lambda output: F.softmax(output, dim=1)), "probabilities"),
        (Ends(lambda output: torch.softmax(output, 1).squeeze()), "probabilities"),
        (Ends(lambda output: output.softmax(-1) + 1e-8), "probabilities"),
        (Ends(lambda output: output.log_softmax(dim=1)), "log-probabilities"),
        (Ends(lambda output: torch.log(F.softmax(output, dim=1).clamp_min(1e-9))), "log-probabilities"),
        (Ends(lambda output: output.log_softmax(dim=1).exp()), "probabilities"),
        (Ends(lambda output: F.relu(output) / 2), "logits"),
        (Ends(lambda output: output * torch.sigmoid(output)), "logits"),
        (nn.Sequential(nn.Conv1d(1, 2, 2), nn.Flatten(), nn.Softmax(dim=1), nn.Identity()), "probabilities"),
        (nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.LogSoftmax(dim=1))), "log-probabilities"),
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ELU()), "logits"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), "logits"),
        (Recurrent(), "log-probabilities"),
        (Both(), "logits"),
    ],
)
@pytest.mark.parametrize("loss", ["NLLLoss", "BCELoss", "MSELoss"])
def test_it_is_told(model, ending, loss):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    random = torch.get_rng_state()
    assert decide_ending(model, loss) == ending
    assert decide_ending(model, loss, distils=True) == ending
    assert torch.equal(random, torch.get_rng_state())
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("loss", "ending"),
    [("BCELoss", "probabilities"), ("BCEWithLogitsLoss", "probabilities"), ("CrossEntropyLoss", "logits")],
)
def test_a_sigmoid_is_a_probability_to_losses_of_yes_and_no(loss, ending):
    assert decide_ending(Ends(torch.sigmoid), loss) == ending
    assert decide_ending(nn.Sequential(nn.Linear(3, 1), nn.Sigmoid(), nn.Flatten(0)), loss) == ending
    assert decide_ending(Ends(lambda output: output.softmax(dim=1)[:, 1]), loss) == ending


def normalized(output):
    return F.relu(output) / F.relu(output).sum(dim=1, keepdim=True)


def by_data(output):
    return output.softmax(dim=1) if output.sum() > 0 else output


@pytest.mark.parametrize("end", [normalized, by_data, lambda output: 1 - output.softmax(dim=1)])
@pytest.mark.parametrize("loss", ["CrossEntropyLoss", "NLLLoss", "KLDivLoss", "BCELoss", "BCEWithLogitsLoss"])
def test_what_can_not_be_told_has_to_be_said(loss, end):
    with pytest.raises(TrainingError, match=r"Ends ends in can't be told .* say 'logits', .* by `output`"):
        decide_ending(Ends(end), loss)


def test_where_it_does_not_matter_it_is_taken_as_it_is():
    assert decide_ending(Ends(normalized), "MSELoss") == "logits"
    with pytest.raises(TrainingError, match="say"):
        decide_ending(Ends(normalized), "MSELoss", distils=True)


def test_a_model_that_ends_in_two_ways_is_not_guessed():
    class Two(Ends):
        def forward(self, samples):
            output = self.layers(samples)
            return output if self.training else output.softmax(dim=1)

    with pytest.raises(TrainingError, match="is logits in training and probabilities in evaluation"):
        decide_ending(Two(None), "CrossEntropyLoss")
