#!/usr/bin/env python
"""Measures encoding, decoding, tree roots and aggregation beside a memory copy of the same run.

Compare the ratios ("copies"), which depend less on the machine. Each figure is the best of some repetitions.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from galaxy_fl.aggregation import RULES, aggregate_files
from galaxy_fl.vectors import Layout, TensorLayout, decode, encode, tree_root, write_vector

WORD = (1).to_bytes(32, "big")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parameters", type=int, default=11_000_000, help="length d of the vectors")
    parser.add_argument("--clients", type=int, default=10, help="number of updates to aggregate, 3 to 64")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions, of which the best counts")
    arguments = parser.parse_args()
    d, clients = arguments.parameters, arguments.clients

    random = np.random.default_rng(0)
    state = {"w": random.standard_normal(d, np.float32)}
    copied = np.empty_like(state["w"])
    layout = Layout((TensorLayout("w", (d,)),))
    vector = encode(state, layout)
    decode(vector[:1], Layout((TensorLayout("w", (1,)),)))  # pays for importing torch

    def best(run: Callable[[], object]) -> float:
        times = []
        for _ in range(arguments.repeat):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return min(times)

    copy = best(lambda: np.copyto(copied, state["w"]))

    def report(name: str, seconds: float, vectors: int = 1) -> None:
        speed = 4 * d * vectors / seconds / 1e9
        print(f"{name:<42} {seconds:8.3f} s {speed:8.2f} GB/s {seconds / copy / vectors:9.1f}", flush=True)

    print(f"{d:,} parameters, {clients} clients")
    print(f"{'':<42} {'time':>10} {'input':>13} {'copies':>9}")
    report("memory copy", copy)
    report("memory copy into new memory", best(lambda: state["w"].copy()))
    report("encode", best(lambda: encode(state, layout)))
    report("decode", best(lambda: decode(vector, layout)))
    for chunk in (64, 256):
        report(f"tree root, {chunk} parameters a chunk", best(lambda c=chunk: tree_root(vector, c)))  # type: ignore[misc]

    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"vector-{index}" for index in range(clients + 1)]
        for file in files:
            write_vector(file, random.integers(-(2**24), 2**24, d, np.int32))
        for name in RULES:
            for workers in (1, 2):
                seconds = best(lambda n=name, w=workers: aggregate(n, files, d, w))  # type: ignore[misc]
                report(f"{name}, {workers} thread{'s' * (workers > 1)}", seconds, clients)
        print("peak resident memory of a process that aggregates (Linux)")
        for name in RULES:
            for count in (4, 64):
                # Which files they are does not matter to memory; the disk is spared 64 of them.
                some = [files[0], *(files[1 + index % clients] for index in range(count))]
                # A new process, since the peak of this one is that of everything above.
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    peak = pool.apply(peak_of_aggregating, (name, some, d))
                print(f"{name + ',':<20} {count:>2} clients {peak / 1024:20.1f} MiB", flush=True)


def aggregate(name: str, files: list[Path], d: int, workers: int | None) -> None:
    weights = list(range(1, len(files)))
    aggregate_files(RULES[name], WORD, files[0], files[1:], weights, files[0].with_name("next"), d, workers)


def peak_of_aggregating(name: str, files: list[Path], d: int) -> int:
    """Return the peak resident memory in KiB of this process, after it aggregated."""
    aggregate(name, files, d, None)
    # Not getrusage: what it gives a new process begins with the peak of its parent.
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


if __name__ == "__main__":
    main()
