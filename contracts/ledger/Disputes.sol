// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAggregationRule} from "../interfaces/IAggregationRule.sol";
import {IGalaxyLedger} from "../interfaces/IGalaxyLedger.sol";
import {IOpeningVerifier} from "../interfaces/IOpeningVerifier.sol";
import {ChunkTree} from "../libraries/ChunkTree.sol";
import {Submissions} from "../libraries/Submissions.sol";
import {SumTree} from "../libraries/SumTree.sol";
import {LedgerStorage} from "./LedgerStorage.sol";

/// @title Announcements, challenges and demands.
abstract contract Disputes is IGalaxyLedger, LedgerStorage {
    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                  CHALLENGES                                                  */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @inheritdoc IGalaxyLedger
    function announce(bytes32 digest) external {
        _announced[msg.sender][digest] = _now();
    }

    /// @inheritdoc IGalaxyLedger
    function challenge(
        uint256 job,
        Record calldata record,
        uint256 node,
        uint256 index,
        bytes32 salt,
        bytes calldata openings
    ) external {
        Job storage job_ = _job(job);
        bytes32 word = _answerable(job, job_, record);
        _inWindow(job_, record);
        bytes32 digest = keccak256(abi.encode(msg.sender, salt, word, node, index));
        uint40 announced = _announced[msg.sender][digest];
        if (!_counts(announced)) revert NotAnnounced(digest, announced);
        if (_isRight(job, job_, record, node, index, openings)) revert CommitIsRight(record.round, node, index);
        _burn(_refute(job, job_, record, word, msg.sender, true));
    }

    /// @inheritdoc IGalaxyLedger
    function demand(uint256 job, Record calldata record, uint256 node, uint256 index, bytes32 salt) external payable {
        Job storage job_ = _job(job);
        bytes32 word = _answerable(job, job_, record);
        _inWindow(job_, record);
        _checkPlace(job_, record, node, index);
        Demand storage demand_ = _demands[job][word][node][index];
        if (demand_.demander != address(0)) revert AlreadyDemanded(record.round, node, index);
        uint32 deposits = ++_accounts[job][record.server].demands;
        ++_marks[job][word].demands;
        uint256 deposit = uint256(deposits) * job_.terms.demandDeposit;
        if (msg.value < deposit) revert WrongValue(msg.value, deposit);
        uint256 excess = _value() - deposit;
        if (excess != 0) _credit(job, msg.sender, excess);
        demand_.demander = msg.sender;
        demand_.answerBy = _now() + job_.terms.answerSeconds;
        demand_.deposits = deposits;
        bytes32 digest = keccak256(abi.encode(msg.sender, salt, word, node, index));
        demand_.announced = salt != 0 && _counts(_announced[msg.sender][digest]);
        emit ChunkDemanded(
            job, word, msg.sender, record.round, node, index, demand_.answerBy, demand_.announced, deposit, excess
        );
    }

    /// @inheritdoc IGalaxyLedger
    function answer(
        uint256 job,
        Record calldata record,
        uint256 node,
        uint256 index,
        bytes calldata openings
    ) external {
        Job storage job_ = _job(job);
        bytes32 word = _answerable(job, job_, record);
        (Demand memory demand_, uint256 deposit) = _endDemand(job, job_, record, word, node, index);
        if (block.timestamp >= demand_.answerBy) revert WindowOver(demand_.answerBy);
        if (!_isRight(job, job_, record, node, index, openings)) revert CommitIsWrong(record.round, node, index);
        // To the committer at first: otherwise a demander that copies the answer would have its deposit back.
        bool soon = block.timestamp < demand_.answerBy - job_.terms.answerSeconds / 2;
        address paid = soon ? record.server : msg.sender;
        _credit(job, paid, deposit);
        // The first opening, behind the nodes and the submissions.
        uint256 width = node == 0 ? 4 * IAggregationRule(job_.terms.rule).lanes() : 8;
        uint256 size = width * job_.terms.chunkParameters + 32 * ChunkTree.depth(_chunks(job_));
        uint256 start = 8 + uint256(uint32(bytes4(openings))) + uint32(bytes4(openings[4:]));
        bytes calldata chunk = openings[start:start + size];
        emit ChunkAnswered(job, word, msg.sender, record.round, node, index, paid, deposit, chunk);
    }

    /// @inheritdoc IGalaxyLedger
    function expire(uint256 job, Record calldata record, uint256 node, uint256 index) external {
        Job storage job_ = _job(job);
        bytes32 word = _wordOf(record);
        (Demand memory demand_, uint256 deposit) = _endDemand(job, job_, record, word, node, index);
        bool counts = _isAnswerable(job, job_, record, word);
        if (counts && block.timestamp < demand_.answerBy) revert WindowOpen(demand_.answerBy);
        _credit(job, demand_.demander, deposit);
        emit DemandExpired(job, word, demand_.demander, record.round, node, index, deposit);
        if (counts) _burn(_refute(job, job_, record, word, demand_.demander, demand_.announced));
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                   OUTCOMES                                                   */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @dev Ends the demand for that chunk and returns it.
    function _endDemand(
        uint256 job,
        Job storage job_,
        Record calldata record,
        bytes32 word,
        uint256 node,
        uint256 index
    ) private returns (Demand memory demand_, uint256 deposit) {
        demand_ = _demands[job][word][node][index];
        if (demand_.demander == address(0)) revert NotDemanded(record.round, node, index);
        delete _demands[job][word][node][index];
        --_marks[job][word].demands;
        --_accounts[job][record.server].demands;
        deposit = uint256(demand_.deposits) * job_.terms.demandDeposit;
    }

    /// @dev Takes the committer's bond and bars it; goes back to the record's round unless that was superseded. Returns
    /// how much is to be burned.
    function _refute(
        uint256 job,
        Job storage job_,
        Record calldata record,
        bytes32 word,
        address finder,
        bool rewarded
    ) private returns (uint256 burned) {
        Account storage account = _accounts[job][record.server];
        uint256 amount = account.bond;
        account.bond = 0;
        account.barred = true;
        uint256 reward = rewarded ? amount / 4 : 0;
        _credit(job, finder, reward);
        burned = amount - reward;
        emit BondSlashed(job, word, record.server, amount, finder, reward);
        if (_marks[job][word].superseded) _marks[job][word].superseded = false;
        else emit RoundReverted(job, _rollback(job_, record), word, record.round, _now());
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                    CHECKS                                                    */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @dev Whether a chunk of a commit is what the rule returns. Reverts unless the openings match the record.
    function _isRight(
        uint256 job,
        Job storage job_,
        Record calldata record,
        uint256 node,
        uint256 index,
        bytes calldata openings
    ) private view returns (bool) {
        _checkPlace(job_, record, node, index);
        IOpeningVerifier.Question memory question = IOpeningVerifier.Question({
            start: Submissions.start(job, record.attempt, record.previousRoot),
            rule: job_.terms.rule,
            ruleParameters: job_.terms.ruleParameters,
            parameters: job_.terms.parameters,
            chunkParameters: job_.terms.chunkParameters,
            fanIn: job_.terms.fanIn,
            isSum: job_.state.isSum,
            node: node,
            index: index
        });
        return IOpeningVerifier(_verifier()).isRight(question, record, openings);
    }

    function _chunks(Job storage job_) private view returns (uint256) {
        return (uint256(job_.terms.parameters) + job_.terms.chunkParameters - 1) / job_.terms.chunkParameters;
    }

    function _checkPlace(Job storage job_, Record calldata record, uint256 node, uint256 index) private view {
        uint256 nodes = record.nodesHash == 0 ? 0 : SumTree.count(record.updates, job_.terms.fanIn);
        if (node > nodes) revert NoSuchNode(node, nodes);
        uint256 chunks = _chunks(job_);
        if (index >= chunks) revert NoSuchChunk(index, chunks);
    }

    /// @dev Whether its committer answers for the record: it can still be reverted, or was superseded.
    function _isAnswerable(
        uint256 job,
        Job storage job_,
        Record calldata record,
        bytes32 word
    ) private view returns (bool) {
        if (_marks[job][word].superseded) return true;
        return record.round > job_.state.settled && _stands(job, job_, record, word);
    }

    function _answerable(uint256 job, Job storage job_, Record calldata record) private view returns (bytes32 word) {
        word = _wordOf(record);
        if (!_isAnswerable(job, job_, record, word)) revert UnknownRecord(job, record.round);
    }

    function _inWindow(Job storage job_, Record calldata record) private view {
        uint40 end = record.time + job_.terms.challengeSeconds;
        if (block.timestamp >= end) revert WindowOver(end);
    }
}
