"""Writes the test vectors of protocol sections 1, 2 and 6, from plain Python integers and fractions.

It shares no code with Galaxy: it is the slow second opinion that `galaxy_fl` and `contracts` are held to.
Run it as `python tests/vectors/generate.py` after a change of the protocol; a test checks that the committed
files are what it writes.

Where a vector is long it is given as a seed: parameter i of seed s is the first four bytes of
sha256("s:i"), read as a little-endian int32. Hex strings have no prefix; vectors are little-endian int32.
"""

from __future__ import annotations

import json
import struct
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
MAX_WEIGHT = 2**24 - 1
CHUNK = 8


def seeded(seed: str, count: int) -> list[int]:
    return [struct.unpack("<i", sha256(f"{seed}:{i}".encode()).digest()[:4])[0] for i in range(count)]


def to_hex(values: list[int]) -> str:
    return struct.pack(f"<{len(values)}i", *values).hex()


def clamp(value: int) -> int:
    return max(INT32_MIN, min(INT32_MAX, value))


# Section 1: fixed point.


def encoded(value: float, fraction_bits: int) -> int | None:
    """The int32 of a float, or None where it has none; Fraction makes `round` exact and half to even."""
    if value != value or value in (float("inf"), float("-inf")):
        return None
    q = round(Fraction(value) * 2**fraction_bits)
    return q if INT32_MIN <= q <= INT32_MAX else None


def decoded(q: int, fraction_bits: int) -> float:
    """The float32 nearest to q * 2**-fraction_bits, half to even, without float arithmetic."""
    excess = max(0, abs(q).bit_length() - 24)
    return float(Fraction(round(Fraction(q, 2**excess)) * 2**excess, 2**fraction_bits))


def fixed_point() -> dict[str, Any]:
    values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.1,
        -0.1,
        1e-45,
        -1e-45,
        127.99999237060547,
        -128.0,
        128.0,
        -128.0000152587890625,
    ]
    values += [
        3.4028234663852886e38,
        32767.99609375,
        -32768.0,
        32768.0,
        2147483520.0,
        -2147483648.0,
        2147483648.0,
    ]
    ties = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, 8388607.5, -8388606.5]
    encode = []
    for bits in (0, 16, 24, 30):
        for value in values + [tie / 2**bits for tie in ties]:
            value = struct.unpack("<f", struct.pack("<f", value))[0]
            encode.append({"float32": struct.pack(">f", value).hex(), "fraction_bits": bits, "q": encoded(value, bits)})
    for name in ("7fc00000", "7f800000", "ff800000"):
        encode.append({"float32": name, "fraction_bits": 24, "q": None})
    encode64 = [
        {"float64": struct.pack(">d", value).hex(), "fraction_bits": 24, "q": encoded(value, 24)}
        for value in (
            0.1,
            INT32_MAX / 2**24,
            (INT32_MAX + 0.25) / 2**24,
            (INT32_MAX + 0.5) / 2**24,
            (INT32_MIN - 0.5) / 2**24,
            (INT32_MIN - 0.75) / 2**24,
            1e300,
        )
    ]
    numbers = [
        0,
        1,
        -1,
        2**24,
        2**24 + 1,
        2**24 + 3,
        -(2**24) - 1,
        2**25 + 2,
        INT32_MAX,
        INT32_MIN,
        123_456_789,
    ]
    decode = [
        {"q": q, "fraction_bits": bits, "float32": struct.pack(">f", decoded(q, bits)).hex()}
        for bits in (0, 16, 24, 30)
        for q in numbers
    ]
    return {"encode_float32": encode, "encode_float64": encode64, "decode": decode}


# Section 2: chunk trees, by the definition: all padding is there and all of it is hashed.


def tree_levels(values: list[int], chunk: int) -> list[list[bytes]]:
    content = bytes.fromhex(to_hex(values))
    content += bytes(-len(content) % (4 * chunk))
    level = [sha256(content[i : i + 4 * chunk]).digest() for i in range(0, len(content), 4 * chunk)]
    size = 1
    while size < len(level):
        size *= 2
    level += [bytes(32)] * (size - len(level))
    levels = [level]
    while len(level) > 1:
        level = [sha256(level[i] + level[i + 1]).digest() for i in range(0, len(level), 2)]
        levels.append(level)
    return levels


def chunk_tree() -> dict[str, Any]:
    cases = []
    shapes = [
        (2, 1),
        (9, 8),
        (16, 8),
        (17, 8),
        (24, 8),
        (33, 8),
        (40, 8),
        (64 * 5 + 1, 64),
        (64 * 17, 64),
        (2500, 16),
    ]
    for d, chunk in shapes:
        seed = f"tree-{d}-{chunk}"
        values = seeded(seed, d)
        levels = tree_levels(values, chunk)
        content = bytes.fromhex(to_hex(values))
        count = -(-d // chunk)
        openings = []
        for index in sorted({0, 1, count // 2, count - 1}):
            path = [level[(index >> height) ^ 1].hex() for height, level in enumerate(levels[:-1])]
            piece = content[4 * chunk * index : 4 * chunk * (index + 1)].ljust(4 * chunk, b"\0")
            openings.append({"index": index, "chunk": piece.hex(), "path": path})
        root = levels[-1][0]
        address = sha256(seed.encode()).digest()[:20]
        cases.append(
            {
                "d": d,
                "C": chunk,
                "seed": seed,
                "depth": len(levels) - 1,
                "root": root.hex(),
                "openings": openings,
                "address": address.hex(),
                "commitment": sha256(root + address).hexdigest(),
            }
        )
    return {"trees": cases}


# Section 6: aggregation rules. Python's // on integers is the protocol's floor.


def mean(total: int, weight: int) -> int:
    return (total + weight // 2) // weight


def next_parameter(rule: str, word: int, model: int, updates: list[int], weights: list[int]) -> int:
    ascending = sorted(updates)
    match rule:
        case "weighted_mean":
            moved = mean(sum(w * u for w, u in zip(weights, updates, strict=True)), sum(weights))
        case "relay":
            moved = 0
        case "coordinate_median":
            moved = (ascending[(len(ascending) - 1) // 2] + ascending[len(ascending) // 2]) // 2
        case "trimmed_mean":
            kept = ascending[word : len(ascending) - word]
            moved = mean(sum(kept), len(kept))
    return clamp(model + moved)


def aggregation() -> dict[str, Any]:
    cases: list[dict[str, Any]] = []

    def case(
        name: str, rule: str, model: list[int], updates: list[list[int]], weights: list[int], word: int = 0
    ) -> None:
        columns = list(zip(*updates, strict=True))
        result = [
            next_parameter(rule, word, m, list(column), weights) for m, column in zip(model, columns, strict=True)
        ]
        cases.append(
            {
                "name": name,
                "rule": rule,
                "parameters": word.to_bytes(32, "big").hex(),
                "C": len(model),
                "model": to_hex(model),
                "updates": [to_hex(update) for update in updates],
                "weights": weights,
                "next": to_hex(result),
            }
        )

    def clients(seed: str, count: int, chunk: int = CHUNK) -> list[list[int]]:
        return [seeded(f"{seed}-{client}", chunk) for client in range(count)]

    lowest, highest = [INT32_MIN] * CHUNK, [INT32_MAX] * CHUNK
    edges = [INT32_MIN, INT32_MIN + 1, -2, -1, 0, 1, INT32_MAX - 1, INT32_MAX]
    for rule in ("weighted_mean", "relay", "coordinate_median", "trimmed_mean"):
        limit = 256 if rule in ("weighted_mean", "relay") else 64
        case("one client", rule, seeded("model", CHUNK), clients("one", 1), [1])
        case("one client, edges", rule, edges, [edges[::-1]], [MAX_WEIGHT])
        case("three clients", rule, seeded("model", CHUNK), clients("three", 3), [3, 1, 7])
        case("chunk of 64", rule, seeded("model", 64), clients("wide", 10, 64), list(range(1, 11)))
        case("saturates above", rule, highest, [highest, highest], [1, MAX_WEIGHT])
        case("saturates below", rule, lowest, [lowest, lowest], [MAX_WEIGHT, 1])
        case("opposite extremes", rule, edges, [lowest, highest], [MAX_WEIGHT, MAX_WEIGHT])
        case("as many as it takes, lowest", rule, [0] * CHUNK, [lowest] * limit, [MAX_WEIGHT] * limit)
        case("as many as it takes, highest", rule, [0] * CHUNK, [highest] * limit, [MAX_WEIGHT] * limit)
        weights = [1 + abs(value) % MAX_WEIGHT for value in seeded("weights", limit)]
        case("as many as it takes", rule, seeded("model", CHUNK), clients("many", limit), weights)
    around_zero = [-4, -3, -2, -1, 0, 1, 2, 3]
    odd = [2 * value + 1 for value in around_zero]
    for model in ([0] * CHUNK, lowest, highest):
        case("halves, two clients", "weighted_mean", model, [odd, [0] * CHUNK], [1, 1])
        case("halves, weights", "weighted_mean", model, [odd, [0] * CHUNK], [3, 3])
        case(
            "halves, four clients",
            "weighted_mean",
            model,
            [odd, odd, [1] * CHUNK, [-1] * CHUNK],
            [1, 1, 1, 1],
        )
    case("thirds", "weighted_mean", [0] * CHUNK, [around_zero, [0] * CHUNK], [1, 2])
    case("weights 1 and the largest", "weighted_mean", [0] * CHUNK, [lowest, highest], [1, MAX_WEIGHT])
    case("the largest weight and 1", "weighted_mean", [0] * CHUNK, [lowest, highest], [MAX_WEIGHT, 1])
    case("even median, halves", "coordinate_median", [0] * CHUNK, [odd, [0] * CHUNK], [1, 1])
    case("even median, equal", "coordinate_median", edges, [edges] * 4, [1] * 4)
    case("even median, highest", "coordinate_median", [-1] * CHUNK, [highest, highest], [1, 1])
    for count in (2, 3, 4, 5, 6, 7, 8, 13, 16, 31, 33, 63):
        case(
            f"{count} clients",
            "coordinate_median",
            seeded("model", CHUNK),
            clients("median", count),
            [1] * count,
        )
    for count, word in (
        (2, 0),
        (3, 1),
        (4, 1),
        (5, 1),
        (5, 2),
        (9, 2),
        (16, 7),
        (63, 31),
        (64, 31),
        (64, 10),
    ):
        name = f"{count} clients, {word} trimmed"
        case(name, "trimmed_mean", seeded("model", CHUNK), clients("trimmed", count), [1] * count, word)
    case("halves", "trimmed_mean", [0] * CHUNK, [odd, [0] * CHUNK, lowest, highest], [1] * 4, 1)
    return {"cases": cases}


def files() -> dict[str, str]:
    """The text of every file, by name."""
    contents = {
        "fixed_point.json": fixed_point(),
        "chunk_tree.json": chunk_tree(),
        "aggregation.json": aggregation(),
    }
    return {name: json.dumps(content, indent=1) + "\n" for name, content in contents.items()}


if __name__ == "__main__":
    for name, text in files().items():
        (Path(__file__).parent / name).write_text(text)
