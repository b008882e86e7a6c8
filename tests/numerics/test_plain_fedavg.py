"""A zoo of models, trained by Galaxy and by plain FedAvg in floating point, agree as exactly as fixed point can.

The bound of a round, for each tensor, from the same starting model: a client's trained value is rounded to the nearest
step, 2**-fraction_bits (half a step); updates are exact differences of integers; their mean is rounded once more (half
a step). So Galaxy's next model is within **one step** of the exact mean, and its decoding to float32 adds half of a
float32's last digit. Over several rounds each begins with the other's deviation, which training may enlarge: there
the bound is measured, not proved.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from galaxy_fl.data.shards import load_shard
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.rounds.client import round_seed
from galaxy_fl.vectors import decode
from tests.numerics import zoo
from tests.numerics.federation import Federation

ROUNDS = 3
CLIENTS = 2


def specification(kind: type[nn.Module]) -> TrainSpecification:
    loss = "MSELoss" if kind is zoo.Slope else "CrossEntropyLoss"
    return TrainSpecification(
        learning_rate=0.05, batch_size=5, local_epochs=2, loss=loss, optimizer_options={"momentum": 0.0}, seed=3
    )


class Plain:
    """FedAvg as one would write it down, without anything of Galaxy's but the data and the seeds."""

    def __init__(self, model: nn.Module, shards: list[Dataset], train: TrainSpecification) -> None:
        self._models = [copy.deepcopy(model) for _ in shards]
        self._unsaved = {name: value.clone() for name, value in model.named_buffers()}
        self._shards = shards
        self._train = train

    def round(self, number: int, start: dict[str, Tensor]) -> dict[str, Tensor]:
        """The exact mean, float64, of the clients' models after a round that begins with `start`."""
        mean: dict[str, Tensor] = {name: torch.zeros(value.shape, dtype=torch.float64) for name, value in start.items()}
        everybody = sum(len(shard) for shard in self._shards)
        for model, shard in zip(self._models, self._shards, strict=True):
            model.load_state_dict(start, strict=False)  # integers stay the client's own
            for name, value in model.named_buffers():
                if name not in model.state_dict():  # not saved: as the class makes it
                    value.copy_(self._unsaved[name])
            self._fit(model, shard, round_seed(self._train.seed, number))
            for name in start:
                mean[name] += model.state_dict()[name].double() * (len(shard) / everybody)
        return mean

    def _fit(self, model: nn.Module, shard: Dataset, seed: int) -> None:
        model.train()
        loss_of = getattr(nn, self._train.loss)()
        optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=self._train.learning_rate)
        order = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for _ in range(self._train.local_epochs):
                for pick in torch.split(torch.randperm(len(shard), generator=order), self._train.batch_size):
                    samples, targets = map(torch.stack, zip(*(shard[i] for i in pick.tolist()), strict=True))
                    optimizer.zero_grad()
                    loss_of(model(samples), targets).backward()
                    optimizer.step()


@pytest.fixture(params=list(zoo.ZOO), ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


@pytest.fixture
def federation(kind, tmp_path):
    return Federation(kind, specification(kind), tmp_path, CLIENTS)


@pytest.fixture
def plain(kind, federation):
    data = f"tests.numerics.zoo:{zoo.ZOO[kind]}"
    shards = [load_shard(data, "train", f"{number}/{CLIENTS}", "iid", 0, None) for number in range(1, CLIENTS + 1)]
    return Plain(federation.model, shards, specification(kind))


def steps_apart(federation, mean):
    """The largest deviation of each tensor, in steps of its fixed point, the rounding to float32 taken off."""
    found = decode(federation.vector, federation.layout)
    apart = {}
    for tensor in federation.layout.tensors:
        ours, exact = found[tensor.name].double().numpy(), mean[tensor.name].numpy()
        rounding = np.spacing(np.abs(ours).astype(np.float32)).astype(np.float64) / 2
        apart[tensor.name] = float((np.abs(ours - exact) - rounding).max(initial=0) * 2.0**tensor.fraction_bits)
    return apart


def test_each_round_is_within_one_step_of_the_exact_mean(federation, plain):
    begun = federation.vector.copy()
    for number in range(1, ROUNDS + 1):
        mean = plain.round(number, decode(federation.vector, federation.layout))
        federation.round(number)
        apart = steps_apart(federation, mean)
        assert max(apart.values()) <= 1 + 1e-6, (number, apart)
    assert (federation.vector != begun).any()


def test_rounds_of_their_own_stay_close(federation, plain):
    mean = decode(federation.vector, federation.layout)
    for number in range(1, ROUNDS + 1):
        mean = plain.round(number, {name: value.float() for name, value in mean.items()})
        federation.round(number)
    apart = steps_apart(federation, mean)
    assert max(apart.values()) <= 2 * ROUNDS, apart  # the most that was measured is one step a round
