"""Random states: what torch's, numpy's and Python's generators give, and that nothing is left in them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["random_states", "same_draws", "secret_seed", "seed_torch"]


def seed_torch(seed: int, device: str) -> None:
    """Seed torch's generators for work on a device.

    For the CPU that is the one there. torch's own function notes the call, with where it came from, for each kind of
    device that is not in use, which takes longer than a training step and is never forgotten.
    """
    if device == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def secret_seed() -> int:
    """Return a seed that nobody knows, 63 bits, for chance that is not noise: dropout, and what data sets draw."""
    return int.from_bytes(os.urandom(8)) >> 1


@contextmanager
def random_states(seed: int | None = None, device: str = "cpu") -> Iterator[None]:
    """Have what happens inside draw from torch's, numpy's and Python's generators, and leave no trace in them.

    Args:
        seed: What it draws follows from, 63 bits; None for what they would give anyhow.
        device: On which it works.
    """
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            if seed is not None:
                random.seed(seed)
                np.random.seed([seed & 0xFFFF_FFFF, seed >> 32])
                seed_torch(seed, device)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def same_draws() -> Iterator[None]:
    """Have what happens inside draw the same in every process that was forked from one, and each time.

    Of torch's generator that is what it gives anyhow; the others are seeded anew in each process.
    """
    with random_states():
        random.seed(0)
        np.random.seed(0)
        yield
