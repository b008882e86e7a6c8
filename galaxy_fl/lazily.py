"""Public names that are imported when they are first used, so that importing a package takes no time."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazily"]

DISTRIBUTION = "galaxy-fl"


def lazily(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and `__dir__` of a package (PEP 562) that takes names from where they are defined.

    Args:
        package: The package, whose `__version__` is that of the distribution.
        homes: The module that defines each name, or the package whose module has it.
    """

    def get(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version  # takes longer than all the rest

            found: Any = version(DISTRIBUTION)
        elif name in homes:
            home = importlib.import_module(homes[name])
            found = getattr(home, name, None) or importlib.import_module(f"{homes[name]}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules[package])
        setattr(sys.modules[package], name, found)
        return found

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes, "__version__"})

    return get, names
