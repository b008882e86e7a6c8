"""A model of a user's own, in a file of its own, as jobs bring it along."""

from __future__ import annotations

from torch import Tensor, nn


class Net(nn.Module):
    """A small convolutional network for the digits, 1x8x8; gives logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(512, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # torch's own is slow to learn here

    def forward(self, samples: Tensor) -> Tensor:
        """Logits, float32 [N, 10], of float32 [N, 1, 8, 8]."""
        logits: Tensor = self.layers(samples)
        return logits
