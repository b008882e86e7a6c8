// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedgerErrors} from "../interfaces/ILedgerErrors.sol";

/// @title The entries of an attempt: how the head binds them, and how some of them are shown.
/// @notice An entry is packed into 88 bytes: client (20), weight (4, big-endian), commitment (32), content (32). A block
/// is one or more packed entries. 64 blocks are a segment. Within a segment
/// `inner = keccak256(abi.encode(inner, keccak256(block), entries of the block))`, from zero; with its 64th block, at
/// once, `outer = keccak256(abi.encode(outer, inner, entries of the segment))`, from `start`, and inner is zero again.
/// The head is `keccak256(abi.encode(outer, inner))`.
/// @dev To show some entries, segments follow each other, each begun by one byte:
/// - 0: a full segment, shut: its inner (32 bytes) and its number of entries (2 bytes, big-endian);
/// - 1 to 64: an open segment of as many blocks. Each block is one byte, its number of entries (1 to 127), and these
///   entries; or that number plus 128 and the block's keccak256. Only the last segment has fewer blocks than 64;
/// - 255: the last segment, not full, shut: its inner (32 bytes).
/// Where the last segment is full, or no block exists at all, nothing stands for the empty one after it.
library Submissions {
    /// @notice Bytes of an entry, and blocks of a segment.
    uint256 internal constant ENTRY = 88;
    uint256 internal constant SEGMENT = 64;

    /// @notice What an attempt on the model with that root begins with. It binds chain, ledger, job and attempt.
    function start(uint256 job, uint32 attempt, bytes32 root) internal view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), job, attempt, root));
    }

    /// @notice A packed entry.
    function pack(
        address client,
        uint32 weight,
        bytes32 commitment,
        bytes32 content
    ) internal pure returns (bytes memory entry) {
        assembly ("memory-safe") {
            entry := mload(0x40)
            mstore(0x40, add(entry, 0x80))
            mstore(entry, 88)
            mstore(add(entry, 0x20), or(shl(96, client), shl(64, and(weight, 0xffffffff))))
            mstore(add(entry, 0x38), commitment)
            mstore(add(entry, 0x58), content)
        }
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

    /// @notice keccak256 of `count` packed entries from number `first` on.
    function digestOf(bytes memory entries, uint256 first, uint256 count) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            result := keccak256(add(add(entries, 0x20), mul(first, 88)), mul(count, 88))
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

    /// @notice The head that shown submissions lead to, and where the shown entries are, in order: the number of an
    /// entry times 2**128, plus its place in the calldata.
    /// @dev Numbers are right whatever is shown: every count on the way is bound by a link.
    function read(
        bytes calldata packed,
        bytes32 outer
    ) internal pure returns (bytes32 computed, uint256[] memory shown) {
        shown = new uint256[](packed.length / ENTRY);
        uint256 position;
        uint256 entryNumber;
        uint256 count;
        bytes32 inner;
        // Nothing overflows: places lie in the calldata, and every count on the way has at most 16 bits.
        unchecked {
            while (position < packed.length) {
                uint256 tag = _byte(packed, position++);
                if (tag == 0) {
                    uint256 entries = uint16(bytes2(_word(packed, position + 32, 2)));
                    outer = close(outer, _word(packed, position, 32), entries);
                    entryNumber += entries;
                    position += 34;
                    continue;
                }
                if (tag <= SEGMENT) {
                    uint256 first = entryNumber;
                    for (uint256 i = 0; i < tag; ++i) {
                        uint256 entries = _byte(packed, position);
                        bytes32 digest;
                        if (entries & 127 == 0) revert ILedgerErrors.MalformedSubmissions(position);
                        ++position;
                        if (entries < 128) {
                            uint256 size = entries * ENTRY;
                            if (position + size > packed.length) revert ILedgerErrors.MalformedSubmissions(position);
                            digest = _hash(packed, position, size);
                            // There is room: `shown` has a place for each 88 bytes.
                            assembly ("memory-safe") {
                                let found := add(add(shown, 0x20), shl(5, count))
                                let place := add(packed.offset, position)
                                for {
                                    let end := add(place, size)
                                } lt(place, end) {
                                    place := add(place, ENTRY)
                                } {
                                    mstore(found, or(shl(128, entryNumber), place))
                                    found := add(found, 0x20)
                                    entryNumber := add(entryNumber, 1)
                                    count := add(count, 1)
                                }
                            }
                            position += size;
                        } else {
                            entries -= 128;
                            digest = _word(packed, position, 32);
                            position += 32;
                            entryNumber += entries;
                        }
                        inner = link(inner, digest, entries);
                    }
                    if (tag == SEGMENT) {
                        outer = close(outer, inner, entryNumber - first);
                        inner = 0;
                        continue;
                    }
                } else if (tag == 255) {
                    inner = _word(packed, position, 32);
                    position += 32;
                } else {
                    revert ILedgerErrors.MalformedSubmissions(position - 1);
                }
                // Nothing follows a segment that is not full.
                if (position != packed.length) revert ILedgerErrors.MalformedSubmissions(position);
            }
        }
        assembly ("memory-safe") {
            mstore(shown, count)
        }
        return (head(outer, inner), shown);
    }

    /// @notice The number of an entry that `read` has found; the functions below return its fields.
    function numberOf(uint256 found) internal pure returns (uint256) {
        return found >> 128;
    }

    function clientOf(uint256 found) internal pure returns (address client) {
        assembly ("memory-safe") {
            client := shr(96, calldataload(and(found, 0xffffffffffffffff)))
        }
    }

    function weightOf(uint256 found) internal pure returns (uint32 weight) {
        assembly ("memory-safe") {
            weight := and(shr(64, calldataload(and(found, 0xffffffffffffffff))), 0xffffffff)
        }
    }

    function commitmentOf(uint256 found) internal pure returns (bytes32 commitment) {
        assembly ("memory-safe") {
            commitment := calldataload(add(and(found, 0xffffffffffffffff), 24))
        }
    }

    function _byte(bytes calldata packed, uint256 position) private pure returns (uint256 value) {
        if (position >= packed.length) revert ILedgerErrors.MalformedSubmissions(position);
        assembly ("memory-safe") {
            value := byte(0, calldataload(add(packed.offset, position)))
        }
    }

    /// @dev keccak256 of bytes that are there, without keeping a copy of them as a slice's hash does.
    function _hash(bytes calldata packed, uint256 position, uint256 size) private pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, add(packed.offset, position), size)
            digest := keccak256(free, size)
        }
    }

    /// @dev The bytes from there on, at least as many as are wanted.
    function _word(bytes calldata packed, uint256 position, uint256 wanted) private pure returns (bytes32 word) {
        if (position + wanted > packed.length) revert ILedgerErrors.MalformedSubmissions(position);
        assembly ("memory-safe") {
            word := calldataload(add(packed.offset, position))
        }
    }
}
