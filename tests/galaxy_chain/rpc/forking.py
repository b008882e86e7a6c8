"""A process that asks a node, forks, and whose child asks it too, before the parent does so again."""

from __future__ import annotations

import os
import subprocess
import sys

from galaxy_chain.rpc.rpc import Rpc

__all__ = ["check"]


def check(url: str) -> None:
    """Run it in a process of its own, because a fork copies no thread."""
    subprocess.run([sys.executable, "-m", __name__, url], check=True, timeout=600)


def main() -> None:
    rpc = Rpc(sys.argv[1])
    assert rpc.number("eth_gasPrice") == 1
    child = os.fork()
    if child == 0:
        assert rpc.number("eth_gasPrice") == 1
        del rpc  # which ends connections
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert rpc.number("eth_gasPrice") == 1


if __name__ == "__main__":
    main()
