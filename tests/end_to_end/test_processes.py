"""What the tests start ends with them."""

from __future__ import annotations

import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.end_to_end.processes import LONG, Program


class Starter(Program):
    """A process that has started a node, as tests do."""

    program = (
        "-c",
        "import time; from tests.end_to_end.processes import anvil, embedded; from pathlib import Path; import sys;"
        "started = anvil() if sys.argv[1] == 'anvil' else embedded(Path.cwd());"
        "print(started.__enter__(), flush=True); time.sleep(600)",
    )


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("setpriv") is None, reason="setpriv is Linux's")
@pytest.mark.parametrize("node", ["anvil", "embedded"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_node_ends_with_tests_that_are_killed(tmp_path: Path, node: str, how: signal.Signals) -> None:
    with Starter(tmp_path, node) as tests:
        url = urlsplit(tests.line("http"))
        address = (url.hostname, int(url.netloc.rpartition(":")[2]))
        socket.create_connection(address).close()
        tests.process.send_signal(how)
        assert tests.process.wait(LONG) == -how
        deadline = time.monotonic() + LONG
        while True:
            try:
                socket.create_connection(address).close()
            except ConnectionError:
                break
            assert time.monotonic() < deadline, f"{node} outlives the tests that started it"
            time.sleep(0.05)
