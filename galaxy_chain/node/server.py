"""A running node: in a thread of this process, or in the foreground until a signal ends it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.http_server import listen

__all__ = ["DEFAULT_CHAIN_ID", "DEVELOPMENT_MNEMONIC", "Node", "serve"]

DEFAULT_CHAIN_ID = 1337
DEVELOPMENT_MNEMONIC = "test test test test test test test test test test test junk"

_BALANCE = 10_000 * 10**18
_MAX_CHAIN_ID = 2**63 - 36  # EIP-2294
_KEEP_ALIVE_SECONDS = 75
_SHUTDOWN_SECONDS = 2


class Node:
    """A development chain, listening on `host` and `port` (0: any free one) from the moment it is made.

    It answers between `start` and `stop`, or in a `with` block. `url` is where, `accounts` the addresses
    (checksummed) of the unlocked accounts with 10,000 ether each, `private_keys` their keys (32 bytes).

    Raises ConfigurationError if it can't listen there, or a setting is out of range.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8545,
        *,
        accounts: int = 10,
        chain_id: int = DEFAULT_CHAIN_ID,
        mnemonic: str = DEVELOPMENT_MNEMONIC,
    ) -> None:
        if not 1 <= chain_id <= _MAX_CHAIN_ID:
            raise ConfigurationError(f"chain id {chain_id} is out of range: expected 1 to {_MAX_CHAIN_ID}")
        # before anything slow: a taken port is the likeliest mistake
        self._socket = listen(host, port)
        try:
            self._build(host, accounts, chain_id, mnemonic)
        except BaseException:
            self._socket.close()
            raise
        self.chain_id = chain_id
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
        self._thread: threading.Thread | None = None

    def _build(self, host: str, accounts: int, chain_id: int, mnemonic: str) -> None:
        # imported here, for py-evm takes a second
        import uvicorn
        from eth_typing import Address

        from galaxy_chain.node.accounts import derive_keys
        from galaxy_chain.node.chain import Chain
        from galaxy_chain.node.engine import Engine
        from galaxy_chain.node.http import Application
        from galaxy_chain.node.methods import Methods
        from galaxy_chain.node.rpc import Dispatcher

        keys = {Address(key.public_key.to_canonical_address()): key for key in derive_keys(mnemonic, accounts)}
        self.accounts: list[str] = [key.public_key.to_checksum_address() for key in keys.values()]
        self.private_keys: list[bytes] = [key.to_bytes() for key in keys.values()]
        self.chain = Chain(chain_id, dict.fromkeys(keys, _BALANCE))
        self._engine = Engine(self.chain)
        application = Application(Dispatcher(Methods(self.chain, self._engine, keys)), host)
        self._server = uvicorn.Server(
            uvicorn.Config(
                application,
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            )
        )

    def start(self) -> None:
        """Begins to answer, in a thread of its own."""
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="node", daemon=True
        )
        self._thread.start()

    def interrupt(self) -> None:
        """Asks it to stop; for signal handlers, which must not wait."""
        self._server.should_exit = True

    def wait(self) -> None:
        """Waits until it has stopped answering."""
        if self._thread is not None:
            self._thread.join()

    def stop(self) -> None:
        """Stops answering and lets the port go; harmless if it never started."""
        self.interrupt()
        self.wait()
        self._engine.close()
        self._socket.close()

    def __enter__(self) -> Node:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def serve(
    host: str = "127.0.0.1",
    port: int = 8545,
    *,
    accounts: int = 10,
    chain_id: int = DEFAULT_CHAIN_ID,
    mnemonic: str = DEVELOPMENT_MNEMONIC,
    ready: Callable[[Node], None],
) -> None:
    """Runs a node in the foreground until SIGINT or SIGTERM; prints nothing. Only in a main thread.

    `ready` is called once the node listens, to show its url, chain id and accounts. Raises as `Node` does.
    """
    node = Node(host, port, accounts=accounts, chain_id=chain_id, mnemonic=mnemonic)

    def end(_signal: int, _frame: Any) -> None:
        node.interrupt()

    before = {each: signal.signal(each, end) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        with node:
            ready(node)
            node.wait()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
