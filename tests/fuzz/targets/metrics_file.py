"""A server's metrics, as `job show` reads and shows them."""

from __future__ import annotations

from galaxy_chain.commands.job import _digits, _metrics
from tests.fuzz.folder import file_with

__all__ = ["fuzz"]


def fuzz(data: bytes) -> bool:
    found = _metrics(file_with("metrics.jsonl", data))
    for line in found.values():
        for key in ("loss", "accuracy", "seconds"):
            assert isinstance(_digits(line.get(key)), str)
    return bool(found)
