"""Models that are submitted, each more than its float weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["Lazy", "Masked", "Options", "Sized", "Slope"]


class Options(nn.Module):
    """Arguments that change no shape."""

    def __init__(self, p: float = 0.5, activation: str = "relu") -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Dropout(p), nn.Linear(8, 10))
        self.activation = getattr(torch, activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.layers(x))


class Sized(nn.Module):
    """An argument that changes shapes."""

    def __init__(self, hidden: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.Linear(hidden, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Lazy(nn.Module):
    """Its sizes are those of the first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Masked(nn.Module):
    """With a frozen layer, a constant of -inf, integers, and a norm whose average goes by an integer."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.norm, self.out = nn.Linear(64, 8), nn.BatchNorm1d(8, momentum=None), nn.Linear(8, 10)
        self.register_buffer("mask", torch.tensor([0.0] * 9 + [-math.inf]))
        self.register_buffer("order", torch.arange(8))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(self.hidden(x.flatten(1)))[:, self.order]
        return torch.softmax(self.out(hidden), dim=1) * (self.mask == 0) + 1e-9


class Slope(nn.Module):
    """One parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.slope * x.flatten(1)[:, :10], dim=1)
