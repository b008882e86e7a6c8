"""Sums of updates from file to file: the tree of sums of a round, and the model that its root makes.

However many updates there are, a handful of blocks is in memory, and no more files are open than a node has children.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galaxy_fl.aggregation.block_files import (
    check_files,
    check_length,
    default_workers,
    read_block,
    wide,
    write_block,
)
from galaxy_fl.aggregation.rule import SumRule, check_call, check_weight, check_word, sum_bounds
from galaxy_fl.aggregation.sum_tree import Node, check_fan_in, levels
from galaxy_fl.exceptions import AggregationError, VectorError
from galaxy_fl.vectors import read_sums, tree_root
from galaxy_fl.vectors.kernels import kernels
from galaxy_fl.vectors.vector import BLOCK_PARAMETERS, SUM_DTYPE, VECTOR_DTYPE, Sums, as_vector, blocks

__all__ = [
    "OpenedSum",
    "Summand",
    "finish_file",
    "finish_sum",
    "node_file",
    "opened_sum",
    "sum_files",
    "write_sum",
    "write_tree",
]


@dataclass(frozen=True)
class Summand:
    """A child of a node whose content is there.

    Attributes:
        path: The vector file: of an update, `4 * d` bytes; of a node, `8 * d` bytes.
        weight: Of the update, or the node's own.
    """

    path: Path
    weight: int


def node_file(folder: Path, node: int) -> Path:
    """Return where `sum_files` writes the vector of a node, numbered from 1."""
    return folder / f"node-{node}"


def sum_files(
    rule: SumRule,
    rule_word: bytes,
    model: Path,
    updates: Sequence[Path | None],
    weights: Sequence[int],
    destination: Path,
    d: int,
    *,
    fan_in: int,
    chunk_parameters: int,
    folder: Path,
    made: Mapping[int, tuple[Path, bytes]] = {},
    workers: int | None = None,
) -> tuple[Node, ...]:
    """Aggregate a round from file to file by its tree of sums, which is written, too.

    The model is to the bit what `aggregate_files` makes of the included updates, for any fan-in.

    Args:
        rule: How a sum becomes a model.
        rule_word: The rule's word in the job's terms, 32 bytes.
        model: The round's model, a file of `4 * d` bytes for each lane of the rule.
        updates: The update of every entry, in the order of the entries, files of `4 * d` bytes; None for each that is
            excluded, which counts as zero with weight zero.
        weights: Of the entries, in the same order; that of an excluded one means nothing.
        destination: The next model, as in `aggregate_files`.
        d: Number of parameters.
        fan_in: Children of a node.
        chunk_parameters: C.
        folder: Takes the vectors of the nodes, `8 * d` bytes each, little-endian int64; see `node_file`.
        made: Nodes that were summed before, by their numbers: the file, and the root of its chunk tree.
        workers: Threads; by default two where there are two processors.

    Returns:
        The nodes in the order of their numbers; none where the round is flat.

    Raises:
        AggregationError: number of updates, a weight, `fan_in` or `rule_word` out of range.
        VectorError: a file has another length, or the destination is one of the files read.
        OSError: a file can't be read or written.
    """
    if len(updates) != len(weights):
        raise AggregationError(f"there are {len(updates)} entries and {len(weights)} weights, expected one each")
    entries = [None if path is None else Summand(path, weight) for path, weight in zip(updates, weights, strict=True)]
    present = [each for each in entries if each is not None]
    check_call(rule, rule_word, [each.weight for each in present])
    check_files([each.path for each in present], destination, d)
    check_files([model], destination, d, lanes=rule.lanes)
    if len(entries) <= fan_in:
        check_fan_in(fan_in)
        with opened_sum(present, d, of_nodes=False) as total:
            finish_sum(rule, rule_word, model, total, sum(each.weight for each in present), destination, d, workers)
        return ()
    sums = write_tree(entries, folder, d, fan_in, workers, {number: path for number, (path, _) in made.items()})

    def root_of(number: int) -> bytes:
        return made[number][1] if number in made else tree_root(read_sums(sums[number - 1].path, d), chunk_parameters)

    with ThreadPoolExecutor(workers or default_workers()) as pool:
        roots = pool.map(root_of, range(1, len(sums) + 1))
        nodes = tuple(Node(root, each.weight) for root, each in zip(roots, sums, strict=True))
    finish_file(rule, rule_word, model, sums[-1].path, sums[-1].weight, destination, d, workers)
    return nodes


def write_tree(
    entries: Sequence[Summand | None],
    folder: Path,
    d: int,
    fan_in: int,
    workers: int | None = None,
    made: Mapping[int, Path] = {},
) -> list[Summand]:
    """Write the sum of every node of the tree over entries, None for each that is excluded.

    Args:
        entries, folder, d, fan_in, workers: As in `sum_files`.
        made: Files of nodes that were summed before, by their numbers; these are not written.

    Returns:
        The nodes in the order of their numbers; none where the round is flat.

    Raises:
        AggregationError: `fan_in` is out of range, or the weights are too large for int64.
        VectorError, OSError: as `sum_files`.
    """
    nodes: list[Summand] = []
    children = entries
    with ThreadPoolExecutor(workers or default_workers()) as pool:
        for level, size in enumerate(levels(len(entries), fan_in)):
            groups = [[each for each in children[at * fan_in : (at + 1) * fan_in] if each] for at in range(size)]
            numbers = range(len(nodes) + 1, len(nodes) + 1 + size)
            level_nodes = [
                Summand(made.get(number, node_file(folder, number)), sum(each.weight for each in group))
                for number, group in zip(numbers, groups, strict=True)
            ]
            new = [at for at, number in enumerate(numbers) if number not in made]
            write = partial(write_sum, d=d, of_nodes=level > 0)
            # list() raises what a thread raised.
            list(pool.map(write, [groups[at] for at in new], [level_nodes[at].path for at in new]))
            nodes += level_nodes
            children = level_nodes
    return nodes


def finish_file(
    rule: SumRule,
    rule_word: bytes,
    model: Path,
    sums: Path,
    weight: int,
    destination: Path,
    d: int,
    workers: int | None = None,
) -> None:
    """Write the next model by a sum, such as the root's of the tree.

    Args:
        sums: A file of `8 * d` bytes, any.
        weight: The sum of the weights.
        rule, rule_word, model, destination, d, workers: As in `sum_files`.

    Raises:
        AggregationError: `weight` or `rule_word` out of range.
        VectorError, OSError: as `sum_files`.
    """
    check_files([sums], destination, d, of_sum=True)
    with opened_sum([Summand(sums, weight)], d, of_nodes=True) as total:
        finish_sum(rule, rule_word, model, total, weight, destination, d, workers)


def write_sum(children: Sequence[Summand], destination: Path, d: int, *, of_nodes: bool) -> None:
    """Write the sum of a node's children, `d` little-endian int64: of weight * update, or of the sums of nodes.

    Args:
        children: Those that are included; where there are none, the sum is zero.
        destination: A file that is none of the children's.
        d: Number of parameters.
        of_nodes: Whether the children are nodes.

    Raises:
        AggregationError: the weights are too large for int64.
        VectorError: a file has another length.
        OSError: a file can't be read or written.
    """
    with opened_sum(children, d, of_nodes=of_nodes) as total, destination.open("wb", buffering=0) as target:
        for block in blocks(d):
            write_block(target.fileno(), block, total(block))


class OpenedSum:
    """The children of a node, open to read; see `opened_sum`."""

    def __init__(self, sources: Sequence[int], children: Sequence[Summand], of_nodes: bool) -> None:
        self._sources = sources
        self._children = children
        self._of_nodes = of_nodes

    def __call__(self, block: slice, beyond: npt.NDArray[np.bool_] | None = None) -> Sums:
        """Return a block of the sum, in a buffer of the thread; it wraps where children are beyond their bounds.

        Args:
            block: Which lanes.
            beyond: Is set in each of them where a child that is a node is beyond its bounds.
        """
        total, addend = _buffers.of(block.stop - block.start)
        total.fill(0)
        if self._of_nodes:
            for source, child in zip(self._sources, self._children, strict=True):
                read_block(source, block, addend)
                kernels().add_sum(total, addend, sum_bounds(child.weight), beyond)
            return total
        unread = kernels().add_files(total, block.start, self._sources, [each.weight for each in self._children])
        if unread is not None:
            read_block(self._sources[unread], block, np.empty(len(total), VECTOR_DTYPE))  # raises what is wrong
            raise VectorError(f"{self._children[unread].path} changed while it was read: read it again")
        return total


@contextmanager
def opened_sum(children: Sequence[Summand], d: int, *, of_nodes: bool) -> Iterator[OpenedSum]:
    """Open the children of a node, as many files as there are; what is yielded returns blocks of their sum.

    Args:
        children, d, of_nodes: As in `write_sum`.

    Raises:
        AggregationError, VectorError, OSError: as `write_sum`.
    """
    check_weight(sum(each.weight for each in children))
    with ExitStack() as stack:
        yield OpenedSum([_opened(stack, each.path, d, of_sum=of_nodes) for each in children], children, of_nodes)


def _opened(stack: ExitStack, path: Path, d: int, *, of_sum: bool = False) -> int:
    """Open a file to read, until the stack ends."""
    file = stack.enter_context(path.open("rb", buffering=0))
    check_length(path, path.stat().st_size, d, of_sum=of_sum)
    return file.fileno()


def finish_sum(
    rule: SumRule,
    rule_word: bytes,
    model: Path,
    total: OpenedSum,
    weight: int,
    destination: Path,
    d: int,
    workers: int | None,
) -> None:
    """Write the next model by a sum that is opened; arguments and errors as of `finish_file`."""
    lanes = rule.lanes
    check_files([model], destination, d, lanes=lanes)
    check_word(rule_word)
    workers = workers or default_workers()
    with ExitStack() as stack:
        source = _opened(stack, model, lanes * d)
        target = stack.enter_context(destination.open("wb", buffering=0)).fileno()

        def finish_every(first: int) -> None:
            """Finish the blocks first, first + workers, first + 2 * workers, …"""
            buffer = np.empty(lanes * min(d, BLOCK_PARAMETERS), VECTOR_DTYPE)
            for block in islice(blocks(d), first, None, workers):
                place = wide(block, lanes)
                before = buffer[: place.stop - place.start]
                read_block(source, place, before)
                after = rule.finish(rule_word, before, total(block), weight)
                write_block(target, place, as_vector(after, len(before)))

        with ThreadPoolExecutor(workers) as pool:
            # list() raises what a thread raised.
            list(pool.map(finish_every, range(workers)))


class _Buffers(threading.local):
    """Blocks of a thread: mapping fresh memory for every block would halve the speed."""

    def __init__(self) -> None:
        self._make(0)

    def of(self, size: int) -> tuple[Sums, Sums]:
        """Return two buffers for sums, of that many lanes."""
        if len(self._total) < size:  # thousands of threads may have a small model each
            self._make(size)
        return self._total[:size], self._addend[:size]

    def _make(self, size: int) -> None:
        self._total: Sums = np.empty(size, SUM_DTYPE)
        self._addend: Sums = np.empty(size, SUM_DTYPE)


_buffers = _Buffers()
