"""Whoever installs a wheel has all files of the packages that are no Python, and not only whoever has a checkout."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILT = {".py", ".pyc", ".so"}


@pytest.mark.parametrize("package", ["galaxy_chain", "galaxy_fl"])
def test_all_files_of_a_package_are_in_its_wheel(package):
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][package]
    folder = ROOT / package
    told = {path for pattern in data for path in folder.glob(pattern) if path.is_file()}
    assert told, data
    there = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in BUILT}
    assert {str(path.relative_to(folder)) for path in there - told} == set()
