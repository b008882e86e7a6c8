// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Binary sha256 trees over the chunks of a vector (protocol section 2).
library ChunkTree {
    /// @notice The depth of a tree over `leaves` leaves: ceil(log2(leaves)).
    function depth(uint256 leaves) internal pure returns (uint256 levels) {
        while ((uint256(1) << levels) < leaves) ++levels;
    }

    /// @notice The root that a chunk at `index` and its path, whole words packed, lead to.
    function root(bytes calldata chunk, bytes calldata path, uint256 index) internal view returns (bytes32 node) {
        node = sha256(chunk);
        // The inner loop of every answer, in scratch space: the node goes left or right, its sibling to the other side.
        assembly ("memory-safe") {
            let end := add(path.offset, path.length)
            for {
                let sibling := path.offset
            } lt(sibling, end) {
                sibling := add(sibling, 0x20)
            } {
                let side := shl(5, and(index, 1))
                mstore(side, node)
                mstore(xor(side, 0x20), calldataload(sibling))
                if iszero(staticcall(gas(), 0x02, 0x00, 0x40, 0x00, 0x20)) {
                    revert(0, 0)
                }
                node := mload(0x00)
                index := shr(1, index)
            }
        }
    }

    /// @notice Whether all nodes behind the last leaf are padding; its path shows every one of them.
    function isPadded(bytes calldata path, uint256 last) internal view returns (bool) {
        bytes32 padding;
        for (uint256 level = 0; level < path.length / 32; ++level) {
            if ((last >> level) & 1 == 0 && _sibling(path, level * 32) != padding) return false;
            padding = _node(padding, padding);
        }
        return true;
    }

    function _sibling(bytes calldata path, uint256 position) private pure returns (bytes32 sibling) {
        assembly ("memory-safe") {
            sibling := calldataload(add(path.offset, position))
        }
    }

    /// @dev sha256 of two words in scratch space: `sha256(abi.encodePacked(…))` would leave each pair behind in memory,
    /// which becomes more expensive with every client of a challenge.
    function _node(bytes32 left, bytes32 right) private view returns (bytes32 digest) {
        assembly ("memory-safe") {
            mstore(0x00, left)
            mstore(0x20, right)
            if iszero(staticcall(gas(), 0x02, 0x00, 0x40, 0x00, 0x20)) {
                revert(0, 0)
            }
            digest := mload(0x00)
        }
    }
}
