#!/usr/bin/env python
"""One job as a plain PyTorch loop and as Galaxy on the embedded chain, audit included: whole processes, in turn.

Prints the median seconds of each, their ratio pair by pair, and Galaxy's peak memory: the proportional set size, summed
over all of its processes (shared pages counted once).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SIZES = ((4, 5), (10, 10), (100, 3))


def descendants(root: int) -> set[int]:
    """A process and all below it."""
    found = {root}
    for task in Path(f"/proc/{root}/task").glob("*/children"):
        for child in task.read_text().split():
            found |= descendants(int(child))
    return found


def memory(root: int) -> int:
    """Proportional set size of a process and all below it, in bytes; those that end meanwhile count as nothing."""
    total = 0
    try:
        for pid in descendants(root):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += 1024 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    return total


def seconds(command: list[str], folder: str) -> float:
    """How long a command takes."""
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def peak_memory(command: list[str], folder: str) -> int:
    """The most memory seen, in bytes. In a run of its own, for looking slows it down."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory(process.pid))
        time.sleep(0.1)
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", type=int, choices=range(len(SIZES)), help="one of the sizes")
    arguments = parser.parse_args()
    print("clients  rounds  plain s  galaxy s  ratio (lowest to highest)  peak MB")
    for clients, rounds in SIZES if arguments.only is None else [SIZES[arguments.only]]:
        size = ["--clients", str(clients), "--rounds", str(rounds)]
        plain = [sys.executable, str(HERE / "plain_loop.py"), *size]
        galaxy = [sys.executable, "-m", "galaxy_chain", "demo", *size]
        with tempfile.TemporaryDirectory() as folder:
            seconds(plain, folder)  # files into the page cache
            pairs = [(seconds(plain, folder), seconds(galaxy, folder)) for _ in range(arguments.runs)]
            peak = peak_memory(galaxy, folder)
        ratios = sorted(ours / theirs for theirs, ours in pairs)
        print(
            f"{clients:7}  {rounds:6}  {statistics.median(p for p, _ in pairs):7.1f}  "
            f"{statistics.median(g for _, g in pairs):8.1f}  "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})  {peak / 1e6:20.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
