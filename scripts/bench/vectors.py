#!/usr/bin/env python
"""Measures encoding, decoding, hashing and aggregation, by the kernels in C and those in Python side by side.

Each figure is a ratio to what is measured right before it: a memory copy of the same vector, or one sha256 over it. So
it depends less on the machine; the medians of some repetitions are printed, of the clock's time and of the processor's.
Where others use the machine, too, the processor's is the one to go by.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from galaxy_fl.aggregation import RULES, aggregate_files
from galaxy_fl.content import ContentId
from galaxy_fl.jobs.rule_choice import RuleChoice
from galaxy_fl.vectors import Layout, TensorLayout, Vector, decode, encode, kernels, tree_root, write_vector

WORD = (1).to_bytes(32, "big")
KINDS = ("c", "python")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parameters", type=int, default=11_000_000, help="length d of the vectors")
    parser.add_argument("--clients", type=int, default=10, help="number of updates to aggregate, 3 to 64")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions, of which the median counts")
    parser.add_argument("--device", help="measure instead what a CUDA device encodes and decodes: cuda, cuda:1")
    arguments = parser.parse_args()
    if arguments.device:
        return on_device(arguments.parameters, arguments.repeat, arguments.device)
    d, clients = arguments.parameters, arguments.clients

    random = np.random.default_rng(0)
    state = {"w": random.standard_normal(d, np.float32)}
    copied = state["w"].copy()
    layout = Layout((TensorLayout("w", (d,)),))
    vector = encode(state, layout)
    decode(vector[:1], Layout((TensorLayout("w", (1,)),)))  # pays for importing torch

    def copy() -> object:
        return np.copyto(copied, state["w"])

    def plain_hash() -> object:
        return hashlib.sha256(vector).digest()

    def report(name: str, run: Callable[[], object], unit: Callable[[], object], vectors: int = 1) -> None:
        cells = []
        for kind in KINDS:
            if not chosen(kind):
                cells.append(f"{'none':>24}")
                continue
            pairs = [(spent(unit), spent(run)) for _ in range(arguments.repeat)]
            ratios = [median(r[at] / max(u[at], 1e-9) / vectors for u, r in pairs) for at in (0, 1)]
            seconds = median(r[0] for _, r in pairs)
            cells.append(f"{seconds:8.3f} s{ratios[0]:7.2f}{ratios[1]:7.2f}")
        print(f"{name:<34}{''.join(f'{cell:>26}' for cell in cells)}", flush=True)

    print(f"{d:,} parameters, {clients} clients; C: {described('c')}")
    print(
        f"a memory copy takes {median(spent(copy)[0] for _ in range(5)):.4f} s, one sha256 {spent(plain_hash)[0]:.4f} s"
    )
    print(f"{'':<34}{'C: clock, ratio, processor':>27}{'Python':>26}")
    print("in copies")
    report("a copy into new memory", lambda: state["w"].copy(), copy)
    report("encode", lambda: encode(state, layout), copy)
    report("decode", lambda: decode(vector, layout), copy)
    print("in sha256 over the same bytes")
    for chunk in (64, 256):
        report(f"tree root, {chunk} parameters a chunk", lambda c=chunk: tree_root(vector, c), plain_hash)  # type: ignore[misc]
    report("content id", lambda: ContentId.of(memoryview(vector)), plain_hash)

    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"vector-{index}" for index in range(clients + 1)]
        for file in files:
            write_vector(file, random.integers(-(2**24), 2**24, d, np.int32))
        for lanes in {rule.lanes for rule in RULES.values()} - {1}:
            write_vector(model_of(files, lanes), random.integers(-(2**24), 2**24, lanes * d, np.int32))
        print("in copies of each update")
        for name in RULES:
            for workers in (1, 2):
                run = lambda n=name, w=workers: aggregate(n, files, d, w)  # noqa: E731
                report(f"{name}, {workers} thread{'s' * (workers > 1)}", run, copy, clients)
        print("peak resident memory of a process that aggregates (Linux)")
        for name in RULES:
            for count in (4, 64):
                # Which files they are does not matter to memory; the disk is spared 64 of them.
                some = [files[0], *(files[1 + index % clients] for index in range(count))]
                # A new process, since the peak of this one is that of everything above.
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    peak = pool.apply(peak_of_aggregating, (name, some, d))
                print(f"{name + ',':<20} {count:>2} clients {peak / 1024:20.1f} MiB", flush=True)


def on_device(d: int, repeat: int, device: str) -> None:
    """Print the seconds from tensors on a device to a vector here and back, by the device's codec and by the kernels.

    The model has 64 tensors. On the host's way, floats cross the bus and the kernels do the rest.
    """
    import torch

    layout = Layout(tuple(TensorLayout(f"w{number}", (d // 64,)) for number in range(64)))
    state = {tensor.name: torch.randn(tensor.shape, device=device) for tensor in layout.tensors}
    vector = encode(state, layout)

    def here() -> Vector:
        return encode({name: value.cpu() for name, value in state.items()}, layout)

    def back_from_here() -> dict[str, torch.Tensor]:
        return {name: value.to(device) for name, value in decode(vector, layout).items()}

    def settled(run: Callable[[], object]) -> float:
        def whole() -> None:
            run()
            torch.cuda.synchronize(device)

        whole()
        return median(spent(whole)[0] for _ in range(repeat))

    assert np.array_equal(here(), vector)
    print(f"{layout.parameters:,} parameters, {torch.cuda.get_device_name(device)}; here: {kernels.description()}")
    print(f"{'':<10}{'there':>12}{'by the host':>14}")
    for name, there, by_host in (
        ("encode", lambda: encode(state, layout), here),
        ("decode", lambda: decode(vector, layout, device), back_from_here),
    ):
        print(f"{name:<10}{settled(there):>10.4f} s{settled(by_host):>12.4f} s", flush=True)


def chosen(kind: str) -> bool:
    """Have this process use the kernels of that kind; tells whether there are any."""
    os.environ["GALAXY_KERNELS"] = kind if kind == "python" else ""
    kernels.choose_anew()
    return kernels.description().startswith("C") == (kind == "c")


def described(kind: str) -> str:
    chosen(kind)
    return kernels.description()


def spent(run: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of the clock and of the processor that a call takes."""
    clock, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - clock, time.process_time() - processor


def aggregate(name: str, files: list[Path], d: int, workers: int | None) -> None:
    weights = list(range(1, len(files)))
    following = files[0].with_name("next")
    following.unlink(missing_ok=True)
    rule = RULES[name]
    word = RuleChoice(name=name).rule_word if rule.lanes > 1 else WORD
    aggregate_files(rule, word, model_of(files, rule.lanes), files[1:], weights, following, d, workers)


def model_of(files: list[Path], lanes: int) -> Path:
    """Return the file of the model of a rule with so many lanes."""
    return files[0] if lanes == 1 else files[0].with_name(f"model-{lanes}")


def peak_of_aggregating(name: str, files: list[Path], d: int) -> int:
    """Return the peak resident memory in KiB of this process, after it aggregated."""
    aggregate(name, files, d, None)
    # Not getrusage: what it gives a new process begins with the peak of its parent.
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


if __name__ == "__main__":
    main()
