// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {OpeningVerifier} from "./OpeningVerifier.sol";
import {IGalaxyLedger} from "./interfaces/IGalaxyLedger.sol";
import {IOpeningVerifier} from "./interfaces/IOpeningVerifier.sol";
import {Disputes} from "./ledger/Disputes.sol";
import {Money} from "./ledger/Money.sol";
import {Rounds} from "./ledger/Rounds.sol";

/// @title GalaxyLedger
/// @notice Federated learning jobs whose rounds anyone can recompute, and whose servers answer for them with a bond.
/// @dev Read `IGalaxyLedger.sol` first. Nobody owns this contract and nothing in it can be changed or paused. Ether
/// leaves in `withdraw`, `withdrawBond` and `_burn` alone, always after every effect, and to nobody but the caller or
/// nobody at all; so there is no reentrancy to guard against and no receiver that could block another. Rules and the
/// verifier are only asked, by static calls.
contract GalaxyLedger is Rounds, Money, Disputes {
    /// @inheritdoc IGalaxyLedger
    uint256 public jobs;

    constructor() {
        assert(address(new OpeningVerifier()) == verifier());
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                     JOBS                                                     */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @inheritdoc IGalaxyLedger
    function registerJob(Terms calldata terms, Model calldata initial) external payable returns (uint256 job) {
        State memory s;
        s.keepsModel = IOpeningVerifier(verifier()).checkTerms(terms);
        job = ++jobs;
        Job storage j = _jobs[job];
        j.terms = terms;
        j.owner = msg.sender;
        j.pool = _value();
        j.outer = bytes32(uint256(1));
        j.inner = bytes32(uint256(1));
        s.status = Status.Running;
        s.lastRound = terms.rounds;
        s.activeAt = _now();
        _open(j, s, 1, initial.root);
        emit JobRegistered(job, msg.sender, terms, initial, s.keepsModel, _now());
        if (msg.value != 0) emit JobFunded(job, msg.sender, msg.value);
    }

    /// @inheritdoc IGalaxyLedger
    function fund(uint256 job) external payable {
        Job storage j = _jobs[job];
        _running(job, j.state.status, j.state.round, j.state.lastRound);
        if (j.state.cancelled) revert AlreadyCancelled(job);
        j.pool += _value();
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
    function cancelJob(uint256 job) external {
        Job storage j = _job(job);
        State memory s = j.state;
        if (s.status == Status.Final) revert JobNotRunning(job, s.status);
        if (s.cancelled) revert AlreadyCancelled(job);
        if (msg.sender != j.owner) {
            _settledEnough(j, s);
            _idle(job, j, s);
        }
        uint32 last = s.round > s.highest ? s.round : s.highest;
        if (last < s.lastRound) s.lastRound = last;
        s.cancelled = true;
        s.activeAt = _now();
        j.state = s;
        emit JobCancelled(job, msg.sender, s.lastRound, _now());
    }

    /// @inheritdoc IGalaxyLedger
    function finalizeJob(uint256 job) external {
        Job storage j = _job(job);
        State memory s = j.state;
        if (s.status == Status.Final) revert JobNotRunning(job, s.status);
        if (s.settled != s.lastRound) {
            uint32 required = s.cancelled ? s.round - 1 : s.lastRound;
            if (s.settled != required) revert JobNotSettled(job, s.settled, required);
            _idle(job, j, s);
        }
        uint256 rest = j.pool - j.allotted;
        j.state.status = Status.Final;
        _credit(job, j.owner, rest);
        emit JobFinalized(job, j.owner, j.root, rest);
    }

    function _idle(uint256 job, Job storage j, State memory s) private view {
        uint40 since = s.closesAt != NEVER && s.closesAt > s.activeAt ? s.closesAt : s.activeAt;
        uint40 idleAt = since + 2 * uint40(j.terms.idleSeconds);
        if (block.timestamp < idleAt) revert JobNotIdle(job, idleAt);
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                    VIEWS                                                     */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @inheritdoc IGalaxyLedger
    function jobOf(
        uint256 job
    )
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
        Job storage j = _job(job);
        return (j.terms, j.owner, j.state, j.root, _head(job, j, j.state), j.pool, j.allotted);
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
    function demandOf(uint256 job, bytes32 word, uint256 index) external view returns (Demand memory) {
        return _demands[job][word][index];
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
