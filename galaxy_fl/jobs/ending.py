"""What a job's model ends in: one meaning a job, written in its document, the same for every batch and participant."""

from __future__ import annotations

from typing import Literal

__all__ = ["Ending"]

Ending = Literal["logits", "probabilities", "log-probabilities"]
"""How a model's output [N, classes, …] is read.

- `probabilities`: numbers from 0 to 1, from a softmax or a sigmoid;
- `log-probabilities`: their logarithms, from a log-softmax;
- `logits`: anything else, and whatever is to be taken as it is, such as the numbers of a regression.
"""
