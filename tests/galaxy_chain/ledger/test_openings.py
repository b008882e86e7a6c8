"""Openings of a node are packed as the ledger takes them, for a node of every kind."""

from __future__ import annotations

import pytest
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from galaxy_chain.ledger.openings import Opening, Openings, chunk_bytes
from galaxy_chain.ledger.structs import Update
from galaxy_chain.ledger.submissions import Entry, cut, show
from galaxy_fl.aggregation.sum_tree import Node, pack_nodes
from galaxy_fl.exceptions import AggregationError
from tests.galaxy_chain.ledger.unpacking import unpack_submissions

START = b"\7" * 32
ENTRIES = tuple(
    Entry(
        to_checksum_address(number.to_bytes(20)), Update(bytes([number]) * 32, bytes([100 + number]) * 32, 1 + number)
    )
    for number in range(1, 20)
)
"""19 of them: with a fan-in of 4 they have 5 nodes on level 1, 2 on level 2, and the root."""
BLOCKS = [*cut(ENTRIES[:9], 4), *cut(ENTRIES[9:10], 4), *cut(ENTRIES[10:], 4)]
"""Of 4, 4, 1, 1, 4, 4 and 1 entries."""
NODES = tuple(Node(bytes([number]) * 32, 10 * number) for number in range(1, 9))
GROUPS = [NODES[0:4], NODES[4:5], NODES[5:7], NODES[7:8]]
DIGESTS = b"".join(keccak(pack_nodes(group)) for group in GROUPS)
OPENED = [Opening(bytes([number]) * 32, (bytes([50 + number]) * 32, bytes([90 + number]) * 32)) for number in range(4)]
PACKED = b"".join(bytes([n]) * 32 + bytes([50 + n]) * 32 + bytes([90 + n]) * 32 for n in range(4))


def parts(node, nodes=NODES, blocks=BLOCKS):
    """What shows the node, and the entries, of packed openings."""
    packed = Openings.of_node(blocks, nodes, 4, node, OPENED).pack()
    shown, submissions = int.from_bytes(packed[:4]), int.from_bytes(packed[4:8])
    assert packed[8 + shown + submissions :] == PACKED
    return packed[8 : 8 + shown], packed[8 + shown : 8 + shown + submissions]


def test_the_step_of_a_flat_round_shows_all_entries():
    blocks = cut(ENTRIES[:3], 4)
    assert parts(0, (), blocks) == (b"", show(blocks))


def test_the_step_of_a_round_with_nodes_shows_the_root_and_no_entry():
    assert parts(0) == (DIGESTS + pack_nodes(GROUPS[3]), b"")


@pytest.mark.parametrize(("node", "group", "numbers"), [(1, 0, range(4)), (3, 0, range(8, 12)), (5, 1, range(16, 19))])
def test_a_lowest_node_shows_its_group_and_its_entries(node, group, numbers):
    nodes, submissions = parts(node)
    assert nodes == DIGESTS + pack_nodes(GROUPS[group])
    shown = unpack_submissions(START, submissions).entries
    assert set(numbers) <= shown.keys()
    assert all(ENTRIES[number] == entry for number, entry in shown.items())
    assert shown.keys() != set(range(19))


@pytest.mark.parametrize(("node", "group", "children"), [(6, 2, 0), (7, 2, 1), (8, 3, 2)])
def test_a_higher_node_shows_its_group_and_its_children(node, group, children):
    assert parts(node) == (DIGESTS + pack_nodes(GROUPS[group]) + pack_nodes(GROUPS[children]), b"")


def test_where_a_weight_is_wrong_no_chunk_is_needed():
    packed = Openings.of_node(BLOCKS, NODES, 4, 5, ()).pack()
    assert len(packed) == 8 + int.from_bytes(packed[:4]) + int.from_bytes(packed[4:8])


@pytest.mark.parametrize(("node", "nodes"), [(9, NODES), (1, ())])
def test_a_node_that_is_not_there_is_refused(node, nodes):
    with pytest.raises(AggregationError):
        Openings.of_node(BLOCKS, nodes, 4, node, OPENED)


@pytest.mark.parametrize(("node", "size"), [(0, 32), (3, 64)])
def test_a_chunk_of_a_sum_is_twice_as_wide(node, size):
    assert chunk_bytes(node, 8) == size
    opening = Opening(bytes(range(size)), (b"\1" * 32,))
    assert Opening.unpack(opening.pack(), size) == opening


@pytest.mark.parametrize("length", [0, 31, 33, 63])
def test_what_is_no_chunk_with_a_path_is_refused(length):
    with pytest.raises(ValueError, match=f"{length} bytes are not a chunk of 32 bytes and digests of 32"):
        Opening.unpack(bytes(length), 32)
