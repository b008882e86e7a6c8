"""A worker that answers each request with the bytes of a file: what a stranger's code may make of its process."""

from __future__ import annotations

import json
from multiprocessing.connection import Connection
from pathlib import Path

from galaxy_fl.worker import forkserver
from galaxy_fl.worker.worker import Worker

__all__ = ["HostileWorker"]


def serve(connection: Connection) -> None:
    """The worker's side."""
    while True:
        try:
            asked = json.loads(connection.recv_bytes())
        except EOFError:
            return
        connection.send_bytes(Path(asked["arguments"]["vector"]).read_bytes())


class HostileWorker(Worker):
    """The parent's side, which is the real one."""

    def __init__(self) -> None:
        super().__init__()
        self.close()
        self._child = forkserver.fork(f"{__name__}:serve")
