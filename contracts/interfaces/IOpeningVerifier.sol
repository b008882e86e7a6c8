// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedgerTypes} from "./ILedgerTypes.sol";

/// @title Judges one chunk of a node of a commit from its openings. It has no state: everything comes with the call.
/// @dev `openings` are packed: the length of the nodes and the length of the submissions (4 bytes each, big-endian),
/// the nodes, the submissions, and opening after opening. An opening is the chunk (`4 * C` bytes of an update,
/// `4 * L * C` of a model whose parameters have L lanes, `8 * C` of a sum), then its path (`32 * depth` bytes), the
/// sibling of the leaf first.
///
/// - Node 0 of a flat round: no nodes; all entries; openings of the next model, of the model, and of every included
///   update in the order of the entries. Right if the next model is what the rule makes of the rest.
/// - Node 0 of a round with a tree of sums: the digests of all groups, and the group that is the root; no submissions;
///   openings of the next model, of the model, and of the root's sum. Right if the next model is what the rule makes of
///   the rest.
/// - A node of level 1: the digests and the node's group; submissions that show the entries that it stands for;
///   openings of the node's sum and of every included one of these updates. Right if both the sum and the weight are
///   those of the updates. Where the weight is not, no opening is looked at.
/// - A node of a higher level: the digests, the node's group, the group of its children; no submissions; openings of the
///   node's sum and of every child's. Right if the sum is that of the children, and every one of these within the range
///   that its weight allows.
///
/// `Submissions.sol` describes submissions, `SumTree.sol` nodes and groups. Its errors are declared in
/// `ILedgerErrors.sol`.
interface IOpeningVerifier {
    /// @notice What the ledger knows about the job and the chunk in question.
    struct Question {
        /// What the attempt of the record began with: `Submissions.start`.
        bytes32 start;
        address rule;
        bytes32 ruleParameters;
        /// Parameters of the model.
        uint256 parameters;
        /// Parameters per chunk.
        uint256 chunkParameters;
        uint256 fanIn;
        /// Whether the rule finishes a sum.
        bool isSum;
        /// The node: 0 for the step to the next model.
        uint256 node;
        /// The chunk, one that exists.
        uint256 index;
    }

    /// @notice Whether the chunk of the node is what the openings make of it.
    /// @dev Reverts unless the openings are what the record states, and if there is no such node.
    /// @param question What the ledger knows.
    /// @param record The commit's record.
    /// @param openings The openings, with nodes and submissions.
    /// @return Whether the chunk is right.
    function isRight(
        Question calldata question,
        ILedgerTypes.Record calldata record,
        bytes calldata openings
    ) external view returns (bool);

    /// @notice What binds the nodes of a tree of sums. Reverts unless their number is right and every weight above
    /// level 1 is the sum of its children's.
    /// @param nodes The nodes, packed.
    /// @param entries How many entries there are, more than `fanIn`.
    /// @param fanIn Children of a node.
    /// @return The hash, never zero in practice.
    function nodesHash(bytes calldata nodes, uint256 entries, uint256 fanIn) external pure returns (bytes32);

    /// @notice Refuses terms that are never sane.
    /// @param terms The terms.
    /// @return keepsModel Whether their rule keeps the model.
    /// @return isSum Whether their rule finishes a sum.
    function checkTerms(ILedgerTypes.Terms calldata terms) external view returns (bool keepsModel, bool isSum);
}
