"""One client's settings and data for one job, in the process that trains."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from galaxy_fl.data import structure
from galaxy_fl.data.batches import count
from galaxy_fl.data.loaded import notes_of
from galaxy_fl.exceptions import ConfigurationError, DataError
from galaxy_fl.files import handing_over
from galaxy_fl.jobs.first_model import read_weights
from galaxy_fl.jobs.privacy import ExamplePrivacy
from galaxy_fl.jobs.submission import floats_of
from galaxy_fl.training.distillation import Lessons
from galaxy_fl.training.minibatches import some
from galaxy_fl.training.randomness import random_states, secret_seed
from galaxy_fl.training.rehearsal import READ, Steps, few_of, rehearse
from galaxy_fl.training.results import Evaluation, TrainResult
from galaxy_fl.training.task import TrainTask
from galaxy_fl.training.trainer import evaluate, train
from galaxy_fl.vectors.fixed_point import write_encoded
from galaxy_fl.worker.fetched_data import FetchedData, Parent
from galaxy_fl.worker.loaded_job import LoadedJob
from galaxy_fl.worker.messages import Prepare

__all__ = ["Session", "refusal"]

StateOf = Callable[[], dict[str, Tensor]]


class Session:
    """What a client has of its own; it keeps no model, and of data that are shared with others only the indices.

    Args:
        asked: The client's settings.
        job: Its job.
        parent: Asked for data that are served.

    Attributes:
        samples: How many samples it trains on.
        notes: What the client's operator should know of how it trains.

    Raises:
        DataError, TrainingError: data and model do not fit each other.
    """

    def __init__(self, asked: Prepare, job: LoadedJob, parent: Parent) -> None:
        self._settings = settings = asked.settings
        self._job = job
        self._document = job.document
        self._data: Dataset[Any]
        self._test: Dataset[Any] | None = None
        self._root = None if settings.data_root is None else Path(settings.data_root)
        torch.set_num_threads(settings.threads)
        _check_device(settings.device)
        offer = asked.offer
        if settings.data is not None:
            untrained = None if asked.again else job.untrained()  # before the data, which may take long to load
            self._data = job.data.part(
                settings.data, "train", settings.shard, settings.partition, settings.partition_seed, self._root
            )
            self._data = job.collated(self._data)
            if settings.test_data is not None:
                self._test = job.collated(job.data.whole(settings.test_data, "test", self._root))
        else:
            assert offer is not None
            untrained = None if asked.again else job.untrained()
            self._data = FetchedData(parent, "train", offer.train, job.collate)
            self._test = None if offer.test is None else FetchedData(parent, "test", offer.test, job.collate)
        self._score = parent.score if offer is not None and offer.scores else None
        self.samples = count(self._data)
        self.notes = notes_of(self._data)
        self.notes += [] if untrained is None else self._try(untrained)

    def _try(self, untrained: nn.Module) -> list[str]:
        """Make sure that the data fit the model, which is better known before anybody relies on this client.

        A first step is tried once for data of one form and each size of batches. What else may be wrong with a client's
        data, such as a label of a class that is not there, is found by measuring some of them.
        """
        document, device = self._document, self._settings.device
        few = few_of(self._data, min(self.samples, READ))
        evaluate(untrained, few, document.train, device, ending=document.output)
        weights = untrained.state_dict()
        self._ask_teachers(untrained, [lambda: weights], few)
        if not self._settings.trains:
            return []
        form = device, structure.shapes(some(few, READ))
        rehearsed = self._job.rehearsed.setdefault(form, set())
        steps = Steps.of(untrained, self.samples, document.train)
        if rehearsed >= steps.sizes:
            return steps.notes
        model = self._job.spare()
        ask = partial(self._ask_teachers, untrained, [lambda: weights])
        notes = rehearse(model, self._data, document.train, device, document.output, ask, document.privacy)
        self._job.check_constants(model)
        rehearsed |= steps.sizes
        return notes

    def train(self, task: TrainTask) -> TrainResult:
        """Train a round, and write the trained vector, or the update, and the client's own tensors."""
        job, document, device = self._job, self._document, self._settings.device
        torch.set_num_threads(self._settings.threads)
        private = isinstance(document.privacy, ExamplePrivacy)
        seed = secret_seed() if private else task.seed
        with random_states(seed, self._settings.device):  # data and models may draw at random, for teachers too
            lessons = None
            if task.teachers:
                states: list[StateOf] = [partial(job.state, teacher, device) for teacher in task.teachers]
                lessons = self._ask_teachers(job.model(), states, self._data)
            model = job.model().to(device)
            model.load_state_dict(job.state(task.start, device) | job.own.read(task.own), strict=False)
            result = train(
                model,
                self._data,
                document.train,
                task.seed,
                device,
                round=task.round,
                lessons=lessons,
                ending=document.output,
                shared={tensor.name for tensor in job.layout.tensors},
                privacy=document.privacy,
            )
        job.check_constants(model)
        if task.own_after is not None and (document.local or document.personal):
            own = {name: value.clone().contiguous() for name, value in job.own.left(model).items()}
            with handing_over(task.own_after) as new:
                save_file(own, new)
        start = read_weights(document, task.start) if task.update else None
        with handing_over(task.trained) as new:  # it may be the file of the start
            write_encoded(new, floats_of(model, job.layout), job.layout, start)
        model.zero_grad(set_to_none=True)  # as it may be kept, and they are as large as it is
        return result

    def evaluate(self, vector: Path, own: Path | None = None) -> Evaluation:
        """Measure a vector on the test data, with the personal tensors of the client's own file."""
        if self._test is None:
            if self._settings.data is None:
                raise DataError("there are no test data to evaluate a model on: give some, as test_data")
            self._test = self._job.collated(self._job.data.whole(self._settings.data, "test", self._root))
        torch.set_num_threads(self._settings.threads)
        model = self._job.model().to(self._settings.device)
        state = self._job.state(vector, self._settings.device) | self._job.own.personal(own)
        model.load_state_dict(state, strict=False)
        specification, ending = self._document.train, self._document.output
        return evaluate(model, self._test, specification, self._settings.device, self._score, ending)

    def _ask_teachers(self, model: nn.Module, teachers: list[StateOf], data: Dataset[Any]) -> Lessons | None:
        document, alpha = self._document, self._document.distillation_alpha
        if alpha is None:
            return None
        device = self._settings.device
        return Lessons.ask(model, teachers, data, alpha, document.distillation_reduction, device, document.output)


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # AssertionError: torch without CUDA
        raise refusal(device, error) from error


def refusal(device: str, error: Exception) -> ConfigurationError:
    """Return what tells that a device can't be used, and what to do."""
    what = str(error).splitlines()[0].split(". ")[0]
    if "out of memory" in what:
        advice = "its memory is taken: have fewer workers, end what else uses it, or take another device"
    else:
        cards = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        mps = ["mps"] if torch.backends.mps.is_available() else []
        advice = f"expected one of those here: {', '.join(['cpu', *cards, *mps])}"
    return ConfigurationError(f"device {device!r} can't be used ({what}); {advice}")
