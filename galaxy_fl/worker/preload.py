"""Imported once, by the fork server: whatever every worker would otherwise spend its first seconds on."""

import torch

import galaxy_fl.data.shards
import galaxy_fl.worker.serving  # noqa: F401

__all__: list[str] = []

# One thread: the sums of a round have the same bits on every machine, and no thread pool precedes a fork.
torch.set_num_threads(1)
