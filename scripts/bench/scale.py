#!/usr/bin/env python
"""How a round grows: what its server, a client, an auditor and the ledger have to do, by clients and parameters.

A row is measured where its updates are few enough (`--limit`), and otherwise computed from the same model's pieces:
what an update costs, and what a partial sum costs (marked ~). Measured rows have as many files as updates, the same
few contents by other names: what is hashed and summed does not depend on it. Seconds are a processor's; training and
transport are not in them. Gas is that of `tests/contracts/gas.json`. Each row is a process of its own, because its
memory counts.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from aggregation import WORD, check_branch, memory

from galaxy_fl.aggregation import WeightedMean, sum_files
from galaxy_fl.aggregation.sum_tree import DEFAULT_FAN_IN, branch, node_count
from galaxy_fl.content import ContentId
from galaxy_fl.vectors import Layout, TensorLayout, decode, encode, read_vector, tree_root, usual_chunk, write_vector

CLIENTS = (4, 16, 64, 256, 1_000)
PARAMETERS = (38_282, 1_000_000, 11_000_000, 100_000_000)
BEYOND = (10_000, 100_000, 1_000_000)
LARGEST_ROUND = 4_096
"""Updates of the largest round whose gas is measured: more clients than that are several jobs."""
CONTENTS = 4
GAS = Path(__file__).resolve().parents[2] / "tests" / "contracts" / "gas.json"


@dataclass(frozen=True)
class Row:
    """Processor's seconds of each party in a round, and their peak memory in bytes above what the process had."""

    clients: int
    parameters: int
    intake: float
    """Of the server: to hash what came in, for the content's id and the chunk tree."""
    summing: float
    """Of the server: all partial sums with their trees, and the next model."""
    branch: float
    """Of a client: to verify its branch of the last commit."""
    own: float
    """Of a client: to decode the model, encode its update, and hash that."""
    server_memory: int
    client_memory: int
    computed: bool = False

    @property
    def nodes(self) -> int:
        """Partial sums."""
        return node_count(self.clients, DEFAULT_FAN_IN)

    @property
    def server_reads(self) -> int:
        """Bytes."""
        return 4 * self.parameters * (self.clients + 1)

    @property
    def server_writes(self) -> int:
        """Bytes: the next model, and the nodes."""
        return 4 * self.parameters + 8 * self.parameters * self.nodes

    @property
    def client_reads(self) -> int:
        """Bytes, those of the model that it trains included."""
        return 4 * self.parameters * (2 + siblings(self.clients)[0] + 2 * siblings(self.clients)[1])

    def __str__(self) -> str:
        about = "~" if self.computed else " "
        return (
            f"{self.clients:>8,} {self.parameters / 1e6:>9.2f} {about}│{self.intake:>9.2f}{self.summing:>9.2f}"
            f"{self.server_reads / 1e6:>11,.1f}{self.server_writes / 1e6:>11,.1f}{self.server_memory / 2**20:>8,.0f} │"
            f"{self.own:>8.3f}{self.branch:>9.3f}{self.client_reads / 1e6:>10,.1f}{4 * self.parameters / 1e6:>8.1f}"
            f"{self.client_memory / 2**20:>8,.0f} │"
            f"{self.intake + self.summing:>9.2f}"
        )


def siblings(clients: int) -> tuple[int, int]:
    """Updates and nodes on the branch of the last entry, at most."""
    places = branch(clients, DEFAULT_FAN_IN, clients - 1) if clients > DEFAULT_FAN_IN else ()
    if not places:
        return clients, 0
    updates = max(len(place.children) for place in places if place.level == 1)
    return updates, sum(len(place.members) for place in places)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--parameters", type=int, nargs="+", default=PARAMETERS)
    parser.add_argument("--limit", type=float, default=3e9, help="parameters of all updates of a row that is measured")
    parser.add_argument("--block-gas", type=float, default=60e6, help="gas of a block of the chain")
    parser.add_argument("--block-seconds", type=float, default=12.0)
    arguments = parser.parse_args()
    print(f"fan-in {DEFAULT_FAN_IN}; seconds of one processor, millions of bytes, MiB of memory beyond a process's own")
    print(f"{'':20}│ {'server':^47} │ {'a client':^42} │ auditor")
    print(
        f"{'clients':>8} {'million':>9}  │{'intake':>9}{'sums':>9}{'reads':>11}{'writes':>11}{'MiB':>8} │"
        f"{'own':>8}{'branch':>9}{'reads':>10}{'writes':>8}{'MiB':>8} │{'seconds':>9}"
    )
    for parameters in arguments.parameters:
        pieces: list[Row] = []
        for clients in arguments.clients:
            if not pieces or clients * parameters <= arguments.limit:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    pieces.append(pool.apply(measured, (clients, parameters)))
                print(pieces[-1], flush=True)
            else:
                print(computed(pieces, clients), flush=True)
    print_ledger(arguments.clients, arguments.block_gas, arguments.block_seconds)


def measured(clients: int, parameters: int) -> Row:
    """Do one round's work on files, and return what it takes."""
    random, chunk = np.random.default_rng(0), usual_chunk(parameters)
    seconds: dict[str, float] = {}
    peak: dict[str, int] = {}

    @contextmanager
    def timed(part: str) -> Iterator[None]:
        Path("/proc/self/clear_refs").write_text("5")  # begin the peak anew
        before, started = memory(), time.process_time()
        yield
        seconds[part], peak[part] = time.process_time() - started, memory() - before

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contents = [folder / f"content-{index}" for index in range(min(CONTENTS, clients + 1))]
        for file in contents:
            write_vector(file, random.integers(-(2**24), 2**24, parameters, np.int32))
        files = [folder / f"vector-{index}" for index in range(clients + 1)]
        for index, file in enumerate(files):
            os.link(contents[index % len(contents)], file)
        weights = [1 + index % 1000 for index in range(clients)]
        with timed("intake"):
            for file in files[1:]:
                ContentId.of_file(file)
                tree_root(read_vector(file, parameters), chunk)
        with timed("summing"):
            nodes = sum_files(
                WeightedMean(), WORD, files[0], files[1:], weights, folder / "next", parameters,
                fan_in=DEFAULT_FAN_IN, chunk_parameters=chunk, folder=folder,
            )  # fmt: skip
            tree_root(read_vector(folder / "next", parameters), chunk)
            ContentId.of_file(folder / "next")
        with timed("branch"):
            if nodes:
                check_branch(nodes, files, weights, folder, parameters, DEFAULT_FAN_IN)
            else:
                for file in files[1:]:
                    tree_root(read_vector(file, parameters), chunk)
                sum_files(
                    WeightedMean(), WORD, files[0], files[1:], weights, folder / "again", parameters,
                    fan_in=DEFAULT_FAN_IN, chunk_parameters=chunk, folder=folder,
                )  # fmt: skip
        layout = Layout((TensorLayout("w", (parameters,)),))
        decode(np.zeros(1, np.int32), Layout((TensorLayout("w", (1,)),)))  # pays for importing torch
        with timed("own"):
            state = decode(read_vector(files[0], parameters), layout)
            write_vector(folder / "update", encode({"w": state["w"].numpy()}, layout))
            ContentId.of_file(folder / "update")
            tree_root(read_vector(folder / "update", parameters), chunk)
    return Row(
        clients,
        parameters,
        intake=seconds["intake"],
        summing=seconds["summing"],
        branch=seconds["branch"],
        own=seconds["own"],
        server_memory=max(peak["intake"], peak["summing"]),
        client_memory=max(peak["branch"], peak["own"]),
    )


def computed(pieces: list[Row], clients: int) -> Row:
    """Return a row from what an update and a node took in the rows that were measured."""
    last = pieces[-1]
    flat = next((row for row in reversed(pieces) if row.nodes == 0), None)
    update = flat.summing / flat.clients if flat is not None else 0.0
    node = max(0.0, last.summing - last.clients * update) / last.nodes if last.nodes else 2 * update
    row = replace(last, clients=clients, computed=True)
    updates, nodes = siblings(clients)
    hashed = last.intake / last.clients
    return replace(
        row,
        intake=hashed * clients,
        summing=update * clients + node * row.nodes,
        branch=updates * (hashed + update) + nodes * (2 * hashed + update),
    )


def print_ledger(clients: tuple[int, ...], block_gas: float, block_seconds: float) -> None:
    """What a round costs on the ledger, and how long one chain takes for it."""
    gas = json.loads(GAS.read_text())
    sizes = (10, 100, 512, LARGEST_ROUND)
    commits = [gas[f"commitRound, {size} clients"] for size in sizes]
    entry, claim = (
        gas["submitUpdates, 100 entries"] / 100,
        gas["claim, each of 100 clients, accounts that have a balance"],
    )
    print()
    print(
        f"the ledger, all clients relayed in calls of 100; a block has {block_gas / 1e6:.0f} million gas and takes "
        f"{block_seconds:g} s"
    )
    print(
        f"{'clients':>10}{'jobs':>6}{'entries':>17}{'commits':>12}{'claims':>16}{'in all':>18}{'blocks':>10}"
        f"{'at least':>12}"
    )
    for number in [*clients, *BEYOND]:
        jobs = -(-number // LARGEST_ROUND)
        entries = entry * number
        commit = jobs * (float(np.interp(number / jobs, sizes, commits)) + gas["settle"])
        in_all = entries + commit + claim * number
        blocks = -(-in_all // block_gas)
        print(
            f"{number:>10,}{jobs:>6,}{entries:>17,.0f}{commit:>12,.0f}{claim * number:>16,.0f}{in_all:>18,.0f}"
            f"{blocks:>10,.0f}{blocks * block_seconds:>10,.0f} s"
        )


if __name__ == "__main__":
    sys.exit(main())
