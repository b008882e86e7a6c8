"""What stands in for a worker writes what one would."""

from __future__ import annotations

from galaxy_fl.training.task import TrainTask
from galaxy_fl.vectors import Vector, difference, read_vector, write_vector

__all__ = ["write_trained"]


def write_trained(task: TrainTask, vector: Vector) -> None:
    """Write what a task asks for of a trained vector: that, or the update, in a file of its own."""
    written = difference(vector, read_vector(task.start, len(vector))) if task.update else vector
    task.trained.unlink(missing_ok=True)
    write_vector(task.trained, written)
