"""Writes the test vectors of the tree of sums (protocol section 6): nodes, what binds and shows them, and finished sums.

It shares no code with Galaxy. Run it as `python tests/vectors/generate_sums.py` after a change of the protocol; a test
checks that the committed file is what it writes.

Parameter i of the update of entry n of seed s is the first four bytes of sha256("s-n:i"), read as a little-endian int32;
its weight is 1 + the first two bytes of sha256("s-n:weight"), big-endian. Hex strings have no prefix; vectors are
little-endian int32, sums little-endian int64.
"""

from __future__ import annotations

import json
import struct
from hashlib import sha256
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

FILE = Path(__file__).parent / "sums.json"
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def seeded(seed: str, count: int) -> list[int]:
    return [struct.unpack("<i", sha256(f"{seed}:{i}".encode()).digest()[:4])[0] for i in range(count)]


def weight_of(seed: str) -> int:
    return 1 + int.from_bytes(sha256(f"{seed}:weight".encode()).digest()[:2])


def int32(values: list[int]) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


def int64(values: list[int]) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def tree_root(content: bytes, chunk_bytes: int) -> bytes:
    """By the definition: all padding is there and all of it is hashed."""
    content += bytes(-len(content) % chunk_bytes)
    level = [sha256(content[i : i + chunk_bytes]).digest() for i in range(0, len(content), chunk_bytes)]
    size = 1
    while size < len(level):
        size *= 2
    level += [bytes(32)] * (size - len(level))
    while len(level) > 1:
        level = [sha256(level[i] + level[i + 1]).digest() for i in range(0, len(level), 2)]
    return level[0]


def tree_of(entries: int, fan_in: int) -> list[list[list[int]]]:
    """The children of the nodes of every level: numbers of entries on level 1, of nodes (from 1) above."""
    if entries <= fan_in:
        return []
    tree, below, first = [], list(range(entries)), 1
    while len(below) > 1:
        groups = [below[at : at + fan_in] for at in range(0, len(below), fan_in)]
        tree.append(groups)
        below = list(range(first, first + len(groups)))
        first += len(groups)
    return tree


def groups_of(tree: list[list[list[int]]]) -> list[list[int]]:
    """The groups of nodes: the children of every node above level 1, then the root alone."""
    root = sum(map(len, tree))
    return [group for level in tree[1:] for group in level] + [[root]]


def places() -> list[dict[str, Any]]:
    found = []
    for entries, fan_in in ((1, 2), (2, 2), (3, 2), (4, 2), (5, 2), (9, 3), (16, 16), (17, 16), (257, 16), (65, 64)):
        tree = tree_of(entries, fan_in)
        nodes = []
        groups = groups_of(tree)
        for level, levels in enumerate(tree, 1):
            for children in levels:
                number = len(nodes) + 1
                group = next(place for place, members in enumerate(groups) if number in members)
                nodes.append({"level": level, "children": children, "group": group, "members": groups[group]})
        found.append({"entries": entries, "fan_in": fan_in, "levels": list(map(len, tree)), "nodes": nodes})
    counts = []
    for entries, fan_in in ((4096, 2), (4096, 16), (4096, 64), (4095, 16), (4033, 64), (1000, 7)):
        counts.append({"entries": entries, "fan_in": fan_in, "levels": list(map(len, tree_of(entries, fan_in)))})
    return found + counts


def trees() -> list[dict[str, Any]]:
    shapes = [
        ("least", 3, 2, 9, 8, []),
        ("two levels", 17, 16, 20, 8, [16]),
        ("a run all excluded", 9, 3, 16, 8, [3, 4, 5, 8]),
        ("last lanes", 7, 2, 33, 16, [0, 6]),
        ("four levels", 16, 2, 24, 8, [5]),
        ("three levels of 16", 300, 16, 10, 8, list(range(0, 300, 7))),
        ("the largest fan-in", 65, 64, 65, 64, []),
    ]
    found = []
    for name, entries, fan_in, d, chunk, excluded in shapes:
        seeds = [f"{name}-{number}" for number in range(entries)]
        weights = [0 if number in excluded else weight_of(seed) for number, seed in enumerate(seeds)]
        sums = [[w * x for x in seeded(seed, d)] for w, seed in zip(weights, seeds, strict=True)]
        tree = tree_of(entries, fan_in)
        nodes: list[tuple[list[int], int]] = []
        for level, groups in enumerate(tree):
            for children in groups:
                parts = [(sums[c], weights[c]) if level == 0 else nodes[c - 1] for c in children]
                columns = zip(*(part for part, _ in parts), strict=True)
                nodes.append(([sum(column) for column in columns], sum(weight for _, weight in parts)))
        packed = [tree_root(int64(total), 8 * chunk) + weight.to_bytes(4) for total, weight in nodes]

        def group_bytes(members: list[int], packed: list[bytes] = packed) -> bytes:
            return b"".join(packed[number - 1] for number in members)

        groups = groups_of(tree)
        digests = b"".join(keccak(group_bytes(members)) for members in groups)
        shown = {"0": digests + group_bytes(groups[-1])}
        number = 0
        for level, levels in enumerate(tree, 1):
            for children in levels:
                number += 1
                own = next(members for members in groups if number in members)
                shown[str(number)] = digests + group_bytes(own) + (group_bytes(children) if level > 1 else b"")
        kept = {"0", "1", str(len(tree[0])), str(len(tree[0]) + 1), str(number)}
        model = seeded(f"{name}-model", d)
        total, weight = nodes[-1]
        found.append(
            {
                "name": name,
                "entries": entries,
                "fan_in": fan_in,
                "d": d,
                "C": chunk,
                "excluded": excluded,
                "nodes": b"".join(packed).hex(),
                "nodes_hash": keccak(digests).hex(),
                "shown": {key: value.hex() for key, value in shown.items() if key in kept},
                "root_sum": int64(total).hex(),
                "model_seed": f"{name}-model",
                "weighted_mean": int32([finished(m, s, weight) for m, s in zip(model, total, strict=True)]).hex(),
            }
        )
    return found


def finished(model: int, total: int, weight: int) -> int:
    """WeightedMean.finish; Python's // on integers is the protocol's floor."""
    moved = (total + weight // 2) // weight if weight else 0
    return max(INT32_MIN, min(INT32_MAX, model + moved))


def finishes() -> list[dict[str, Any]]:
    edges = [INT64_MIN, INT64_MIN + 1, -(2**62), -(2**31), -1, 0, 1, INT64_MAX]
    others = [INT64_MAX - 1, 2**62 + 1, 2**31, 2**31 - 1, 2**32, -3, 3, 2]
    models = [[0] * 8, [INT32_MIN] * 8, [INT32_MAX] * 8, [-1, 1, -2, 2, INT32_MIN, INT32_MAX, 7, -7]]
    found = []
    for weight in (0, 1, 2, 3, 5, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1):
        bounds = [weight * INT32_MIN, weight * INT32_MAX, weight * INT32_MIN + weight // 2, -(weight // 2) - 1]
        bounds += [weight // 2, weight - 1, -weight, weight]
        for place, sums in enumerate((edges, others, bounds)):
            model = models[(weight + place) % len(models)]
            found.append(
                {
                    "rule": "weighted_mean",
                    "weight": weight,
                    "model": int32(model).hex(),
                    "sum": int64(sums).hex(),
                    "next": int32([finished(m, s, weight) for m, s in zip(model, sums, strict=True)]).hex(),
                }
            )
    return found


def text() -> str:
    """What the file has to say."""
    return json.dumps({"places": places(), "trees": trees(), "finishes": finishes()}, indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
