"""What goes wrong between a request to a node and its result."""

from __future__ import annotations

from galaxy_chain.exceptions import RpcError

__all__ = ["RpcAnswerError", "TooMuchError", "Trouble", "UnreliableAnswerError"]


class RpcAnswerError(RpcError):
    """The node answered with an error.

    Attributes:
        code: Of JSON-RPC; 3 for a revert on most nodes.
        reason: The node's own message.
        data: The revert data, or empty.
    """

    temporary = False

    def __init__(self, method: str, code: int, message: str, data: bytes) -> None:
        super().__init__(f"the node refuses {method}: {message} (code {code})")
        self.code = code
        self.reason = message
        self.data = data


class TooMuchError(RpcError):
    """The answer did not come in time, or is larger than what is read: less has to be asked for."""


class UnreliableAnswerError(RpcError):
    """A node contradicts what it said before, or does not answer the question: ask again, or another node."""


class Trouble(Exception):
    """A node gave no answer.

    Args:
        acted: Whether the node may have done what was asked.
        retry_after: Seconds for which it wants to be left alone.
        too_much: Whether a smaller request may help.
        there: Whether it is a node all the same, one that is worth waiting for.
    """

    def __init__(
        self,
        message: str,
        *,
        acted: bool = True,
        retry_after: float = 0.0,
        too_much: bool = False,
        there: bool = False,
    ) -> None:
        super().__init__(message)
        self.acted = acted
        self.retry_after = retry_after
        self.too_much = too_much
        self.there = there
