"""What a job of a language model takes in memory and traffic, counted without making its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch

from galaxy_fl.lm.model import CausalLM

__all__ = ["Sizes"]

VECTOR = 4
"""Bytes of a parameter in a vector, int32, and as a float32 weight, gradient or moment of an optimizer."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of a language model's job.

    Attributes:
        base_parameters: Parameters of the base, which is frozen.
        base_bytes: Bytes of the base: fetched once by each client, and in memory once a machine, as it is mapped.
        parameters: Length of the vector: parameters of the adapters.
        vector_bytes: Bytes of a model and of an update.
        round_bytes: What a client sends and fetches in a round: its update, and the next model.
        state_bytes: Bytes of the adapters in training by AdamW: weights, gradients and two moments.
        tensors: Tensors of the vector.

    Example:
        >>> from galaxy_fl.lm import CausalLM, Sizes
        >>> class Net(CausalLM):
        ...     config = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}
        ...     lora = {"r": 4, "target_modules": ["q_proj"]}
        >>> Sizes.of(Net).parameters
        512
    """

    base_parameters: int
    base_bytes: int
    parameters: int
    vector_bytes: int
    round_bytes: int
    state_bytes: int
    tensors: int

    @classmethod
    def of(cls, model: type[CausalLM]) -> Self:
        """Count those of a model's class."""
        with torch.device("meta"):
            made = model()
        base = [value for value in made.parameters() if not value.requires_grad]
        trained = [value.numel() for value in made.parameters() if value.requires_grad]
        parameters = sum(trained)
        return cls(
            base_parameters=sum(value.numel() for value in base),
            base_bytes=sum(value.numel() * value.element_size() for value in base),
            parameters=parameters,
            vector_bytes=VECTOR * parameters,
            round_bytes=2 * VECTOR * parameters,
            state_bytes=4 * VECTOR * parameters,
            tensors=len(trained),
        )
