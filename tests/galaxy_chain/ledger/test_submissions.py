"""Blocks, heads and what is shown of them, against the driver of the contract, which has them by its own hand."""

from __future__ import annotations

import numpy as np
import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy_chain.ledger.excluded import excluded_numbers, pack_excluded
from galaxy_chain.ledger.structs import Update
from galaxy_chain.ledger.submissions import (
    Entries,
    Entry,
    cut,
    pack_block,
    show,
    unpack_entries,
)
from galaxy_fl.vectors import ChunkTree
from tests.contracts import ledger as driver
from tests.galaxy_chain.ledger.test_abi import addresses, unsigned, words
from tests.galaxy_chain.ledger.unpacking import unpack_submissions

START = b"\7" * 32
TREE = ChunkTree(np.arange(20, dtype="<i4"), 8)


def blocks_of(sizes):
    """Blocks of these sizes, and the same as the driver has them."""
    numbers = iter(range(sum(sizes)))
    uploads = [
        [
            driver.Upload(
                to_checksum_address(next(numbers).to_bytes(20)), np.zeros(1), TREE, 1 + i, (words, words[::-1], 1 + i)
            )
            for i, words in enumerate([bytes([size % 256]) * 31 + b"\1"] * size)
        ]
        for size in sizes
    ]
    return [tuple(Entry(upload.client, Update(*upload.update)) for upload in block) for block in uploads], uploads


shapes = st.lists(st.integers(1, 3), max_size=140) | st.lists(st.sampled_from([1, 16, 127]), max_size=4)


@settings(deadline=None, max_examples=40)
@given(shapes, st.data())
def test_heads_and_what_is_shown_are_the_driver_s(sizes, data):
    blocks, uploads = blocks_of(sizes)
    entries = Entries(START, blocks)
    assert entries.head == driver.head_of(START, uploads)
    assert len(entries) == sum(sizes)
    numbers = data.draw(st.sets(st.integers(0, sum(sizes) - 1), max_size=5)) if sizes else set()
    shown = show(blocks, numbers)
    assert shown == driver.show(uploads, numbers)
    read = unpack_submissions(START, shown)
    assert read.head == entries.head
    everything = list(entries)
    assert numbers <= read.entries.keys()
    assert all(everything[number] == entry for number, entry in read.entries.items())
    assert len(unpack_submissions(START, show(blocks)).entries) == len(entries)


@given(st.lists(st.builds(Entry, addresses, st.builds(Update, words, words, unsigned(32))), min_size=1, max_size=4))
def test_a_block_is_packed_and_unpacked(entries):
    assert unpack_entries(pack_block(entries)) == tuple(entries)


@pytest.mark.parametrize("size", [0, 1, 87, 89, 175])
def test_what_is_not_made_of_entries_is_refused(size):
    with pytest.raises(ValueError, match=f"{size} bytes are not entries, which have 88"):
        unpack_entries(bytes(size))


@pytest.mark.parametrize("size", [0, 128])
def test_a_block_has_at_least_one_entry_and_no_more_than_can_be_shown(size):
    with pytest.raises(ValueError, match=f"1 to 127 entries, not {size}"):
        Entries(START).append(blocks_of([size])[0][0])


def test_entries_that_are_not_there_can_t_be_shown():
    with pytest.raises(ValueError, match="entry 3 can't be shown: the entries are 0 to 2"):
        show(blocks_of([1, 2])[0], [3])


def test_what_shows_ten_of_thousands_is_small():
    blocks, _ = blocks_of([1] * 4_096)
    assert len(show(blocks, range(0, 4_096, 410))) < 64 * 35 + 10 * (64 * 33 + 90)


@given(st.integers(0, 70), st.data())
def test_a_bit_map_is_packed_and_unpacked(updates, data):
    numbers = data.draw(st.sets(st.integers(0, updates - 1))) if updates else set()
    packed = pack_excluded(numbers, updates)
    assert packed == driver.bit_map(numbers, updates)
    assert excluded_numbers(packed, updates) == numbers


@pytest.mark.parametrize(
    ("packed", "updates", "said"),
    [
        (b"", 1, "has 0 bytes, expected 1"),
        (b"\0\0", 8, "has 2 bytes, expected 1"),
        (b"\x10", 4, "beyond the last of 4"),
    ],
)
def test_a_malformed_bit_map_is_refused(packed, updates, said):
    with pytest.raises(ValueError, match=said):
        excluded_numbers(packed, updates)


@pytest.mark.parametrize("number", [-1, 3])
def test_only_entries_can_be_excluded(number):
    with pytest.raises(ValueError, match=f"entry {number} can't be excluded: the entries are 0 to 2"):
        pack_excluded([number], 3)


RUN = st.integers(2, 64)


def worst(updates, fan_in):
    """The most bytes that the ledger reckons with for what shows the entries of a node of level 1."""
    return 100 + 33 * min(updates, 128) + 35 * (updates // 64) + 88 * (3 * fan_in - 2)


@settings(deadline=None, max_examples=60)
@given(RUN, st.data())
def test_what_shows_a_run_is_never_larger_than_the_ledger_reckons_with(fan_in, data):
    sizes = data.draw(st.lists(st.sampled_from([1, 2, fan_in - 1, fan_in]), min_size=1, max_size=600))
    blocks, _ = blocks_of(sizes)
    total = sum(sizes)
    run = data.draw(st.integers(0, (total - 1) // fan_in))
    numbers = range(run * fan_in, min(total, (run + 1) * fan_in))
    shown = show(blocks, numbers)
    assert len(shown) <= worst(total, fan_in)
    read = unpack_submissions(START, shown)
    assert read.head == Entries(START, blocks).head
    assert set(numbers) <= read.entries.keys()
    # The blocks at both ends may have others, and no block between them has any.
    assert len(read.entries) <= len(numbers) + 2 * (fan_in - 1)


def test_the_worst_that_a_crowd_of_single_submissions_can_do_is_little_below_that():
    blocks, _ = blocks_of([1] * 63 + [2, *[1] * 61, 2, *[1] * 3_966])
    assert sum(map(len, blocks)) == 4_094
    size = len(show(blocks, [64, 126]))
    assert worst(4_094, 2) - 300 < size <= worst(4_094, 2)


def test_blocks_of_a_call_are_full_but_for_the_last():
    (entries,), _ = blocks_of([70])
    assert [len(block) for block in cut(entries, 16)] == [16, 16, 16, 16, 6]
    assert [entry for block in cut(entries, 16) for entry in block] == list(entries)
    assert cut(entries[:16], 16) == [entries[:16]]


def test_full_segments_and_what_is_after_them_are_told_apart():
    entries = Entries(START, blocks_of([2] * 64 + [3, 1])[0])
    assert (entries.open_blocks, entries.shut, len(entries)) == (2, 128, 132)
    assert Entries(START).shut == Entries(START).open_blocks == 0
