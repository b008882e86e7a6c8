"""A worker that sends the bytes of a file for each request: what a stranger's code may make of its process."""

from __future__ import annotations

import json
from multiprocessing.connection import Connection
from pathlib import Path

from galaxy_fl.worker import forkserver
from galaxy_fl.worker.served_data import ServedData
from galaxy_fl.worker.worker import Worker

__all__ = ["SEPARATOR", "HostileWorker"]

SEPARATOR = b"\n\n"
"""Between two messages in the file."""


def serve(connection: Connection) -> None:
    """The worker's side: it replies to nothing but `evaluate` and `describe`."""
    while True:
        try:
            asked = json.loads(connection.recv_bytes())
        except EOFError:
            return
        except ValueError:  # tensors that it asked for
            continue
        if "vector" in asked:
            for message in Path(asked["vector"]).read_bytes().split(SEPARATOR):
                connection.send_bytes(message)


class HostileWorker(Worker):
    """The parent's side, which is the real one, with data that it serves or none."""

    def __init__(self, served: ServedData | None = None) -> None:
        super().__init__()
        self.close()
        self._child = forkserver.fork(f"{__name__}:serve")
        self._sessions = {0: served}
