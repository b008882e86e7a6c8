// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IGalaxyLedger} from "./IGalaxyLedger.sol";

/// @title Judges one chunk of a commit from its openings. It has no state: everything comes with the call.
/// @dev `openings` are packed, one after the other:
/// - an opening of the round's model, an opening of the committed model, and one of every included update, in the order
///   of their entries. An opening is the chunk (`4 * C` bytes), then its path (`32 * depth` bytes), the sibling of the
///   leaf first;
/// - all submissions of the attempt, every block shown, as `Submissions.sol` describes them.
/// What is thrown is declared in `IGalaxyLedger`.
interface IOpeningVerifier {
    /// @notice What the ledger knows of the job and of the chunk in question.
    struct Question {
        /// With what the attempt of the record began: `Submissions.start`.
        bytes32 start;
        address rule;
        bytes32 ruleParameters;
        /// Parameters of the model, and parameters a chunk.
        uint256 parameters;
        uint256 chunkParameters;
        uint256 index;
    }

    /// @notice Whether the chunk is what the rule makes of the openings.
    /// @dev Reverts unless these are what the record says.
    function isRight(
        Question calldata question,
        IGalaxyLedger.Record calldata record,
        bytes calldata openings
    ) external view returns (bool);

    /// @notice Refuses terms that are never sane, and says whether their rule keeps the model.
    function checkTerms(IGalaxyLedger.Terms calldata terms) external view returns (bool keepsModel);
}
