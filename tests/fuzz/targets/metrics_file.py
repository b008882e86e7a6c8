"""A server's metrics, as `job show` reads and shows them."""

from __future__ import annotations

from galaxy_chain.cli.job_views import digits
from galaxy_chain.jobs.rounds import metrics_of
from tests.fuzz.folder import file_with

__all__ = ["fuzz"]


def fuzz(data: bytes) -> bool:
    found = metrics_of(file_with("metrics.jsonl", data))
    for line in found.values():
        for key in ("loss", "accuracy", "seconds"):
            assert isinstance(digits(line.get(key)), str)
    return bool(found)
