// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

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
        Job storage j = _jobs[job];
        _running(job, j.state.status, j.state.round, j.state.lastRound);
        Client storage client = _clients[job][msg.sender];
        if (client.samples != 0) revert AlreadyJoined(msg.sender);
        if (samples == 0 || samples > j.terms.maxWeight) revert SamplesOutOfRange(samples, j.terms.maxWeight);
        if (!j.terms.open && !client.admitted) revert NotAdmitted(msg.sender);
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
            // A retry after a crash or a reorganisation: before the checks, for the round may have moved on meanwhile.
            if (client.digest == digest) return;
            revert AlreadySubmitted(attempt);
        }
        if (client.expelled) revert Expelled(msg.sender);
        Job storage j = _jobs[job];
        _collecting(job, j, attempt, model);
        if (update.weight == 0 || update.weight > samples) revert WeightOutOfRange(update.weight, samples);
        _append(job, j, attempt, abi.encodePacked(msg.sender, update.weight, update.commitment, update.content));
        client.attempt = attempt;
        client.digest = digest;
    }

    /// @dev Entries are taken, for that attempt, on that model.
    function _collecting(uint256 job, Job storage j, uint32 attempt, bytes32 model) private view {
        State storage s = j.state;
        _running(job, s.status, s.round, s.lastRound);
        if (attempt != s.attempt) revert WrongAttempt(attempt, s.attempt);
        if (model != j.root) revert WrongModel(model, j.root);
        if (block.timestamp >= s.closesAt) revert RoundClosed(s.closesAt);
    }

    /// @dev Appends a block of one entry to the attempt that collects.
    function _append(uint256 job, Job storage j, uint32 attempt, bytes memory entry) private {
        State storage s = j.state;
        uint16 first = s.updates;
        uint16 updates = first + 1;
        uint40 closesAt = s.closesAt;
        bool built = s.built;
        if (updates == j.terms.minUpdates) {
            closesAt = _now() + _collectSeconds(j, s.reopenings);
            built = true;
        }
        if (updates == j.terms.maxUpdates) closesAt = _now();
        bytes32 inner = Submissions.link(_inner(j, first), keccak256(entry), 1);
        if (updates % Submissions.SEGMENT == 0) {
            j.outer = Submissions.close(_outer(job, j, attempt, first), inner, Submissions.SEGMENT);
        } else {
            j.inner = inner;
        }
        // All reads are done: the compiler puts what goes into one slot into one write.
        s.closesAt = closesAt;
        s.updates = updates;
        s.built = built;
        emit UpdatesSubmitted(job, attempt, first, closesAt, entry);
    }

    /// @dev How long an attempt collects once `minUpdates` are in. `further`, its number among the further attempts of its
    /// round, is at most 10.
    function _collectSeconds(Job storage j, uint8 further) private view returns (uint40) {
        uint40 seconds_ = j.terms.collectSeconds;
        if (further == 0) return seconds_;
        if (seconds_ < j.terms.aggregateSeconds) seconds_ = j.terms.aggregateSeconds;
        return seconds_ << further;
    }

    function _inner(Job storage j, uint256 updates) private view returns (bytes32) {
        return updates % Submissions.SEGMENT == 0 ? bytes32(0) : j.inner;
    }

    function _outer(uint256 job, Job storage j, uint32 attempt, uint256 updates) private view returns (bytes32) {
        return updates < Submissions.SEGMENT ? Submissions.start(job, attempt, j.root) : j.outer;
    }

    function _head(uint256 job, Job storage j, State memory s) internal view returns (bytes32) {
        if (s.origin != s.attempt) return j.outer;
        return Submissions.head(_outer(job, j, s.attempt, s.updates), _inner(j, s.updates));
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
        Job storage j = _jobs[job];
        State memory s = j.state;
        _closed(job, j, s, attempt, head);
        uint40 openFrom = _openFrom(job, j, s);
        if (block.timestamp < openFrom) revert NotYet(msg.sender, openFrom);
        _checkExcluded(j, s, excluded);
        if (s.keepsModel && next.root != j.root) revert ModelNotKept(next.root, j.root);
        Record memory record = Record({
            attempt: s.origin,
            round: s.round,
            updates: s.updates,
            head: head,
            previousRoot: j.root,
            next: next,
            excluded: excluded,
            reward: (j.pool - j.allotted) / (j.terms.rounds - s.round + 1),
            allottedBefore: j.allotted,
            share: _earns(j, head, next.root, salt) ? j.terms.serverShare : 0,
            server: msg.sender,
            time: _now()
        });
        _records[job][s.round] = keccak256(abi.encode(record));
        j.allotted = record.allottedBefore + record.reward;
        _lock(job, j);
        if (s.round > s.highest) s.highest = s.round;
        s.activeAt = record.time;
        s.built = false;
        s.reopeningsBefore = s.reopenings;
        s.reopenings = 0;
        _open(j, s, s.round + 1, next.root);
        emit RoundCommitted(job, attempt, msg.sender, record);
    }

    /// @inheritdoc IGalaxyLedger
    function reopenRound(uint256 job, uint32 attempt, bytes32 head) external {
        Job storage j = _jobs[job];
        State memory s = j.state;
        _closed(job, j, s, attempt, head);
        uint40 openFrom = _allFrom(j, s) + 2 * uint40(j.terms.aggregateSeconds);
        if (block.timestamp < openFrom) revert NotYet(msg.sender, openFrom);
        _lock(job, j);
        // Beyond the tenth it doesn't count.
        if (s.reopenings < 10) ++s.reopenings;
        _open(j, s, s.round, j.root);
        emit RoundReopened(job, attempt, msg.sender, s.round, _now());
    }

    /// @inheritdoc IGalaxyLedger
    function supersede(uint256 job, Record calldata record) external {
        Job storage j = _job(job);
        State memory s = j.state;
        bytes32 word = _wordOf(record);
        if (!_stands(job, j, record, word)) revert UnknownRecord(job, record.round);
        uint40 idleSeconds = j.terms.idleSeconds;
        bool newest = record.round == s.round - 1 && record.round < s.lastRound && record.round > s.settled;
        bool built = s.built || block.timestamp >= record.time + 2 * idleSeconds;
        if (!newest || built || msg.sender == record.server) revert NotSupersedable(record.round);
        if (block.timestamp < record.time + idleSeconds) revert WindowOpen(record.time + idleSeconds);
        _bonded(job, j);
        _lock(job, j);
        _marks[job][word].superseded = true;
        Account storage committer = _accounts[job][record.server];
        committer.late = true;
        committer.lateRound = record.round;
        uint32 attempt = _rollback(j, record);
        // Otherwise withholding would have a round collect as briefly as at first, for ever.
        j.state.reopenings = s.reopeningsBefore;
        emit RoundSuperseded(job, attempt, word, record.round, record.server, msg.sender, _now());
    }

    /// @dev What a commit and a reopening have in common: by whom, when, over which updates.
    function _closed(uint256 job, Job storage j, State memory s, uint32 attempt, bytes32 head) private view {
        _running(job, s.status, s.round, s.lastRound);
        _settledEnough(j, s);
        if (attempt != s.attempt) revert WrongAttempt(attempt, s.attempt);
        if (block.timestamp < s.closesAt) revert RoundOpen(s.closesAt);
        bytes32 current = _head(job, j, s);
        if (head != current) revert HeadChanged(head, current);
        _bonded(job, j);
    }

    /// @dev From when on the caller may commit to an attempt that is closed.
    function _openFrom(uint256 job, Job storage j, State memory s) private view returns (uint40) {
        // After everybody else, and not to the entries of a rollback: else one that withholds its models would come before
        // whoever has to leave many out or to reopen, again and again, for gas alone.
        if (_accounts[job][msg.sender].late) {
            return s.attempt == s.origin ? _allFrom(j, s) + j.terms.aggregateSeconds : NEVER;
        }
        address server = j.terms.server;
        // After a rollback nobody waits for the named server, nor for one that may not come in time.
        if (server == address(0) || server == msg.sender || s.attempt != s.origin) return s.closesAt;
        Account storage named = _accounts[job][server];
        return named.barred || named.late ? s.closesAt : s.closesAt + j.terms.aggregateSeconds;
    }

    /// @dev From when on everybody may commit, with any number of entries left out.
    function _allFrom(Job storage j, State memory s) private view returns (uint40) {
        return s.closesAt + 2 * uint40(j.terms.aggregateSeconds);
    }

    function _checkExcluded(Job storage j, State memory s, bytes calldata excluded) private view {
        if (!excluded.fits(s.updates)) revert MalformedExcluded(excluded.length, s.updates);
        uint256 count = excluded.count();
        uint40 allFrom = _allFrom(j, s);
        if (count > j.terms.maxExcluded && block.timestamp < allFrom) {
            revert TooManyExcluded(count, j.terms.maxExcluded, allFrom);
        }
        if (s.updates - count < j.terms.minUpdates) revert TooFewUpdates(s.updates - count, j.terms.minUpdates);
    }

    /// @dev Whether a commit by the caller earns it a share. Another than the named server could have copied it.
    function _earns(Job storage j, bytes32 head, bytes32 root, bytes32 salt) private view returns (bool) {
        if (msg.sender == j.terms.server) return true;
        return salt != 0 && _counts(_announced[msg.sender][keccak256(abi.encode(msg.sender, salt, head, root))]);
    }

    /// @dev Opens the next attempt on the model with `root`.
    function _open(Job storage j, State memory s, uint32 round, bytes32 root) internal {
        s.round = round;
        ++s.attempt;
        s.origin = s.attempt;
        s.updates = 0;
        s.closesAt = NEVER;
        j.state = s;
        j.root = root;
    }
}
