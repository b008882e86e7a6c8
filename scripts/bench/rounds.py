#!/usr/bin/env python
"""Jobs as a plain PyTorch loop, as Galaxy on a development chain, audit included, and as Flower's simulation.

Whole processes, in turn: model, data, trainer and seeds are the same. Prints the median seconds of each, the ratios
pair by pair, and Galaxy's peak memory: that of all of its processes, what they share counted once, whatever else on the
machine maps the same libraries. Galaxy's clients verify their branch of every commit. Each line names its chain:
`embedded` is a virtual machine in Python that comes with Galaxy, `anvil` Foundry's node. The share of the audit is that
of an audit of all rounds in the whole time, median of the same runs; of a demonstration by the processor's time, as
others work beside it. It ought not to be more than 5 %.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jobs import DATA

HERE = Path(__file__).resolve().parent
DEMO = [sys.executable, "-m", "galaxy_chain", "demo", "--json"]
COMMANDS = [sys.executable, str(HERE / "command_line.py"), "--job", "resnet18", "--folder", "."]
ANVIL = HERE.parents[1] / "node_modules" / "@foundry-rs" / "anvil-linux-amd64" / "bin"
"""Where `scripts/setup` installs it."""


@dataclass(frozen=True)
class Size:
    """One line of the table."""

    job: str
    by: str
    """How Galaxy runs it."""
    clients: int
    rounds: int
    galaxy: list[str]
    aim: float
    """The ratio that it ought not to exceed."""


SIZES = (
    Size("digits", "demo", 4, 5, DEMO, 1.25),
    Size("digits", "demo", 10, 10, DEMO, 1.3),
    Size("digits", "demo", 100, 3, DEMO, 1.5),
    Size("resnet18", "demo", 4, 3, [*DEMO, str(HERE / "resnet18.toml"), "--data", DATA["resnet18"]], 1.5),
    Size("digits", "demo", 1_000, 2, DEMO, 2.0),
    Size("resnet18", "commands", 4, 3, COMMANDS, 1.5),
)


def descendants(root: int) -> set[int]:
    """A process and all below it."""
    found = {root}
    for task in Path(f"/proc/{root}/task").glob("*/children"):
        with suppress(OSError):  # it has ended meanwhile
            for child in task.read_text().split():
                found |= descendants(int(child))
    return found


def memory(root: int) -> int:
    """Memory of a process and all below it, in bytes; those that end meanwhile count as nothing.

    Memory that is no file's by its proportional set size, which has each page once, because none but these processes
    share it. Pages of files once, too: their proportional set size would depend on what else runs on the machine, as
    each process that has loaded PyTorch takes its share of 250 MB.
    """
    own, files = 0, dict[tuple[str, ...], int]()
    for pid in descendants(root):
        try:
            lines = Path(f"/proc/{pid}/smaps").read_text().splitlines()
        except OSError:
            continue
        mapped: tuple[str, ...] | None = None
        for line in lines:
            name, *rest = line.split()
            if not name.endswith(":"):  # ADDRESSES rights OFFSET DEVICE INODE [NAME]
                mapped = None if rest[3] == "0" else (rest[2], rest[3], rest[1])
            elif name == "Rss:":
                resident = int(rest[0])
            elif name == "Pss:":
                proportional = int(rest[0])
            elif name == "Anonymous:":
                anonymous = int(rest[0])
                own += min(proportional, anonymous) if mapped else proportional
                if mapped:
                    files[mapped] = max(files.get(mapped, 0), resident - anonymous)
    return 1024 * (own + sum(files.values()))


def seconds(command: list[str], place: Path, audits: bool = False) -> tuple[float, float]:
    """How long a command takes, in a folder of its own, and the audit's share of that, as its last line says."""
    folder = tempfile.mkdtemp(dir=place)
    os.sync()  # what runs before it have left to be written is not for this one to wait for
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    took = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
    return took, json.loads(done.stdout.splitlines()[-1])["audit_seconds"] / took if audits else 0.0


def peak_memory(command: list[str], place: Path) -> int:
    """The most memory seen, in bytes. In a run of its own, for looking slows it down."""
    folder = tempfile.mkdtemp(dir=place)
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory(process.pid))
        time.sleep(0.1)
    return peak


def ratio(ours: list[float], theirs: list[float]) -> str:
    """The median of the ratios pair by pair, and their range."""
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def machine() -> str:
    """What it is measured on."""
    cores, name = len(os.sched_getaffinity(0)), "unknown processor"
    if found := re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text()):
        name = found[1]
    return f"{cores} cores of {name}, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="pairs that are counted, after one that is not")
    parser.add_argument("--only", type=int, nargs="+", choices=range(len(SIZES)), help="numbers of lines, from 0")
    parser.add_argument("--chain", nargs="+", choices=("embedded", "anvil"), default=["embedded", "anvil"])
    parser.add_argument(
        "--flower", metavar="PYTHON", help="a Python that has flwr[simulation], torch and what Galaxy needs"
    )
    arguments = parser.parse_args()
    # What a run leaves is removed after the last: for minutes after thousands of files are, ext4 makes new ones at a
    # third of its speed, because it does not use their numbers again.
    with tempfile.TemporaryDirectory() as place:
        measure(arguments, Path(place))


def measure(arguments: argparse.Namespace, place: Path) -> None:
    """Print a line for each size and chain."""
    os.environ["PATH"] += f"{os.pathsep}{ANVIL}"
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))  # for the data
    print(machine(), flush=True)
    print(
        f"{'job':<10}{'by':<10}{'clients':>8}{'rounds':>7}  {'chain':<9}{'plain s':>8}{'galaxy s':>9}  {'ratio':<21}"
        + f"{'aim':>5}{'audit':>8}{'peak MB':>9}"
        + (f"{'flower s':>10}  galaxy / flower" if arguments.flower else ""),
        flush=True,
    )
    for size in SIZES if arguments.only is None else [SIZES[number] for number in arguments.only]:
        shape = ["--clients", str(size.clients), "--rounds", str(size.rounds)]
        commands = {"plain": [sys.executable, str(HERE / "plain_loop.py"), "--job", size.job, *shape]}
        commands |= {chain: [*size.galaxy, *shape, "--chain", chain] for chain in arguments.chain}
        if arguments.flower:
            commands["flower"] = [arguments.flower, str(HERE / "flower_app.py"), "--job", size.job, *shape]
        times: dict[str, list[float]] = {name: [] for name in commands}
        shares: dict[str, list[float]] = {name: [] for name in commands}
        seconds(commands["plain"], place)  # files into the page cache
        for _ in range(arguments.runs):
            for name, command in commands.items():
                took, share = seconds(command, place, audits=name in arguments.chain)
                times[name].append(took)
                shares[name].append(share)
        middle = {name: statistics.median(each) for name, each in times.items()}
        for chain in arguments.chain:
            line = (
                f"{size.job:<10}{size.by:<10}{size.clients:>8,}{size.rounds:>7}  {chain:<9}{middle['plain']:>8.1f}"
                f"{middle[chain]:>9.1f}  {ratio(times[chain], times['plain']):<21}{size.aim:>5}"
                f"{statistics.median(shares[chain]):>8.1%}{peak_memory(commands[chain], place) / 1e6:>9.0f}"
            )
            if arguments.flower:
                line += f"{middle['flower']:>10.1f}  {ratio(times[chain], times['flower'])}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
