"""Layouts as they stand in job documents and in a worker's answers."""

from __future__ import annotations

import json

import numpy as np

from galaxy_fl.exceptions import VectorError
from galaxy_fl.vectors import Layout, encode
from tests.fuzz.clean import refused

__all__ = ["fuzz"]

LARGEST = 10_000
"""Parameters, of a layout that is also used."""


def fuzz(data: bytes) -> bool:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return False
    try:
        layout = Layout.from_json(value)
    except VectorError as error:
        return refused(error)
    assert Layout.from_json(layout.to_json()) == layout
    if len(str(layout.parameters)) <= 5 and layout.parameters <= LARGEST:
        state = {tensor.name: np.zeros(tensor.shape, np.float32) for tensor in layout.tensors}
        assert len(encode(state, layout)) == layout.parameters
    return True
