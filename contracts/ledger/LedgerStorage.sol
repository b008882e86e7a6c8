// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedgerErrors} from "../interfaces/ILedgerErrors.sol";
import {ILedgerEvents} from "../interfaces/ILedgerEvents.sol";

/// @title The ledger's storage, and what all of its parts use.
/// @dev Ether leaves only in `_pay`, which its callers call after every effect, and with the caller, the account that a
/// call is about, or nobody as the receiver.
abstract contract LedgerStorage is ILedgerEvents, ILedgerErrors {
    struct Job {
        Terms terms;
        State state;
        /// The outer link, if the attempt has a full segment; after a rollback the head itself, because nothing is
        /// appended to it. Neither this nor the next is ever zero, so that no submission pays for a fresh slot.
        bytes32 outer;
        /// The inner link, if the last segment has a block.
        bytes32 inner;
        bytes32 root;
        address owner;
        uint128 pool;
        /// The rewards of the records that stand.
        uint128 allotted;
    }

    /// @dev How long an announcement counts.
    uint40 internal constant ANNOUNCED_SECONDS = 3600;
    /// @dev When an attempt that has too few entries closes.
    uint40 internal constant NEVER = type(uint40).max;

    /// @dev How many jobs there are.
    uint256 internal _count;
    mapping(uint256 job => Job) internal _jobs;
    mapping(uint256 job => mapping(address => Client)) internal _clients;
    mapping(uint256 job => mapping(address => Account)) internal _accounts;

    /// @dev Only words of rounds below the current one stand. A rollback lowers the current round instead of deleting
    /// words, and each is overwritten before its round lies below the current one again.
    mapping(uint256 job => mapping(uint32 round => bytes32)) internal _records;
    mapping(uint256 job => mapping(bytes32 word => Mark)) internal _marks;
    mapping(uint256 job => mapping(bytes32 word => mapping(uint256 node => mapping(uint256 index => Demand)))) internal
        _demands;
    mapping(uint256 job => mapping(uint32 round => mapping(uint256 word => uint256))) internal _claimed;
    mapping(address sender => mapping(bytes32 digest => uint40)) internal _announced;

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                   RECORDS                                                    */
    /* ------------------------------------------------------------------------------------------------------------ */

    function _wordOf(Record calldata record) internal pure returns (bytes32) {
        return keccak256(abi.encode(record));
    }

    function _stands(uint256 job, Job storage job_, Record calldata record, bytes32 word) internal view returns (bool) {
        return record.round < job_.state.round && _records[job][record.round] == word;
    }

    /// @dev Goes back to the record's round with its entries, closed. The record before it is built upon: this round
    /// had been committed.
    function _rollback(Job storage job_, Record calldata record) internal returns (uint32 attempt) {
        State memory state = job_.state;
        attempt = state.attempt + 1;
        state.round = record.round;
        state.attempt = attempt;
        state.origin = record.attempt;
        state.updates = record.updates;
        state.closesAt = _now();
        state.activeAt = _now();
        state.built = true;
        state.reopenings = 0;
        job_.state = state;
        job_.root = record.previousRoot;
        job_.outer = record.head;
        job_.allotted = record.allottedBefore;
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                    CHECKS                                                    */
    /* ------------------------------------------------------------------------------------------------------------ */

    function _job(uint256 job) internal view returns (Job storage job_) {
        job_ = _jobs[job];
        if (job_.state.status == Status.None) revert UnknownJob(job);
    }

    function _onlyOwner(Job storage job_) internal view {
        if (msg.sender != job_.owner) revert NotOwner(msg.sender, job_.owner);
    }

    /// @dev Reverts unless the job exists, runs and has a round left.
    function _running(uint256 job, Status status, uint32 round, uint32 lastRound) internal pure {
        if (status == Status.None) revert UnknownJob(job);
        if (status != Status.Running || round > lastRound) revert JobNotRunning(job, status);
    }

    function _settledEnough(Job storage job_, State memory state) internal view {
        uint32 unsettled = state.round - 1 - state.settled;
        if (unsettled >= job_.terms.maxUnsettled) revert TooManyUnsettled(unsettled, job_.terms.maxUnsettled);
    }

    function _bonded(uint256 job, Job storage job_) internal view {
        Account storage account = _accounts[job][msg.sender];
        if (account.barred) revert Barred(msg.sender);
        if (account.bond < job_.terms.bond) revert BondTooSmall(account.bond, job_.terms.bond);
    }

    /// @dev Whether something announced at that time, 0 for never, counts now.
    function _counts(uint40 announced) internal view returns (bool) {
        return announced < block.timestamp && block.timestamp <= announced + ANNOUNCED_SECONDS;
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                   PAYMENTS                                                   */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @dev The value sent, within what a slot keeps, which is more than all ether that exists.
    function _value() internal view returns (uint96) {
        if (msg.value > type(uint96).max) revert WrongValue(msg.value, type(uint96).max);
        return uint96(msg.value);
    }

    function _credit(uint256 job, address account, uint256 amount) internal {
        _accounts[job][account].balance += uint96(amount);
    }

    /// @dev The caller's bond answers from now on for as long as a commit can be challenged.
    function _lock(uint256 job, Job storage job_) internal {
        _accounts[job][msg.sender].lockedUntil = _now() + job_.terms.challengeSeconds;
    }

    /// @dev Pays to the zero address, whose key nobody has.
    function _burn(uint256 amount) internal {
        _pay(address(0), amount);
    }

    /// @dev Always the last thing that a call does.
    function _pay(address receiver, uint256 amount) internal {
        (bool taken,) = receiver.call{value: amount}("");
        if (!taken) revert PaymentRefused(receiver);
    }

    /// @dev The address of the first contract that this one has created: keccak256 of the RLP of (address, 1).
    function _verifier() internal view returns (address) {
        return _created(hex"01");
    }

    /// @dev The address of a contract that this one has created, by its number as a byte, below 128.
    function _created(bytes1 number) internal view returns (address) {
        return address(uint160(uint256(keccak256(abi.encodePacked(hex"d694", address(this), number)))));
    }

    function _now() internal view returns (uint40) {
        return uint40(block.timestamp);
    }
}
