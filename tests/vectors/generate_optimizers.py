"""Writes the test vectors of the rules that keep moments (protocol section 6), from plain Python integers.

It shares no code with Galaxy: it is the slow second opinion that `galaxy_fl` and `contracts` are held to. Run it as
`python -m tests.vectors.generate_optimizers` after a change of the protocol; a test checks that the committed file is
what it writes. Hex strings have no prefix; models are little-endian int32, lane after lane of each parameter, sums
little-endian int64.
"""

from __future__ import annotations

import json
import struct
from hashlib import sha256
from math import isqrt
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "optimizers.json"
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
ONE = 10**6
LANES = {"fedavgm": 2, "fedadam": 4}
EDGES = [INT32_MIN, INT32_MIN + 1, -1_000_000, -2, -1, 0, 1, 2, 3, 16_777_216, INT32_MAX - 1, INT32_MAX]


def within(value: int, lowest: int = INT32_MIN) -> int:
    return max(lowest, min(INT32_MAX, value))


def toward_zero(numerator: int, denominator: int) -> int:
    return abs(numerator) // denominator * (1 if numerator >= 0 else -1)


def nearest(numerator: int, denominator: int) -> int:
    return (numerator + denominator // 2) // denominator


def word_of(*fields: int) -> bytes:
    return sum(value << 32 * place for place, value in enumerate(fields)).to_bytes(32, "big")


def fields_of(word: bytes) -> list[int]:
    return [int.from_bytes(word) >> 32 * place & 0xFFFFFFFF for place in range(4)]


def fedavgm(word: bytes, lanes: list[int], total: int, weight: int) -> list[int]:
    rate, beta, _, _ = fields_of(word)
    w, m = lanes
    mean = within(nearest(total, weight)) if weight else 0
    if m == INT32_MIN:
        return [within(w + mean), m]
    m = within(toward_zero(m * beta, ONE) + mean, INT32_MIN + 1)
    return [within(w + nearest(rate * m, ONE)), m]


def fedadam(word: bytes, lanes: list[int], total: int, weight: int) -> list[int]:
    learning_rate, beta1, beta2, tau = fields_of(word)
    rate = nearest(learning_rate * (ONE - beta1) * 2**32, ONE * ONE)
    steps = nearest(tau * 2**24, 10**9)
    w, m, low, high = lanes
    mean = within(nearest(total, weight)) if weight else 0
    if m == INT32_MIN:
        return [within(w + mean), m, low, high]
    m = within(toward_zero(m * beta1, ONE) + mean, INT32_MIN + 1)
    v = min(2**62, low % 2**32 + (high % 2**32) * 2**32)
    v = (v * ONE + (ONE - beta2) * (mean * mean - v)) // ONE
    w = within(w + nearest(rate * m, 256 * (isqrt(v) + steps)))
    return [w, m, *struct.unpack("<2i", struct.pack("<Q", v))]


STEPS = {"fedavgm": fedavgm, "fedadam": fedadam}


def finish(rule: str, word: bytes, model: list[int], sums: list[int], weight: int) -> list[int]:
    """The next model of a rule with moments."""
    lanes = LANES[rule]
    return [
        value
        for place, total in enumerate(sums)
        for value in STEPS[rule](word, model[lanes * place : lanes * (place + 1)], total, weight)
    ]


def seeded(seed: str, count: int, size: int) -> list[int]:
    """Numbers of all sizes: of `size` bytes, shifted right by as many bits as a byte says."""
    found = []
    for place in range(count):
        digest = sha256(f"{seed}:{place}".encode()).digest()
        found.append(int.from_bytes(digest[:size], "little", signed=True) >> digest[size] % (8 * size))
    return found


def vectors() -> dict[str, Any]:
    words = {
        "fedavgm": [word_of(ONE, 0), word_of(ONE, 900_000), word_of(1, 999_999), word_of(2**31 - 1, 500_000)],
        "fedadam": [
            word_of(10_000, 900_000, 990_000, 1_000_000),
            word_of(100_000, 0, 0, 30),
            word_of(1, 999_000, 999_999, 2**32 - 1),
            word_of(499_999, 0, 999_000, 1_000_000),
        ],
    }
    cases: list[dict[str, Any]] = []

    def case(name: str, rule: str, word: bytes, model: list[int], sums: list[int], weight: int) -> None:
        following = finish(rule, word, model, sums, weight)
        cases.append(
            {
                "name": name,
                "rule": rule,
                "parameters": word.hex(),
                "model": struct.pack(f"<{len(model)}i", *model).hex(),
                "sums": struct.pack(f"<{len(sums)}q", *sums).hex(),
                "weight": weight,
                "next": struct.pack(f"<{len(following)}i", *following).hex(),
            }
        )

    for rule, of_rule in words.items():
        lanes = LANES[rule]
        for place, word in enumerate(of_rule):
            for weight in (1, 3, 77, 2**32 - 1):
                seed = f"{rule} {place} {weight}"
                model = seeded(seed, 16 * lanes, 4)
                model[1] = model[lanes * 9 + 1] = INT32_MIN
                case(f"word {place}, weight {weight}", rule, word, model, seeded(f"{seed} sums", 16, 8), weight)
                means = [weight * value for value in seeded(f"{seed} means", 16, 4)]
                case(f"word {place}, weight {weight}, sums of updates", rule, word, model, means, weight)
            case(f"word {place}, no weight", rule, word, seeded("none", 16 * lanes, 4), [7] * 16, 0)
            edges = [value for value in EDGES for _ in range(lanes)] + [0] * 4 * lanes
            case(f"word {place}, edges", rule, word, edges, [0] * 16, 1)
            case(f"word {place}, moments at their edges", rule, word, edges, [*EDGES, 0, 0, 0, 0], 1)
        # A life of ten rounds from nothing, each beginning with the last one's end.
        model = [0] * 16 * lanes
        for round_ in range(10):
            sums = [9 * value for value in seeded(f"{rule} round {round_}", 16, 3)]
            case(f"round {round_ + 1}", rule, of_rule[1 if rule == "fedavgm" else 0], model, sums, 9)
            model = finish(rule, of_rule[1 if rule == "fedavgm" else 0], model, sums, 9)
    return {"cases": cases}


def text() -> str:
    """The text of the file."""
    return json.dumps(vectors(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
