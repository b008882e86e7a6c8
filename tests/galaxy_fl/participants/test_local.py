"""Data that a participant gives by itself."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from galaxy_fl.core.server import FLStandaloneServer
from galaxy_fl.core.strategy import FederateStrategy
from galaxy_fl.core.trainer_controller import TrainerController
from galaxy_fl.exceptions import DataError


def test_a_loader_in_place_of_a_data_set_is_named_before_anybody_waits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loader = DataLoader(TensorDataset(torch.rand(10, 3), torch.arange(10)))
    with pytest.raises(DataError, match="^data is a DataLoader.*give the data set that it loads"):
        TrainerController(data=loader).start(until_done=True)
    with pytest.raises(DataError, match="^test_data is a DataLoader"):
        TrainerController(data="digits", test_data=loader).start(until_done=True)
    with pytest.raises(DataError, match="^test_data is a DataLoader"):
        FLStandaloneServer(FederateStrategy.FED_AVG, test_data=loader).start(until_done=True)
