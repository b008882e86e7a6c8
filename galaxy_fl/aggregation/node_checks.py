"""Checking a tree of sums node by node: what is wrong in a node, and what no missing content explains.

A node is right if it is the sum of its children, and every child that is a node lies within the bounds of its weight.
Of weights only the children's are used here; whether a node's own is their sum, `sum_tree.wrong_weight` tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from math import gcd
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galaxy_fl.aggregation.block_files import wide, write_block
from galaxy_fl.aggregation.rule import SumRule, check_weight, sum_bounds
from galaxy_fl.aggregation.summing import Summand, opened_sum
from galaxy_fl.exceptions import AggregationError
from galaxy_fl.vectors import read_sums, read_vector
from galaxy_fl.vectors.vector import VECTOR_DTYPE, Sums, blocks

__all__ = ["chunk_beyond_bounds", "recover_child", "unexplained_chunks", "wrong_next_chunk", "wrong_node_chunk"]


def wrong_node_chunk(
    node: Path, children: Sequence[Summand], d: int, chunk_parameters: int, *, of_nodes: bool
) -> int | None:
    """Return the first chunk in which a node is wrong, None where it is right.

    Args:
        node: The node's vector, a file of `8 * d` bytes.
        children: Its children, without those that are excluded.
        d: Number of parameters.
        chunk_parameters: C.
        of_nodes: Whether the children are nodes.

    Raises:
        AggregationError: the weights are too large for int64.
        VectorError: a file has another length.
        OSError: a file can't be read.
    """
    theirs = read_sums(node, d)
    with opened_sum(children, d, of_nodes=of_nodes) as total:
        for block in blocks(d):
            wrong = np.zeros(block.stop - block.start, np.bool_)
            np.logical_or(total(block, beyond=wrong) != theirs[block], wrong, out=wrong)
            if wrong.any():
                return _first(wrong, block, chunk_parameters)
    return None


def chunk_beyond_bounds(node: Path, weight: int, d: int, chunk_parameters: int) -> int | None:
    """Return the first chunk in which a node holds what no updates of its weight sum to; None where there is none.

    Args:
        node: The node's vector, a file of `8 * d` bytes.
        weight: The node's.
        d: Number of parameters.
        chunk_parameters: C.

    Raises:
        VectorError: the file has another length.
        OSError: it can't be read.
    """
    theirs = read_sums(node, d)
    lowest, highest = sum_bounds(weight)
    for block in blocks(d):
        beyond = (theirs[block] < lowest) | (theirs[block] > highest)
        if beyond.any():
            return _first(beyond, block, chunk_parameters)
    return None


def wrong_next_chunk(
    rule: SumRule, rule_word: bytes, model: Path, sums: Path, weight: int, next: Path, d: int, chunk_parameters: int
) -> int | None:
    """Return the first chunk in which the next model is not what the root's sum makes of the model; None if it is.

    Args:
        rule, rule_word: How a sum becomes a model.
        model, next: Vector files of `4 * d` bytes for each lane of the rule.
        sums: The root's vector, a file of `8 * d` bytes.
        weight: The root's.
        d: Number of parameters.
        chunk_parameters: C.

    Raises:
        AggregationError: `weight` or `rule_word` out of range.
        VectorError: a file has another length.
        OSError: a file can't be read.
    """
    length = rule.lanes * d
    before, total, after = read_vector(model, length), read_sums(sums, d), read_vector(next, length)
    for block in blocks(d):
        place = wide(block, rule.lanes)
        wrong = rule.finish(rule_word, before[place], total[block], weight) != after[place]
        if wrong.any():
            return _first(wrong, place, rule.lanes * chunk_parameters)
    return None


def unexplained_chunks(
    node: Path,
    present: Sequence[Summand],
    missing: Sequence[int],
    d: int,
    chunk_parameters: int,
    *,
    of_nodes: bool,
) -> list[int]:
    """Return the chunks, ascending, in which a node is wrong whatever is in the children that are missing.

    What remains of the node without the children that are there has to lie within the bounds of the missing weights,
    and to be a multiple of what divides the weights of all missing updates. Where one child is missing and no chunk is
    returned, `recover_child` tells what it is.

    Args:
        node: The node's vector, a file of `8 * d` bytes.
        present: The included children that are there.
        missing: The weights of the included children that are missing.
        d: Number of parameters.
        chunk_parameters: C.
        of_nodes: Whether the children are nodes.

    Raises:
        AggregationError, VectorError, OSError: as `wrong_node_chunk`.
    """
    chunks: list[int] = []
    for block, wrong in _unexplained(node, present, missing, d, of_nodes=of_nodes):
        found = np.unique((np.flatnonzero(wrong) + block.start) // chunk_parameters).tolist()
        # A chunk may begin in one block and end in the next.
        chunks += found[1:] if found and chunks and found[0] == chunks[-1] else found
    return chunks


def _unexplained(
    node: Path, present: Sequence[Summand], missing: Sequence[int], d: int, *, of_nodes: bool
) -> Iterator[tuple[slice, npt.NDArray[np.bool_]]]:
    """Yield each block with the lanes in which a node is wrong whatever is missing; see `unexplained_chunks`."""
    check_weight(sum(missing) + sum(each.weight for each in present))
    theirs = read_sums(node, d)
    lowest, highest = sum_bounds(sum(missing))
    divisor = 0 if of_nodes else gcd(*missing)
    with opened_sum(present, d, of_nodes=of_nodes) as total:
        for block in blocks(d):
            wrong = np.zeros(block.stop - block.start, np.bool_)
            known, lanes = total(block, beyond=wrong), theirs[block]
            # Compared before they are subtracted, which may overflow. Where a child is beyond its bounds these sums
            # mean nothing, and the node is wrong anyhow.
            wrong |= (lanes < known + lowest) | (lanes > known + highest)
            if divisor > 1:
                wrong |= (lanes - known) % divisor != 0
            yield block, wrong


def recover_child(
    node: Path, present: Sequence[Summand], missing: int, destination: Path, d: int, *, of_nodes: bool
) -> None:
    """Write the only child of a node that is missing: the node less the others, by an update divided by its weight.

    It is what was committed to if its root, or the commitment to it, is the one on the ledger. If it is not, then the
    node is wrong in some chunk, and an opening of the missing child shows in which half of the tree.

    Args:
        node: The node's vector, a file of `8 * d` bytes.
        present: The other included children.
        missing: The weight of the missing child.
        destination: Takes the child: of an update `4 * d` bytes, of a node `8 * d`.
        d: Number of parameters.
        of_nodes: Whether the children are nodes.

    Raises:
        AggregationError: no content explains the node; see `unexplained_chunks`.
        VectorError, OSError: as `wrong_node_chunk`.
    """
    for block, wrong in _unexplained(node, present, [missing], d, of_nodes=of_nodes):
        if wrong.any():
            raise AggregationError(
                f"{node} can't be explained by any missing child of weight {missing}: look at parameter "
                f"{_first(wrong, block, 1)}"
            )
    theirs = read_sums(node, d)
    with ExitStack() as stack:
        total = stack.enter_context(opened_sum(present, d, of_nodes=of_nodes))
        target = stack.enter_context(destination.open("wb", buffering=0)).fileno()
        for block in blocks(d):
            rest: Sums = theirs[block] - total(block)
            write_block(target, block, rest if of_nodes else (rest // missing).astype(VECTOR_DTYPE))


def _first(wrong: npt.NDArray[np.bool_], block: slice, chunk_parameters: int) -> int:
    """Return the chunk of the first lane of a block that is wrong."""
    return int(block.start + wrong.argmax()) // chunk_parameters
