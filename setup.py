"""Builds the kernels in C beside pyproject.toml, which can't say what compilers differ in.

They are optional: without a compiler the package installs all the same, and its twins in Python do the work.
"""

from __future__ import annotations

import platform
import runpy
from pathlib import Path

from setuptools import Extension, setup

ROOM = Path("galaxy_fl/vectors/kernels")
# By path, for the package's own imports are not there while it is built.
DIGEST = runpy.run_path(str(ROOM / "sources.py"))["sources_digest"](ROOM / "c")

arguments = ["-std=c11", "-O3", "-fno-math-errno", "-ffp-contract=off", f'-DGALAXY_SOURCES="{DIGEST}"']
if platform.machine() in ("x86_64", "AMD64"):
    # Whatever CFLAGS say: hashing is not to be mixed with AVX. What uses AVX says so itself.
    arguments.append("-mno-avx")

setup(
    ext_modules=[
        Extension(
            "galaxy_fl.vectors.kernels._library",
            sources=sorted(str(path) for path in ROOM.glob("c/*.c")),
            depends=["setup.py", *sorted(str(path) for path in ROOM.glob("c/*.h"))],
            extra_compile_args=arguments,
            libraries=["m"],
            optional=True,
        )
    ]
)
