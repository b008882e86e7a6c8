"""Vector files: the number of parameters that is expected, then the file."""

from __future__ import annotations

from galaxy_fl.exceptions import VectorError
from galaxy_fl.vectors import read_vector
from tests.fuzz.clean import refused
from tests.fuzz.folder import file_with
from tests.fuzz.reader import Reader

__all__ = ["fuzz"]


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    parameters = reader.integer(reader.pick((1, 2, 8)))
    content = reader.rest()
    try:
        vector = read_vector(file_with("vector", content), parameters)
    except VectorError as error:
        assert len(content) != 4 * parameters or not content
        return refused(error)
    assert vector.tobytes() == content
    assert len(vector) == parameters
    return True
