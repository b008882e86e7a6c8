from __future__ import annotations

import runpy
from pathlib import Path

VECTORS = Path(__file__).parents[2] / "vectors"


def test_the_committed_test_vectors_are_those_of_the_generator() -> None:
    for name, text in runpy.run_path(str(VECTORS / "generate.py"))["files"]().items():
        assert (VECTORS / name).read_text() == text, f"{name} is stale: run python tests/vectors/generate.py"
