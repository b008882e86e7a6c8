"""Errors that a JSON-RPC answer carries, with the codes and wording of geth."""

from __future__ import annotations

from typing import Any

from galaxy_fl.exceptions import GalaxyError

__all__ = [
    "ExecutionReverted",
    "InvalidParameters",
    "InvalidRequest",
    "MethodNotFound",
    "ParseError",
    "RPCError",
]


class RPCError(GalaxyError):
    """A request that the node can't or won't carry out.

    `code` is the JSON-RPC error code (-32000 where geth has no better one), `data` the error's data as JSON.
    """

    code = -32000

    def __init__(self, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.data = data

    def as_json(self) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.code, "message": str(self)}
        if self.data is not None:
            error["data"] = self.data
        return error


class ParseError(RPCError):
    """The body is not JSON."""

    code = -32700


class InvalidRequest(RPCError):
    """The body is JSON, but not a JSON-RPC request."""

    code = -32600


class MethodNotFound(RPCError):
    """There is no such method."""

    code = -32601


class InvalidParameters(RPCError):
    """Too many, too few, or malformed parameters."""

    code = -32602


class ExecutionReverted(RPCError):
    """A call or a gas estimate reverted; `data` is what the contract returned, in hex."""

    code = 3
