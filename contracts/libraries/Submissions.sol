// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IGalaxyLedger} from "../interfaces/IGalaxyLedger.sol";

/// @title The entries of an attempt: how the head binds them, and how some of them are shown.
/// @notice A block is one or more packed entries. 64 blocks are a segment. Within a segment
/// `inner = keccak256(abi.encode(inner, keccak256(block), entries of the block))`, from zero; with its 64th block, at
/// once, `outer = keccak256(abi.encode(outer, inner, entries of the segment))`, from `start`, and inner is zero again. The
/// head is `keccak256(abi.encode(outer, inner))`.
/// @dev To show some entries, segments follow each other, each begun by one byte:
/// - 0: a full segment, shut: its inner (32 bytes) and its number of entries (2 bytes, big-endian);
/// - 1 to 64: an open segment of as many blocks. Each block is one byte, its number of entries (1 to 127), and these
///   entries; or that number plus 128 and the block's keccak256. Only the last segment has fewer blocks than 64;
/// - 255: the last segment, not full, shut: its inner (32 bytes).
/// Where the last segment is full, or there is no block at all, nothing stands for the empty one after it.
library Submissions {
    /// @notice Bytes of an entry, and blocks of a segment.
    uint256 internal constant ENTRY = 88;
    uint256 internal constant SEGMENT = 64;

    /// @notice With what an attempt on the model with that root begins. It binds chain, ledger, job and attempt.
    function start(uint256 job, uint32 attempt, bytes32 root) internal view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), job, attempt, root));
    }

    /// @notice The inner link of the next block.
    function link(bytes32 inner, bytes32 blockDigest, uint256 entries) internal pure returns (bytes32 next) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, inner)
            mstore(add(free, 0x20), blockDigest)
            mstore(add(free, 0x40), entries)
            next := keccak256(free, 0x60)
        }
    }

    /// @notice The outer link of a full segment.
    function close(bytes32 outer, bytes32 inner, uint256 entries) internal pure returns (bytes32 next) {
        return link(outer, inner, entries);
    }

    /// @notice The head of an attempt.
    function head(bytes32 outer, bytes32 inner) internal pure returns (bytes32) {
        return keccak256(abi.encode(outer, inner));
    }
}
