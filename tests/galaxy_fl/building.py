"""Building the kernels in C apart from the tree that the tests run in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "galaxy_fl" / "vectors" / "kernels" / "c"


def compiler() -> str:
    """The C compiler's name; the test is skipped where there is none."""
    for name in (os.environ.get("CC", "cc"), "gcc", "clang"):
        if shutil.which(name):
            return name
    pytest.skip("there is no C compiler on this machine")


def built(folder: Path, **environment: str) -> Path:
    """Build the library as an installation does, and return where it is."""
    compiler()
    places = ["--build-lib", str(folder / "lib"), "--build-temp", str(folder / "temporary")]
    command = [sys.executable, "setup.py", "-q", "build_ext", *places]
    subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=True, capture_output=True, timeout=300)
    [path] = (folder / "lib").rglob("_library*.so")
    return path
