"""How content keys are wrapped for members."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from galaxy_chain.seal.sealing import key_digest
from galaxy_chain.seal.wraps import WRAP_BYTES, Wrapping, WrongWrap, holders, is_point, public_key

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "seal.json").read_text())
WRAPPING = Wrapping(1337, "0x" + "ab" * 20, 7)
KEY = bytes(range(32))


@pytest.fixture
def secret():
    return secrets.token_bytes(32)


@pytest.mark.parametrize("case", VECTORS["wraps"], ids=lambda case: case["job"])
def test_keys_are_wrapped_as_the_reference_wraps_them(case):
    wrapping = Wrapping(case["chain"], case["ledger"], case["job"])
    key, secret, digest = (bytes.fromhex(case[name]) for name in ("key", "member_secret", "digest"))
    assert public_key(secret).hex() == case["member"]
    assert key_digest(key) == digest
    wrap = wrapping.wrap(key, public_key(secret), bytes.fromhex(case["ephemeral_secret"]))
    assert wrap.hex() == case["wrap"]
    assert len(wrap) == WRAP_BYTES
    assert wrapping.unwrap(wrap, digest, secret) == key


def test_of_many_wraps_everybody_finds_its_own(secret):
    others = [secrets.token_bytes(32) for _ in range(3)]
    wraps = b"".join(WRAPPING.wrap(KEY, public_key(each)) for each in (*others, secret))
    assert holders(wraps) == [public_key(each) for each in (*others, secret)]
    assert WRAPPING.unwrap(wraps, key_digest(KEY), secret) == KEY
    assert WRAPPING.unwrap(wraps, key_digest(KEY), secrets.token_bytes(32)) is None
    assert WRAPPING.wrap(KEY, public_key(secret)) != WRAPPING.wrap(KEY, public_key(secret)), "ephemerals are used once"


@pytest.mark.parametrize("other", [{"job": 8}, {"chain_id": 1}, {"ledger": "0x" + "ac" * 20}])
def test_a_wrap_of_another_job_ledger_or_chain_opens_nothing(secret, other):
    wrap = replace(WRAPPING, **other).wrap(KEY, public_key(secret))
    with pytest.raises(WrongWrap, match="does not open"):
        WRAPPING.unwrap(wrap, key_digest(KEY), secret)


def test_an_owner_that_wraps_another_key_than_the_ledger_names_is_found_out(secret):
    other = secrets.token_bytes(32)
    wrap = WRAPPING.wrap(other, public_key(secret))
    with pytest.raises(WrongWrap, match="does not open"):
        WRAPPING.unwrap(wrap, key_digest(KEY), secret)
    with pytest.raises(WrongWrap):  # even if it makes the wrap in the name of the right one
        WRAPPING.unwrap(forged(WRAPPING, other, key_digest(KEY), public_key(secret)), key_digest(KEY), secret)


def forged(wrapping, key, digest, member):
    """A wrap of a key that has another's digest in its context, as only its maker can make it."""
    from coincurve import PrivateKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    from galaxy_chain.seal import wraps

    ephemeral = PrivateKey()
    context = wrapping._context(digest, member, bytes(ephemeral.public_key.format()[1:]))
    body = ChaCha20Poly1305(wraps._agreed(context, ephemeral.secret, member)).encrypt(bytes(12), key, context)
    return context[-64:] + body


@pytest.mark.parametrize("place", [33, 63, 64, 111])
def test_a_wrap_of_which_a_bit_is_wrong_is_not_taken(secret, place):
    wrap = bytearray(WRAPPING.wrap(KEY, public_key(secret)))
    wrap[place] ^= 1
    with pytest.raises(WrongWrap):
        WRAPPING.unwrap(bytes(wrap), key_digest(KEY), secret)


def test_what_is_no_sequence_of_wraps_is_for_nobody(secret):
    wrap = WRAPPING.wrap(KEY, public_key(secret))
    assert holders(wrap[:-1]) == []
    assert WRAPPING.unwrap(wrap + b"\0", key_digest(KEY), secret) is None


@pytest.mark.parametrize("key", VECTORS["not_points"])
def test_what_is_no_point_is_no_key(key):
    assert not is_point(bytes.fromhex(key))
    with pytest.raises(ValueError, match="public key"):
        WRAPPING.wrap(KEY, bytes.fromhex(key))


def test_whoever_registers_somebody_elses_key_can_open_nothing_with_it(secret):
    """No proof of possession is asked for: the wrap opens for whoever has the secret, not for whoever has named it."""
    thief, wrap = secrets.token_bytes(32), WRAPPING.wrap(KEY, public_key(secret))
    assert WRAPPING.unwrap(wrap, key_digest(KEY), thief) is None
