"""Imported once, by the fork server: whatever every worker would otherwise spend its first seconds on."""

import torch

import galaxy_fl.data.shards
import galaxy_fl.worker.serving  # noqa: F401
from galaxy_fl.without_compiler import import_compiler_later

__all__: list[str] = []

# One thread: the sums of a round have the same bits on every machine, and no thread pool precedes a fork.
torch.set_num_threads(1)

# For models and data sets that bring torchvision along.
import_compiler_later()
