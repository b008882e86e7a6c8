"""Tiny models of every kind that people train, each a class made without arguments, and data for them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

__all__ = ["ZOO", "floats", "images", "rows", "words"]

SAMPLES = 24


def _labelled(samples: Tensor) -> TensorDataset:
    return TensorDataset(samples, torch.arange(SAMPLES) % 3)


def rows(split: str) -> TensorDataset:
    return _labelled(torch.randn(SAMPLES, 6, generator=torch.Generator().manual_seed(1)))


def images(split: str) -> TensorDataset:
    return _labelled(torch.randn(SAMPLES, 2, 6, 6, generator=torch.Generator().manual_seed(2)))


def words(split: str) -> TensorDataset:
    return _labelled(torch.randint(0, 11, (SAMPLES, 5), generator=torch.Generator().manual_seed(3)))


def floats(split: str) -> TensorDataset:
    """For a regression of one number on another."""
    samples = torch.randn(SAMPLES, generator=torch.Generator().manual_seed(4))
    return TensorDataset(samples, 3 * samples + 1)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm, self.out = nn.Embedding(11, 4), nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(self.embed(x))[0][:, -1])


class Transformer(nn.Module):
    """With a causal mask of -inf, which is a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.out = nn.Linear(8, 3)
        self.register_buffer("mask", torch.full((5, 5), -math.inf).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.block(self.embed(x), src_mask=self.mask).mean(1))


class WeightNorm(nn.Sequential):
    def __init__(self) -> None:
        normed = nn.utils.parametrizations.weight_norm(nn.Linear(6, 8))
        super().__init__(normed, nn.Tanh(), nn.Linear(8, 3))


class SpectralNorm(nn.Sequential):
    def __init__(self) -> None:
        normed = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 8))
        super().__init__(normed, nn.Tanh(), nn.Linear(8, 3))


class ChannelsLast(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, 3))
        self.to(memory_format=torch.channels_last)


class Dropping(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))


class BatchNorm(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


class CumulativeBatchNorm(nn.Sequential):
    """Its running averages are over all batches that a client has seen, whose number is an integer buffer."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 8), nn.BatchNorm1d(8, momentum=None), nn.ReLU(), nn.Linear(8, 3))


class Annealed(nn.Module):
    """Training depends on an integer, a boolean and an unsaved buffer, each of which training changes."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(6, 3)
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("odd", torch.tensor(False))
        self.register_buffer("warm", torch.tensor(1.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        scaled = self.out(x) * self.warm / (1 + self.steps)
        if self.training:
            self.steps += 1
            self.odd.logical_not_()
            self.warm = self.warm * 0.9
        return -scaled if bool(self.odd) else scaled


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.second(torch.relu(self.first(x)))))


class Frozen(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
        self[0].requires_grad_(False)


class _Cast(nn.Module):
    """Takes and gives float32, and is of another type within."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.to(self.dtype)).float()


class BFloat16(_Cast):
    def __init__(self) -> None:
        super().__init__(torch.bfloat16)


class Half(_Cast):
    def __init__(self) -> None:
        super().__init__(torch.float16)


class Sparse(nn.Module):
    """Its embedding's gradients are sparse."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(11, 4, sparse=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.embed(x).mean(1))


class Unmasking(nn.Module):
    """Changes what it began with as a constant; no job can be of it, so it is not in the zoo."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(6, 3)
        self.register_buffer("mask", torch.tensor([0.0, 0.0, -math.inf]))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mask.zero_()
        return self.out(x) + self.mask.clamp_min(-1e9)


class Slope(nn.Module):
    """One parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.slope * x


class Logistic(nn.Sequential):
    """21 parameters."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 3))


ZOO: dict[type[nn.Module], str] = {
    Recurrent: "words",
    Transformer: "words",
    Sparse: "words",
    WeightNorm: "rows",
    SpectralNorm: "rows",
    Dropping: "rows",
    CumulativeBatchNorm: "rows",
    Annealed: "rows",
    Tied: "rows",
    Frozen: "rows",
    BFloat16: "rows",
    Half: "rows",
    Logistic: "rows",
    ChannelsLast: "images",
    BatchNorm: "images",
    Slope: "floats",
}
"""Each model, and the function above that gives its data."""
