"""Aggregating whole files, block by block: memory does not grow with the model, nor with the clients."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import numpy as np

from galaxy_fl.aggregation.rule import Rule, check_call
from galaxy_fl.exceptions import AggregationError, VectorError
from galaxy_fl.vectors.vector import BLOCK_PARAMETERS, VECTOR_DTYPE, Vector, as_vector, blocks

__all__ = ["aggregate_files"]


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
        model: the round's model, a file of `4 * d` bytes.
        updates: the included updates, files of `4 * d` bytes.
        weights: number of samples behind each update, in the same order.
        destination: the next model; must not be one of the files read. What was there is overwritten,
            and on an error there is no telling what it holds.
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
    with ExitStack() as stack:
        sources = [stack.enter_context(path.open("rb", buffering=0)).fileno() for path in (model, *updates)]
        for path, source in zip((model, *updates), sources, strict=True):
            if (length := os.fstat(source).st_size) != 4 * d:
                raise VectorError(f"{path} has {length} bytes, expected {4 * d} for {d} parameters")
            if destination.exists() and destination.samefile(path):
                raise VectorError(f"{path} is to be read and can't be the destination: name another file")
        target = stack.enter_context(destination.open("wb", buffering=0)).fileno()
        if workers is None:
            workers = min(2, os.cpu_count() or 1)

        def aggregate_every(first: int) -> None:
            """Aggregate the blocks first, first + workers, first + 2 * workers, …"""
            buffers = np.empty((2, BLOCK_PARAMETERS), VECTOR_DTYPE)
            for block in islice(blocks(d), first, None, workers):
                model_block, update_block = buffers[:, : block.stop - block.start]
                _read(sources[0], block, model_block)
                drawn = (_read(source, block, update_block) for source in sources[1:])
                _write(target, block, rule.aggregate(rule_word, model_block, drawn, weights))

        with ThreadPoolExecutor(workers) as pool:
            # list() raises what a thread raised.
            list(pool.map(aggregate_every, range(workers)))


def _read(source: int, block: slice, buffer: Vector) -> Vector:
    # pread rather than a mapping: mapped pages would count as this process's memory, every client's.
    length = os.preadv(source, [buffer.data], 4 * block.start)
    if length != buffer.nbytes:
        raise VectorError(f"a file ended {buffer.nbytes - length} bytes early: it was shortened while being read")
    return buffer


def _write(target: int, block: slice, result: Vector) -> None:
    content = as_vector(result, block.stop - block.start).view(np.uint8).data
    done = 0
    while done < len(content):
        done += os.pwrite(target, content[done:], 4 * block.start + done)
