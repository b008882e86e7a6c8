// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IGalaxyLedger} from "contracts/interfaces/IGalaxyLedger.sol";
import {Bits} from "contracts/libraries/Bits.sol";
import {Submissions} from "contracts/libraries/Submissions.sol";

/// @title What the ledger computes inside, for comparison with test vectors.
contract Twins {
    using Bits for bytes;
    using Submissions for uint256;

    function start(uint256 job, uint32 attempt, bytes32 root) external view returns (bytes32) {
        return Submissions.start(job, attempt, root);
    }

    function read(
        bytes calldata packed,
        bytes32 from
    )
        external
        pure
        returns (
            bytes32 head,
            uint256[] memory numbers,
            address[] memory clients,
            uint32[] memory weights,
            bytes32[] memory commitments
        )
    {
        uint256[] memory shown;
        (head, shown) = Submissions.read(packed, from);
        numbers = new uint256[](shown.length);
        clients = new address[](shown.length);
        weights = new uint32[](shown.length);
        commitments = new bytes32[](shown.length);
        for (uint256 i = 0; i < shown.length; ++i) {
            numbers[i] = shown[i].numberOf();
            clients[i] = shown[i].clientOf();
            weights[i] = shown[i].weightOf();
            commitments[i] = shown[i].commitmentOf();
        }
    }

    function word(IGalaxyLedger.Record calldata record) external pure returns (bytes32) {
        return keccak256(abi.encode(record));
    }

    function excluded(bytes calldata map, uint256 updates) external pure returns (bool fits, uint256 count) {
        return (map.fits(updates), map.count());
    }
}
