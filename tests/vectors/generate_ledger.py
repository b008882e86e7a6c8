"""Writes the test vectors of protocol section 5: entries, heads, what is shown of them, records, rewards, announcements,
and what clients sign.

It shares no code with Galaxy: it builds what the protocol says from eth_abi's encoding, and finds the smallest
`submissions` by trying every form of every segment. Run it as `python tests/vectors/generate_ledger.py` after a change of the
protocol; a test checks that the committed file is what it writes.

Entry i of seed s: its client is the first 20 bytes of sha256("s:i:client"), its weight 1 + i, its commitment and content
are sha256("s:i:commitment") and sha256("s:i:content"). A private key is the sha256 of its seed. Hex strings have no
prefix.
"""

from __future__ import annotations

import json
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak

FILE = Path(__file__).parent / "ledger.json"
RECORD = "(uint32,uint32,uint16,bytes32,bytes32,(bytes32,bytes32),bytes,bytes32,uint128,uint128,uint16,address,uint40)"


def digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def address(text: str) -> str:
    return "0x" + digest(text)[:20].hex()


def entry(seed: str, i: int) -> bytes:
    name = f"{seed}:{i}"
    return (
        digest(f"{name}:client")[:20] + (1 + i).to_bytes(4) + digest(f"{name}:commitment") + digest(f"{name}:content")
    )


# Heads, by the definition.


def link(before: bytes, inner: bytes, entries: int) -> bytes:
    return keccak(encode(["bytes32", "bytes32", "uint256"], [before, inner, entries]))


def inner_of(segment: list[list[bytes]]) -> bytes:
    inner = bytes(32)
    for block in segment:
        inner = link(inner, keccak(b"".join(block)), len(block))
    return inner


def segments_of(blocks: list[list[bytes]]) -> list[list[list[bytes]]]:
    return [blocks[i : i + 64] for i in range(0, len(blocks), 64)]


def head_of(start: bytes, blocks: list[list[bytes]]) -> bytes:
    outer, inner = start, bytes(32)
    for segment in segments_of(blocks):
        if len(segment) == 64:
            outer = link(outer, inner_of(segment), sum(map(len, segment)))
        else:
            inner = inner_of(segment)
    return keccak(encode(["bytes32", "bytes32"], [outer, inner]))


# What is shown: each segment in all the forms that it can have, and of those that show enough the shortest.


def submissions(blocks: list[list[bytes]], wanted: set[int]) -> bytes:
    shown, first = b"", 0
    for segment in segments_of(blocks):
        forms = []
        count = sum(map(len, segment))
        if wanted.isdisjoint(range(first, first + count)):
            if len(segment) == 64:
                forms.append(b"\x00" + inner_of(segment) + count.to_bytes(2))
            else:
                forms.append(b"\xff" + inner_of(segment))
        opened, number = bytes([len(segment)]), first
        for block in segment:
            plain = bytes([len(block)]) + b"".join(block)
            hashed = bytes([len(block) + 128]) + keccak(b"".join(block))
            opened += hashed if wanted.isdisjoint(range(number, number + len(block))) else plain
            number += len(block)
        shown += min([*forms, opened], key=len)
        first += count
    return shown


def cut(entries: int, fan_in: int) -> list[int]:
    """The sizes of the blocks of a call that had so many entries accepted."""
    return [min(fan_in, entries - first) for first in range(0, entries, fan_in)]


SHAPES: list[tuple[list[int], list[list[int]]]] = [
    ([], [[]]),
    ([1], [[], [0]]),
    ([1, 1, 1], [[], [1], [0, 2]]),
    ([16, 1, 2], [[0], [16], [17], [16, 18]]),
    ([127, 3], [[128], []]),
    ([1] * 63, [[], [62]]),
    ([1] * 64, [[], [0], [63]]),
    ([1] * 65, [[], [3], [64], [3, 64]]),
    ([2] * 64 + [3, 1], [[5], [128, 131], []]),
    ([1] * 128, [[64], [0, 127]]),
    ([1] * 64 + [16] * 64 + [1] * 5, [[0], [64 + 17], [64 + 1024 + 4], [1, 300, 1090]]),
    # Calls and single submissions mixed: runs of 16 entries in one block, in two, and across segments.
    (
        [1, *cut(100, 16), *([1] * 54), *cut(33, 16), 1, *cut(5, 16)],
        [list(range(16)), list(range(96, 112)), list(range(144, 160)), list(range(176, 192)), [193]],
    ),
    ([*cut(7, 2), *([1] * 62), *cut(6, 2)], [[66, 67], [68, 69], [70, 71], [0, 74]]),
]


def attempts() -> list[dict[str, Any]]:
    found = []
    for place, (sizes, subsets) in enumerate(SHAPES):
        seed = f"attempt-{place}"
        start = digest(f"{seed}:start")
        numbers = iter(range(sum(sizes)))
        blocks = [[entry(seed, next(numbers)) for _ in range(size)] for size in sizes]
        found.append(
            {
                "seed": seed,
                "start": start.hex(),
                "sizes": sizes,
                "head": head_of(start, blocks).hex(),
                "shown": [
                    {"numbers": subset, "submissions": submissions(blocks, set(subset)).hex()} for subset in subsets
                ],
                "keccak256_of_all": keccak(submissions(blocks, set(range(sum(sizes))))).hex(),
            }
        )
    return found


def starts() -> list[dict[str, Any]]:
    found = []
    for chain_id, job, attempt in ((1, 1, 1), (31337, 7, 2**32 - 1), (2**63, 2**256 - 1, 0)):
        ledger, root = address(f"ledger {chain_id}"), digest(f"root {chain_id}")
        values = [chain_id, ledger, job, attempt, root]
        encoded = encode(["uint256", "address", "uint256", "uint32", "bytes32"], values)
        found.append(
            {
                "chain_id": str(chain_id),
                "ledger": ledger,
                "job": str(job),
                "attempt": attempt,
                "root": root.hex(),
                "start": keccak(encoded).hex(),
            }
        )
    return found


def records() -> list[dict[str, Any]]:
    cases = [
        ("plain", 3, [], 10**18, 0, 2000),
        ("one excluded", 3, [1], 10**18 + 1, 5, 2000),
        ("byte boundary", 8, [7], 7, 1, 5000),
        ("beyond a byte", 9, [0, 8], 100, 2, 1),
        ("many", 300, list(range(0, 300, 7)), 2**128 - 1, 2**128 - 1, 4999),
        ("no share", 16, [15], 3, 0, 0),
        ("nothing", 1, [], 0, 0, 5000),
    ]
    found = []
    for place, (name, updates, excluded, reward, before, share) in enumerate(cases):
        bits = bytearray(-(-updates // 8))
        for number in excluded:
            bits[number // 8] |= 1 << number % 8
        head, previous, root, content = (digest(f"{name} {part}") for part in ("head", "previous", "root", "content"))
        nodes_hash = digest(f"{name} nodes") if updates > 16 else bytes(32)
        server, time = address(name), 1_800_000_000 + place
        values = (
            place + 5, place + 1, updates, head, previous, (root, content), bytes(bits), nodes_hash, reward, before, share,
            server, time,
        )  # fmt: skip
        server_amount = int(Fraction(reward * share, 10_000))
        found.append(
            {
                "name": name,
                "attempt": place + 5,
                "round": place + 1,
                "updates": updates,
                "head": head.hex(),
                "previous_root": previous.hex(),
                "root": root.hex(),
                "content": content.hex(),
                "excluded_numbers": excluded,
                "excluded": bits.hex(),
                "nodes_hash": nodes_hash.hex(),
                "reward": str(reward),
                "allotted_before": str(before),
                "share": share,
                "server": server,
                "time": time,
                "word": keccak(encode([RECORD], [values])).hex(),
                "server_amount": str(server_amount),
                "client_amount": str(int(Fraction(reward - server_amount, updates - len(excluded)))),
            }
        )
    return found


def announcements() -> list[dict[str, Any]]:
    found = []
    for node, index in ((0, 0), (3, 1), (4_681, 2**40)):
        sender, salt, word = address(f"sender {index}"), digest(f"salt {index}"), digest(f"word {index}")
        root = digest(f"next root {index}")
        finding = encode(["address", "bytes32", "bytes32", "uint256", "uint256"], [sender, salt, word, node, index])
        commit = encode(["address", "bytes32", "bytes32", "bytes32"], [sender, salt, word, root])
        found.append(
            {
                "sender": sender,
                "salt": salt.hex(),
                "word_or_head": word.hex(),
                "node": node,
                "index": index,
                "root": root.hex(),
                "finding": keccak(finding).hex(),
                "commit": keccak(commit).hex(),
            }
        )
    return found


# What clients sign: EIP-712 by its text, ECDSA by eth_keys (deterministic, RFC 6979).

DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
UPDATE = "Update(uint256 job,uint32 attempt,bytes32 model,bytes32 commitment,bytes32 content,uint32 weight)"
JOIN = "Join(uint256 job,uint32 samples,bytes32 key,uint256 deadline)"
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def struct_hash(form: str, values: list[Any]) -> bytes:
    kinds = [field.split()[0] for field in form[form.index("(") + 1 : -1].split(",")]
    return keccak(keccak(form.encode()) + encode(kinds, values))


def domain_separator(chain_id: int, ledger: str) -> bytes:
    # Texts are encoded as their hashes.
    values = [keccak(DOMAIN.encode()), keccak(b"Galaxy"), keccak(b"2"), chain_id, ledger]
    return keccak(encode(["bytes32", "bytes32", "bytes32", "uint256", "address"], values))


def signed(key_seed: str, chain_id: int, ledger: str, hash: bytes) -> dict[str, str]:
    domain = domain_separator(chain_id, ledger)
    message = keccak(b"\x19\x01" + domain + hash)
    private = PrivateKey(digest(key_seed))
    signature = private.sign_msg_hash(message)
    r, s, v = signature.r.to_bytes(32), signature.s.to_bytes(32), bytes([27 + signature.v])
    assert signature.s <= ORDER // 2, "not the lower one of two"
    return {
        "key_seed": key_seed,
        "signer": private.public_key.to_address(),
        "chain_id": str(chain_id),
        "ledger": ledger,
        "domain": domain.hex(),
        "struct_hash": hash.hex(),
        "digest": message.hex(),
        "signature": (r + s + v).hex(),
        # The other signature of the same account over the same digest, which anybody can make of the first.
        "malleable": (r + (ORDER - signature.s).to_bytes(32) + bytes([55 - v[0]])).hex(),
    }


def typed_data() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    most = 2**256 - 1
    for place, (chain_id, job, attempt, weight) in enumerate(
        ((1, 1, 1, 1), (31337, 7, 2**32 - 1, 2**32 - 1), (2**63, most, 0, 1000), (1337, 2**128, 12_345, 0))
    ):
        seed = f"update {place}"
        ledger, model = address(f"{seed} ledger"), digest(f"{seed} model")
        commitment, content = digest(f"{seed} commitment"), digest(f"{seed} content")
        hash = struct_hash(UPDATE, [job, attempt, model, commitment, content, weight])
        found.append(
            {
                "type": "Update",
                "job": str(job),
                "attempt": attempt,
                "model": model.hex(),
                "commitment": commitment.hex(),
                "content": content.hex(),
                "weight": weight,
                "client_digest": hash[12:].hex(),  # what the ledger keeps of it: the low 160 bits
                **signed(f"{seed} key", chain_id, ledger, hash),
            }
        )
    for place, (chain_id, job, samples, deadline) in enumerate(
        ((1, 1, 1, 1_800_000_000), (31337, 7, 2**32 - 1, most), (2**63, most, 600, 0))
    ):
        seed = f"join {place}"
        ledger, key = address(f"{seed} ledger"), digest(f"{seed} public key") if place else bytes(32)
        hash = struct_hash(JOIN, [job, samples, key, deadline])
        found.append(
            {
                "type": "Join",
                "job": str(job),
                "samples": samples,
                "key": key.hex(),
                "deadline": str(deadline),
                **signed(f"{seed} key", chain_id, ledger, hash),
            }
        )
    return found


def text() -> str:
    """What the file has to say."""
    contents = {
        "starts": starts(),
        "attempts": attempts(),
        "records": records(),
        "announcements": announcements(),
        "typed_data": typed_data(),
    }
    return json.dumps(contents, indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
