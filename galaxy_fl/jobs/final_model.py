"""A job's model as files for PyTorch, written without it and without running the model's code."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from galaxy_fl.exceptions import TrainingError
from galaxy_fl.files import replacing
from galaxy_fl.jobs.base import check_base
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.jobs.first_model import read_weights
from galaxy_fl.jobs.local_tensors import LocalTensor
from galaxy_fl.jobs.parts import PartTensor
from galaxy_fl.jobs.state_files import NAMES, StoredTensor, stored_in, write_safetensors, write_state_dict
from galaxy_fl.vectors import Vector
from galaxy_fl.vectors.fixed_point import decode_tensor
from galaxy_fl.vectors.layout import TensorLayout

__all__ = ["check_own", "write_model"]


def write_model(
    document: JobDocument, vector: Path, destination: Path, base: Path | None = None, own: Path | None = None
) -> None:
    """Write the whole state_dict of a job's model with a vector's values: the same bytes whoever writes it.

    Args:
        document: The job's.
        vector: The vector's file.
        destination: The file to write, for `torch.load(…, weights_only=True)`; beside it, with `.safetensors` added to
            its name, are the same tensors in that format. Each is written whole or not at all.
        base: The file of the job's frozen and personal tensors, where it has some.
        own: That of a client's own tensors, whose personal ones are written; None for those that the job began with.

    Raises:
        JobDocumentError, TrainingError, VectorError: a file is not one of this job's, or the base is missing.
        OSError: a file can't be read or written.
    """
    tensors = _shared(document, vector)
    for local in document.local:
        tensors[local.name] = StoredTensor(local.type, local.shape, partial(_first, local))
    if base is not None:
        parts = [*document.frozen, *document.personal]
        check_base(base, parts)
        tensors |= _parts_in(base, parts)
    elif document.base is not None:
        raise TrainingError("the model's frozen and personal tensors are not here: the job's base is missing")
    if own is not None:
        check_own(document, own)
        tensors |= _parts_in(own, document.personal)
    # The one with the suffix first: where the other is there, both are.
    with replacing(destination.with_name(f"{destination.name}.safetensors")) as new:
        write_safetensors(new, tensors)
    with replacing(destination) as new:
        write_state_dict(new, tensors)


def check_own(document: JobDocument, path: Path) -> None:
    """Make sure that a file is that of a client's own tensors: personal ones, and integers that training has changed.

    Raises:
        TrainingError: the file is not one of this job's; names the tensor.
    """
    try:
        with safe_open(path, "np") as file:
            parts = {name: file.get_slice(name) for name in set(file.keys())}
            found = {name: (part.get_dtype(), part.get_shape()) for name, part in parts.items()}
    except (SafetensorError, OSError) as error:
        raise TrainingError(f"{path} is damaged ({error}): remove it") from error
    local = [tensor for tensor in document.local if not tensor.constant]
    expected = {each.name: (NAMES.get(each.type), each.shape) for each in document.personal}
    expected |= {each.name: (NAMES.get(each.type), each.shape) for each in local}
    for name, value in found.items():
        if expected.get(name) != value:
            raise TrainingError(f"{path} has a tensor {name!r} that this job's model does not have: remove it")
    if missing := [each.name for each in document.personal if each.name not in found]:
        raise TrainingError(
            f"{path} lacks the personal tensor {missing[0]!r}: put back the file that this client has kept, or "
            "remove it, which has the client begin with the job's own values again"
        )


def _shared(document: JobDocument, vector: Path) -> dict[str, StoredTensor]:
    weights, start = read_weights(document, vector), 0
    tensors = {}
    for tensor in document.tensors.tensors:
        end = start + tensor.parameters
        tensors[tensor.name] = StoredTensor("float32", tensor.shape, partial(_decoded, tensor, weights[start:end]))
        start = end
    return tensors


def _decoded(tensor: TensorLayout, part: Vector) -> npt.NDArray[np.uint8]:
    return decode_tensor(part, tensor).reshape(-1).view(np.uint8)


def _first(tensor: LocalTensor) -> npt.NDArray[np.uint8]:
    return np.frombuffer(tensor.content(), np.uint8)


def _parts_in(path: Path, parts: Sequence[PartTensor]) -> dict[str, StoredTensor]:
    found = stored_in(path)
    return {
        name: StoredTensor(part.type, part.shape, partial(found.__getitem__, part.name))
        for part in parts
        for name in part.names
    }
