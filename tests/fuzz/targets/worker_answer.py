"""What a worker answers, whose process a stranger's code may have taken over."""

from __future__ import annotations

from galaxy_fl.exceptions import GalaxyError, TrainingError
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.training.results import Evaluation
from galaxy_fl.vectors import Layout
from tests.fuzz.clean import refused
from tests.fuzz.folder import file_with
from tests.fuzz.hostile_worker import HostileWorker
from tests.fuzz.reader import Reader

__all__ = ["fuzz"]

TRAIN = TrainSpecification()
WORKERS: list[HostileWorker] = []
"""The one that is alive."""


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    describe = reader.integer() % 2
    answer = file_with("answer", reader.rest())
    worker = WORKERS.pop() if WORKERS else HostileWorker()
    try:
        if describe:
            assert isinstance(worker.describe({}, TRAIN, answer).layout, Layout)
        else:
            assert isinstance(worker.evaluate(answer), Evaluation)
    except TrainingError as error:
        worker.close()  # one that answered nonsense is closed already
        return refused(error)
    except GalaxyError:  # what it says to have been raised there; its message is its own
        answered = False
    else:
        answered = True
    WORKERS.append(worker)
    return answered
