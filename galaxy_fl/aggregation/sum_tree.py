"""The tree of sums over a round's entries: where its nodes are, and how 32 bytes bind them (protocol section 6).

The twin of `contracts/libraries/SumTree.sol`. Node i of level 1 stands for `fan_in` entries from number `i * fan_in`
on, node i of a higher level for `fan_in` nodes of the level below; the highest level is one node, the root. A round
with at most `fan_in` entries is flat and has no nodes. Nodes are numbered from 1, one level after the other from the
lowest, from left to right.

A group is the children of one node, packed, in order; the root is the last group, alone. Group g is the children of
node `(nodes of level 1) + g + 1`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from galaxy_fl.exceptions import AggregationError

__all__ = [
    "DEFAULT_FAN_IN",
    "LARGEST_FAN_IN",
    "MOST_LEVELS",
    "NODE_BYTES",
    "SMALLEST_FAN_IN",
    "Node",
    "Place",
    "branch",
    "check_fan_in",
    "group_digests",
    "levels",
    "locate",
    "node_count",
    "nodes_hash",
    "pack_nodes",
    "show_nodes",
    "unpack_nodes",
    "wrong_weight",
]

NODE_BYTES = 36
DEFAULT_FAN_IN = 16
SMALLEST_FAN_IN, LARGEST_FAN_IN = 2, 64
MOST_LEVELS = 4
"""Levels of nodes that a ledger allows: at most `fan_in**4` entries."""
_ROOT_BYTES = 32
_HIGHEST_WEIGHT = 2**32 - 1


@dataclass(frozen=True)
class Node:
    """The root of the chunk tree of a sum (32 bytes), and the sum of the weights in it (below 2**32).

    Raises:
        AggregationError: at construction, for another length or a weight out of range.
    """

    root: bytes
    weight: int

    def __post_init__(self) -> None:
        if len(self.root) != _ROOT_BYTES:
            raise AggregationError(f"a node's root has {_ROOT_BYTES} bytes, got {len(self.root)}")
        if not 0 <= self.weight <= _HIGHEST_WEIGHT:
            raise AggregationError(f"a node's weight is {self.weight}, expected 0 to {_HIGHEST_WEIGHT}")


@dataclass(frozen=True)
class Place:
    """Where a node is.

    Attributes:
        node: Its number, from 1.
        nodes: How many nodes the tree has.
        lowest: How many of them are on level 1.
        level: The node's level, from 1.
        children: Entries on level 1, else places in the list of nodes, both from 0.
        group: The group that the node is in.
        members: The places of that group in the list of nodes, from 0.
    """

    node: int
    nodes: int
    lowest: int
    level: int
    children: range
    group: int
    members: range

    @property
    def child_nodes(self) -> range:
        """The numbers of the children where they are nodes; empty on level 1."""
        return range(0) if self.level == 1 else range(self.children.start + 1, self.children.stop + 1)

    @property
    def is_root(self) -> bool:
        """Whether it is the root of the tree."""
        return self.node == self.nodes


def check_fan_in(fan_in: int) -> None:
    """Check that nodes may have so many children.

    Raises:
        AggregationError: they may not.
    """
    if not SMALLEST_FAN_IN <= fan_in <= LARGEST_FAN_IN:
        raise AggregationError(f"fan_in is {fan_in}, expected {SMALLEST_FAN_IN} to {LARGEST_FAN_IN}")


def levels(entries: int, fan_in: int) -> list[int]:
    """Return how many nodes each level has, level 1 first; none where the round is flat.

    Raises:
        AggregationError: `fan_in` is out of range.
    """
    check_fan_in(fan_in)
    sizes: list[int] = []
    while entries > (1 if sizes else fan_in):
        entries = -(-entries // fan_in)
        sizes.append(entries)
    return sizes


def node_count(entries: int, fan_in: int) -> int:
    """Return how many nodes there are over so many entries; 0 where the round is flat.

    Raises:
        AggregationError: `fan_in` is out of range.
    """
    return sum(levels(entries, fan_in))


def locate(entries: int, fan_in: int, node: int) -> Place:
    """Return the place of node `node`, numbered from 1.

    Raises:
        AggregationError: there is no such node, or `fan_in` is out of range.
    """
    sizes = levels(entries, fan_in)
    nodes = sum(sizes)
    if not 1 <= node <= nodes:
        raise AggregationError(f"there is no node {node} over {entries} entries with fan_in {fan_in}: it has {nodes}")
    below = begin = 0  # where the level below and this level begin in the list
    children, position, level = entries, node - 1, 1
    while position >= (size := sizes[level - 1]):
        below, begin, children, position, level = begin, begin + size, size, position - size, level + 1
    parent = position // fan_in
    return Place(
        node,
        nodes,
        sizes[0],
        level,
        range(below + position * fan_in, below + min(children, (position + 1) * fan_in)),
        # Nodes from level 2 on follow each other in the list, and so do the groups of their children.
        begin + size + parent - sizes[0],
        range(begin + parent * fan_in, begin + min(size, (parent + 1) * fan_in)),
    )


def branch(entries: int, fan_in: int, entry: int) -> tuple[Place, ...]:
    """Return the places of the nodes over an entry, numbered from 0: its own on level 1 first, the root last.

    Raises:
        AggregationError: there is no such entry, or `fan_in` is out of range.
    """
    if not 0 <= entry < entries:
        raise AggregationError(f"there is no entry {entry}, expected 0 to {entries - 1}")
    places = []
    begin, position = 0, entry
    for size in levels(entries, fan_in):
        position //= fan_in
        places.append(locate(entries, fan_in, begin + position + 1))
        begin += size
    return tuple(places)


def pack_nodes(nodes: Sequence[Node]) -> bytes:
    """Return nodes as the ledger packs them, 36 bytes each: root, then weight (big-endian)."""
    return b"".join(node.root + node.weight.to_bytes(4) for node in nodes)


def unpack_nodes(packed: bytes) -> tuple[Node, ...]:
    """Return nodes from how the ledger packs them.

    Raises:
        AggregationError: they are not a multiple of 36 bytes.
    """
    if len(packed) % NODE_BYTES:
        raise AggregationError(f"{len(packed)} bytes are not nodes, which have {NODE_BYTES} bytes each")
    return tuple(
        Node(packed[at : at + _ROOT_BYTES], int.from_bytes(packed[at + _ROOT_BYTES : at + NODE_BYTES]))
        for at in range(0, len(packed), NODE_BYTES)
    )


def group_digests(nodes: Sequence[Node], entries: int, fan_in: int) -> tuple[bytes, ...]:
    """Return the keccak256 of every group, in order; none where the round is flat.

    Raises:
        AggregationError: there are more or fewer nodes than so many entries have, or `fan_in` is out of range.
    """
    # Imported here: it takes a fifth of a second, and only ledgers need it.
    from galaxy_fl.keccak import keccak

    sizes = _sizes(nodes, entries, fan_in)
    digests: list[bytes] = []
    begin = 0
    for size in sizes:
        for at in range(begin, begin + size, fan_in):
            digests.append(keccak(pack_nodes(nodes[at : min(at + fan_in, begin + size)])))
        begin += size
    return tuple(digests)


def nodes_hash(nodes: Sequence[Node], entries: int, fan_in: int) -> bytes:
    """Return what binds all nodes: the keccak256 of the digests of the groups; 32 zero bytes where the round is flat.

    Raises:
        AggregationError: as `group_digests`, and where the weight of a node above level 1 is not its children's: the
            ledger refuses such nodes.
    """
    from galaxy_fl.keccak import keccak

    digests = group_digests(nodes, entries, fan_in)
    if not digests:
        return bytes(_ROOT_BYTES)
    for place in _above(entries, fan_in):
        weight = sum(nodes[child].weight for child in place.children)
        if nodes[place.node - 1].weight != weight:
            raise AggregationError(
                f"node {place.node} weighs {nodes[place.node - 1].weight}, expected {weight}, as its children do"
            )
    return keccak(b"".join(digests))


def show_nodes(nodes: Sequence[Node], entries: int, fan_in: int, node: int) -> bytes:
    """Return what shows a node to the ledger: the digests of all groups, its group, and that of its children.

    Args:
        node: The node's number; 0 shows the root alone, as the step to the next model needs it.

    Raises:
        AggregationError: there is no such node, or as `group_digests`.
    """
    place = locate(entries, fan_in, node or node_count(entries, fan_in))
    shown = list(group_digests(nodes, entries, fan_in))
    shown.append(pack_nodes(nodes[place.members.start : place.members.stop]))
    if node and place.level > 1:
        shown.append(pack_nodes(nodes[place.children.start : place.children.stop]))
    return b"".join(shown)


def wrong_weight(nodes: Sequence[Node], weights: Sequence[int], fan_in: int) -> int | None:
    """Return the number of the first node whose weight is not the sum of its entries' or children's; None if all are.

    Args:
        nodes: In the order of their numbers.
        weights: Of the entries, 0 for each that is excluded.

    Raises:
        AggregationError: as `group_digests`.
    """
    sizes = _sizes(nodes, len(weights), fan_in)
    for at in range(sizes[0] if sizes else 0):
        if nodes[at].weight != sum(weights[at * fan_in : (at + 1) * fan_in]):
            return at + 1
    for place in _above(len(weights), fan_in):
        if nodes[place.node - 1].weight != sum(nodes[child].weight for child in place.children):
            return place.node
    return None


def _sizes(nodes: Sequence[Node], entries: int, fan_in: int) -> list[int]:
    sizes = levels(entries, fan_in)
    if len(nodes) != sum(sizes):
        raise AggregationError(
            f"there are {len(nodes)} nodes, expected {sum(sizes)} over {entries} entries with fan_in {fan_in}"
        )
    return sizes


def _above(entries: int, fan_in: int) -> list[Place]:
    """Return the places of all nodes above level 1."""
    sizes = levels(entries, fan_in)
    return [locate(entries, fan_in, node) for node in range(sizes[0] + 1, sum(sizes) + 1)] if sizes else []
