"""The pairings of py_ecc, which are prepared when one is computed.

py-evm and eth_account import them, and py_ecc raises field elements to powers of hundreds of digits meanwhile: a third
of a second in every process that has a chain or signs, for precompiled contracts and keys that nothing here uses.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any

__all__ = ["prepare_later"]

_FUNCTIONS = {
    "py_ecc.bls12_381.bls12_381_pairing": ("final_exponentiate", "pairing"),
    "py_ecc.optimized_bls12_381.optimized_pairing": ("final_exponentiate", "pairing"),
}
"""What the packages around take from these modules when they are imported."""


class _Finder:
    """Finds in place of each of these modules one whose functions import it when they are called."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find one of them; None for others."""
        found = PathFinder.find_spec(name, path) if name in _FUNCTIONS else None
        later: Any = None if found is None else _Later(found)  # importlib.abc would take longer than all else here
        return None if found is None else ModuleSpec(name, later, origin=found.origin)


class _Later:
    def __init__(self, found: ModuleSpec) -> None:
        self._found = found
        self._module: ModuleType | None = None

    def create_module(self, spec: ModuleSpec) -> None:
        """Python's own kind of module."""

    def exec_module(self, module: ModuleType) -> None:
        def function(name: str) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                return getattr(self._real(), name)(*arguments, **named)

            return call

        def other(name: str) -> Any:
            if name.startswith("__"):  # the import itself looks for some
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            return getattr(self._real(), name)

        vars(module).update({name: function(name) for name in _FUNCTIONS[module.__name__]}, __getattr__=other)

    def _real(self) -> ModuleType:
        if self._module is None:
            assert self._found.loader is not None
            module = module_from_spec(self._found)
            self._found.loader.exec_module(module)
            self._module = module  # two threads may make one each, and both are whole
        return self._module


def prepare_later() -> None:
    """Have what is imported from now on get the functions that prepare themselves; harmless the second time."""
    if not any(isinstance(each, _Finder) for each in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
