"""Tracking for TensorBoard, by its own writer of event files: neither TensorFlow nor torch is loaded."""

from __future__ import annotations

import io
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import write_all
from galaxy_fl.participants.tracking.measured import About, Ended, Measured, harmless

__all__ = ["TensorBoard"]

FILES = "events.out.tfevents.*"


class TensorBoard:
    """A log directory, in which each participant of each job is a run.

    Args:
        folder: The directory, which is made.

    Raises:
        ImportError: the package is missing.
        ConfigurationError: the directory can't be written.
    """

    def __init__(self, folder: Path) -> None:
        # Both here, so that a missing package is reported before any job begins.
        import tensorboard.backend.event_processing.event_file_loader
        import tensorboard.summary.writer.record_writer  # noqa: F401

        self._folder = folder.absolute()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            usable = os.access(self._folder, os.W_OK)
        except OSError:
            usable = False
        if not usable:
            raise ConfigurationError(f"{folder} can't be used for tracking: name a folder that can be written to")

    @property
    def name(self) -> str:
        """The directory's path."""
        return f"TensorBoard's {self._folder}"

    def open(self, about: About) -> _Run:
        """Continue a participant's run in a new file of its directory."""
        return _Run(self._folder / about.key, about)


class _Run:
    """One participant's event files."""

    def __init__(self, folder: Path, about: About) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._written = _written(folder)
        began = f"{time.time():.6f}"
        self._file = (folder / f"events.out.tfevents.{began}.{socket.gethostname()}.{os.getpid()}").open("xb", 0)
        self._add({"file_version": "brain.Event:2"}, 0)
        if ("job", 0) not in self._written:
            self._text("job", f"{harmless(about.job)}: {harmless(about.name)}", 0)

    def write(self, measured: Measured) -> None:
        """Add each number, and each text, that is new in its round."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        step = measured.round
        new = {name: value for name, value in measured.values.items() if not self._has(name, step, value)}
        if new:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in new.items()]
            self._add({"summary": Summary(value=values)}, step)
            self._written |= {(name, step): _single(value) for name, value in new.items()}
        for name, text in measured.texts.items():
            if self._written.get((name, step)) != text:
                self._text(name, text, step)

    def end(self, how: Ended) -> None:
        """Close the file."""
        self._file.close()

    def _has(self, name: str, step: int, value: float) -> bool:
        return self._written.get((name, step)) == _single(value)

    def _text(self, name: str, text: str, step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()], tensor_shape=shape)
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        self._add({"summary": Summary(value=[Summary.Value(tag=name, metadata=metadata, tensor=tensor)])}, step)
        self._written[name, step] = text

    def _add(self, fields: dict[str, Any], step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        record = io.BytesIO()
        RecordWriter(record).write(Event(wall_time=time.time(), step=step, **fields).SerializeToString())
        before = self._file.tell()
        try:
            write_all(self._file.fileno(), record.getvalue())
        except OSError:  # half a record would hide all that come after it
            self._file.truncate(before)
            self._file.seek(before)
            raise


def _written(folder: Path) -> dict[tuple[str, int], float | str]:
    """Return the last value of each tag and step in a run's files; where a program has died, as far as they go."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    found: dict[tuple[str, int], float | str] = {}
    for path in sorted(folder.glob(FILES), key=lambda path: (path.stat().st_mtime_ns, path.name)):
        with suppress(Exception):  # the rest of a damaged file is lost to TensorBoard, too
            for record in RawEventFileLoader(str(path)).Load():
                event = Event.FromString(record)
                for value in event.summary.value:
                    if value.HasField("simple_value"):
                        found[value.tag, event.step] = value.simple_value
                    elif value.tensor.string_val:
                        found[value.tag, event.step] = value.tensor.string_val[0].decode()
    return found


def _single(value: float) -> float:
    """Return the float32 that an event file has."""
    import struct

    try:
        (single,) = struct.unpack("<f", struct.pack("<f", value))
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    return float(single)
