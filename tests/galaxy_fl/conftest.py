from __future__ import annotations

from pathlib import Path

import pytest

from galaxy_fl.vectors import kernels as room
from galaxy_fl.vectors.kernels import Kernels, NativeKernels, PythonKernels
from galaxy_fl.vectors.kernels.native import UnavailableError, library

from . import building

KINDS = ["Python", "C", "C without special instructions"]


@pytest.fixture(scope="session")
def built_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of these sources: the one that stands beside them, or one that is built here."""
    try:
        NativeKernels()
    except UnavailableError:
        return building.built(tmp_path_factory.mktemp("kernels"))
    return library()


@pytest.fixture(params=KINDS)
def every_kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Kernels:
    """The kernels of each kind in turn, which the package uses meanwhile."""
    chosen: Kernels = PythonKernels()
    if request.param != "Python":
        path = request.getfixturevalue("built_library")
        chosen = NativeKernels(path, 0 if "without" in request.param else None)
    monkeypatch.setattr(room, "_chosen", lambda: (chosen, request.param))
    return chosen
