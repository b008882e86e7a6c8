"""A running node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.http_server import HttpServer, listen

if TYPE_CHECKING:
    from galaxy_chain.node.http import Application

__all__ = ["DEFAULT_CHAIN_ID", "DEVELOPMENT_MNEMONIC", "Node"]

DEFAULT_CHAIN_ID = 1337
DEVELOPMENT_MNEMONIC = "test test test test test test test test test test test junk"

_BALANCE = 10_000 * 10**18
_MAX_CHAIN_ID = 2**63 - 36  # EIP-2294
_KEEP_ALIVE_SECONDS = 75
_SHUTDOWN_SECONDS = 2


class Node(HttpServer):
    """A development chain, listening on `host` and `port` (0: any free one) from the moment it is made.

    Attributes:
        accounts: The addresses (checksummed) of the unlocked accounts with 10,000 ether each.
        private_keys: Their keys (32 bytes).

    Raises:
        ConfigurationError: it can't listen there, or a setting is out of range.
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
        listener = listen(host, port)
        try:
            super().__init__(
                listener,
                host,
                self._application(host, accounts, chain_id, mnemonic),
                _SHUTDOWN_SECONDS,
                http="httptools",  # half the time of h11, which is most of what a request costs here
                loop="asyncio",
                log_level="warning",
                date_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            )
        except BaseException:
            listener.close()
            raise
        self.chain_id = chain_id

    def _application(self, host: str, accounts: int, chain_id: int, mnemonic: str) -> Application:
        # imported here, because py-evm takes a second
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
        return Application(Dispatcher(Methods(self.chain, self._engine, keys)), host)

    def stop(self) -> None:
        """Stops answering and lets the port go; harmless if it never started."""
        super().stop()
        self._engine.close()
