"""The newest blocks of a chain, each the parent of the next, and how they lead to a new head. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from galaxy_chain.rpc.errors import UnreliableAnswerError
from galaxy_chain.rpc.values import Block

__all__ = ["LINKED", "Branch", "Window"]

KEPT = 256
"""Blocks that a window keeps."""
LINKED = 32
"""Blocks below a new head that are linked one by one; what is further away is taken in ranges."""


@dataclass(frozen=True)
class Branch:
    """The way from a window to a new head.

    Attributes:
        ancestor: The number of the newest block that stands; what is above is to be taken back.
        blocks: The new head and the blocks below it, ascending, each the parent of the next. Where the first is not the
            one above the ancestor, the blocks between are not known one by one.
    """

    ancestor: int
    blocks: tuple[Block, ...]


class Window:
    """Blocks in a row, the newest last.

    Args:
        blocks: Ascending, each the parent of the next.
    """

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self.blocks = tuple(blocks)[-KEPT:]

    @property
    def head(self) -> Block | None:
        """The newest block."""
        return self.blocks[-1] if self.blocks else None

    def at(self, number: int) -> Block | None:
        """The block of that number."""
        index = number - self.blocks[0].number if self.blocks else -1
        return self.blocks[index] if 0 <= index < len(self.blocks) else None

    def is_ahead_of(self, latest: Block) -> bool:
        """Whether `latest` is not another branch, as far as can be seen, but only less of this one."""
        if not self.blocks or latest.number >= self.blocks[-1].number:
            return False
        if (ours := self.at(latest.number)) is None:
            return True
        return ours.identity == latest.identity

    def moved(self, ancestor: int, blocks: Iterable[Block]) -> Window:
        """The window after a branch: what stands, and the branch's blocks. What does not join up is left behind."""
        new = tuple(blocks)
        kept = tuple(block for block in self.blocks if block.number <= ancestor)
        if new and kept and kept[-1].number + 1 != new[0].number:
            kept = ()
        return Window(kept + new)

    def branch_to(
        self,
        latest: Block,
        first: int,
        of: Callable[[str], Block],
        at: Callable[[int], Block],
        older: Callable[[], Sequence[tuple[int, str]]],
    ) -> Branch:
        """The way to a new head.

        Args:
            latest: The new head.
            first: The number of the first block that is of interest.
            of: A block by its hash.
            at: A block of the new head's chain by its number; only used for blocks far below the head.
            older: The number and the hash of blocks from before the window that matter, ascending; only used where the
                window does not reach far enough down.

        Raises:
            UnreliableAnswerError: the blocks do not fit each other.
        """
        branch = [latest]
        while True:
            lowest = branch[-1]
            below = self.at(lowest.number - 1)
            if below is not None and below.identity == lowest.parent:
                ancestor = below.number
                break
            if lowest.number <= first:
                ancestor = first - 1
                break
            is_below = bool(self.blocks) and lowest.number <= self.blocks[0].number
            is_far_above = not self.blocks or lowest.number > self.blocks[-1].number + 1
            if is_below or (len(branch) >= LINKED and is_far_above):
                known = [*older(), *((block.number, block.identity) for block in self.blocks)]
                standing = _newest_standing([block for block in known if block[0] < lowest.number], at)
                ancestor = first - 1 if standing is None else standing
                break
            parent = of(lowest.parent)
            if parent.number != lowest.number - 1:
                raise UnreliableAnswerError(
                    f"the parent of block {lowest.number} ({lowest.identity}) is said to be block {parent.number}"
                )
            branch.append(parent)
        return Branch(ancestor, tuple(reversed(branch)))


def _newest_standing(known: Sequence[tuple[int, str]], at: Callable[[int], Block]) -> int | None:
    """The number of the newest of these blocks, ascending, that is on the chain: all below it are, too."""
    standing = bisect_left(known, True, key=lambda block: at(block[0]).identity != block[1])
    return known[standing - 1][0] if standing else None
