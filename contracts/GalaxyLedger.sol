// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LedgerIntake} from "./LedgerIntake.sol";
import {OpeningVerifier} from "./OpeningVerifier.sol";
import {IGalaxyLedger} from "./interfaces/IGalaxyLedger.sol";
import {Disputes} from "./ledger/Disputes.sol";
import {Money} from "./ledger/Money.sol";
import {Rounds} from "./ledger/Rounds.sol";

/// @title GalaxyLedger
/// @notice Federated learning jobs whose rounds anyone can recompute, and whose servers answer for them with a bond.
/// @dev Read `IGalaxyLedger.sol` first. Nobody owns this contract and nothing in it can be changed or paused. Ether
/// leaves only in `withdraw`, `withdrawFor`, `withdrawBond` and `_burn`, always after every effect, and goes to the
/// caller, to the account that was named, or to nobody; so there is no reentrancy to guard against, and a receiver that
/// refuses spoils that one call alone. Rules and the verifier
/// are only asked, by static calls.
contract GalaxyLedger is Rounds, Money, Disputes {
    constructor() {
        assert(address(new OpeningVerifier()) == _verifier());
        assert(address(new LedgerIntake()) == _intake());
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                    INTAKE                                                    */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @inheritdoc IGalaxyLedger
    function registerJob(Terms calldata, Model calldata) external payable returns (uint256 job) {
        job = 0; // The intake's answer is returned.
        _takeIn();
    }

    /// @inheritdoc IGalaxyLedger
    function joinBySignatures(uint256, JoinBySignature[] calldata) external {
        _takeIn();
    }

    /// @inheritdoc IGalaxyLedger
    function submitUpdates(uint256, uint32, bytes32, bytes calldata, bytes calldata) external {
        _takeIn();
    }

    /// @dev Executes this very call by the code of `LedgerIntake`, on the storage here, and returns or reverts as that
    /// does. That code is as fixed as this one: its address is that of the second contract that this one created.
    function _takeIn() private {
        address intake_ = _intake();
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, 0, calldatasize())
            let done := delegatecall(gas(), intake_, free, calldatasize(), 0, 0)
            returndatacopy(free, 0, returndatasize())
            if done {
                return(free, returndatasize())
            }
            revert(free, returndatasize())
        }
    }

    function _intake() private view returns (address) {
        return _created(hex"02");
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                     JOBS                                                     */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @inheritdoc IGalaxyLedger
    function fund(uint256 job) external payable {
        Job storage job_ = _jobs[job];
        _running(job, job_.state.status, job_.state.round, job_.state.lastRound);
        if (job_.state.cancelled) revert AlreadyCancelled(job);
        job_.pool += _value();
        emit JobFunded(job, msg.sender, msg.value);
    }

    /// @inheritdoc IGalaxyLedger
    function admit(uint256 job, address[] calldata clients) external {
        _onlyOwner(_job(job));
        for (uint256 i = 0; i < clients.length; ++i) {
            _clients[job][clients[i]].admitted = true;
            emit ClientAdmitted(job, clients[i]);
        }
    }

    /// @inheritdoc IGalaxyLedger
    function expel(uint256 job, address client) external {
        _onlyOwner(_job(job));
        _clients[job][client].expelled = true;
        emit ClientExpelled(job, client);
    }

    /// @inheritdoc IGalaxyLedger
    function registerKey(uint256 job, bytes32 key) external {
        _job(job);
        emit KeyRegistered(job, msg.sender, key);
    }

    /// @inheritdoc IGalaxyLedger
    function shareKey(uint256 job, bytes32 digest, bytes calldata wraps) external {
        _onlyOwner(_job(job));
        emit KeyShared(job, digest, wraps);
    }

    /// @inheritdoc IGalaxyLedger
    function cancelJob(uint256 job) external {
        Job storage job_ = _job(job);
        State memory state = job_.state;
        if (state.status == Status.Final) revert JobNotRunning(job, state.status);
        if (state.cancelled) revert AlreadyCancelled(job);
        if (msg.sender != job_.owner) {
            _settledEnough(job_, state);
            _idle(job, job_, state);
        }
        uint32 last = state.round > state.highest ? state.round : state.highest;
        if (last < state.lastRound) state.lastRound = last;
        state.cancelled = true;
        state.activeAt = _now();
        job_.state = state;
        emit JobCancelled(job, msg.sender, state.lastRound, _now());
    }

    /// @inheritdoc IGalaxyLedger
    function finalizeJob(uint256 job) external {
        Job storage job_ = _job(job);
        State memory state = job_.state;
        if (state.status == Status.Final) revert JobNotRunning(job, state.status);
        if (state.settled != state.lastRound) {
            uint32 required = state.cancelled ? state.round - 1 : state.lastRound;
            if (state.settled != required) revert JobNotSettled(job, state.settled, required);
            _idle(job, job_, state);
        }
        uint256 rest = job_.pool - job_.allotted;
        job_.state.status = Status.Final;
        _credit(job, job_.owner, rest);
        emit JobFinalized(job, job_.owner, job_.root, rest);
    }

    function _idle(uint256 job, Job storage job_, State memory state) private view {
        uint40 since = state.closesAt != NEVER && state.closesAt > state.activeAt ? state.closesAt : state.activeAt;
        uint40 idleAt = since + 2 * uint40(job_.terms.idleSeconds);
        if (block.timestamp < idleAt) revert JobNotIdle(job, idleAt);
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                    VIEWS                                                     */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @inheritdoc IGalaxyLedger
    function jobs() external view returns (uint256) {
        return _count;
    }

    /// @inheritdoc IGalaxyLedger
    function verifier() external view returns (address) {
        return _verifier();
    }

    /// @inheritdoc IGalaxyLedger
    function intake() external view returns (address) {
        return _intake();
    }

    /// @inheritdoc IGalaxyLedger
    function jobOf(uint256 job)
        external
        view
        returns (
            Terms memory terms,
            address owner,
            State memory state,
            bytes32 root,
            bytes32 head,
            uint256 pool,
            uint256 allotted
        )
    {
        Job storage job_ = _job(job);
        return (job_.terms, job_.owner, job_.state, job_.root, _head(job, job_, job_.state), job_.pool, job_.allotted);
    }

    /// @inheritdoc IGalaxyLedger
    function clientOf(uint256 job, address client) external view returns (Client memory) {
        return _clients[job][client];
    }

    /// @inheritdoc IGalaxyLedger
    function accountOf(uint256 job, address account) external view returns (Account memory) {
        return _accounts[job][account];
    }

    /// @inheritdoc IGalaxyLedger
    function recordOf(uint256 job, uint32 round) external view returns (bytes32) {
        return round < _jobs[job].state.round ? _records[job][round] : bytes32(0);
    }

    /// @inheritdoc IGalaxyLedger
    function markOf(uint256 job, bytes32 word) external view returns (Mark memory) {
        return _marks[job][word];
    }

    /// @inheritdoc IGalaxyLedger
    function demandOf(uint256 job, bytes32 word, uint256 node, uint256 index) external view returns (Demand memory) {
        return _demands[job][word][node][index];
    }

    /// @inheritdoc IGalaxyLedger
    function claimedOf(uint256 job, uint32 round, uint256 word) external view returns (uint256) {
        return _claimed[job][round][word];
    }

    /// @inheritdoc IGalaxyLedger
    function announcedAt(address sender, bytes32 digest) external view returns (uint40) {
        return _announced[sender][digest];
    }
}
