// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedgerTypes} from "./ILedgerTypes.sol";

/// @title Judges one chunk of a commit from its openings. It has no state: everything comes with the call.
/// @dev `openings` are packed, one after the other:
/// - an opening of the round's model, an opening of the committed model, and one of every included update, in the order
///   of their entries. An opening is the chunk (`4 * C` bytes), then its path (`32 * depth` bytes), the sibling of the
///   leaf first;
/// - all submissions of the attempt, every block shown, as `Submissions.sol` describes them.
/// Its errors are declared in `ILedgerErrors.sol`.
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
        uint256 index;
    }

    /// @notice Whether the chunk is what the rule makes of the openings.
    /// @dev Reverts unless the openings are what the record states.
    /// @param question What the ledger knows.
    /// @param record The commit's record.
    /// @param openings The openings and the submissions.
    /// @return Whether the chunk is right.
    function isRight(
        Question calldata question,
        ILedgerTypes.Record calldata record,
        bytes calldata openings
    ) external view returns (bool);

    /// @notice Refuses terms that are never sane.
    /// @param terms The terms.
    /// @return keepsModel Whether their rule keeps the model.
    function checkTerms(ILedgerTypes.Terms calldata terms) external view returns (bool keepsModel);
}
