"""Aggregating whole files, block by block: memory does not grow with the model, nor with the clients."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import numpy as np

from galaxy_fl.aggregation.block_files import check_files, default_workers, read_block, wide, write_block
from galaxy_fl.aggregation.rule import Rule, check_call, is_sum
from galaxy_fl.aggregation.summing import Summand, finish_file, finish_sum, opened_sum, write_tree
from galaxy_fl.exceptions import AggregationError
from galaxy_fl.vectors.vector import BLOCK_PARAMETERS, VECTOR_DTYPE, Vector, as_vector, blocks

__all__ = ["aggregate_files"]

OPEN_AT_ONCE = 64
"""Updates that are read side by side; of rules that finish a sum, more are summed up in groups of as many."""


def aggregate_files(
    rule: Rule,
    rule_word: bytes,
    model: Path,
    updates: Sequence[Path],
    weights: Sequence[int],
    destination: Path,
    d: int,
    workers: int | None = None,
) -> None:
    """Aggregate a round's vectors from file to file.

    Args:
        rule: how.
        rule_word: the rule's word in the job's terms, 32 bytes.
        model: the round's model, a file of `4 * d` bytes for each lane of the rule.
        updates: the included updates, files of `4 * d` bytes.
        weights: number of samples behind each update, in the same order.
        destination: the next model; must not be one of the files read. What was there is overwritten,
            and on an error there is no telling what it holds. Of more than 64 updates, intermediate sums
            are kept beside it meanwhile.
        d: number of parameters.
        workers: threads; by default two where there are two processors (more would wait for the GIL).

    Raises:
        AggregationError: number of updates, a weight or `rule_word` out of range.
        VectorError: a file has another length, or the destination is one of the files read.
        OSError: a file can't be read or written.
    """
    check_call(rule, rule_word, weights)
    if len(updates) != len(weights):
        raise AggregationError(f"there are {len(updates)} updates and {len(weights)} weights, expected one each")
    check_files(updates, destination, d)
    check_files([model], destination, d, lanes=rule.lanes)
    if workers is None:
        workers = default_workers()
    if is_sum(rule) and len(updates) <= OPEN_AT_ONCE:
        with opened_sum(list(map(Summand, updates, weights)), d, of_nodes=False) as total:
            finish_sum(rule, rule_word, model, total, sum(weights), destination, d, workers)
        return
    if is_sum(rule):
        with tempfile.TemporaryDirectory(prefix=".galaxy-sums-", dir=destination.parent) as folder:
            root = write_tree(list(map(Summand, updates, weights)), Path(folder), d, OPEN_AT_ONCE, workers)[-1]
            finish_file(rule, rule_word, model, root.path, root.weight, destination, d, workers)
        return
    with ExitStack() as stack:
        sources = [stack.enter_context(path.open("rb", buffering=0)).fileno() for path in (model, *updates)]
        target = stack.enter_context(destination.open("wb", buffering=0)).fileno()

        def aggregate_every(first: int) -> None:
            """Aggregate the blocks first, first + workers, first + 2 * workers, …"""
            buffers = np.empty((1 + rule.lanes, BLOCK_PARAMETERS), VECTOR_DTYPE)
            for block in islice(blocks(d), first, None, workers):
                size = block.stop - block.start
                update_block, model_block = buffers[0, :size], buffers[1:].reshape(-1)[: rule.lanes * size]
                read_block(sources[0], wide(block, rule.lanes), model_block)
                result = rule.aggregate(rule_word, model_block, drawn(block, update_block), weights)
                write_block(target, wide(block, rule.lanes), as_vector(result, len(model_block)))

        def drawn(block: slice, buffer: Vector) -> Iterator[Vector]:
            for source in sources[1:]:
                read_block(source, block, buffer)
                yield buffer

        with ThreadPoolExecutor(workers) as pool:
            # list() raises what a thread raised.
            list(pool.map(aggregate_every, range(workers)))
