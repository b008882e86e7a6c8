// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Submissions} from "../libraries/Submissions.sol";
import {LedgerStorage} from "./LedgerStorage.sol";

/// @title Opening an attempt, and letting clients and their entries in.
abstract contract Attempts is LedgerStorage {
    function _join(uint256 job, address account, uint32 samples, bytes32 key) internal {
        Job storage job_ = _jobs[job];
        _running(job, job_.state.status, job_.state.round, job_.state.lastRound);
        Client storage client = _clients[job][account];
        if (client.samples != 0) revert AlreadyJoined(account);
        if (samples == 0 || samples > job_.terms.maxWeight) revert SamplesOutOfRange(samples, job_.terms.maxWeight);
        if (!job_.terms.open && !client.admitted) revert NotAdmitted(account);
        if (client.expelled) revert Expelled(account);
        client.samples = samples;
        emit ClientJoined(job, account, samples, key);
    }

    /// @dev Opens the next attempt on the model with `root`.
    function _open(Job storage job_, State memory state, uint32 round, bytes32 root) internal {
        state.round = round;
        ++state.attempt;
        state.origin = state.attempt;
        state.updates = 0;
        state.blocks = 0;
        state.shut = 0;
        state.closesAt = NEVER;
        job_.state = state;
        job_.root = root;
    }

    /// @dev Reverts unless entries are accepted, for that attempt, on that model.
    function _collecting(uint256 job, Job storage job_, uint32 attempt, bytes32 model) internal view {
        State storage state = job_.state;
        _running(job, state.status, state.round, state.lastRound);
        if (attempt != state.attempt) revert WrongAttempt(attempt, state.attempt);
        if (model != job_.root) revert WrongModel(model, job_.root);
        if (block.timestamp >= state.closesAt) revert RoundClosed(state.closesAt);
    }

    /// @dev Appends entries, of which there is at least one and for which there is room, to the attempt that collects,
    /// in blocks of `size`.
    function _append(uint256 job, Job storage job_, uint32 attempt, bytes memory entries, uint256 size) internal {
        State storage state = job_.state;
        // All that is read of the slot of the state is read before the loop, behind which nothing is known of it.
        uint40 closesAt = state.closesAt;
        bool built = state.built;
        uint8 reopenings = state.reopenings;
        uint256 first = state.updates;
        uint256 updates = first;
        uint256 blocks = state.blocks;
        uint256 shut = state.shut;
        bytes32 inner = _inner(job_, blocks);
        // Nothing overflows: an attempt has at most 4,096 entries.
        unchecked {
            for (uint256 last = first + entries.length / Submissions.ENTRY; updates < last;) {
                uint256 count = last - updates < size ? last - updates : size;
                inner = Submissions.link(inner, Submissions.digestOf(entries, updates - first, count), count);
                updates += count;
                if (++blocks == Submissions.SEGMENT) {
                    job_.outer = Submissions.close(_outer(job, job_, attempt, shut), inner, updates - shut);
                    shut = updates;
                    blocks = 0;
                    inner = 0;
                }
            }
        }
        if (blocks != 0) job_.inner = inner;
        if (first < job_.terms.minUpdates && updates >= job_.terms.minUpdates) {
            closesAt = _now() + _collectSeconds(job_, reopenings);
            built = true;
        }
        if (updates == job_.terms.maxUpdates) closesAt = _now();
        // The compiler puts what goes into one slot into one write.
        state.closesAt = closesAt;
        state.updates = uint16(updates);
        state.built = built;
        state.blocks = uint8(blocks);
        state.shut = uint16(shut);
        emit UpdatesSubmitted(job, attempt, uint16(first), closesAt, entries);
    }

    /// @dev How long an attempt collects once `minUpdates` are in. `further`, its number among the further attempts of
    /// its round, is at most 10.
    function _collectSeconds(Job storage job_, uint8 further) private view returns (uint40) {
        uint40 seconds_ = job_.terms.collectSeconds;
        if (further == 0) return seconds_;
        if (seconds_ < job_.terms.aggregateSeconds) seconds_ = job_.terms.aggregateSeconds;
        return seconds_ << further;
    }

    function _inner(Job storage job_, uint256 blocks) private view returns (bytes32) {
        return blocks == 0 ? bytes32(0) : job_.inner;
    }

    function _outer(uint256 job, Job storage job_, uint32 attempt, uint256 shut) private view returns (bytes32) {
        return shut == 0 ? Submissions.start(job, attempt, job_.root) : job_.outer;
    }

    function _head(uint256 job, Job storage job_, State memory state) internal view returns (bytes32) {
        if (state.origin != state.attempt) return job_.outer;
        return Submissions.head(_outer(job, job_, state.attempt, state.shut), _inner(job_, state.blocks));
    }
}
