"""The nodes of one Ethereum chain, by JSON-RPC over HTTP or WebSocket.

Sockets of its own instead of web3's provider. Importing web3 takes more than a second, which every command would pay.
Its HTTP provider knows one node, gives up after about two seconds of retries, and reports "already known" as a failure
where a retry of `eth_sendRawTransaction` meets what the first try has delivered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from random import random as uniform
from typing import Any

from galaxy_chain.exceptions import RpcError, WrongChainError
from galaxy_chain.rpc.answers import behind, may_be_repeated, result_of
from galaxy_chain.rpc.errors import RpcAnswerError, TooMuchError, Trouble, UnreliableAnswerError
from galaxy_chain.rpc.http import shown
from galaxy_chain.rpc.rotation import Rotation
from galaxy_chain.rpc.transport import Transport
from galaxy_chain.rpc.values import Block, quantity, read_block
from galaxy_fl.floor import FLOOR
from galaxy_fl.keccak import keccak

__all__ = ["Rpc"]

HELP = "start one with `galaxy-chain node`, or name another with --rpc or GALAXY_RPC"


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
        self.timeout = timeout
        self.patience = patience
        self.clock = clock
        self.sleep = sleep
        self.random = random
        self._unchecked: set[int] = set()
        """The nodes with a connection that was never asked for its chain."""
        self._rotation = Rotation(len(self.urls), random)
        self._said: dict[int, str] = {}
        """What was wrong with a node when it was asked last."""
        self._answered = False
        self._chain_id: int | None = None

    @cached_property
    def _transport(self) -> Transport:
        """Made by the first request: a `Web3Rpc` has none."""
        return Transport(self.urls, self.timeout, self._unchecked.add)

    @property
    def url(self) -> str:
        """The node that is asked next."""
        return self.urls[self._rotation.current]

    @property
    def name(self) -> str:
        """The same without secrets: for messages."""
        return shown(self.url)

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
                self._answered = self._answered or trouble.there
                if trouble.too_much and method == "eth_getLogs":
                    raise TooMuchError(str(trouble)) from trouble
                if acted and not may_be_repeated(method):
                    raise RpcError(f"{trouble}; it may have been done all the same: it is not sent again") from trouble
                if not self._answered and len(tried) == len(self.urls):
                    raise self._given_up("") from trouble
                continue
            self._said.pop(node, None)
            self._rotation.answered()
            try:
                return result_of(method, answer)
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
                self._chain_id = quantity(answer.get("result"))
            self._check(node, answer)
        elif node in self._unchecked and self._chain_id is not None:
            told = self._post(node, "eth_chainId", ())
            if not self._check(node, told):
                raise Trouble(f"{shown(self.urls[node])} does not say of which chain it is: {told!r:.200}")
        self._answered = True
        if (lacking := behind(method, answer)) is not None:
            raise Trouble(f"{shown(self.urls[node])} answers {method} that it does not have the block: {lacking:.200}")
        return answer

    def _check(self, node: int, answer: dict[str, Any]) -> bool:
        """Whether the node says of which chain it is."""
        found = quantity(answer.get("result"))
        if found is None:
            return False
        if found != self._chain_id:
            raise WrongChainError(
                f"{shown(self.urls[node])} is a node of chain {found}, but this is about chain {self._chain_id}: "
                "name nodes of one chain with --rpc or GALAXY_RPC"
            )
        self._unchecked.discard(node)
        return True

    def _post(self, node: int, method: str, parameters: Sequence[Any]) -> dict[str, Any]:
        """A node's answer to one request.

        Raises:
            Trouble: there is none.
        """
        FLOOR.leave()
        return self._transport.ask(node, method, parameters)

    def number(self, method: str, *parameters: Any) -> int:
        """The result of a request that gives a quantity.

        Raises:
            RpcError: as `request`, or the answer is not a quantity.
        """
        result = self.request(method, *parameters)
        if (found := quantity(result)) is None:
            raise RpcError(f"{self.name} answers {method} with {result!r:.200}, which is not a quantity")
        return found

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
            return read_block(result)
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
