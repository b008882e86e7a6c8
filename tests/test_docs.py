"""The documentation says of the code what the code says of itself."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import galaxy_chain.exceptions
import galaxy_fl.exceptions
import galaxy_fl.exceptions.fl_expection
from galaxy_fl.exceptions import GalaxyError

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SHORT = {
    "game": "tests/contracts/test_game.py",
    "nodes": "tests/contracts/test_nodes.py",
    "signed": "tests/contracts/test_signed.py",
    "flower": "tests/galaxy_chain/flower/test_rounds.py",
    "app": "tests/galaxy_chain/flower/in_flower.py",
    "trees": "tests/galaxy_chain/verify/test_trees.py",
    "relay": "tests/galaxy_chain/lane/test_relay.py",
    "sealed": "tests/adversary/test_sealed.py",
    "late": "tests/adversary/test_keys_withheld.py",
    "keys": "tests/galaxy_chain/seal/test_keys.py",
    "sealing": "tests/galaxy_chain/seal/test_sealing.py",
    "wraps": "tests/galaxy_chain/seal/test_wraps.py",
}
"""Short names of files in `security.md`."""


def test_the_exit_codes_are_those_of_the_errors() -> None:
    codes: dict[int, str] = {}  # the first class that ends with each: others below it have the same
    for module in (galaxy_fl.exceptions, galaxy_fl.exceptions.fl_expection, galaxy_chain.exceptions):
        for name, error in vars(module).items():
            if inspect.isclass(error) and issubclass(error, GalaxyError) and error is not GalaxyError:
                codes.setdefault(error.exit_code, name)
    page = (DOCS / "reference" / "exit-codes.md").read_text()
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (?:.*?) \|$", page, re.MULTILINE)
    assert {int(code): name for code, name in rows} == codes


@pytest.mark.parametrize("page", ["operations", "protocol", "security"])
def test_the_tests_that_a_page_names_exist(page: str) -> None:
    """`tests/FOLDER/FILE.py`, `FILE.py::NAME`, where `::NAME` alone is of the file before; short names are in `SHORT`."""
    text = (DOCS / f"{page}.md").read_text()
    missing = [path for path in re.findall(r"`(tests/[\w/]+(?:\.\w+)?)", text) if not (ROOT / path).exists()]
    file = ""
    for named, name in re.findall(r"`([\w/.]*)::(\w+)`", text.replace("`file::test`", "")):
        file = named or file
        path = ROOT / SHORT.get(file, file)
        if "/" not in file and file not in SHORT:
            path = ROOT / "tests" / "adversary" / file
        if not path.exists() or f"def {name}(" not in path.read_text():
            missing.append(f"{file}::{name}")
    assert not missing
