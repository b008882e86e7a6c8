// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IGalaxyLedger} from "../interfaces/IGalaxyLedger.sol";
import {Bits} from "../libraries/Bits.sol";
import {Submissions} from "../libraries/Submissions.sol";
import {LedgerStorage} from "./LedgerStorage.sol";

/// @title Collecting updates, and committing, reopening and superseding rounds.
abstract contract Rounds is LedgerStorage {
    using Bits for bytes;

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                  COLLECTING                                                  */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @inheritdoc IGalaxyLedger
    function join(uint256 job, uint32 samples, bytes32 key) external {
        Job storage job_ = _jobs[job];
        _running(job, job_.state.status, job_.state.round, job_.state.lastRound);
        Client storage client = _clients[job][msg.sender];
        if (client.samples != 0) revert AlreadyJoined(msg.sender);
        if (samples == 0 || samples > job_.terms.maxWeight) revert SamplesOutOfRange(samples, job_.terms.maxWeight);
        if (!job_.terms.open && !client.admitted) revert NotAdmitted(msg.sender);
        if (client.expelled) revert Expelled(msg.sender);
        client.samples = samples;
        emit ClientJoined(job, msg.sender, samples, key);
    }

    /// @inheritdoc IGalaxyLedger
    function submitUpdate(uint256 job, uint32 attempt, bytes32 model, Update calldata update) external {
        Client storage client = _clients[job][msg.sender];
        uint32 samples = client.samples;
        if (samples == 0) revert NotJoined(msg.sender);
        uint160 digest = uint160(uint256(keccak256(abi.encode(model, update))));
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
        _append(job, job_, attempt, abi.encodePacked(msg.sender, update.weight, update.commitment, update.content));
        client.attempt = attempt;
        client.digest = digest;
    }

    /// @dev Reverts unless entries are accepted, for that attempt, on that model.
    function _collecting(uint256 job, Job storage job_, uint32 attempt, bytes32 model) private view {
        State storage state = job_.state;
        _running(job, state.status, state.round, state.lastRound);
        if (attempt != state.attempt) revert WrongAttempt(attempt, state.attempt);
        if (model != job_.root) revert WrongModel(model, job_.root);
        if (block.timestamp >= state.closesAt) revert RoundClosed(state.closesAt);
    }

    /// @dev Appends a block of one entry to the attempt that collects.
    function _append(uint256 job, Job storage job_, uint32 attempt, bytes memory entry) private {
        State storage state = job_.state;
        uint16 first = state.updates;
        uint16 updates = first + 1;
        uint40 closesAt = state.closesAt;
        bool built = state.built;
        if (updates == job_.terms.minUpdates) {
            closesAt = _now() + _collectSeconds(job_, state.reopenings);
            built = true;
        }
        if (updates == job_.terms.maxUpdates) closesAt = _now();
        bytes32 inner = Submissions.link(_inner(job_, first), keccak256(entry), 1);
        if (updates % Submissions.SEGMENT == 0) {
            job_.outer = Submissions.close(_outer(job, job_, attempt, first), inner, Submissions.SEGMENT);
        } else {
            job_.inner = inner;
        }
        // All reads are done: the compiler puts what goes into one slot into one write.
        state.closesAt = closesAt;
        state.updates = updates;
        state.built = built;
        emit UpdatesSubmitted(job, attempt, first, closesAt, entry);
    }

    /// @dev How long an attempt collects once `minUpdates` are in. `further`, its number among the further attempts of
    /// its round, is at most 10.
    function _collectSeconds(Job storage job_, uint8 further) private view returns (uint40) {
        uint40 seconds_ = job_.terms.collectSeconds;
        if (further == 0) return seconds_;
        if (seconds_ < job_.terms.aggregateSeconds) seconds_ = job_.terms.aggregateSeconds;
        return seconds_ << further;
    }

    function _inner(Job storage job_, uint256 updates) private view returns (bytes32) {
        return updates % Submissions.SEGMENT == 0 ? bytes32(0) : job_.inner;
    }

    function _outer(uint256 job, Job storage job_, uint32 attempt, uint256 updates) private view returns (bytes32) {
        return updates < Submissions.SEGMENT ? Submissions.start(job, attempt, job_.root) : job_.outer;
    }

    function _head(uint256 job, Job storage job_, State memory state) internal view returns (bytes32) {
        if (state.origin != state.attempt) return job_.outer;
        return Submissions.head(_outer(job, job_, state.attempt, state.updates), _inner(job_, state.updates));
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
        emit RoundCommitted(job, attempt, msg.sender, record);
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

    /// @dev Whether a commit by the caller earns it a share. Anybody but the named server could have copied it.
    function _earns(Job storage job_, bytes32 head, bytes32 root, bytes32 salt) private view returns (bool) {
        if (msg.sender == job_.terms.server) return true;
        return salt != 0 && _counts(_announced[msg.sender][keccak256(abi.encode(msg.sender, salt, head, root))]);
    }

    /// @dev Opens the next attempt on the model with `root`.
    function _open(Job storage job_, State memory state, uint32 round, bytes32 root) internal {
        state.round = round;
        ++state.attempt;
        state.origin = state.attempt;
        state.updates = 0;
        state.closesAt = NEVER;
        job_.state = state;
        job_.root = root;
    }
}
