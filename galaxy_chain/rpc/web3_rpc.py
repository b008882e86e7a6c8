"""web3.py on both sides of the RPC: a `Web3` whose provider takes the place of URLs, and a provider on our fail-over.

Importing this imports web3, which takes about a second: only what is given a `Web3`, or asked for one, does.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from weakref import WeakKeyDictionary

from web3 import AsyncWeb3, Web3
from web3.datastructures import NamedElementOnion
from web3.providers import BaseProvider, EthereumTesterProvider, HTTPProvider, JSONBaseProvider
from web3.providers.async_base import AsyncBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from galaxy_chain.exceptions import RpcError
from galaxy_chain.rpc.answers import check_form
from galaxy_chain.rpc.errors import RpcAnswerError, Trouble
from galaxy_chain.rpc.rpc import Rpc
from galaxy_fl.exceptions import ConfigurationError

__all__ = ["RpcProvider", "Web3Rpc", "as_web3"]

_LOCKS: WeakKeyDictionary[BaseProvider, threading.Lock] = WeakKeyDictionary()
"""One request at a time, except over HTTP: other providers have one connection, or none that threads may share."""
_NEW_LOCK = threading.Lock()


def as_web3(given: object) -> Web3:
    """Return what was given in place of URLs, if it is a `Web3` that can be used.

    Raises:
        ConfigurationError: it can't be used.
    """
    if isinstance(given, AsyncWeb3 | AsyncBaseProvider):
        raise ConfigurationError(
            f"nodes is {type(given).__name__}, which works only inside its own event loop: give the node's URL in its "
            "place (http:, https:, ws: or wss:), or a Web3 with an HTTPProvider or an IPCProvider"
        )
    if isinstance(given, BaseProvider):
        raise ConfigurationError(f"nodes is a provider: give Web3({type(given).__name__}(…))")
    if not isinstance(given, Web3):
        raise ConfigurationError(f"nodes is {given!r:.80}, expected the URLs of nodes, or a web3.Web3")
    if isinstance(given.provider, RpcProvider):
        raise ConfigurationError("nodes is a Web3 that a ledger has made: give the nodes of that ledger")
    return given


class Web3Rpc(Rpc):
    """The node of a `Web3`, asked through its provider.

    Middleware is passed over: it is for what users see of an answer, and some of it refuses or renames what is read
    here (a proof-of-authority chain's long `extraData`). What it does to transactions is `Web3Signer`'s.

    Args:
        web3: Its provider is used as it is now.
        patience: Seconds until a request to a node that has answered before is given up.
    """

    def __init__(self, web3: Web3, patience: float = 120.0) -> None:
        provider = web3.provider
        where = getattr(provider, "endpoint_uri", None) or getattr(provider, "ipc_path", None)
        super().__init__((str(where or type(provider).__name__),), patience=patience)
        self.web3 = web3
        # What the provider itself does to requests, as eth-tester's must, but no middleware of the Web3.
        self._send = provider.request_func(web3, NamedElementOnion[Any, Any]([]))
        with _NEW_LOCK:
            self._lock = None if isinstance(provider, HTTPProvider) else _LOCKS.setdefault(provider, threading.Lock())

    def _post(self, node: int, method: str, parameters: Sequence[Any]) -> dict[str, Any]:
        try:
            if self._lock is None:
                answer: Any = self._send(RPCEndpoint(method), list(parameters))
            else:
                with self._lock:
                    answer = self._send(RPCEndpoint(method), list(parameters))
        except Exception as error:  # each provider has its own
            status = getattr(getattr(error, "response", None), "status_code", None)
            self._unchecked.add(node)
            raise Trouble(
                f"{self.name} does not answer {method} ({type(error).__name__}: {error!s:.200})",
                acted=status != 429,
                too_much=isinstance(error, TimeoutError) or "Timeout" in type(error).__name__,
                there=status == 429,
            ) from error
        return check_form(
            self.name, method, _plain(answer) if isinstance(self.web3.provider, EthereumTesterProvider) else answer
        )


def _plain(value: Any) -> Any:
    """What eth-tester answers in Python's types, as JSON-RPC has it."""
    if isinstance(value, Mapping):
        return {key: _plain(each) if key not in ("id", "code") else each for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return hex(value) if isinstance(value, int) and not isinstance(value, bool) else value


class RpcProvider(JSONBaseProvider):
    """A provider for a `Web3` whose requests go through an `Rpc`: to the node that answers, and never sent twice.

    Args:
        make: Makes an Rpc; called at the first request.
    """

    def __init__(self, make: Callable[[], Rpc]) -> None:
        super().__init__()
        self._make = make
        self._rpc: Rpc | None = None
        self._lock = threading.Lock()

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Answer as a node does.

        Raises:
            RpcError: no node answers.
        """
        asked = json.loads(self.encode_rpc_request(method, params))
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
        with self._lock:
            rpc = self._rpc = self._make() if self._rpc is None else self._rpc
            try:
                answer["result"] = rpc.request(method, *asked["params"])
            except RpcAnswerError as error:
                answer["error"] = {"code": error.code, "message": error.reason, "data": "0x" + error.data.hex()}
        return cast(RPCResponse, answer)

    def is_connected(self, show_traceback: bool = False) -> bool:
        """Whether a node answers."""
        try:
            self.make_request(RPCEndpoint("eth_chainId"), [])
        except RpcError:
            if show_traceback:
                raise
            return False
        return True
