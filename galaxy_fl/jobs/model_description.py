"""What a job document says of a model's state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from galaxy_fl.jobs.ending import Ending
from galaxy_fl.jobs.local_tensors import LocalTensor
from galaxy_fl.vectors import Layout

__all__ = ["ModelDescription"]


@dataclass(frozen=True)
class ModelDescription:
    """A model as a job begins with it, apart from its vector.

    Attributes:
        layout: Layout of its vectors, padded.
        local: Tensors that no vector has, in the order of the state_dict.
        frozen: Names of the parameters that are not trained.
        ending: What the model ends in; None where that was not to be told.
    """

    layout: Layout
    local: tuple[LocalTensor, ...]
    frozen: tuple[str, ...]
    ending: Ending | None = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of a job document that follow from the model's state."""
        return {"layout": self.layout.to_json(), "local": list(self.local), "frozen": list(self.frozen)}
