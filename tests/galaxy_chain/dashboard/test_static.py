"""What the dashboard's page is made of, read rather than run: where its library comes from, and what it never does."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
STATIC = ROOT / "galaxy_chain" / "dashboard" / "static"
UPLOT = STATIC / "vendor" / "uplot"


def test_the_vendored_library_is_the_pinned_package() -> None:
    """The files are those whose hashes stand beside them, the package the one that the lock file pins."""
    source = (UPLOT / "SOURCE.txt").read_text()
    hashes = dict(reversed(line.split("  ")) for line in re.findall(r"^[0-9a-f]{64}  \S+$", source, re.MULTILINE))
    assert set(hashes) == {path.name for path in UPLOT.iterdir()} - {"SOURCE.txt"}
    for name, wanted in hashes.items():
        assert hashlib.sha256((UPLOT / name).read_bytes()).hexdigest() == wanted, name
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]["node_modules/uplot"]
    assert f"uPlot {locked['version']}," in source
    assert f"package  {locked['integrity']}\n" in source


@pytest.mark.parametrize("name", ["LICENSE", "dist/uPlot.esm.js", "dist/uPlot.min.css"])
def test_the_vendored_library_is_what_npm_installs(name: str) -> None:
    assert (UPLOT / Path(name).name).read_bytes() == (ROOT / "node_modules" / "uplot" / name).read_bytes()
