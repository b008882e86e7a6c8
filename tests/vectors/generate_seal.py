"""Writes the test vectors of protocol section 10, sealed content, from pycryptodome and plain Python integers.

It shares no code with Galaxy, nor the libraries that Galaxy seals and wraps with. Run it as
`python tests/vectors/generate_seal.py` after a change of the protocol.

Where a text is long it is given as a seed and a length: sha256("seed:0"), sha256("seed:1"), … one after the other, cut
to the length; what is sealed is then given as the digest of its content id, and its first 64 and last 32 bytes.
"""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from Crypto.Cipher import AES, ChaCha20_Poly1305

FILE = Path(__file__).parent / "seal.json"
RECORD = 65_536
P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)
Point = tuple[int, int] | None


def text_of(seed: str, length: int) -> bytes:
    blocks = (sha256(f"{seed}:{number}".encode()).digest() for number in range(length // 32 + 1))
    return b"".join(blocks)[:length]


def secret_of(seed: str) -> int:
    return int.from_bytes(sha256(seed.encode()).digest()) % N


# Files


def mac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, "sha256").digest()


def sealed(key: bytes, text: bytes) -> bytes:
    header = mac(key, b"galaxy seal" + sha256(text).digest())
    file_key, out = mac(key, b"galaxy seal key" + header), header
    for number, start in enumerate(range(0, max(len(text), 1), RECORD)):
        cipher = AES.new(file_key, AES.MODE_GCM, nonce=number.to_bytes(12, "big"))
        cipher.update(header + len(text).to_bytes(8, "big"))
        body, tag = cipher.encrypt_and_digest(text[start : start + RECORD])
        out += body + tag
    return out


def files() -> list[dict[str, Any]]:
    found = []
    for seed, length in (("empty", 0), ("one", 1), ("short", 600), ("whole", RECORD), ("more", 2 * RECORD + 5)):
        key, text = sha256(f"key of {seed}".encode()).digest(), text_of(seed, length)
        file = sealed(key, text)
        one = {"key": key.hex(), "seed": seed, "length": length, "size": len(file)}
        if len(file) <= 1_000:
            found.append({**one, "sealed": file.hex()})
        else:
            found.append(
                {**one, "sha256": sha256(file).hexdigest(), "first": file[:64].hex(), "last": file[-32:].hex()}
            )
    return found


# Wraps


def add(left: Point, right: Point) -> Point:
    if left is None or right is None:
        return left or right
    (x, y), (u, v) = left, right
    if x == u and (y + v) % P == 0:
        return None
    slope = 3 * x * x * pow(2 * y, -1, P) if left == right else (v - y) * pow(u - x, -1, P)
    w = (slope * slope - x - u) % P
    return w, (slope * (x - w) - y) % P


def times(point: Point, factor: int) -> Point:
    total: Point = None
    while factor:
        if factor & 1:
            total = add(total, point)
        point, factor = add(point, point), factor >> 1
    return total


def x_of(point: Point) -> bytes:
    assert point is not None
    return point[0].to_bytes(32, "big")


def lifted(x: bytes) -> Point:
    """The point of that x whose y is even."""
    number = int.from_bytes(x, "big")
    square = (pow(number, 3, P) + 7) % P
    y = pow(square, (P + 1) // 4, P)
    assert number < P, "x is beyond the field"
    assert y * y % P == square, "no point has that x"
    return number, y if y % 2 == 0 else P - y


def wrapped(chain: int, ledger: str, job: int, key: bytes, member: int, ephemeral: int) -> dict[str, Any]:
    ours, theirs = x_of(times(G, ephemeral)), x_of(times(G, member))
    digest = sha256(b"galaxy content key" + key).digest()
    place = chain.to_bytes(32, "big") + bytes.fromhex(ledger[2:]) + job.to_bytes(32, "big")
    context = b"galaxy wrap" + place + digest + theirs + ours
    q = x_of(times(lifted(theirs), ephemeral))
    assert q == x_of(times(lifted(ours), member)), "both sides agree"
    cipher = ChaCha20_Poly1305.new(key=sha256(context + q).digest(), nonce=bytes(12))
    cipher.update(context)
    body, tag = cipher.encrypt_and_digest(key)
    return {
        "chain": chain,
        "ledger": ledger,
        "job": job,
        "key": key.hex(),
        "digest": digest.hex(),
        "member_secret": member.to_bytes(32, "big").hex(),
        "member": theirs.hex(),
        "ephemeral_secret": ephemeral.to_bytes(32, "big").hex(),
        "wrap": (theirs + ours + body + tag).hex(),
    }


def wraps() -> list[dict[str, Any]]:
    return [
        wrapped(
            chain, "0x" + f"{job:02x}" * 20, job, text_of(f"key {job}", 32), secret_of(f"m{job}"), secret_of(f"e{job}")
        )
        for job, chain in enumerate((1, 1337, 2**63, 31337), 1)
    ]


def not_points() -> list[str]:
    """Some x of which there is no point: of about half of all, and from p on."""
    small = [x for x in range(1, 40) if pow((x**3 + 7) % P, (P - 1) // 2, P) != 1][:4]
    return [x.to_bytes(32, "big").hex() for x in (0, *small, P, P + 1, 2**256 - 1)]


def text() -> str:
    """What the file has to say."""
    return json.dumps({"files": files(), "wraps": wraps(), "not_points": not_points()}, indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
