"""JSON-RPC 2.0: envelopes, batches and the choice of the method."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable
from typing import Any

from pydantic_core import from_json

from galaxy_chain.node.errors import InvalidParameters, InvalidRequest, MethodNotFound, ParseError, RPCError
from galaxy_chain.node.methods import Methods

__all__ = ["Dispatcher"]

MAX_BATCH = 1000

_logger = logging.getLogger(__name__)


class Dispatcher:
    """Answers the body of a request with the body of an answer."""

    def __init__(self, methods: Methods) -> None:
        self._methods = {
            name: _Method(function)
            for name, function in inspect.getmembers(methods, inspect.ismethod)
            if not name.startswith("_")
        }

    async def answer(self, body: bytes) -> bytes | None:
        """The answer to one request or to a batch; None if there was nothing but notifications."""
        try:
            # not json.loads: py-evm raises the recursion limit so far that nested lists would crash the process
            request = from_json(body, allow_inf_nan=False)
        except ValueError as error:
            return _encode(_failed(None, ParseError(f"parse error: {error}")))
        if not isinstance(request, list):
            answer = await self._one(request)
            return None if answer is None else _encode(answer)
        if not request:
            return _encode(_failed(None, InvalidRequest("empty batch")))
        if len(request) > MAX_BATCH:
            too_large = InvalidRequest(f"batch too large: {len(request)} requests, at most {MAX_BATCH}")
            return _encode(_failed(None, too_large))
        # one after the other: a batch may well depend on its order
        answers = [await self._one(each) for each in request]
        sent = [answer for answer in answers if answer is not None]
        return _encode(sent) if sent else None

    async def _one(self, request: Any) -> dict[str, Any] | None:
        if not isinstance(request, dict):
            return _failed(None, InvalidRequest(f"expected a request object, got {request!r:.80}"))
        identity = request.get("id")
        try:
            result = await self._call(request)
        except RPCError as error:
            answer = _failed(identity, error)
        except Exception:
            _logger.exception("%s failed", request.get("method"))
            answer = {
                "jsonrpc": "2.0",
                "id": identity,
                "error": {"code": -32603, "message": "internal error: see the node's log"},
            }
        else:
            answer = {"jsonrpc": "2.0", "id": identity, "result": result}
        return answer if "id" in request else None

    async def _call(self, request: dict[str, Any]) -> Any:
        name, params = request.get("method"), request.get("params", [])
        if request.get("jsonrpc") != "2.0" or not isinstance(name, str):
            raise InvalidRequest('expected "jsonrpc": "2.0" and a "method"')
        method = self._methods.get(name)
        if method is None:
            raise MethodNotFound(f"the method {name:.80} does not exist/is not available")
        if not isinstance(params, list) or not method.least <= len(params) <= method.most:
            expected = f"{method.least} to {method.most}" if method.least < method.most else f"{method.most}"
            raise InvalidParameters(f"{name} takes a list of {expected} parameters, got {params!r:.80}")
        result = method.function(*params)
        return await result if method.waits else result


class _Method:
    """A function with the numbers of parameters that it takes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        taken = inspect.signature(function).parameters.values()
        self.function = function
        self.waits = inspect.iscoroutinefunction(function)
        self.most = len(taken)
        self.least = sum(parameter.default is parameter.empty for parameter in taken)


def _failed(identity: Any, error: RPCError) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "error": error.as_json()}


def _encode(answer: Any) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode()
