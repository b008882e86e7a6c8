"""Which package may import which: galaxy_fl knows nothing of a chain, and nothing but the command line knows that."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import galaxy_chain
import galaxy_fl

FL, CHAIN = (Path(package.__path__[0]) for package in (galaxy_fl, galaxy_chain))
COMMANDS = (CHAIN / "cli", CHAIN / "__main__.py")


def imported(file: Path) -> set[str]:
    """The modules that a file imports, at once or later."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize(
    ("package", "exempt", "forbidden"), [(FL, (), "galaxy_chain"), (CHAIN, COMMANDS, "galaxy_chain.cli")]
)
def test_no_module_imports_what_stands_above_it(package: Path, exempt: tuple[Path, ...], forbidden: str) -> None:
    files = [file for file in package.rglob("*.py") if not any(file.is_relative_to(each) for each in exempt)]
    assert len(files) > 50
    wrong = {
        str(file.relative_to(package.parent)): module
        for file in files
        for module in imported(file)
        if module == forbidden or module.startswith(f"{forbidden}.")
    }
    assert wrong == {}
