"""A model as users bring it along: with a batch normalisation, and a weight under two names."""

import torch
from torch import Tensor, nn


class Net(nn.Module):
    """For the digits data set; ends in a softmax, as PFL's do."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.norm = nn.BatchNorm1d(64)
        self.tied = nn.Linear(64, 64)
        self.tied.weight = self.first.weight
        self.out = nn.Linear(64, 10)

    def forward(self, samples: Tensor) -> Tensor:
        """Probabilities, float32 [N, 10], of float32 [N, 1, 8, 8]."""
        hidden = torch.relu(self.norm(self.first(samples.flatten(1))))
        return torch.softmax(self.out(torch.relu(self.tied(hidden))), dim=1)
