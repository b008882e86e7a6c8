"""The nodes of one Ethereum chain, by JSON-RPC over HTTP or WebSocket.

Plain httpx instead of web3's provider. Importing web3 takes more than a second, which every command would pay. Its HTTP
provider knows one node, gives up after about two seconds of retries, and reports "already known" as a failure where a
retry of `eth_sendRawTransaction` meets what the first try has delivered.
"""

from __future__ import annotations

import json
import re
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from random import random as uniform
from typing import Any

import httpx
from eth_utils.crypto import keccak
from pydantic_core import from_json

from galaxy_chain.exceptions import RpcError, WrongChainError
from galaxy_chain.rpc.rotation import Rotation
from galaxy_chain.rpc.websocket import WebSocket, is_websocket

__all__ = ["Block", "Rpc", "RpcAnswerError", "TooMuchError", "Trouble", "UnreliableAnswerError"]

HELP = "start one with `galaxy-chain node`, or name another with --rpc or GALAXY_RPC"
LARGEST_ANSWER = 64 * 2**20
"""Bytes. The logs of 100,000 updates are about as large."""
CONNECT_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 60.0
"""Less than a node's own: geth closes an idle connection after 120 s."""


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
    """

    def __init__(self, message: str, *, acted: bool = True, retry_after: float = 0.0, too_much: bool = False) -> None:
        super().__init__(message)
        self.acted = acted
        self.retry_after = retry_after
        self.too_much = too_much


@dataclass(frozen=True)
class Block:
    """A block's header, as far as it is used here; `time` in seconds, `base_fee` in wei, None before EIP-1559."""

    number: int
    identity: str
    parent: str
    time: int
    base_fee: int | None
    bloom: int = 0
    """The bloom filter of its logs, 2,048 bits; 0 where the node gives none."""
    gas_limit: int | None = None
    """None where the node gives none."""


_HASH = re.compile(r"0x[0-9a-fA-F]{64}")


def _hash(value: Any) -> str:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ValueError(f"{value!r:.80} is not a hash")
    return value.lower()


_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")


def _quantity(value: Any) -> int | None:
    """A quantity of at most 256 bits; no sign, no more digits than any number of a chain has."""
    return int(value, 16) if isinstance(value, str) and _QUANTITY.fullmatch(value) else None


def number(value: Any) -> int:
    """The number of a block or a log, or a time: a quantity below 2**63.

    Raises:
        ValueError: it is none.
    """
    quantity = _quantity(value)
    if quantity is None or quantity >= 2**63:
        raise ValueError(f"{value!r:.80} is not a number")
    return quantity


_BLOOM = re.compile(r"0x[0-9a-fA-F]{0,512}")


def _bloom(value: Any) -> int:
    if value is not None and (not isinstance(value, str) or not _BLOOM.fullmatch(value)):
        raise ValueError(f"{value!r:.80} is not a bloom filter")
    return int(value or "0x0", 16) if value != "0x" else 0


def _block(header: dict[str, Any]) -> Block:
    base_fee, gas_limit = header.get("baseFeePerGas"), header.get("gasLimit")
    return Block(
        number(header["number"]),
        _hash(header["hash"]),
        _hash(header["parentHash"]),
        number(header["timestamp"]),
        None if base_fee is None else number(base_fee),
        _bloom(header.get("logsBloom")),
        None if gas_limit is None else number(gas_limit),
    )


def _revert_data(error: dict[str, Any]) -> bytes:
    data = error.get("data")
    if isinstance(data, dict):  # some nodes wrap it
        data = data.get("data")
    try:
        return bytes.fromhex(data[2:]) if isinstance(data, str) and data.startswith("0x") else b""
    except ValueError:
        return b""


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds; 0 where the header is missing or makes no sense (RFC 9110, section 10.2.3)."""
    try:
        value = headers.get("Retry-After", "").strip()
        if value.isdecimal():
            return float(value)
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (LookupError, TypeError, ValueError, OverflowError):  # the first where it is there twice
        return 0.0


def _shown(url: str) -> str:
    """A url without what may be a secret: a password, or the key of a provider in its path or its query."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        return url
    secret = parsed.path.strip("/") or parsed.query or parsed.userinfo
    return f"{parsed.scheme}://{parsed.netloc.decode()}/…" if secret and parsed.host else url


def _nobody(name: str, error: Exception) -> str:
    return f"no Ethereum node answers at {name} ({str(error) or type(error).__name__})"


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


def _behind(method: str, answer: dict[str, Any]) -> str | None:
    """What a node says that lacks the block whose state it is asked for; None where it does not say that.

    Even one that is asked for its latest may: in the middle of a reorganisation, or where a load balancer's nodes are
    not equally far.
    """
    failure = answer.get("error")
    if method not in _STATE or not isinstance(failure, dict) or failure.get("code") == 3 or _revert_data(failure):
        return None
    message = str(failure.get("message"))
    return message if "revert" not in message and _NO_BLOCK.search(message) else None


def _may_be_repeated(method: str) -> bool:
    """Whether a request does no more twice than once. Signed transactions are the same twice; others are not."""
    return method.startswith(("eth_", "net_", "web3_")) and method != "eth_sendTransaction"


class Rpc:
    """A chain's JSON-RPC: plain requests with plain JSON answers, and errors that say what to do.

    A request goes to the node that answered last. Where that one is in trouble (refuses connections, breaks off, is
    silent, answers 429 or 503 or something that is not JSON-RPC, or does not have the block whose state it is asked
    for), the next one is asked, and so on in turn, with pauses that grow. Until the first answer each node is tried
    once, so that a wrong url is said at once. Any other error that a node answers with is an answer. Each new
    connection is asked for its chain, once that is known.

    Args:
        url: `http://`, `https://`, `ws://` or `wss://`; several separated by commas, or as a sequence.
        timeout: Seconds that one request may take. Raise it for a node that answers large `eth_getLogs` slowly.
        patience: Seconds until a request to nodes that have answered before is given up. Raise it for a node that
            takes longer to start again.
        clock, sleep, random: As `time.monotonic`, `time.sleep` and `random.random`.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        timeout: float = 30.0,
        patience: float = 120.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = uniform,
    ) -> None:
        self.urls = tuple(part.strip() for part in (url.split(",") if isinstance(url, str) else url))
        self.patience = patience
        self.clock = clock
        self.sleep = sleep
        self.random = random
        self._timeout = timeout
        self._client = httpx.Client(
            # certificates take 30 ms to load, which would be wasted where there is no TLS
            verify=any(part.startswith("https:") for part in self.urls),
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
            headers={"Content-Type": "application/json", "Accept-Encoding": "gzip"},
            limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE_SECONDS),
        )
        self._unchecked: set[int] = set()
        """The nodes with a connection that was never asked for its chain."""
        connect_seconds = min(timeout, CONNECT_SECONDS)
        self._sockets = {
            node: WebSocket(part, connect_seconds, LARGEST_ANSWER, partial(self._unchecked.add, node))
            for node, part in enumerate(self.urls)
            if is_websocket(part)
        }
        connections = ExitStack()
        connections.callback(self._client.close)
        for each in self._sockets.values():
            connections.callback(each.close)
        weakref.finalize(self, connections.close)
        self._rotation = Rotation(len(self.urls), random)
        self._said: dict[int, str] = {}
        """What was wrong with a node when it was asked last."""
        self._asked = 0
        self._answered = False
        self._chain_id: int | None = None

    @property
    def url(self) -> str:
        """The node that is asked next."""
        return self.urls[self._rotation.current]

    @property
    def name(self) -> str:
        """The same without secrets: for messages."""
        return _shown(self.url)

    def fail_over(self) -> None:
        """Turns to another node, where there is one: this one answers, but what it says can't be used."""
        self._rotation.failed(self.clock())

    def request(self, method: str, *parameters: Any) -> Any:
        """The result of one request.

        Raises:
            RpcAnswerError: the node answered with an error.
            TooMuchError: `eth_getLogs` took too long, or its answer is too large.
            WrongChainError: the node is of another chain than before.
            RpcError: no node can be reached, or none answers with JSON-RPC.
        """
        began = self.clock()
        tried: set[int] = set()
        acted = False
        while True:
            now = self.clock()
            wait = self._rotation.wait(now)
            if (now - began if tried else 0.0) + wait > self.patience:  # it is asked once, however slow this is
                raise self._given_up(f" (tried for {now - began:.0f} s)")
            if wait > 0:
                self.sleep(wait)
            node = self._rotation.current
            try:
                answer = self._ask(node, method, parameters)
            except Trouble as trouble:
                self._rotation.failed(self.clock(), trouble.retry_after)
                self._said[node] = str(trouble)
                tried.add(node)
                acted = acted or trouble.acted
                if trouble.too_much and method == "eth_getLogs":
                    raise TooMuchError(str(trouble)) from trouble
                if acted and not _may_be_repeated(method):
                    raise RpcError(f"{trouble}; it may have been done all the same: it is not sent again") from trouble
                if not self._answered and len(tried) == len(self.urls):
                    raise self._given_up("") from trouble
                continue
            self._said.pop(node, None)
            self._rotation.answered()
            try:
                return self._result(method, answer)
            except RpcAnswerError:
                if acted and method == "eth_sendRawTransaction" and (sent := self._sent_before(parameters[0])):
                    return sent
                raise

    def _given_up(self, after: str) -> RpcError:
        said = "; ".join(tuple(self._said.values())) or f"{self.name} gives no answers that can be used"
        return RpcError(f"{said}{after}: {HELP}")

    def _sent_before(self, raw: str) -> str | None:
        """The hash of a signed transaction that the node has already, from a request whose answer was lost."""
        identity = "0x" + keccak(hexstr=raw).hex()
        return identity if self.request("eth_getTransactionByHash", identity) else None

    def _ask(self, node: int, method: str, parameters: Sequence[Any]) -> dict[str, Any]:
        """A node's answer, from the chain that is meant."""
        answer = self._post(node, method, parameters)
        if method == "eth_chainId":
            if self._chain_id is None:
                self._chain_id = _quantity(answer.get("result"))
            self._check(node, answer)
        elif node in self._unchecked and self._chain_id is not None:
            told = self._post(node, "eth_chainId", ())
            if not self._check(node, told):
                raise Trouble(f"{_shown(self.urls[node])} does not say of which chain it is: {told!r:.200}")
        self._answered = True
        if (behind := _behind(method, answer)) is not None:
            raise Trouble(f"{_shown(self.urls[node])} answers {method} that it does not have the block: {behind:.200}")
        return answer

    def _check(self, node: int, answer: dict[str, Any]) -> bool:
        """Whether the node says of which chain it is."""
        found = _quantity(answer.get("result"))
        if found is None:
            return False
        if found != self._chain_id:
            raise WrongChainError(
                f"{_shown(self.urls[node])} is a node of chain {found}, but this is about chain {self._chain_id}: "
                "name nodes of one chain with --rpc or GALAXY_RPC"
            )
        self._unchecked.discard(node)
        return True

    def _post(self, node: int, method: str, parameters: Sequence[Any]) -> dict[str, Any]:
        """A node's answer to one request.

        Raises:
            Trouble: there is none.
        """
        name = _shown(self.urls[node])
        self._asked += 1
        request = {"jsonrpc": "2.0", "id": self._asked, "method": method, "params": parameters}
        if node not in self._sockets:
            status, body = self._by_http(node, name, method, request)
            return self._answer(name, method, request, body, f"HTTP status {status} and something")
        body = self._by_websocket(node, name, method, request)
        try:
            return self._answer(name, method, request, body, "something")
        except Trouble:
            self._sockets[node].close()  # what comes next may be the answer to this
            raise

    def _by_http(self, node: int, name: str, method: str, request: dict[str, Any]) -> tuple[int, bytes]:
        """The status and the body of an HTTP answer."""

        def trace(event: str, details: dict[str, Any]) -> None:
            if event == "connection.connect_tcp.started":  # the node may be another one than before
                self._unchecked.add(node)

        began = self.clock()
        try:
            with self._client.stream("POST", self.urls[node], json=request, extensions={"trace": trace}) as response:
                status = response.status_code
                if status in (429, 503):
                    raise self._busy(name, method, status, response.headers)
                if response.headers.get("Content-Encoding", "gzip").lower() not in ("gzip", "identity"):
                    raise Trouble(f"{name} answers {method} in an encoding that was not asked for")
                body = bytearray()
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > LARGEST_ANSWER:
                        raise Trouble(f"{name} answers {method} with more than {LARGEST_ANSWER:,} bytes", too_much=True)
                    if self.clock() - began > self._timeout:
                        raise Trouble(f"{name} has not answered {method} after {self._timeout} s", too_much=True)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:  # the last of a redirect's host name
            nothing_sent = (
                httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol,
                httpx.LocalProtocolError, httpx.InvalidURL,
            )  # fmt: skip
            raise Trouble(
                _nobody(name, error),
                acted=not isinstance(error, nothing_sent),
                too_much=isinstance(error, httpx.ReadTimeout),
            ) from error
        return status, bytes(body)

    def _by_websocket(self, node: int, name: str, method: str, request: dict[str, Any]) -> bytes:
        """The next message of a node."""
        from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

        sent = False

        def sending() -> None:
            nonlocal sent
            sent = True

        try:
            return self._sockets[node].ask(json.dumps(request).encode(), self._timeout, sending)
        except InvalidStatus as error:
            if error.response.status_code in (429, 503):
                raise self._busy(
                    name, method, error.response.status_code, error.response.headers, sent=False
                ) from error
            raise Trouble(_nobody(name, error), acted=False) from error
        except TimeoutError as error:
            if not sent:
                raise Trouble(_nobody(name, error), acted=False) from error
            raise Trouble(f"{name} has not answered {method} after {self._timeout} s", too_much=True) from error
        except (OSError, ValueError, WebSocketException) as error:
            if isinstance(error, ConnectionClosed) and error.sent is not None and error.sent.code == 1009:
                text = f"{name} answers {method} with more than {LARGEST_ANSWER:,} bytes"
                raise Trouble(text, too_much=True) from error
            raise Trouble(_nobody(name, error), acted=sent) from error

    def _busy(self, name: str, method: str, status: int, headers: Mapping[str, str], sent: bool = True) -> Trouble:
        """What an HTTP status of 429 or 503 says."""
        self._answered = self._answered or status == 429  # it is there: worth waiting for
        return Trouble(
            f"{name} answers {method} with HTTP status {status}: it has too much to do",
            acted=sent and status != 429,
            retry_after=_retry_after(headers),
        )

    def _answer(self, name: str, method: str, request: dict[str, Any], body: bytes, what: str) -> dict[str, Any]:
        """The answer to a request in the bytes that a node sent.

        Args:
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
        checked = self._checked(name, method, answer)
        if not checked.get("error") and checked.get("id") != request["id"]:
            raise Trouble(f"{name} answers {method} with the answer to another request: {answer!r:.200}")
        return checked

    def _checked(self, name: str, method: str, answer: Any) -> dict[str, Any]:
        """An answer in the form of JSON-RPC.

        Raises:
            Trouble: it is not in that form.
        """
        if not isinstance(answer, dict):
            raise Trouble(f"{name} answers {method} with something that is not JSON-RPC: {answer!r:.200}")
        if not answer.get("error") and "result" not in answer:
            raise Trouble(f"{name} answers {method} with neither result nor error: {answer!r:.200}")
        return answer

    def _result(self, method: str, answer: dict[str, Any]) -> Any:
        failure = answer.get("error")
        if not failure:
            return answer["result"]
        if not isinstance(failure, dict):
            failure = {"message": str(failure)}
        code = failure.get("code")
        raise RpcAnswerError(
            method, code if isinstance(code, int) else 0, str(failure.get("message")), _revert_data(failure)
        )

    def number(self, method: str, *parameters: Any) -> int:
        """The result of a request that gives a quantity.

        Raises:
            RpcError: as `request`, or the answer is not a quantity.
        """
        result = self.request(method, *parameters)
        if (quantity := _quantity(result)) is None:
            raise RpcError(f"{self.name} answers {method} with {result!r:.200}, which is not a quantity")
        return quantity

    def data(self, method: str, *parameters: Any) -> bytes:
        """The result of a request that gives bytes.

        Raises:
            RpcError: as `request`, or the answer is not hexadecimal.
        """
        result = self.request(method, *parameters)
        try:
            return bytes.fromhex(result.removeprefix("0x"))
        except (AttributeError, ValueError) as error:
            raise RpcError(f"{self.name} answers {method} with {result!r:.200}, which is not hexadecimal") from error

    def block(self, number: int | str) -> Block:
        """A block's header by number or tag.

        Raises:
            UnreliableAnswerError: there is no such block, or the answer is another one or malformed.
            RpcError: as `request`.
        """
        block = self._header(
            number, self.request("eth_getBlockByNumber", hex(number) if isinstance(number, int) else number, False)
        )
        if isinstance(number, int) and block.number != number:
            raise UnreliableAnswerError(f"{self.name} gives block {block.number} for block {number}")
        return block

    def block_of(self, identity: str) -> Block:
        """A block's header by its hash (0x and 64 lower-case digits).

        Raises:
            UnreliableAnswerError: the node does not have it, or the answer is another one or malformed.
            RpcError: as `request`.
        """
        block = self._header(identity, self.request("eth_getBlockByHash", identity, False))
        if block.identity != identity:
            raise UnreliableAnswerError(f"{self.name} gives block {block.identity} for block {identity}")
        return block

    def _header(self, asked: int | str, result: Any) -> Block:
        try:
            return _block(result)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnreliableAnswerError(f"{self.name} has no block {asked}: {result!r:.200}") from error

    def check_chain(self, expected: int) -> None:
        """Makes sure that the node is of the chain that is meant.

        Raises:
            WrongChainError: it is of another.
        """
        found = self.number("eth_chainId")
        if found != expected:
            raise WrongChainError(
                f"{self.name} is a node of chain {found}, but the ledger is on chain {expected}: name a node of that "
                "chain with --rpc, or the file of the right ledger with --ledger"
            )
