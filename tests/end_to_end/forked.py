"""Programs that are forked from this test process's fork server, in which torch is loaded already.

Each is a process of its own in a session of its own, and otherwise what `python` starts: its file is `__main__`, its
folder comes first on the path, and it has the environment that it is given. But it starts in milliseconds, and so does
whatever trains for it: they use the same fork server. That programs start by themselves, and that nothing of theirs is
left behind when they are killed, is what those tests show which start them as `Program` and `Script` do.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from galaxy_fl import faults
from galaxy_fl.worker import forkserver
from tests.end_to_end.processes import Program, environment

__all__ = ["Forked", "ForkedProcess", "ForkedScript"]

PRELOADED = (
    "galaxy_chain.cli.main",
    "galaxy_chain.cli.participate",
    "galaxy_chain.mode",
    "galaxy_fl.core.job_manager",
    "galaxy_fl.core.server",
    "galaxy_fl.core.trainer_controller",
)
"""Modules that most programs import."""


class Forked(Program):
    """A galaxy-chain command."""

    def __init__(self, folder: Path, *arguments: object, **variables: str) -> None:
        self.arguments = list(map(str, arguments))
        self.process = ForkedProcess(folder, [*self.program, *self.arguments], environment(**variables))  # type: ignore[assignment]


class ForkedScript(Forked):
    """A Python script of a user's: its path, then its arguments."""

    program = ()


class ForkedProcess:
    """As much of a Popen object as there is need for; output goes to files, so that no pipe is ever full.

    Args:
        folder: Where it runs.
        command: `-m` and a module, or a file, and arguments.
        variables: Its environment.
        said: The file for all that it says; None for two that nobody else sees.
    """

    def __init__(self, folder: Path, command: list[str], variables: dict[str, str], said: Path | None = None) -> None:
        self._folder = TemporaryDirectory(prefix="galaxy-said-")
        files = [said, said] if said else [Path(self._folder.name, name) for name in ("output", "errors")]
        self._output, self._errors = (path.open("w+") for path in files)
        forkserver.start(*PRELOADED)
        self._child = forkserver.fork(f"{__name__}:perform")
        self._child.connection.send_bytes(json.dumps([command, str(folder), list(map(str, files)), variables]).encode())
        self.pid = self._child.pid
        self.returncode: int | None = None

    @property
    def stdout(self) -> Iterator[str]:
        """Its lines from where the last reader stopped, as they come."""
        line = ""
        while True:
            ended = self.poll() is not None
            while piece := self._output.readline():
                line += piece
                if line.endswith("\n"):
                    yield line
                    line = ""
            if ended:
                return
            time.sleep(0.02)

    def poll(self) -> int | None:
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._wait(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        if self._output.closed:
            return "", ""
        said = self._output.read(), self._errors.read()
        for file in (self._output, self._errors):
            file.close()
        self._folder.cleanup()
        return said

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Kills it if it still runs, and removes its files."""
        self.kill()
        self.communicate()

    def _wait(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self.returncode = self._child.wait(timeout)
            if self.returncode is not None:
                self._child.close()
        return self.returncode


def perform(connection: Connection) -> None:
    """Is the program that is named; runs in the forked process."""
    command, folder, said, variables = json.loads(connection.recv_bytes())
    os.setsid()
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    for stream, path in zip((1, 2), said, strict=True):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, stream)
        os.close(file)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    importlib.reload(faults)  # its environment is another
    del sys.modules[forkserver.PRELOAD]  # which marks workers, and they may not describe jobs
    module = command.pop(0) if command[0] == "-m" else None
    sys.argv = command
    if module:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(command[0]).resolve().parent))
        runpy.run_path(command[0], run_name="__main__")
