"""Data that a participant gives by itself."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from galaxy_fl.core.server import FLStandaloneServer
from galaxy_fl.core.strategy import FederateStrategy
from galaxy_fl.core.trainer_controller import TrainerController
from galaxy_fl.exceptions import DataError


def test_a_loader_that_chooses_samples_is_named_before_anybody_waits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = TensorDataset(torch.rand(10, 3), torch.arange(10))
    loader = DataLoader(data, sampler=WeightedRandomSampler([1.0] * 10, 5))
    with pytest.raises(
        DataError, match="^data is a DataLoader with the sampler WeightedRandomSampler.*give the samples"
    ):
        TrainerController(data=loader).start(until_done=True)
    with pytest.raises(DataError, match="^test_data is a DataLoader"):
        TrainerController(data="digits", test_data=loader).start(until_done=True)
    with pytest.raises(DataError, match="^test_data is a DataLoader"):
        FLStandaloneServer(FederateStrategy.FED_AVG, test_data=loader).start(until_done=True)
