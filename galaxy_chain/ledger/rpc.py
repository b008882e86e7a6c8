"""One Ethereum node, by JSON-RPC over HTTP.

Plain httpx instead of web3's provider: importing web3 takes more than a second, which every command would pay.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import httpx

from galaxy_chain.exceptions import RpcError, WrongChainError

__all__ = ["Block", "Rpc", "RpcAnswerError"]

HELP = "start one with `galaxy-chain node`, or name another with --rpc or GALAXY_RPC"


class RpcAnswerError(RpcError):
    """The node answered with an error.

    Attributes:
        code: Of JSON-RPC; 3 for a revert on most nodes.
        reason: The node's own message.
        data: The revert data, or empty.
    """

    def __init__(self, method: str, code: int, message: str, data: bytes) -> None:
        super().__init__(f"the node refuses {method}: {message} (code {code})")
        self.code = code
        self.reason = message
        self.data = data


@dataclass(frozen=True)
class Block:
    """A block's header, as far as it is used here; `time` in seconds, `base_fee` in wei, None before EIP-1559."""

    number: int
    identity: str
    parent: str
    time: int
    base_fee: int | None


def _revert_data(error: dict[str, Any]) -> bytes:
    data = error.get("data")
    if isinstance(data, dict):  # some nodes wrap it
        data = data.get("data")
    try:
        return bytes.fromhex(data[2:]) if isinstance(data, str) and data.startswith("0x") else b""
    except ValueError:
        return b""


class Rpc:
    """A node's JSON-RPC: plain requests with plain JSON answers, and errors that say what to do.

    Args:
        url: `http://` or `https://`.
        timeout: Seconds that one request may take. Raise it for a node that answers large `eth_getLogs` slowly.
    """

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        self.url = url
        self._client = httpx.Client(
            verify=url.startswith("https:"),  # certificates take 30 ms to load, for nothing where there is no TLS
            timeout=timeout,
            headers={"Content-Type": "application/json"},
        )
        weakref.finalize(self, self._client.close)

    def request(self, method: str, *parameters: Any) -> Any:
        """The result of one request.

        Raises:
            RpcAnswerError: the node answered with an error.
            RpcError: it can't be reached, or its answer is no JSON-RPC.
        """
        try:
            response = self._client.post(
                self.url, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            what = str(error) or type(error).__name__
            raise RpcError(f"no Ethereum node answers at {self.url} ({what}): {HELP}") from error
        try:
            answer = response.json()
        except ValueError as error:
            raise RpcError(
                f"{self.url} answers {method} with HTTP status {response.status_code} and something that is not JSON, "
                f"{response.text!r:.100}: it is no Ethereum node; {HELP}"
            ) from error
        if not isinstance(answer, dict):
            raise RpcError(f"{self.url} answers {method} with something that is not JSON-RPC: {answer!r:.200}")
        failure = answer.get("error")
        if failure:
            if not isinstance(failure, dict):
                failure = {"message": str(failure)}
            code = failure.get("code")
            raise RpcAnswerError(
                method,
                code if isinstance(code, int) else 0,
                str(failure.get("message")),
                _revert_data(failure),
            )
        if "result" not in answer:
            raise RpcError(f"{self.url} answers {method} with neither result nor error: {answer!r:.200}")
        return answer["result"]

    def number(self, method: str, *parameters: Any) -> int:
        """The result of a request that gives a quantity.

        Raises:
            RpcError: as `request`, or the answer is no quantity.
        """
        result = self.request(method, *parameters)
        try:
            return int(result, 16)
        except (TypeError, ValueError) as error:
            raise RpcError(f"{self.url} answers {method} with {result!r:.200}, which is no quantity") from error

    def data(self, method: str, *parameters: Any) -> bytes:
        """The result of a request that gives bytes.

        Raises:
            RpcError: as `request`, or the answer is no hexadecimal.
        """
        result = self.request(method, *parameters)
        try:
            return bytes.fromhex(result.removeprefix("0x"))
        except (AttributeError, ValueError) as error:
            raise RpcError(f"{self.url} answers {method} with {result!r:.200}, which is no hexadecimal") from error

    def block(self, number: int | str) -> Block:
        """A block's header by number or tag.

        Raises:
            RpcError: as `request`, or there is no such block.
        """
        result = self.request("eth_getBlockByNumber", hex(number) if isinstance(number, int) else number, False)
        try:
            base_fee = result.get("baseFeePerGas")
            return Block(
                int(result["number"], 16),
                str(result["hash"]),
                str(result["parentHash"]),
                int(result["timestamp"], 16),
                None if base_fee is None else int(base_fee, 16),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RpcError(f"{self.url} has no block {number}: {result!r:.200}") from error

    def check_chain(self, expected: int) -> None:
        """Makes sure that the node is of the chain that is meant.

        Raises:
            WrongChainError: it is of another.
        """
        found = self.number("eth_chainId")
        if found != expected:
            raise WrongChainError(
                f"{self.url} is a node of chain {found}, but the ledger is on chain {expected}: name a node of that "
                "chain with --rpc, or the file of the right ledger with --ledger"
            )
