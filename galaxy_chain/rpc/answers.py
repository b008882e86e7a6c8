"""JSON-RPC: the answer in the bytes that a node sent, and what an answer with an error means."""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import from_json

from galaxy_chain.rpc.errors import RpcAnswerError, Trouble

__all__ = ["behind", "check_form", "may_be_repeated", "read_answer", "result_of", "revert_data"]


def read_answer(name: str, method: str, identity: int, body: bytes, what: str) -> dict[str, Any]:
    """The answer to a request in the bytes that a node sent.

    Args:
        identity: The number of the request.
        what: What the bytes are, if they are not JSON.

    Raises:
        Trouble: it is not in there.
    """
    try:
        # Bounded in depth. The json module crashes on deep nesting where py-evm has raised the recursion limit.
        answer = from_json(body)
    except ValueError as error:
        text = body[:1000].decode(errors="replace")
        raise Trouble(
            f"{name} answers {method} with {what} that is not JSON, {text!r:.100}: it is not an Ethereum node"
        ) from error
    checked = check_form(name, method, answer)
    if not checked.get("error") and checked.get("id") != identity:
        raise Trouble(f"{name} answers {method} with the answer to another request: {answer!r:.200}")
    return checked


def check_form(name: str, method: str, answer: Any) -> dict[str, Any]:
    """An answer in the form of JSON-RPC.

    Raises:
        Trouble: it is not in that form.
    """
    if not isinstance(answer, dict):
        raise Trouble(f"{name} answers {method} with something that is not JSON-RPC: {answer!r:.200}")
    if not answer.get("error") and "result" not in answer:
        raise Trouble(f"{name} answers {method} with neither result nor error: {answer!r:.200}")
    return answer


def result_of(method: str, answer: dict[str, Any]) -> Any:
    """The result in an answer.

    Raises:
        RpcAnswerError: it is an error.
    """
    failure = answer.get("error")
    if not failure:
        return answer["result"]
    if not isinstance(failure, dict):
        failure = {"message": str(failure)}
    code = failure.get("code")
    raise RpcAnswerError(
        method, code if isinstance(code, int) else 0, str(failure.get("message")), revert_data(failure)
    )


def revert_data(error: dict[str, Any]) -> bytes:
    """The data of a revert in an error that a node answers with; empty where there is none."""
    data = error.get("data")
    if isinstance(data, dict):  # some nodes wrap it
        data = data.get("data")
    try:
        return bytes.fromhex(data[2:]) if isinstance(data, str) and data.startswith("0x") else b""
    except ValueError:
        return b""


_NO_BLOCK = re.compile(
    r"BlockOutOfRange|(header|block)( for hash| with \S+)?( is| was| could)? not (be )?found|unknown (block|header)"
    r"|missing trie node|world state unavailable",
    re.IGNORECASE,
)
"""How anvil, Besu, Erigon, geth, Nethermind and Reth say that they do not have a block, or its state."""
_STATE = frozenset(
    {"eth_call", "eth_estimateGas", "eth_feeHistory", "eth_getBalance", "eth_getCode", "eth_getTransactionCount"}
)
"""The methods that are about the state at a block. Where others find none, their callers say what follows."""


def behind(method: str, answer: dict[str, Any]) -> str | None:
    """What a node says that lacks the block whose state it is asked for; None where it does not say that.

    Even one that is asked for its latest may: in the middle of a reorganisation, or where a load balancer's nodes are
    not equally far.
    """
    failure = answer.get("error")
    if method not in _STATE or not isinstance(failure, dict) or failure.get("code") == 3 or revert_data(failure):
        return None
    message = str(failure.get("message"))
    return message if "revert" not in message and _NO_BLOCK.search(message) else None


def may_be_repeated(method: str) -> bool:
    """Whether a request does no more twice than once. Signed transactions are the same twice; others are not."""
    return method.startswith(("eth_", "net_", "web3_")) and method != "eth_sendTransaction"
