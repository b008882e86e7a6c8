// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IGalaxyLedger} from "../interfaces/IGalaxyLedger.sol";
import {IOpeningVerifier} from "../interfaces/IOpeningVerifier.sol";
import {ChunkTree} from "../libraries/ChunkTree.sol";
import {Submissions} from "../libraries/Submissions.sol";
import {LedgerStorage} from "./LedgerStorage.sol";

/// @title Announcements, challenges and demands.
abstract contract Disputes is LedgerStorage {
    /// @inheritdoc IGalaxyLedger
    function announce(bytes32 digest) external {
        _announced[msg.sender][digest] = _now();
    }

    /// @inheritdoc IGalaxyLedger
    function challenge(
        uint256 job,
        Record calldata record,
        uint256 index,
        bytes32 salt,
        bytes calldata openings
    ) external {
        Job storage j = _job(job);
        bytes32 word = _answerable(job, j, record);
        _inWindow(j, record);
        bytes32 digest = keccak256(abi.encode(msg.sender, salt, word, index));
        uint40 announced = _announced[msg.sender][digest];
        if (!_counts(announced)) revert NotAnnounced(digest, announced);
        if (_isRight(job, j, record, index, openings)) revert CommitIsRight(record.round, index);
        _burn(_refute(job, j, record, word, msg.sender, true));
    }

    /// @inheritdoc IGalaxyLedger
    function demand(uint256 job, Record calldata record, uint256 index, bytes32 salt) external payable {
        Job storage j = _job(job);
        bytes32 word = _answerable(job, j, record);
        _inWindow(j, record);
        _checkIndex(j, index);
        Demand storage d = _demands[job][word][index];
        if (d.demander != address(0)) revert AlreadyDemanded(record.round, index);
        uint32 deposits = ++_accounts[job][record.server].demands;
        ++_marks[job][word].demands;
        uint256 deposit = uint256(deposits) * j.terms.demandDeposit;
        if (msg.value < deposit) revert WrongValue(msg.value, deposit);
        uint256 excess = _value() - deposit;
        if (excess != 0) _credit(job, msg.sender, excess);
        d.demander = msg.sender;
        d.answerBy = _now() + j.terms.answerSeconds;
        d.deposits = deposits;
        bytes32 digest = keccak256(abi.encode(msg.sender, salt, word, index));
        d.announced = salt != 0 && _counts(_announced[msg.sender][digest]);
        emit ChunkDemanded(job, word, msg.sender, record.round, index, d.answerBy, d.announced, deposit, excess);
    }

    /// @inheritdoc IGalaxyLedger
    function answer(uint256 job, Record calldata record, uint256 index, bytes calldata openings) external {
        Job storage j = _job(job);
        bytes32 word = _answerable(job, j, record);
        (Demand memory d, uint256 deposit) = _endDemand(job, j, record, word, index);
        if (block.timestamp >= d.answerBy) revert WindowOver(d.answerBy);
        if (!_isRight(job, j, record, index, openings)) revert CommitIsWrong(record.round, index);
        // To the committer at first: otherwise a demander that copies the answer would have its deposit back.
        bool soon = block.timestamp < d.answerBy - j.terms.answerSeconds / 2;
        address paid = soon ? record.server : msg.sender;
        _credit(job, paid, deposit);
        // The second of the openings, all of one length but for the submissions behind them.
        uint256 size = j.terms.chunkParameters * 4 + 32 * ChunkTree.depth(_chunks(j));
        bytes calldata next = openings[size:2 * size];
        emit ChunkAnswered(job, word, msg.sender, record.round, index, paid, deposit, next);
    }

    /// @inheritdoc IGalaxyLedger
    function expire(uint256 job, Record calldata record, uint256 index) external {
        Job storage j = _job(job);
        bytes32 word = _wordOf(record);
        (Demand memory d, uint256 deposit) = _endDemand(job, j, record, word, index);
        bool counts = _isAnswerable(job, j, record, word);
        if (counts && block.timestamp < d.answerBy) revert WindowOpen(d.answerBy);
        _credit(job, d.demander, deposit);
        emit DemandExpired(job, word, d.demander, record.round, index, deposit);
        if (counts) _burn(_refute(job, j, record, word, d.demander, d.announced));
    }

    /// @dev Ends the demand for that chunk and gives it.
    function _endDemand(
        uint256 job,
        Job storage j,
        Record calldata record,
        bytes32 word,
        uint256 index
    ) private returns (Demand memory d, uint256 deposit) {
        d = _demands[job][word][index];
        if (d.demander == address(0)) revert NotDemanded(record.round, index);
        delete _demands[job][word][index];
        --_marks[job][word].demands;
        --_accounts[job][record.server].demands;
        deposit = uint256(d.deposits) * j.terms.demandDeposit;
    }

    /// @dev Takes the committer's bond and bars it; goes back to the record's round unless that was superseded. Gives what
    /// is to be burned.
    function _refute(
        uint256 job,
        Job storage j,
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
        else emit RoundReverted(job, _rollback(j, record), word, record.round, _now());
    }

    /// @dev Whether a chunk of a commit is what the rule says. Reverts unless the openings are of what is recorded.
    function _isRight(
        uint256 job,
        Job storage j,
        Record calldata record,
        uint256 index,
        bytes calldata openings
    ) private view returns (bool) {
        _checkIndex(j, index);
        IOpeningVerifier.Question memory question = IOpeningVerifier.Question({
            start: Submissions.start(job, record.attempt, record.previousRoot),
            rule: j.terms.rule,
            ruleParameters: j.terms.ruleParameters,
            parameters: j.terms.parameters,
            chunkParameters: j.terms.chunkParameters,
            index: index
        });
        return IOpeningVerifier(verifier()).isRight(question, record, openings);
    }

    function _chunks(Job storage j) private view returns (uint256) {
        return (uint256(j.terms.parameters) + j.terms.chunkParameters - 1) / j.terms.chunkParameters;
    }

    function _checkIndex(Job storage j, uint256 index) private view {
        uint256 chunks = _chunks(j);
        if (index >= chunks) revert NoSuchChunk(index, chunks);
    }

    /// @dev Whether its committer answers for the record: it can still be reverted, or was superseded.
    function _isAnswerable(
        uint256 job,
        Job storage j,
        Record calldata record,
        bytes32 word
    ) private view returns (bool) {
        if (_marks[job][word].superseded) return true;
        return record.round > j.state.settled && _stands(job, j, record, word);
    }

    function _answerable(uint256 job, Job storage j, Record calldata record) private view returns (bytes32 word) {
        word = _wordOf(record);
        if (!_isAnswerable(job, j, record, word)) revert UnknownRecord(job, record.round);
    }

    function _inWindow(Job storage j, Record calldata record) private view {
        uint40 end = record.time + j.terms.challengeSeconds;
        if (block.timestamp >= end) revert WindowOver(end);
    }

    /// @inheritdoc IGalaxyLedger
    function verifier() public view returns (address) {
        // The address of the first contract that an address creates: keccak256 of the RLP of (address, 1).
        return address(uint160(uint256(keccak256(abi.encodePacked(hex"d694", address(this), hex"01")))));
    }
}
