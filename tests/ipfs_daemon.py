"""A real IPFS daemon for tests: js-ipfs on loopback, on free ports, with a repository of its own, talking to nobody.

with daemon(folder) as ipfs:
    store = open_store(home / "store", ipfs.url)
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.processes import tied

__all__ = ["Daemon", "daemon"]

REPOSITORY = Path(__file__).parents[1]
PROGRAM = REPOSITORY / "node_modules" / "ipfs" / "src" / "cli.js"

PRELOAD = """
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((good, bad) => { resolve = good; reject = bad })
  return { promise, resolve, reject }
}
"""
"""What the daemon's libraries take from Node 22, for Node 20."""


@dataclass
class Daemon:
    """A running daemon.

    Attributes:
        url: Of its RPC.
        gateway: Of its gateway.
        repository: Where its blocks are.
    """

    url: str
    gateway: str
    repository: Path
    process: subprocess.Popen[str]

    def kill(self) -> None:
        """Ends it at once. Nothing is left but its repository."""
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.repository / "repo.lock", ignore_errors=True)


def _unavailable(why: str) -> None:
    """Where a machine can't have the daemon, tests that need it do not run and say so; in CI they fail."""
    message = f"NOT TESTED with a real IPFS daemon: {why}; run scripts/setup --development"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def daemon(folder: Path, *, port: int = 0) -> Iterator[Daemon]:
    """A daemon with its repository in `folder`, which is made if it is not there, so that a second one goes on with it.

    `port`: of the RPC; 0 for a free one.
    """
    node = shutil.which("node")
    if node is None:
        _unavailable("there is no Node.js")
    if not PROGRAM.exists():
        _unavailable("node_modules has no js-ipfs")
    folder.mkdir(exist_ok=True)
    preload, settings, repository = folder / "preload.cjs", folder / "settings.json", folder / "repository"
    preload.write_text(PRELOAD)
    settings.write_text(json.dumps(_settings(port)))
    process = subprocess.Popen(
        [
            *tied(),
            str(node),
            *("--require", str(preload)),
            str(PROGRAM),
            *("daemon", "--offline", "--enable-preload=false", "--init-config", str(settings)),
        ],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "IPFS_PATH": str(repository), "NO_UPDATE_NOTIFIER": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said = _until_ready(process)
        rpc, gateway = (
            re.search(rf"{name}.* listening on /ip4/127.0.0.1/tcp/(\d+)", said) for name in ("API", "Gateway")
        )
        assert rpc
        assert gateway
        running = Daemon(f"http://127.0.0.1:{rpc[1]}", f"http://127.0.0.1:{gateway[1]}", repository, process)
        yield running
    finally:
        process.kill()  # it takes seconds to end by itself
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        shutil.rmtree(repository / "repo.lock", ignore_errors=True)


def _until_ready(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("Daemon is ready"):
            return said
    pytest.fail(f"the IPFS daemon did not start:\n{said}")


def _settings(port: int) -> dict[str, object]:
    free = "/ip4/127.0.0.1/tcp/0"
    return {
        "Addresses": {"Swarm": [], "Delegates": [], "API": f"/ip4/127.0.0.1/tcp/{port}", "Gateway": free, "RPC": free},
        "Bootstrap": [],
        "Discovery": {"MDNS": {"Enabled": False}, "webRTCStar": {"Enabled": False}},
        "Pubsub": {"Enabled": False},
    }
