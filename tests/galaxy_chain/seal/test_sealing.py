"""How files are sealed: the format, what an altered one comes to, and that keys are committed to."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import runpy
from pathlib import Path

import pytest
from Crypto.Cipher import AES

from galaxy_chain.seal.sealing import RECORD, NotSealedSo, opening, sealed_size, sealing

VECTORS = Path(__file__).parents[2] / "vectors"
KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


def read(stream):
    return b"".join(iter(stream.read, b""))


def seal(text, key=KEY):
    return read(sealing(io.BytesIO(text), len(text), key))


def opened(sealed, size, key=KEY):
    return read(opening(io.BytesIO(sealed), size, key))


def text_of(seed, length):
    return b"".join(hashlib.sha256(f"{seed}:{n}".encode()).digest() for n in range(length // 32 + 1))[:length]


def test_the_committed_vectors_are_those_of_the_generator():
    assert (VECTORS / "seal.json").read_text() == runpy.run_path(str(VECTORS / "generate_seal.py"))["text"]()


@pytest.mark.parametrize(
    "case", json.loads((VECTORS / "seal.json").read_text())["files"], ids=lambda case: case["seed"]
)
def test_files_are_sealed_as_the_reference_seals_them(case):
    text, key = text_of(case["seed"], case["length"]), bytes.fromhex(case["key"])
    sealed = seal(text, key)
    assert len(sealed) == sealed_size(len(text)) == case["size"]
    if "sealed" in case:
        assert sealed.hex() == case["sealed"]
    else:
        assert (sealed[:64].hex(), sealed[-32:].hex()) == (case["first"], case["last"])
        assert hashlib.sha256(sealed).hexdigest() == case["sha256"]
    assert opened(sealed, len(text), key) == text


def test_the_same_text_is_the_same_file_under_one_key_and_another_under_another():
    assert seal(b"text") == seal(b"text")
    assert seal(b"text")[:32] != seal(b"text", OTHER)[:32]
    with pytest.raises(NotSealedSo, match="record 0"):
        opened(seal(b"text"), 4, OTHER)


TEXT = text_of("altered", 2 * RECORD + 100)
SEALED = seal(TEXT)
FIRST, SECOND, LAST = 32, 32 + RECORD + 16, 32 + 2 * (RECORD + 16)
ALTERED = {
    "a bit of the header": (bytes([SEALED[0] ^ 1]) + SEALED[1:], len(TEXT)),
    "a bit of a record": (SEALED[:SECOND] + bytes([SEALED[SECOND] ^ 1]) + SEALED[SECOND + 1 :], len(TEXT)),
    "a bit of the last tag": (SEALED[:-1] + bytes([SEALED[-1] ^ 1]), len(TEXT)),
    "a byte off": (SEALED[:-1], len(TEXT)),
    "a byte on": (SEALED + b"\0", len(TEXT)),
    "the last record off, and the length with it": (SEALED[:LAST], 2 * RECORD),
    "records in another order": (SEALED[:FIRST] + SEALED[SECOND:LAST] + SEALED[FIRST:SECOND] + SEALED[LAST:], len(TEXT)),
    "a record twice": (SEALED[:SECOND] + SEALED[FIRST:SECOND] + SEALED[LAST:], len(TEXT)),
    "a record of another file": (SEALED[:FIRST] + seal(text_of("other", len(TEXT)))[FIRST:SECOND] + SEALED[SECOND:], len(TEXT)),
    "another length": (SEALED, len(TEXT) - 1),
    "nothing": (b"", 0),
    "a header alone": (SEALED[:32], 0),
    "plaintext": (TEXT, len(TEXT) - 48),
}  # fmt: skip


@pytest.mark.parametrize("how", ALTERED)
def test_what_was_altered_does_not_open(how):
    with pytest.raises(NotSealedSo):
        opened(*ALTERED[how])


def test_a_member_that_forges_a_header_is_found_out_at_the_end():
    """A member has the key, and can seal records under a header that is not the text's: two files of one text."""
    header = bytes(32)
    file_key = hmac.digest(KEY, b"galaxy seal key" + header, "sha256")
    cipher = AES.new(file_key, AES.MODE_GCM, nonce=bytes(12))
    cipher.update(header + (4).to_bytes(8))
    body, tag = cipher.encrypt_and_digest(b"text")
    with pytest.raises(NotSealedSo, match="header"):
        opened(header + body + tag, 4)


def _field(block):
    return int.from_bytes(block, "big")


def _times(left, right):
    """The product in GCM's field."""
    product = 0
    for bit in range(127, -1, -1):
        if right >> bit & 1:
            product ^= left
        left = left >> 1 ^ (0xE1 << 120 if left & 1 else 0)
    return product


def _power(value, exponent):
    result = 1 << 127
    while exponent:
        if exponent & 1:
            result = _times(result, value)
        value, exponent = _times(value, value), exponent >> 1
    return result


def salamander(header, size, keys):
    """One record that opens under two file keys, as AES-GCM allows (Dodis et al., CRYPTO 2018): its last block is
    chosen so that both tags are the same."""
    associated = header + size.to_bytes(8)
    lengths = (len(associated) * 8).to_bytes(8) + (size * 8).to_bytes(8)
    padded = associated + bytes(-len(associated) % 16)
    blocks = size // 16
    body, constants, factors = [0] * blocks, [], []
    for key in keys:
        encrypt = AES.new(key, AES.MODE_ECB).encrypt
        h = _field(encrypt(bytes(16)))
        total = _field(encrypt(bytes(12) + (1).to_bytes(4)))
        everything = [_field(padded[at : at + 16]) for at in range(0, len(padded), 16)] + body + [_field(lengths)]
        for place, block in enumerate(everything):
            total ^= _times(block, _power(h, len(everything) - place))
        constants.append(total)
        factors.append(_power(h, 2))
    # The last block of the body, x, has to satisfy x*f0 + c0 = x*f1 + c1.
    inverse = _power(factors[0] ^ factors[1], 2**128 - 2)
    body[-1] = _times(constants[0] ^ constants[1], inverse)
    tag = _times(body[-1], factors[0]) ^ constants[0]
    return b"".join(block.to_bytes(16) for block in body) + tag.to_bytes(16)


def salamander_file(size, keys):
    """A file of one record, of a multiple of 16 bytes, that opens under two content keys but for its header."""
    header = bytes(32)
    return header + salamander(header, size, [hmac.digest(key, b"galaxy seal key" + header, "sha256") for key in keys])


def test_no_file_opens_under_two_content_keys_though_aes_gcm_lets_a_record_do():
    """A client that knows two epochs' keys must not be able to show one update to some members, another to others."""
    header, size = bytes(32), 64
    keys = [hmac.digest(key, b"galaxy seal key" + header, "sha256") for key in (KEY, OTHER)]
    record = salamander(header, size, keys)
    texts = []
    for key in keys:
        cipher = AES.new(key, AES.MODE_GCM, nonce=bytes(12))
        cipher.update(header + size.to_bytes(8))
        texts.append(cipher.decrypt_and_verify(record[:-16], record[-16:]))
    assert texts[0] != texts[1], "the record itself opens under both"
    for key in (KEY, OTHER):
        with pytest.raises(NotSealedSo, match="header"):
            opened(header + record, size, key)


def test_a_file_that_changes_while_it_is_sealed_gives_no_second_text_under_one_nonce():
    class Changing(io.BytesIO):
        def seek(self, *where):
            if self.tell():
                self.getbuffer()[0] ^= 1
            return super().seek(*where)

    with pytest.raises(ValueError, match="changed while it was sealed"):
        read(sealing(Changing(b"text"), 4, KEY))
