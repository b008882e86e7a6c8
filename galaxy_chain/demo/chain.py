"""The chain of a demonstration, in a process of its own: the embedded one, or Foundry's node, which is much quicker."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from enum import StrEnum
from functools import partial
from typing import IO

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.interrupts import interrupts_wait

__all__ = ["CHAIN_ID", "DemoChain", "running_chain"]

CHAIN_ID = 1337
"""Of all chains of demonstrations."""

_LOOKS = 0.01
"""Seconds between two looks at what anvil has said until it listens."""


class DemoChain(StrEnum):
    """A development chain that a demonstration can run on."""

    EMBEDDED = "embedded"
    """`galaxy-chain node`: a virtual machine in Python, always there."""
    ANVIL = "anvil"
    """Foundry's node, found on the PATH."""


@contextmanager
def running_chain(chain: DemoChain, accounts: int) -> Iterator[Callable[[], str]]:
    """A chain with so many unlocked accounts in a process of its own while the context lasts; gives what waits for its
    URL.

    Raises:
        ConfigurationError: the chain is anvil, and that is not installed.
    """
    with ExitStack() as ending:
        # No pipe: nobody reads it later, and anvil tells of each request.
        said = ending.enter_context(tempfile.TemporaryFile("w+"))
        # An interrupt at the terminal is for this process. The chain's never sees it: one that only begins would end
        # with a traceback.
        with interrupts_wait():
            # A group of its own, so that it ends whole: npm's `anvil` is a script that starts the node as its child.
            process = subprocess.Popen(_command(chain, accounts), stdout=said, process_group=0)
            ending.callback(_end, process)
        yield partial(_ready, chain, said, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # it keeps nothing that could be lost
    process.wait()


def _ready(chain: DemoChain, said: IO[str], process: subprocess.Popen[bytes]) -> str:
    from galaxy_chain.exceptions import RpcError

    while (url := _url(chain, _whole(said))) is None:
        if (code := process.poll()) is not None:
            raise RpcError(f"the {chain} chain ended with exit code {code}: standard error says why")
        time.sleep(_LOOKS)
    return url


def _command(chain: DemoChain, accounts: int) -> list[str]:
    if chain is DemoChain.EMBEDDED:
        return [sys.executable, "-m", "galaxy_chain", "node", "--port", "0", "--accounts", str(accounts), "--json"]
    program = shutil.which("anvil")
    if program is None:
        raise ConfigurationError(
            "anvil is not on the PATH: install Foundry (https://getfoundry.sh), or use the embedded chain, which needs "
            "nothing"
        )
    settings = {
        "port": 0,
        "accounts": accounts,
        # As on the embedded chain.
        "chain-id": CHAIN_ID,
        "hardfork": "prague",
        "gas-limit": 30_000_000,
        # Of as many blocks the states are there; all others it would write to the user's home, and leave them there.
        "prune-history": 2_000,
    }
    return [program, *(word for name, value in settings.items() for word in (f"--{name}", str(value)))]


def _whole(file: IO[str]) -> str:
    return os.pread(file.fileno(), 2**20, 0).decode(errors="replace")


def _url(chain: DemoChain, said: str) -> str | None:
    """Where a chain answers, by what it has said so far; None for not yet."""
    if chain is DemoChain.EMBEDDED:
        return str(json.loads(said)["url"]) if said.endswith("\n") else None
    found = re.search(r"Listening on (\S+)\n", said)
    return None if found is None else f"http://{found[1]}"
