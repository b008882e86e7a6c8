"""torchvision without torch's compiler, which is imported once something is compiled.

One function that torchvision takes from the compiler when it is imported brings 900 modules along: 1.3 seconds of a
processor in every process that builds one of its models. It says, where regions of interest are aligned, whether that
can be compiled, and is imported then.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

__all__ = ["import_compiler_later"]

_ASKS = "torchvision.ops.roi_align"
_COMPILER = "torch._dynamo"
_UTILITIES = "torch._dynamo.utils"


def import_compiler_later() -> None:
    """Have torchvision do without the compiler where it is imported from now on; harmless the second time."""
    if not any(isinstance(each, _Finder) for each in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds the module that asks for the function, to import it with another one in its place."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find it; None for other modules, and where the compiler is there already."""
        found = PathFinder.find_spec(name, path) if name == _ASKS and _COMPILER not in sys.modules else None
        if found is not None:
            loader: Any = _Loader(found.loader)
            found.loader = loader
        return found


class _Loader:
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        package, utilities = ModuleType(_COMPILER), ModuleType(_UTILITIES)
        package.__path__ = []
        vars(utilities)["is_compile_supported"] = _is_compile_supported
        stand_ins = {_COMPILER: package, _UTILITIES: utilities}
        sys.modules.update(stand_ins)
        try:
            self._loader.exec_module(module)
        except ImportError:  # a version of torchvision that takes more of it
            _remove(stand_ins)
            self._loader.exec_module(module)
        finally:
            _remove(stand_ins)


def _remove(stand_ins: Mapping[str, ModuleType]) -> None:
    for name, module in stand_ins.items():
        if sys.modules.get(name) is module:
            del sys.modules[name]


def _is_compile_supported(*arguments: Any) -> Any:
    return import_module(_UTILITIES).is_compile_supported(*arguments)
