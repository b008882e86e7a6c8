"""Where numbers are tracked, as people write it: `tensorboard:DIR`, `mlflow:URI`, `csv:FILE`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.participants.tracking.tracker import Destination, Tracker

__all__ = ["destination_of", "trackers_of", "tracking"]

KINDS = "tensorboard:DIR, mlflow:URI or csv:FILE"


def destination_of(text: str) -> Destination:
    """Return the destination that a text names; its package is loaded now, and nobody is asked over a network.

    Raises:
        ConfigurationError: it is not of that form, can't be written to, or its package is missing.
    """
    if not isinstance(text, str):
        raise ConfigurationError(f"track is {text!r:.80}, expected {KINDS}")
    kind, _, where = text.partition(":")
    if kind not in ("tensorboard", "mlflow", "csv") or not where.strip():
        # Not the text itself, because a URI may have a password.
        raise ConfigurationError(f"track begins with {kind!r:.40}, expected {KINDS}")
    try:
        if kind == "csv":
            from galaxy_fl.participants.tracking.csv_file import CsvFile

            return CsvFile(Path(where))
        if kind == "tensorboard":
            from galaxy_fl.participants.tracking.tensorboard import TensorBoard

            return TensorBoard(Path(where))
        from galaxy_fl.participants.tracking.mlflow import Mlflow

        return Mlflow(where)
    except ImportError as error:
        raise ConfigurationError(
            f"tracking with {kind} needs a package that is missing ({error}): pip install 'galaxy-fl[tracking]'"
        ) from error


def trackers_of(track: str | Sequence[str]) -> list[Tracker]:
    """Return a tracker for each destination that is named, one or several.

    Raises:
        ConfigurationError: as `destination_of`, or one is named twice.
    """
    named = [track] if isinstance(track, str) else list(track)
    for text in named:
        if named.count(text) > 1:
            raise ConfigurationError(f"track names a destination twice: {text.partition(':')[0]!r}; name it once")
    return [Tracker(destination_of(text)) for text in named]


@contextmanager
def tracking(track: str | Sequence[str]) -> Iterator[list[Tracker]]:
    """Yield the trackers that are named, and close them at the end.

    Raises:
        ConfigurationError: as `trackers_of`.
    """
    with ExitStack() as stack:
        found = trackers_of(track)
        for tracker in found:
            stack.callback(tracker.close)
        yield found
