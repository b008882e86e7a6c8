"""The twins of the tree of sums are those of the test vectors."""

from __future__ import annotations

import json
import runpy
import struct
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galaxy_fl.aggregation import RULES, WeightedMean, is_sum, sum_files
from galaxy_fl.aggregation.sum_tree import levels, locate, node_count, nodes_hash, pack_nodes, show_nodes, unpack_nodes
from galaxy_fl.aggregation.summing import node_file
from galaxy_fl.vectors import write_vector

FOLDER = Path(__file__).parents[2] / "vectors"
VECTORS: dict[str, list[dict[str, Any]]] = json.loads((FOLDER / "sums.json").read_text())


def seeded(seed: str, count: int) -> list[int]:
    return [struct.unpack("<i", sha256(f"{seed}:{i}".encode()).digest()[:4])[0] for i in range(count)]


def test_the_committed_vectors_are_those_of_the_generator() -> None:
    text = runpy.run_path(str(FOLDER / "generate_sums.py"))["text"]()
    assert (FOLDER / "sums.json").read_text() == text, "stale: run python tests/vectors/generate_sums.py"


@pytest.mark.parametrize("vector", VECTORS["places"], ids=lambda v: f"{v['entries']} by {v['fan_in']}")
def test_places(vector: dict[str, Any]) -> None:
    entries, fan_in = vector["entries"], vector["fan_in"]
    assert levels(entries, fan_in) == vector["levels"]
    assert node_count(entries, fan_in) == sum(vector["levels"])
    for number, node in enumerate(vector.get("nodes", ()), 1):
        place = locate(entries, fan_in, number)
        children = place.children if place.level == 1 else place.child_nodes
        assert (place.level, list(children), place.group) == (node["level"], node["children"], node["group"])
        assert [at + 1 for at in place.members] == node["members"]


@pytest.mark.usefixtures("every_kernels")
@pytest.mark.parametrize("vector", VECTORS["trees"], ids=lambda v: v["name"])
def test_trees(vector: dict[str, Any], tmp_path: Path) -> None:
    d, entries, fan_in = vector["d"], vector["entries"], vector["fan_in"]
    updates: list[Path | None] = []
    weights = []
    for number in range(entries):
        seed = f"{vector['name']}-{number}"
        weights.append(1 + int.from_bytes(sha256(f"{seed}:weight".encode()).digest()[:2]))
        updates.append(None if number in vector["excluded"] else tmp_path / f"update-{number}")
        write_vector(tmp_path / f"update-{number}", np.array(seeded(seed, d), np.int32))
    write_vector(tmp_path / "model", np.array(seeded(vector["model_seed"], d), np.int32))
    nodes = sum_files(
        WeightedMean(),
        bytes(32),
        tmp_path / "model",
        updates,
        weights,
        tmp_path / "next",
        d,
        fan_in=fan_in,
        chunk_parameters=vector["C"],
        folder=tmp_path,
    )
    assert pack_nodes(nodes).hex() == vector["nodes"]
    assert unpack_nodes(bytes.fromhex(vector["nodes"])) == nodes
    assert nodes_hash(nodes, entries, fan_in).hex() == vector["nodes_hash"]
    assert node_file(tmp_path, len(nodes)).read_bytes().hex() == vector["root_sum"]
    assert (tmp_path / "next").read_bytes().hex() == vector["weighted_mean"]
    for number, shown in vector["shown"].items():
        assert show_nodes(nodes, entries, fan_in, int(number)).hex() == shown


@pytest.mark.usefixtures("every_kernels")
@pytest.mark.parametrize("vector", VECTORS["finishes"], ids=lambda v: f"weight {v['weight']}")
def test_finishes(vector: dict[str, Any]) -> None:
    rule = RULES[vector["rule"]]
    assert is_sum(rule)
    model = np.frombuffer(bytes.fromhex(vector["model"]), "<i4")
    sums = np.frombuffer(bytes.fromhex(vector["sum"]), "<i8")
    assert rule.finish(bytes(32), model, sums, vector["weight"]).tobytes().hex() == vector["next"]
