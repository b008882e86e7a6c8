// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedgerErrors} from "../interfaces/ILedgerErrors.sol";

/// @title The tree of sums over the entries of a round: where its nodes are, and how one word binds them.
/// @notice Node i of level 1 stands for `fanIn` entries from number i * `fanIn` on, node i of a higher level for
/// `fanIn` nodes of the level below; the highest level is one node, the root. A round with at most `fanIn` entries is
/// flat and has no nodes. A node is packed into 36 bytes: the chunk tree's root of its sum, then the sum of the weights
/// (4, big-endian). Nodes are numbered from 1, one level after the other from the lowest, from left to right.
///
/// A group is the children of one node, packed, in order; the root is the last group, alone. Group g is the children of
/// node `level-1 nodes + g + 1`. What binds all nodes is keccak256 of the keccak256 of all groups, packed.
library SumTree {
    /// @notice Bytes of a node.
    uint256 internal constant NODE = 36;

    /// @notice A node's place.
    struct Place {
        /// How many nodes the tree has, and how many of them are on level 1.
        uint256 nodes;
        uint256 lowest;
        /// The node's level, from 1.
        uint256 level;
        /// Its children: entries on level 1, else places in the list of nodes, from 0. From `first` until `end`.
        uint256 first;
        uint256 end;
        /// The group that it is in, where that begins and ends in the list of nodes, and its place there.
        uint256 group;
        uint256 groupFirst;
        uint256 groupEnd;
    }

    /// @notice How many nodes there are over so many entries.
    function count(uint256 entries, uint256 fanIn) internal pure returns (uint256 nodes) {
        if (entries <= fanIn) return 0;
        while (entries != 1) {
            entries = (entries + fanIn - 1) / fanIn;
            nodes += entries;
        }
    }

    /// @notice The place of node `node`, numbered from 1.
    /// @dev Reverts if there is no such node.
    function locate(uint256 entries, uint256 fanIn, uint256 node) internal pure returns (Place memory place) {
        place.nodes = count(entries, fanIn);
        if (node == 0 || node > place.nodes) revert ILedgerErrors.NoSuchNode(node, place.nodes);
        uint256 index = node - 1;
        place.lowest = (entries + fanIn - 1) / fanIn;
        uint256 below; // where the level below begins in the list
        uint256 begin; // where this level begins
        uint256 children = entries;
        uint256 size = place.lowest;
        place.level = 1;
        while (index >= begin + size) {
            ++place.level;
            below = begin;
            begin += size;
            children = size;
            size = (size + fanIn - 1) / fanIn;
        }
        uint256 position = index - begin;
        place.first = below + position * fanIn;
        place.end = below + _least(children, (position + 1) * fanIn);
        uint256 parent = position / fanIn;
        place.groupFirst = begin + parent * fanIn;
        place.groupEnd = begin + _least(size, (parent + 1) * fanIn);
        // The root's group is the last. Nodes from level 2 on follow each other in the list, and so do their groups.
        place.group = begin + size + parent - place.lowest;
    }

    /// @notice What binds nodes, after a look at their number and at the weights above level 1.
    function digest(bytes calldata nodes, uint256 entries, uint256 fanIn) internal pure returns (bytes32) {
        uint256 required = NODE * count(entries, fanIn);
        if (nodes.length != required) revert ILedgerErrors.MalformedNodes(nodes.length, required);
        uint256 size = (entries + fanIn - 1) / fanIn;
        uint256 parent = size;
        bytes32[] memory groups = new bytes32[](nodes.length / NODE - size + 1);
        uint256 done;
        for (uint256 begin = 0; size != 1; size = (size + fanIn - 1) / fanIn) {
            uint256 end = begin + size;
            while (begin < end) {
                uint256 until = _least(end, begin + fanIn);
                (bytes32 group, uint256 sum) = _group(nodes, begin, until);
                groups[done++] = group;
                begin = until;
                if (weightOf(nodes, parent) != sum) {
                    revert ILedgerErrors.WrongNodeWeight(parent + 1, weightOf(nodes, parent), sum);
                }
                ++parent;
            }
        }
        groups[done] = keccak256(nodes[nodes.length - NODE:]);
        return keccak256(abi.encodePacked(groups));
    }

    /// @notice The root of node `i` of packed nodes, from 0.
    function rootOf(bytes calldata nodes, uint256 i) internal pure returns (bytes32) {
        return bytes32(nodes[i * NODE:]);
    }

    /// @notice The weight of node `i` of packed nodes, from 0.
    function weightOf(bytes calldata nodes, uint256 i) internal pure returns (uint256) {
        return uint32(bytes4(nodes[i * NODE + 32:]));
    }

    /// @dev keccak256 of the nodes from `begin` until `end`, which are there, and the sum of their weights.
    function _group(
        bytes calldata nodes,
        uint256 begin,
        uint256 end
    ) private pure returns (bytes32 result, uint256 sum) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            let size := mul(sub(end, begin), 36)
            calldatacopy(free, add(nodes.offset, mul(begin, 36)), size)
            result := keccak256(free, size)
            // A weight is the last four bytes of its node.
            for {
                let place := add(free, 4)
                let last := add(place, size)
            } lt(place, last) {
                place := add(place, 36)
            } {
                sum := add(sum, and(mload(place), 0xffffffff))
            }
        }
    }

    function _least(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
