"""The jobs that are measured, one form for the plain loop, Galaxy, and Flower: model, training, data."""

from __future__ import annotations

import argparse
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from torch.utils.data import Dataset

    from galaxy_fl.jobs.document import BuiltinModel
    from galaxy_fl.jobs.specification import TrainSpecification

__all__ = ["DATA", "BenchmarkJob", "asked", "images", "job_file", "job_of", "parser"]

HERE = Path(__file__).resolve().parent
DATA = {"digits": "digits", "resnet18": "jobs:images"}
"""By the job's name."""


@dataclass(frozen=True)
class BenchmarkJob:
    """A job but for its number of clients and rounds.

    Attributes:
        model: Built with the training's seed.
        train: How a round is trained.
        data: As `galaxy_fl.data.datasets.load` takes it.
        evaluates: Whether each round's model is evaluated on the data's test split.
    """

    model: BuiltinModel
    train: TrainSpecification
    data: str
    evaluates: bool


def images(split: str) -> Dataset[Any]:
    """256 random images, 3x48x48, of ten classes: what is measured does not depend on what they show."""
    import torch  # whoever only starts the commands of a job does without
    from torch.utils.data import TensorDataset

    random = torch.Generator().manual_seed(0)
    samples = torch.rand((256, 3, 48, 48), generator=random)
    return TensorDataset(samples, torch.randint(10, (256,), generator=random))


def job_file(name: str) -> Traversable:
    """The file of the job of that name."""
    return files("galaxy_chain.demo").joinpath("digits.toml") if name == "digits" else HERE / f"{name}.toml"


def job_of(name: str) -> BenchmarkJob:
    """The job of that name."""
    # Imported here: whoever starts the commands of a job begins with a chain, and does not let that wait.
    from galaxy_fl.jobs.document import BuiltinModel
    from galaxy_fl.jobs.specification import TrainSpecification

    job = tomllib.loads(job_file(name).read_text())
    model, train = BuiltinModel.model_validate(job["model"]), TrainSpecification.model_validate(job["train"])
    return BenchmarkJob(model, train, DATA[name], evaluates=name == "digits")


def parser(description: str | None) -> argparse.ArgumentParser:
    """What reads the arguments of a program that runs one of the jobs: `job`, its name, `clients` and `rounds`."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--job", choices=DATA, default="digits")
    made.add_argument("--clients", type=int, default=4)
    made.add_argument("--rounds", type=int, default=5)
    return made


def asked(description: str | None) -> argparse.Namespace:
    """What a program is told that reads no other arguments."""
    return parser(description).parse_args()
