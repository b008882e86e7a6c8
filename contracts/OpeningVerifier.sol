// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAggregationRule} from "./interfaces/IAggregationRule.sol";
import {ILedgerErrors} from "./interfaces/ILedgerErrors.sol";
import {ILedgerTypes} from "./interfaces/ILedgerTypes.sol";
import {IOpeningVerifier} from "./interfaces/IOpeningVerifier.sol";
import {Bits} from "./libraries/Bits.sol";
import {ChunkTree} from "./libraries/ChunkTree.sol";
import {Submissions} from "./libraries/Submissions.sol";

/// @title OpeningVerifier
/// @notice What a ledger judges without looking at its storage: whether a chunk of a commit is right, and whether the
/// terms of a job let it be challenged.
/// @dev Read `IOpeningVerifier.sol` first. It is a contract of its own because one contract can't hold both.
contract OpeningVerifier is IOpeningVerifier {
    using Bits for bytes;
    using Submissions for uint256;

    /// @dev How much of a transaction an answer may use: nodes accept 131,072 bytes and, since EIP-7825, 16,777,216
    /// gas.
    uint256 private constant MOST_BYTES = 120_000;
    uint256 private constant MOST_GAS = 15_000_000;

    /// @inheritdoc IOpeningVerifier
    function isRight(
        Question calldata question,
        ILedgerTypes.Record calldata record,
        bytes calldata openings
    ) external view returns (bool) {
        uint256 size = question.chunkParameters * 4;
        uint256 chunks = (question.parameters + question.chunkParameters - 1) / question.chunkParameters;
        uint256 opening = size + 32 * ChunkTree.depth(chunks);
        uint256 included = record.updates - record.excluded.count();
        uint256 opened = opening * (included + 2);
        if (openings.length < opened) revert ILedgerErrors.MalformedOpenings(openings.length, opened);

        uint256 index = question.index;
        bytes calldata previous = openings[:opening];
        bytes calldata next = openings[opening:2 * opening];
        if (_root(previous, size, index) != record.previousRoot) revert ILedgerErrors.WrongOpening(0);
        if (_root(next, size, index) != record.next.root) revert ILedgerErrors.WrongOpening(1);
        (bytes[] memory updates, uint32[] memory weights) = _included(question, record, openings, size, opening);

        bytes memory computed =
            IAggregationRule(question.rule).aggregate(question.ruleParameters, previous[:size], updates, weights);
        if (computed.length != size) revert ILedgerErrors.RuleMisbehaved(computed.length);
        if (index == chunks - 1) {
            // Behind the last parameter there are zeros, in the chunk and in the tree: otherwise a root could be wrong
            // over chunks that are all right.
            if (!ChunkTree.isPadded(next[size:], index)) return false;
            for (uint256 i = question.parameters * 4 - index * size; i < size; ++i) {
                computed[i] = 0;
            }
        }
        return keccak256(computed) == keccak256(next[:size]);
    }

    /// @inheritdoc IOpeningVerifier
    function checkTerms(ILedgerTypes.Terms calldata terms) external view returns (bool keepsModel) {
        bool development = block.chainid == 1337 || block.chainid == 31337;
        _require(terms.rounds != 0 && terms.rounds <= 2 ** 31, "rounds");
        _require(terms.minUpdates != 0 && terms.minUpdates <= terms.maxUpdates, "minUpdates");
        _require(terms.maxUpdates <= 4096, "maxUpdates");
        _require(terms.maxExcluded <= terms.maxUpdates, "maxExcluded");
        _require(terms.maxWeight != 0 && uint256(terms.maxWeight) * terms.maxUpdates < 2 ** 32, "maxWeight");
        _require(terms.serverShare <= 5000, "serverShare");
        _require(terms.maxUnsettled != 0, "maxUnsettled");
        _require(terms.bond != 0, "bond");

        uint256 size = terms.chunkParameters;
        _require(size != 0 && size <= 256 && size % 8 == 0, "chunkParameters");
        // More than a chunk, so that no content digest equals a tree root; and a tree of at most 40 levels.
        _require(terms.parameters > size && terms.parameters <= 2 ** 40, "parameters");
        uint256 depth = ChunkTree.depth((terms.parameters + size - 1) / size);

        _require(terms.collectSeconds <= 30 days, "collectSeconds");
        _require(
            terms.aggregateSeconds >= (development ? 1 : 60) && terms.aggregateSeconds <= 30 days, "aggregateSeconds"
        );
        _require(terms.answerSeconds >= (development ? 1 : 5 minutes), "answerSeconds");
        // A search that begins in the first half of the window ends within it.
        _require(
            terms.challengeSeconds >= 4 * (depth + 5) * terms.answerSeconds && terms.challengeSeconds <= 2 ** 31,
            "challengeSeconds"
        );
        _require(
            terms.idleSeconds >= uint256(terms.collectSeconds) + 4 * uint256(terms.aggregateSeconds)
                && terms.idleSeconds <= 2 ** 31,
            "idleSeconds"
        );

        _require(terms.rule.code.length != 0, "rule");
        IAggregationRule rule = IAggregationRule(terms.rule);
        rule.check(terms.ruleParameters, terms.minUpdates, terms.maxUpdates);
        (uint256 bytesOf, uint256 gasOf) = _answer(terms.maxUpdates, size, depth);
        gasOf += rule.gasFor(terms.maxUpdates, size);
        if (bytesOf > MOST_BYTES || gasOf > MOST_GAS) {
            revert ILedgerErrors.AnswerTooLarge(bytesOf, MOST_BYTES, gasOf, MOST_GAS);
        }
        return rule.keepsModel();
    }

    /// @dev The chunk of every included update, in order, and the weights. Reverts unless the submissions lead to the
    /// record's head and the chunks to their commitments.
    function _included(
        Question calldata question,
        ILedgerTypes.Record calldata record,
        bytes calldata openings,
        uint256 size,
        uint256 opening
    ) private view returns (bytes[] memory updates, uint32[] memory weights) {
        uint256 included = record.updates - record.excluded.count();
        (bytes32 head, uint256[] memory shown) = Submissions.read(openings[opening * (included + 2):], question.start);
        if (head != record.head) revert ILedgerErrors.WrongSubmissions(head, record.head);
        if (shown.length != record.updates) revert ILedgerErrors.SubmissionsHidden(shown.length, record.updates);
        updates = new bytes[](included);
        weights = new uint32[](included);
        uint256 next;
        for (uint256 i = 0; i < shown.length; ++i) {
            if (record.excluded.has(i)) continue;
            uint256 position = opening * (next + 2);
            bytes calldata proof = openings[position:position + opening];
            bytes32 root = _root(proof, size, question.index);
            if (sha256(abi.encodePacked(root, shown[i].clientOf())) != shown[i].commitmentOf()) {
                revert ILedgerErrors.WrongOpening(2 + next);
            }
            updates[next] = proof[:size];
            weights[next++] = shown[i].weightOf();
        }
    }

    function _root(bytes calldata opening, uint256 size, uint256 index) private view returns (bytes32) {
        return ChunkTree.root(opening[:size], opening[size:], index);
    }

    /// @dev The bytes and the gas of an answer for that many updates, at most, without what the rule needs. The figures
    /// are measured (`tests/contracts/gas.json`) and rounded up.
    function _answer(
        uint256 updates,
        uint256 size,
        uint256 depth
    ) private pure returns (uint256 bytesOf, uint256 gasOf) {
        uint256 opening = 4 * size + 32 * depth;
        bytesOf = 1000 + updates / 8 + (updates + 2) * opening + 90 * updates;
        gasOf = 250_000 + 20 * bytesOf + (updates + 2) * (3500 + 350 * depth);
    }

    function _require(bool holds, string memory term) private pure {
        if (!holds) revert ILedgerErrors.InvalidTerm(term);
    }
}
