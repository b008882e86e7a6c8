"""Real programs: nodes, and galaxy-chain as a user starts it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import pytest

__all__ = ["Program", "Script", "anvil", "children_of", "embedded", "run", "tied", "wait_until_alone"]

ROOT = Path(__file__).resolve().parents[2]
ANVIL = ROOT / "node_modules" / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"
LONG = 120
"""Seconds after which a program is stuck, however busy the machine."""


def environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of Galaxy."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GALAXY_")}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | more


def tied() -> list[str]:
    """The beginning of a command that the kernel ends with this process, also where that one is killed.

    In the main thread only: a process is tied to the thread that starts it, and others of the tests end before.
    """
    setpriv = shutil.which("setpriv")
    main = threading.current_thread() is threading.main_thread()
    return [setpriv, "--pdeathsig", "KILL"] if setpriv is not None and main else []


class Program:
    """A galaxy-chain command that runs in a process group of its own, as from a terminal."""

    program: tuple[str, ...] = ("-m", "galaxy_chain")

    def __init__(self, folder: Path, *arguments: object, **variables: str) -> None:
        self.arguments = list(map(str, arguments))
        self.process = subprocess.Popen(
            [*tied(), sys.executable, *self.program, *self.arguments],
            cwd=folder,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def line(self, containing: str) -> str:
        """Waits for a line of output that has these words."""
        assert self.process.stdout is not None
        stuck = threading.Timer(LONG, os.killpg, (self.process.pid, signal.SIGKILL))  # which ends its output
        stuck.start()
        try:
            for line in self.process.stdout:
                if containing in line:
                    return line
        finally:
            stuck.cancel()
        raise AssertionError(f"{self.arguments} never said {containing!r}: {self.finish(check=False)}")

    def finish(self, *, check: bool = True) -> tuple[int, str, str]:
        """Waits for its end: exit code, output that is left, standard error."""
        output, errors = self.process.communicate(timeout=LONG)
        assert not check or self.process.returncode == 0, (self.arguments, output, errors)
        return self.process.returncode, output, errors

    def interrupt(self) -> tuple[int, str, str]:
        """Ctrl-C: the terminal sends it to the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.finish(check=False)

    def kill(self) -> None:
        """Ends it at once, and waits for all that it has started to end by itself."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=LONG)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0] is not None:  # what has not ended by itself has its output open, and would be waited for
            for pid in children_of(self.process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.kill()


class Script(Program):
    """A Python script of a user's: its path, then its arguments."""

    program = ()


def run(folder: Path, *arguments: object, **variables: str) -> Any:
    """Runs a command with --json and gives what it printed: a value a line."""
    with Program(folder, *arguments, "--json", **variables) as program:
        lines = [json.loads(line) for line in program.finish()[1].splitlines()]
    return lines[0] if len(lines) == 1 else lines


@contextmanager
def embedded(folder: Path, *arguments: object) -> Iterator[str]:
    """`galaxy-chain node`; gives its url."""
    with Program(folder, "node", "--port", 0, "--json", *arguments) as program:
        yield json.loads(program.line("url"))["url"]


@contextmanager
def anvil(*arguments: object) -> Iterator[str]:
    """A real node of Foundry; gives its url."""
    if not ANVIL.exists():
        pytest.fail(f"{ANVIL.relative_to(ROOT)} is missing: run `npm install`")
    with tempfile.TemporaryFile("w+") as said:  # no pipe: it would be full some day
        command = [*tied(), ANVIL, "--port", "0", *map(str, arguments)]
        process = subprocess.Popen(command, stdout=said, start_new_session=True)
        try:
            while not (found := re.search(r"Listening on (\S+)\n", _whole(said))):
                assert process.poll() is None, f"anvil has ended: {_whole(said)}"
                time.sleep(0.02)
            yield f"http://{found[1]}"
        finally:
            process.kill()
            process.wait()


def _whole(file: TextIO) -> str:
    return os.pread(file.fileno(), 1 << 20, 0).decode()


def children_of(pid: int) -> list[int]:
    """The processes of a session that are alive: all that a program has ever started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            except (OSError, ValueError):
                continue
            if int(session) == pid and state != "Z":
                found.append(int(entry.name))
    return found


def wait_until_alone(pid: int) -> None:
    """Waits until nothing of a program's session is left."""
    deadline = time.monotonic() + LONG
    while left := children_of(pid):
        assert time.monotonic() < deadline, f"{left} are left behind"
        time.sleep(0.02)
