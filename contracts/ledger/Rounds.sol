// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IGalaxyLedger} from "../interfaces/IGalaxyLedger.sol";
import {IOpeningVerifier} from "../interfaces/IOpeningVerifier.sol";
import {Bits} from "../libraries/Bits.sol";
import {Submissions} from "../libraries/Submissions.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Attempts} from "./Attempts.sol";

/// @title Joining and submitting by oneself, and committing, reopening and superseding rounds.
abstract contract Rounds is IGalaxyLedger, Attempts {
    using Bits for bytes;

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                  COLLECTING                                                  */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @inheritdoc IGalaxyLedger
    function join(uint256 job, uint32 samples, bytes32 key) external {
        _join(job, msg.sender, samples, key);
    }

    /// @inheritdoc IGalaxyLedger
    function submitUpdate(uint256 job, uint32 attempt, bytes32 model, Update calldata update) external {
        Client storage client = _clients[job][msg.sender];
        uint32 samples = client.samples;
        if (samples == 0) revert NotJoined(msg.sender);
        uint160 digest =
            uint160(uint256(TypedData.update(job, attempt, model, update.commitment, update.content, update.weight)));
        if (client.attempt == attempt) {
            // A retry after a crash or a reorganisation: before the checks, because the round may have moved on
            // meanwhile.
            if (client.digest == digest) return;
            revert AlreadySubmitted(attempt);
        }
        if (client.expelled) revert Expelled(msg.sender);
        Job storage job_ = _jobs[job];
        _collecting(job, job_, attempt, model);
        if (update.weight == 0 || update.weight > samples) revert WeightOutOfRange(update.weight, samples);
        _append(job, job_, attempt, Submissions.pack(msg.sender, update.weight, update.commitment, update.content), 1);
        client.attempt = attempt;
        client.digest = digest;
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                    ROUNDS                                                    */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @inheritdoc IGalaxyLedger
    function commitRound(
        uint256 job,
        uint32 attempt,
        bytes32 head,
        Model calldata next,
        bytes calldata excluded,
        bytes calldata nodes,
        bytes32 nodesContent,
        bytes32 salt
    ) external {
        Job storage job_ = _jobs[job];
        State memory state = job_.state;
        _closed(job, job_, state, attempt, head);
        uint40 openFrom = _openFrom(job, job_, state);
        if (block.timestamp < openFrom) revert NotYet(msg.sender, openFrom);
        _checkExcluded(job_, state, excluded);
        if (state.keepsModel && next.root != job_.root) revert ModelNotKept(next.root, job_.root);
        Record memory record = Record({
            attempt: state.origin,
            round: state.round,
            updates: state.updates,
            head: head,
            previousRoot: job_.root,
            next: next,
            excluded: excluded,
            nodesHash: _bind(job_, state, nodes),
            reward: (job_.pool - job_.allotted) / (job_.terms.rounds - state.round + 1),
            allottedBefore: job_.allotted,
            share: _earns(job_, head, next.root, salt) ? job_.terms.serverShare : 0,
            server: msg.sender,
            time: _now()
        });
        _records[job][state.round] = keccak256(abi.encode(record));
        job_.allotted = record.allottedBefore + record.reward;
        _lock(job, job_);
        if (state.round > state.highest) state.highest = state.round;
        state.activeAt = record.time;
        state.built = false;
        state.reopeningsBefore = state.reopenings;
        state.reopenings = 0;
        _open(job_, state, state.round + 1, next.root);
        emit RoundCommitted(job, attempt, msg.sender, record, nodes, nodesContent);
    }

    /// @inheritdoc IGalaxyLedger
    function reopenRound(uint256 job, uint32 attempt, bytes32 head) external {
        Job storage job_ = _jobs[job];
        State memory state = job_.state;
        _closed(job, job_, state, attempt, head);
        uint40 openFrom = _allFrom(job_, state) + 2 * uint40(job_.terms.aggregateSeconds);
        if (block.timestamp < openFrom) revert NotYet(msg.sender, openFrom);
        _lock(job, job_);
        // Beyond the tenth the time does not grow.
        if (state.reopenings < 10) ++state.reopenings;
        _open(job_, state, state.round, job_.root);
        emit RoundReopened(job, attempt, msg.sender, state.round, _now());
    }

    /// @inheritdoc IGalaxyLedger
    function supersede(uint256 job, Record calldata record) external {
        Job storage job_ = _job(job);
        State memory state = job_.state;
        bytes32 word = _wordOf(record);
        if (!_stands(job, job_, record, word)) revert UnknownRecord(job, record.round);
        uint40 idleSeconds = job_.terms.idleSeconds;
        bool newest = record.round == state.round - 1 && record.round < state.lastRound && record.round > state.settled;
        bool built = state.built || block.timestamp >= record.time + 2 * idleSeconds;
        if (!newest || built || msg.sender == record.server) revert NotSupersedable(record.round);
        if (block.timestamp < record.time + idleSeconds) revert WindowOpen(record.time + idleSeconds);
        _bonded(job, job_);
        _lock(job, job_);
        _marks[job][word].superseded = true;
        Account storage committer = _accounts[job][record.server];
        committer.late = true;
        committer.lateRound = record.round;
        uint32 attempt = _rollback(job_, record);
        // Otherwise someone who withholds models could make a round collect as briefly as at first, for ever.
        job_.state.reopenings = state.reopeningsBefore;
        emit RoundSuperseded(job, attempt, word, record.round, record.server, msg.sender, _now());
    }

    /// @dev The checks that a commit and a reopening have in common: by whom, when, over which updates.
    function _closed(uint256 job, Job storage job_, State memory state, uint32 attempt, bytes32 head) private view {
        _running(job, state.status, state.round, state.lastRound);
        _settledEnough(job_, state);
        if (attempt != state.attempt) revert WrongAttempt(attempt, state.attempt);
        if (block.timestamp < state.closesAt) revert RoundOpen(state.closesAt);
        bytes32 current = _head(job, job_, state);
        if (head != current) revert HeadChanged(head, current);
        _bonded(job, job_);
    }

    /// @dev From when on the caller may commit to an attempt that is closed.
    function _openFrom(uint256 job, Job storage job_, State memory state) private view returns (uint40) {
        // After everybody else, and not to the entries of a rollback: otherwise someone who withholds models would come
        // before those who have to exclude many or to reopen, again and again, at the price of gas alone.
        if (_accounts[job][msg.sender].late) {
            return state.attempt == state.origin ? _allFrom(job_, state) + job_.terms.aggregateSeconds : NEVER;
        }
        address server = job_.terms.server;
        // After a rollback nobody waits for the named server, nor ever for a server that is barred or late.
        if (server == address(0) || server == msg.sender || state.attempt != state.origin) return state.closesAt;
        Account storage named = _accounts[job][server];
        return named.barred || named.late ? state.closesAt : state.closesAt + job_.terms.aggregateSeconds;
    }

    /// @dev From when on everybody may commit, with any number of entries left out.
    function _allFrom(Job storage job_, State memory state) private view returns (uint40) {
        return state.closesAt + 2 * uint40(job_.terms.aggregateSeconds);
    }

    function _checkExcluded(Job storage job_, State memory state, bytes calldata excluded) private view {
        if (!excluded.fits(state.updates)) revert MalformedExcluded(excluded.length, state.updates);
        uint256 count = excluded.count();
        uint40 allFrom = _allFrom(job_, state);
        if (count > job_.terms.maxExcluded && block.timestamp < allFrom) {
            revert TooManyExcluded(count, job_.terms.maxExcluded, allFrom);
        }
        if (state.updates - count < job_.terms.minUpdates) {
            revert TooFewUpdates(state.updates - count, job_.terms.minUpdates);
        }
    }

    /// @dev What binds the nodes of the tree of sums; zero in a round that has none.
    function _bind(Job storage job_, State memory state, bytes calldata nodes) private view returns (bytes32) {
        uint256 fanIn = job_.terms.fanIn;
        if (state.isSum && state.updates > fanIn) {
            return IOpeningVerifier(_verifier()).nodesHash(nodes, state.updates, fanIn);
        }
        if (nodes.length != 0) revert MalformedNodes(nodes.length, 0);
        return 0;
    }

    /// @dev Whether a commit by the caller earns it a share. Anybody but the named server could have copied it.
    function _earns(Job storage job_, bytes32 head, bytes32 root, bytes32 salt) private view returns (bool) {
        if (msg.sender == job_.terms.server) return true;
        return salt != 0 && _counts(_announced[msg.sender][keccak256(abi.encode(msg.sender, salt, head, root))]);
    }
}
