"""Tracking as CSV: a line for each number, so that what is measured may change from job to job."""

from __future__ import annotations

import csv
import fcntl
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import make_folder, write_all
from galaxy_fl.participants.tracking.measured import About, Ended, Measured, harmless

__all__ = ["CsvFile"]

HEADER = ["time", "job", "document", "name", "participant", "round", "metric", "value", "model"]
FORMULA = "=+-@"
"""What a spreadsheet takes for the beginning of a formula."""


class CsvFile:
    """A file that participants, of several programs too, append to.

    Args:
        path: The file. One that is there is continued.

    Raises:
        ConfigurationError: it can't be written, or is another table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            make_folder(self.path.parent)
            self.append([])
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ConfigurationError(f"{path} can't be used for tracking: {why}; name another file") from error

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self.path)

    def open(self, about: About) -> _Run:
        """Continue a participant's lines."""
        return _Run(self, about)

    def lines(self) -> Iterator[list[str]]:
        """Yield the lines after the header; half a line, which a full disk has left, is passed over."""
        if not self.path.exists():  # somebody has removed it since
            return
        with self.path.open(encoding="utf-8", newline="") as file:
            yield from (line for line in list(csv.reader(file))[1:] if len(line) == len(HEADER))

    def append(self, lines: Iterable[list[str]]) -> None:
        """Append whole lines, and the header to an empty file.

        Raises:
            OSError: the disk is full, or the file can't be had.
            ValueError: it has another header.
        """
        with self._locked() as descriptor:
            size = os.fstat(descriptor).st_size
            text = io.StringIO(newline="")
            table = csv.writer(text, lineterminator="\n")
            if size == 0:
                table.writerow(HEADER)
            else:
                expected = ",".join(HEADER).encode()
                found = os.pread(descriptor, len(expected) + 2, 0)
                if found.rstrip(b"\r\n") != expected and found[: len(expected) + 1] != expected + b"\n":
                    begins = harmless(found.partition(b"\n")[0].decode("utf-8", "replace"), 80)
                    raise ValueError(f"it is another table, which begins with {begins!r}, expected {','.join(HEADER)}")
                if os.pread(descriptor, 1, size - 1) != b"\n":  # a full disk has left half a line
                    text.write("\n")
            table.writerows(lines)
            try:
                write_all(descriptor, text.getvalue().encode())
            except OSError:
                os.ftruncate(descriptor, size)  # whole lines or none
                raise

    @contextmanager
    def _locked(self) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)


class _Run:
    """One participant's lines."""

    def __init__(self, file: CsvFile, about: About) -> None:
        self._file = file
        self._fields = [about.job, about.document, _cell(about.name), about.participant]
        self._written = {
            (line[5], line[6]): line[7]
            for line in file.lines()
            if (line[1], line[2], line[4]) == (about.job, about.document, about.participant)
        }

    def write(self, measured: Measured) -> None:
        """Append a line for each number that is new."""
        round, model = str(measured.round), measured.texts.get("model", "")
        new = {
            (round, name): repr(float(value))
            for name, value in measured.values.items()
            if self._written.get((round, name)) != repr(float(value))
        }
        if not new:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._file.append([now, *self._fields, *key, value, model] for key, value in new.items())
        self._written |= new

    def end(self, how: Ended) -> None:
        """Write nothing: a table of numbers has no place for it."""


def _cell(text: str) -> str:
    """Return a stranger's text as a cell that no spreadsheet takes for a formula."""
    shown = harmless(text).strip()
    return f"'{shown}" if shown.startswith(tuple(FORMULA)) else shown
