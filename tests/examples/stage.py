"""Example programs, each in a process of its own in which torch is loaded already.

They are forked from the fork server of this test process, and are otherwise what `python FILE` is: the file is
`__main__`, its folder comes first on the path, and what it prints goes where it is told.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path

from galaxy_fl.worker import forkserver

__all__ = ["EXAMPLES", "Stage"]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LONG = 120
"""Seconds after which a program is stuck, however busy the machine."""


class Stage(ExitStack):
    """Starts programs, and ends those that are left when it is closed."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._children: dict[Path, forkserver.Child] = {}

    def start(self, program: str, *arguments: str, folder: str = ".", **variables: str) -> Path:
        """Start an example, `hello/client.py`, in a folder; return the file of what it prints.

        Args:
            variables: Put into its environment.
        """
        directory = self._folder / folder
        directory.mkdir(exist_ok=True)
        said = self._folder / f"said-{len(self._children)}"
        child = self.enter_context(forkserver.fork("tests.examples.stage:perform"))
        child.connection.send_bytes(
            json.dumps([str(EXAMPLES / program), list(arguments), str(directory), str(said), variables]).encode()
        )
        self._children[said] = child
        return said

    def run(self, program: str, *arguments: str, folder: str = ".", **variables: str) -> str:
        """Run an example to its end; return what it printed."""
        return self.finish(self.start(program, *arguments, folder=folder, **variables))

    def finish(self, said: Path) -> str:
        """Wait for the end of a program that was started; return what it printed."""
        code = self._children[said].wait(LONG)
        assert code == 0, (code, said.read_text())
        return said.read_text()


def perform(connection: Connection) -> None:
    """Be the program that the stage names; runs in the forked process."""
    program, arguments, directory, said, variables = json.loads(connection.recv_bytes())
    os.environ.update(variables)
    os.chdir(directory)
    output = os.open(said, os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(output, stream)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    _be_a_fresh_program(arguments, Path(program))
    runpy.run_path(program, run_name="__main__")


def _be_a_fresh_program(arguments: Sequence[str], program: Path) -> None:
    del sys.modules[forkserver.PRELOAD]  # which marks workers, and they may not describe jobs
    sys.argv = [str(program), *arguments]
    sys.path.insert(0, str(program.parent))
