"""Epsilon of what a client has trained, by the Renyi accountant of Opacus.

Renyi differential privacy (Mironov, "Rényi Differential Privacy", CSF 2017; Mironov, Talwar and Zhang, "Rényi
Differential Privacy of the Sampled Gaussian Mechanism", 2019) adds up over trainings, and gives a bound without an
error term of its own. Opacus's other accountant (PRV) gives less by some percent, from a numerical inversion that fails
for little noise.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
from pydantic import Field

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.jobs.privacy import ExamplePrivacy, Privacy
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.validation import Strict

__all__ = ["MISSING", "Mechanism", "epsilon_of", "expect_opacus", "mechanism_of", "sampling"]

MISSING = "a private job needs Opacus, which is not installed here: pip install 'galaxy-fl[privacy]'"
_ORDERS = [*(1 + x / 10 for x in range(1, 100)), *range(12, 64), 64, 96, 128, 192, 256, 384, 512, 768, 1024]


class Mechanism(Strict):
    """A Gaussian mechanism on a Poisson sample, some times in a row.

    Attributes:
        noise_multiplier: Standard deviation of the noise, as a multiple of what one unit changes at most.
        sample_rate: The probability that a unit takes part.
        steps: How many times.
    """

    noise_multiplier: float = Field(gt=0)
    sample_rate: float = Field(gt=0, le=1)
    steps: int = Field(ge=1)


def mechanism_of(privacy: Privacy, train: TrainSpecification, samples: int) -> Mechanism:
    """Return what one training of a client with so many samples is.

    An update of a client's other data is another vector within the same norm, so it may be twice that away: what one
    client's data change is at most `2 * clip`.
    """
    if not isinstance(privacy, ExamplePrivacy):
        return Mechanism(noise_multiplier=privacy.noise_multiplier / 2, sample_rate=1.0, steps=1)
    rate, steps = sampling(train, samples)
    return Mechanism(noise_multiplier=privacy.noise_multiplier, sample_rate=rate, steps=train.local_epochs * steps)


def sampling(train: TrainSpecification, samples: int) -> tuple[float, int]:
    """Return with which probability a step of DP-SGD takes each of so many samples, and the steps of an epoch."""
    size = min(train.batch_size or samples, samples)
    return size / samples, -(-samples // size)


def epsilon_of(history: Sequence[Mechanism], delta: float) -> float:
    """Return the epsilon of all mechanisms together, at a delta.

    Raises:
        ConfigurationError: Opacus is not installed.
    """
    if not history:
        return 0.0
    total = sum((_curve(one.noise_multiplier, one.sample_rate) * one.steps for one in history), np.zeros(len(_ORDERS)))
    with warnings.catch_warnings():  # that another order may give less: each gives a bound
        warnings.simplefilter("ignore")
        epsilon, _ = _opacus().get_privacy_spent(orders=_ORDERS, rdp=total, delta=delta)
    return max(float(epsilon), 0.0)


def expect_opacus() -> None:
    """Make sure that epsilon can be computed.

    Raises:
        ConfigurationError: Opacus is not installed.
    """
    _opacus()


@cache
def _curve(noise_multiplier: float, sample_rate: float) -> npt.NDArray[np.float64]:
    """The Renyi divergence of one step at each order; infinite where the computation fails."""
    found = []
    for order in _ORDERS:
        try:
            value = float(_opacus()._compute_rdp(sample_rate, noise_multiplier, order))
        except (ValueError, OverflowError):
            value = math.inf
        found.append(math.inf if math.isnan(value) else value)
    return np.array(found)


@cache
def _opacus() -> ModuleType:
    """Opacus's module, without the package around it, which imports torch: a client's process has no need of that."""
    package = importlib.util.find_spec("opacus")
    if package is None or not package.submodule_search_locations:
        raise ConfigurationError(MISSING)
    path = Path(package.submodule_search_locations[0]) / "accountants" / "analysis" / "rdp.py"
    spec = importlib.util.spec_from_file_location("galaxy_opacus_rdp", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (ImportError, FileNotFoundError) as error:
        raise ConfigurationError(f"{MISSING} ({error})") from error
    return module
