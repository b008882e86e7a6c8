// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOpeningVerifier} from "./interfaces/IOpeningVerifier.sol";
import {Attempts} from "./ledger/Attempts.sol";
import {Submissions} from "./libraries/Submissions.sol";
import {TypedData} from "./libraries/TypedData.sol";

/// @title LedgerIntake
/// @notice What comes into a ledger: jobs, and what clients have signed for others to hand in. `IGalaxyLedger.sol`
/// describes its functions.
/// @dev A part of `GalaxyLedger`, which executes this code on its own storage by DELEGATECALL, because one contract
/// can't hold all of it. Called directly it works on a storage of its own, where no job can be registered, because this
/// contract has no verifier.
contract LedgerIntake is Attempts {
    /// @notice Registers a job; see `IGalaxyLedger`.
    /// @param terms What the job is, for good.
    /// @param initial The model that the first round starts from.
    /// @return job The job's number.
    function registerJob(Terms calldata terms, Model calldata initial) external payable returns (uint256 job) {
        State memory state;
        (state.keepsModel, state.isSum) = IOpeningVerifier(_verifier()).checkTerms(terms);
        job = ++_count;
        Job storage job_ = _jobs[job];
        job_.terms = terms;
        job_.owner = msg.sender;
        job_.pool = _value();
        job_.outer = bytes32(uint256(1));
        job_.inner = bytes32(uint256(1));
        state.status = Status.Running;
        state.lastRound = terms.rounds;
        state.activeAt = _now();
        _open(job_, state, 1, initial.root);
        emit JobRegistered(job, msg.sender, terms, initial, state.keepsModel, state.isSum, _now());
        if (msg.value != 0) emit JobFunded(job, msg.sender, msg.value);
    }

    /// @notice Lets clients join by their signatures; see `IGalaxyLedger`.
    /// @param job The job's number.
    /// @param joins Who joins, and with what.
    function joinBySignatures(uint256 job, JoinBySignature[] calldata joins) external {
        Job storage job_ = _jobs[job];
        _running(job, job_.state.status, job_.state.round, job_.state.lastRound);
        bytes32 domain = TypedData.domain();
        for (uint256 place = 0; place < joins.length; ++place) {
            JoinBySignature calldata join = joins[place];
            Client storage client = _clients[job][join.client];
            // What can have changed since the caller looked costs it this join, not the batch.
            if (client.samples != 0 || client.expelled) continue;
            if (join.samples == 0 || join.samples > job_.terms.maxWeight) {
                revert WrongJoin(place, join.client, JoinFault.Samples);
            }
            if (!job_.terms.open && !client.admitted) revert WrongJoin(place, join.client, JoinFault.NotAdmitted);
            if (block.timestamp > join.deadline) revert WrongJoin(place, join.client, JoinFault.Expired);
            bytes32 hash = TypedData.join(job, join.samples, join.key, join.deadline);
            if (!TypedData.isSigned(domain, hash, join.signature, join.client)) {
                revert WrongJoin(place, join.client, JoinFault.Signature);
            }
            client.samples = join.samples;
            emit ClientJoined(job, join.client, join.samples, join.key);
        }
    }

    /// @notice Submits entries that their clients have signed; see `IGalaxyLedger`.
    /// @param job The job's number.
    /// @param attempt The current attempt.
    /// @param model The root of the model that the updates were trained on.
    /// @param entries The entries, packed.
    /// @param signatures As many signatures of `Update`, in the same order, packed.
    function submitUpdates(
        uint256 job,
        uint32 attempt,
        bytes32 model,
        bytes calldata entries,
        bytes calldata signatures
    ) external {
        Job storage job_ = _jobs[job];
        _collecting(job, job_, attempt, model);
        uint256 count = entries.length / Submissions.ENTRY;
        if (
            count == 0 || entries.length != count * Submissions.ENTRY
                || signatures.length != count * TypedData.SIGNATURE
        ) revert MalformedEntries(entries.length, signatures.length);
        uint256 room = job_.terms.maxUpdates - job_.state.updates;
        bytes memory accepted = new bytes(entries.length);
        bytes32 domain = TypedData.domain();
        uint256 taken;
        uint256 free;
        assembly ("memory-safe") {
            free := mload(0x40)
        }
        for (uint256 place = 0; place < count && taken < room; ++place) {
            bytes calldata entry = entries[place * Submissions.ENTRY:(place + 1) * Submissions.ENTRY];
            address account = address(bytes20(entry));
            Client storage client = _clients[job][account];
            uint32 samples = client.samples;
            if (samples == 0) revert WrongEntry(place, account, Fault.NotJoined);
            // What can have changed since the caller looked costs it this entry, not the batch.
            if (client.attempt == attempt || client.expelled) continue;
            uint32 weight = uint32(bytes4(entry[20:]));
            if (weight == 0 || weight > samples) revert WrongEntry(place, account, Fault.Weight);
            bytes32 hash = TypedData.update(job, attempt, model, bytes32(entry[24:]), bytes32(entry[56:]), weight);
            bytes calldata signature = signatures[place * TypedData.SIGNATURE:(place + 1) * TypedData.SIGNATURE];
            if (!TypedData.isSigned(domain, hash, signature, account)) {
                revert WrongEntry(place, account, Fault.Signature);
            }
            client.attempt = attempt;
            client.digest = uint160(uint256(hash));
            assembly ("memory-safe") {
                calldatacopy(add(add(accepted, 0x20), mul(taken, 88)), entry.offset, 88)
            }
            ++taken;
            // What an entry has used is used again: more memory is dearer memory.
            assembly ("memory-safe") {
                mstore(0x40, free)
            }
        }
        if (taken == 0) return;
        assembly ("memory-safe") {
            mstore(accepted, mul(taken, 88))
        }
        _append(job, job_, attempt, accepted, job_.terms.fanIn);
    }
}
