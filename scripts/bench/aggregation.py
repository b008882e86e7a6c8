#!/usr/bin/env python
"""Measures a round's tree of sums for few and for many clients: what a server does, and a client that checks a branch.

Each row is a process of its own, because its memory counts. Memory is the peak above what the process had before.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galaxy_fl.aggregation import WeightedMean, aggregate_files, sum_files
from galaxy_fl.aggregation.node_checks import chunk_beyond_bounds, wrong_next_chunk, wrong_node_chunk
from galaxy_fl.aggregation.sum_tree import Node, branch, node_count
from galaxy_fl.aggregation.summing import Summand, node_file
from galaxy_fl.vectors import read_sums, read_vector, tree_root, usual_chunk, write_vector

WORD = bytes(32)
HEADER = " clients  nodes       flat       tree     branch        read     written     memory"


@dataclass(frozen=True)
class Row:
    """What one number of clients takes: seconds, and bytes that a branch reads and that all nodes have."""

    nodes: int
    flat: float
    tree: float
    branch: float
    read: int
    written: int
    memory: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parameters", type=int, default=10_000, help="length d of the vectors")
    parser.add_argument("--clients", type=int, nargs="+", default=[64, 1_000, 4_000], help="numbers of updates")
    parser.add_argument("--fan-in", type=int, default=16, help="children of a node, 2 to 64")
    arguments = parser.parse_args()
    d = arguments.parameters
    print(f"{d:,} parameters, fan-in {arguments.fan_in}, {usual_chunk(d)} parameters a chunk")
    print("flat: aggregated without nodes; tree: with all nodes and their roots; branch: what one client checks")
    print(HEADER)
    for clients in arguments.clients:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            row: Row = pool.apply(measured, (clients, d, arguments.fan_in))
        print(
            f"{clients:>8,} {row.nodes:>6,} {row.flat:>8.3f} s {row.tree:>8.3f} s {row.branch:>8.3f} s "
            f"{row.read / 1e6:>8.2f} MB {row.written / 1e6:>8.2f} MB {row.memory / 2**20:>6.1f} MiB",
            flush=True,
        )


def measured(clients: int, d: int, fan_in: int) -> Row:
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [folder / f"vector-{index}" for index in range(clients + 1)]
        for file in files:
            write_vector(file, random.integers(-(2**24), 2**24, d, np.int32))
        weights = [1 + index % 1000 for index in range(clients)]
        before = memory()
        start = time.perf_counter()
        nodes = sum_files(
            WeightedMean(),
            WORD,
            files[0],
            files[1:],
            weights,
            folder / "next",
            d,
            fan_in=fan_in,
            chunk_parameters=usual_chunk(d),
            folder=folder,
        )
        tree, peak = time.perf_counter() - start, memory() - before
        start = time.perf_counter()
        aggregate_files(WeightedMean(), WORD, files[0], files[1:], weights, folder / "flat", d)
        flat = time.perf_counter() - start
        assert (folder / "flat").read_bytes() == (folder / "next").read_bytes(), "two models of one round"
        start = time.perf_counter()
        read = check_branch(nodes, files, weights, folder, d, fan_in) if nodes else 4 * d * (clients + 2)
        checked = time.perf_counter() - start
        return Row(node_count(clients, fan_in), flat, tree, checked, read, 8 * d * len(nodes), peak)


def check_branch(
    nodes: tuple[Node, ...], files: list[Path], weights: list[int], folder: Path, d: int, fan_in: int
) -> int:
    """Check the branch of the last entry and return how many bytes of content that reads; each vector counts once."""
    read, chunk = 2 * 4 * d, usual_chunk(d)
    for place in branch(len(weights), fan_in, len(weights) - 1):
        if place.level == 1:
            children = [Summand(files[1 + entry], weights[entry]) for entry in place.children]
            for child in children:
                tree_root(read_vector(child.path, d), chunk)
            read += 4 * d * len(children)
        else:
            children = [Summand(node_file(folder, child), nodes[child - 1].weight) for child in place.child_nodes]
        for number in (at + 1 for at in place.members):
            path, node = node_file(folder, number), nodes[number - 1]
            assert tree_root(read_sums(path, d), chunk) == node.root
            assert chunk_beyond_bounds(path, node.weight, d, chunk) is None
            read += 8 * d
        path = node_file(folder, place.node)
        assert wrong_node_chunk(path, children, d, chunk, of_nodes=place.level > 1) is None
    after = folder / "next"
    assert wrong_next_chunk(WeightedMean(), WORD, files[0], path, nodes[-1].weight, after, d, chunk) is None
    return read


def memory() -> int:
    """Return the peak resident memory of this process, in bytes."""
    # Not getrusage: what it gives a new process begins with the peak of its parent.
    return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])


if __name__ == "__main__":
    main()
