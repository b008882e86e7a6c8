"""A model as users write it: a file of its own, a class without arguments, probabilities at its end."""

from __future__ import annotations

from multiprocessing.connection import Connection

import torch
from torch import Tensor, nn

from galaxy_fl.core.job_manager import JobManager
from galaxy_fl.exceptions.fl_expection import PFLException

__all__ = ["Net", "Wide", "local_class", "submit"]


class Net(nn.Module):
    """For the digits data set."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, 32)
        self.norm = nn.BatchNorm1d(32)
        self.out = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.out(torch.relu(self.norm(self.hidden(x.flatten(1))))), dim=1)


class Wide(Net):
    """Another class of the same file."""


def local_class() -> type[nn.Module]:
    """A class that is not on the top level of its file."""

    class Inner(Net):
        pass

    return Inner


def submit(connection: Connection) -> None:
    """What a file without a main guard does in a worker."""
    try:
        JobManager().generate_job(model=Net)
    except PFLException as error:
        connection.send_bytes(str(error).encode())
