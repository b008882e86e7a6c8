"""A chain in memory, with blocks, logs, bloom filters and branches, and nodes of it that lag and lie."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from eth_bloom.bloom import BloomFilter

from galaxy_chain.following.cursor import Log
from galaxy_chain.rpc.errors import UnreliableAnswerError
from galaxy_chain.rpc.values import Block

__all__ = ["FIRST", "ModelChain"]

FIRST = 5
"""The number of the first block with logs."""
OURS = b"ours"


class ModelChain:
    """What a follower asks, answered by a model.

    Attributes:
        blocks: The chain, from block 0 on.
        span: How many blocks `logs` gives at once.
        final: How many blocks below the head are not final; None for a node that knows none.
        lag: How many blocks the node is behind.
        before: Called before each answer: the world goes on while a follower asks.
        hide: Whether the node gives no logs at all.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.logs_of: dict[str, list[Log]] = {}
        self.known: dict[str, Block] = {}
        self.span = 2_000
        self.final: int | None = None
        self.lag = 0
        self.hide = False
        self.before: Callable[[], None] = lambda: None
        self.asked: list[str] = []
        self._made = 0
        for _ in range(FIRST):
            self.mine(0)

    def mine(self, logs: int) -> None:
        """One more block with that many logs."""
        self._made += 1
        number = len(self.blocks)
        identity = "0x" + sha256(b"block %d" % self._made).hexdigest()
        parent = self.blocks[-1].identity if self.blocks else "0x" + "00" * 32
        bloom = BloomFilter()
        bloom.extend([OURS] if logs else [b"other"])
        block = Block(number, identity, parent, 12 * number, None, int(bloom))
        self.blocks.append(block)
        self.known[identity] = block
        self.logs_of[identity] = [Log(number, identity, place, {"made": self._made}) for place in range(logs)]

    def fork(self, depth: int) -> list[Block]:
        """Takes the newest blocks off the chain, and gives them."""
        keep = max(FIRST, len(self.blocks) - depth)
        gone = self.blocks[keep:]
        del self.blocks[keep:]
        return gone

    def back_to(self, branch: list[Block]) -> None:
        """Puts blocks on the chain that were on it before."""
        while self.blocks[-1].identity != branch[0].parent:
            self.blocks.pop()
        self.blocks += branch

    @property
    def canonical(self) -> list[Log]:
        """All logs of the chain, in order."""
        return [log for block in self.blocks for log in self.logs_of[block.identity]]

    @property
    def visible(self) -> list[Block]:
        """The chain as the node sees it."""
        return self.blocks[: max(1, len(self.blocks) - self.lag)]

    def _asked(self, what: str) -> None:
        self.asked.append(what)
        self.before()

    def latest(self) -> Block:
        self._asked("latest")
        return self.visible[-1]

    def of(self, identity: str) -> Block:
        self._asked("of")
        if self.known[identity] not in self.visible:
            raise UnreliableAnswerError("no such block")
        return self.known[identity]

    def at(self, number: int) -> Block:
        self._asked("at")
        if number >= len(self.visible):
            raise UnreliableAnswerError("no such block")
        return self.visible[number]

    def finalized(self) -> Block | None:
        self._asked("finalized")
        return None if self.final is None else self.visible[max(0, len(self.visible) - 1 - self.final)]

    def logs(self, first: int, last: int) -> tuple[int, list[Log]]:
        self._asked("logs")
        end = min(last, first + self.span - 1)
        found = [log for block in self.visible[first : end + 1] for log in self.logs_of[block.identity]]
        return end, [] if self.hide else found

    def may_have_logs(self, block: Block) -> bool:
        return OURS in BloomFilter(block.bloom)

    def prove_none(self, block: Block) -> None:
        self._asked("prove")
        if self.hide or self.logs_of[block.identity]:
            raise UnreliableAnswerError("logs are kept back")
