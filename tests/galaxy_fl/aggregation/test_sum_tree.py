from __future__ import annotations

from hashlib import sha256

import pytest
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from galaxy_fl.aggregation.sum_tree import (
    Node,
    branch,
    group_digests,
    levels,
    locate,
    node_count,
    nodes_hash,
    pack_nodes,
    show_nodes,
    unpack_nodes,
    wrong_weight,
)
from galaxy_fl.exceptions import AggregationError


def naive(entries: int, fan_in: int) -> list[list[list[int]]]:
    """The children of every node of every level: entries on level 1, then places in the list of nodes."""
    tree: list[list[list[int]]] = []
    below = list(range(entries))
    nodes = 0
    while len(below) > fan_in or (tree and len(below) > 1):
        groups = [below[at : at + fan_in] for at in range(0, len(below), fan_in)]
        tree.append(groups)
        below = list(range(nodes, nodes + len(groups)))
        nodes += len(groups)
    if tree or entries <= fan_in:
        return tree
    raise AssertionError


def made(weights: list[int], fan_in: int) -> list[Node]:
    """Nodes over entries of these weights, with the roots that their numbers give."""
    nodes: list[Node] = []
    for level, groups in enumerate(naive(len(weights), fan_in)):
        below = weights if level == 0 else [node.weight for node in nodes]
        for group in groups:
            root = sha256(f"node {len(nodes)}".encode()).digest()
            nodes.append(Node(root, sum(below[child] for child in group)))
    return nodes


shapes = st.tuples(st.integers(1, 400) | st.integers(1, 40), st.integers(2, 64) | st.integers(2, 5))


@given(shapes)
def test_every_node_is_where_the_definition_says(shape: tuple[int, int]) -> None:
    entries, fan_in = shape
    tree = naive(entries, fan_in)
    assert levels(entries, fan_in) == [len(groups) for groups in tree]
    assert node_count(entries, fan_in) == sum(map(len, tree))
    groups_of_nodes = [group for groups in tree[1:] for group in groups]
    groups_of_nodes.append([sum(map(len, tree)) - 1])  # the root, alone
    number = 0
    for level, groups in enumerate(tree, 1):
        for children in groups:
            number += 1
            place = locate(entries, fan_in, number)
            assert (place.node, place.level, list(place.children)) == (number, level, children)
            assert (place.nodes, place.lowest) == (sum(map(len, tree)), len(tree[0]))
            assert list(place.members) == groups_of_nodes[place.group]
            assert number - 1 in place.members
            assert list(place.child_nodes) == ([] if level == 1 else [child + 1 for child in children])
            assert place.is_root == (number == place.nodes)


@given(shapes)
def test_a_round_of_at_most_fan_in_entries_is_flat(shape: tuple[int, int]) -> None:
    entries, fan_in = shape
    assert (node_count(entries, fan_in) == 0) == (entries <= fan_in)


@given(shapes, st.data())
def test_a_branch_leads_from_an_entry_to_the_root(shape: tuple[int, int], data: st.DataObject) -> None:
    entries, fan_in = shape
    entry = data.draw(st.integers(0, entries - 1))
    places = branch(entries, fan_in, entry)
    assert [place.level for place in places] == list(range(1, len(levels(entries, fan_in)) + 1))
    below = entry
    for place in places:
        assert below in place.children
        assert place == locate(entries, fan_in, place.node)
        below = place.node - 1
    assert not places or places[-1].is_root


@pytest.mark.parametrize("entry", [-1, 17])
def test_an_entry_that_does_not_exist_has_no_branch(entry: int) -> None:
    with pytest.raises(AggregationError, match=f"no entry {entry}, expected 0 to 16"):
        branch(17, 16, entry)


@pytest.mark.parametrize(
    ("entries", "fan_in", "sizes"),
    [
        (16, 16, []),
        (17, 16, [2, 1]),
        (256, 16, [16, 1]),
        (257, 16, [17, 2, 1]),
        (4096, 16, [256, 16, 1]),
        (3, 2, [2, 1]),
    ],
)
def test_levels(entries: int, fan_in: int, sizes: list[int]) -> None:
    assert levels(entries, fan_in) == sizes


@given(shapes, st.data())
def test_the_hash_is_that_of_the_digests_of_the_groups(shape: tuple[int, int], data: st.DataObject) -> None:
    entries, fan_in = shape
    weights = data.draw(st.lists(st.integers(0, 1000), min_size=entries, max_size=entries))
    nodes = made(weights, fan_in)
    packed = pack_nodes(nodes)
    assert unpack_nodes(packed) == tuple(nodes)
    tree = naive(entries, fan_in)
    groups = [group for level in tree[1:] for group in level] + ([[len(nodes) - 1]] if nodes else [])
    digests = [keccak(b"".join(packed[36 * i : 36 * i + 36] for i in group)) for group in groups]
    assert group_digests(nodes, entries, fan_in) == tuple(digests)
    assert nodes_hash(nodes, entries, fan_in) == (keccak(b"".join(digests)) if nodes else bytes(32))
    assert wrong_weight(nodes, weights, fan_in) is None
    if nodes:
        number = data.draw(st.integers(0, len(nodes)))
        place = locate(entries, fan_in, number or len(nodes))
        expected = b"".join(digests) + pack_nodes([nodes[i] for i in place.members])
        if number and place.level > 1:
            expected += pack_nodes([nodes[i] for i in place.children])
        assert show_nodes(nodes, entries, fan_in, number) == expected


@given(shapes.filter(lambda shape: shape[0] > shape[1]), st.data())
def test_a_wrong_weight_is_found(shape: tuple[int, int], data: st.DataObject) -> None:
    entries, fan_in = shape
    weights = [1] * entries
    nodes = made(weights, fan_in)
    at = data.draw(st.integers(0, len(nodes) - 1))
    nodes[at] = Node(nodes[at].root, nodes[at].weight + 1)
    found = wrong_weight(nodes, weights, fan_in)
    # Its own sum is wrong if it is on level 1, and otherwise both its own and its parent's are: its own is first.
    assert found == at + 1
    if locate(entries, fan_in, at + 1).level == 1:
        parent = next(p for p in range(at + 2, len(nodes) + 1) if at in locate(entries, fan_in, p).children)
        with pytest.raises(AggregationError, match=f"node {parent} weighs"):
            nodes_hash(nodes, entries, fan_in)
    else:
        with pytest.raises(AggregationError, match=f"node {at + 1} weighs"):
            nodes_hash(nodes, entries, fan_in)


@pytest.mark.parametrize("node", [0, 4, -1])
def test_a_node_that_does_not_exist_has_no_place(node: int) -> None:
    with pytest.raises(AggregationError, match=f"no node {node} over 17 entries with fan_in 16: it has 3"):
        locate(17, 16, node)


@pytest.mark.parametrize("fan_in", [-1, 0, 1, 65])
def test_a_fan_in_out_of_range_is_an_error(fan_in: int) -> None:
    with pytest.raises(AggregationError, match=f"fan_in is {fan_in}, expected 2 to 64"):
        levels(17, fan_in)


@pytest.mark.parametrize("count", [0, 2, 4])
def test_too_few_or_too_many_nodes_are_an_error(count: int) -> None:
    with pytest.raises(AggregationError, match=f"there are {count} nodes, expected 3 over 17 entries"):
        nodes_hash([Node(bytes(32), 0)] * count, 17, 16)


@pytest.mark.parametrize(("root", "weight"), [(bytes(31), 0), (bytes(32), -1), (bytes(32), 2**32)])
def test_a_node_that_can_not_be_is_an_error(root: bytes, weight: int) -> None:
    with pytest.raises(AggregationError, match="a node's"):
        Node(root, weight)


def test_nodes_have_36_bytes() -> None:
    with pytest.raises(AggregationError, match="35 bytes are not nodes"):
        unpack_nodes(bytes(35))
