// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IGalaxyLedger} from "contracts/interfaces/IGalaxyLedger.sol";
import {Bits} from "contracts/libraries/Bits.sol";
import {Submissions} from "contracts/libraries/Submissions.sol";
import {SumTree} from "contracts/libraries/SumTree.sol";
import {TypedData} from "contracts/libraries/TypedData.sol";

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

    function nodesHash(bytes calldata nodes, uint256 entries, uint256 fanIn) external pure returns (bytes32) {
        return SumTree.digest(nodes, entries, fanIn);
    }

    function nodeCount(uint256 entries, uint256 fanIn) external pure returns (uint256) {
        return SumTree.count(entries, fanIn);
    }

    function locate(uint256 entries, uint256 fanIn, uint256 node) external pure returns (SumTree.Place memory) {
        return SumTree.locate(entries, fanIn, node);
    }

    function domain() external view returns (bytes32) {
        return TypedData.domain();
    }

    function update(
        uint256 job,
        uint32 attempt,
        bytes32 model,
        IGalaxyLedger.Update calldata update_
    ) external pure returns (bytes32) {
        return TypedData.update(job, attempt, model, update_.commitment, update_.content, update_.weight);
    }

    function join(uint256 job, uint32 samples, bytes32 key, uint256 deadline) external pure returns (bytes32) {
        return TypedData.join(job, samples, key, deadline);
    }

    function isSigned(
        bytes32 domain_,
        bytes32 hash,
        bytes calldata signature,
        address account
    ) external pure returns (bool) {
        return TypedData.isSigned(domain_, hash, signature, account);
    }

    function excluded(bytes calldata map, uint256 updates) external pure returns (bool fits, uint256 count) {
        return (map.fits(updates), map.count());
    }
}
