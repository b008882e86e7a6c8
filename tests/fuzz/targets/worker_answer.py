"""What a worker answers and asks, whose process a stranger's code may have taken over."""

from __future__ import annotations

from galaxy_fl.exceptions import GalaxyError, TrainingError
from galaxy_fl.jobs.document import BuiltinModel
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.results import Evaluation
from galaxy_fl.vectors import Layout
from galaxy_fl.worker.served_data import ServedData
from tests.fuzz.clean import refused
from tests.fuzz.folder import file_with
from tests.fuzz.hostile_worker import SEPARATOR, HostileWorker
from tests.fuzz.reader import Reader

__all__ = ["fuzz"]

MODEL, TRAIN = BuiltinModel(builtin="cnn"), TrainSpecification()
WORKERS: dict[bool, HostileWorker] = {}
"""Those that are alive: one that is served data, and one that is not."""


def _served() -> ServedData:
    import torch
    from torch.utils.data import TensorDataset

    return ServedData(TensorDataset(torch.rand(4, 2), torch.zeros(4)), accuracy=lambda output, target: 0.5)


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    request, content = reader.integer() % 3, reader.rest()
    served, answer = request == 2, file_with("answer", content)
    worker = WORKERS.pop(served, None) or HostileWorker(_served() if served else None)
    try:
        if request == 1:
            assert isinstance(worker.describe(MODEL, TRAIN, answer).layout, Layout)
        else:
            assert isinstance(worker.evaluate(answer), Evaluation)
    except TrainingError as error:
        worker.close()  # one that sent nonsense is closed already
        return refused(error)
    except GalaxyError:  # what it says to have been raised there; its message is its own
        answered = False
    else:
        answered = True
    if SEPARATOR in content:  # what is left of them would answer the next request
        worker.close()
    else:
        WORKERS[served] = worker
    return answered
