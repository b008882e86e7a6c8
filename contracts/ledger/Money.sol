// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IGalaxyLedger} from "../interfaces/IGalaxyLedger.sol";
import {Bits} from "../libraries/Bits.sol";
import {Submissions} from "../libraries/Submissions.sol";
import {LedgerStorage} from "./LedgerStorage.sol";

/// @title Settling rounds, claiming rewards, bonds and balances.
abstract contract Money is IGalaxyLedger, LedgerStorage {
    using Bits for bytes;
    using Submissions for uint256;

    /// @dev Hundredths of a percent.
    uint256 private constant WHOLE = 10_000;

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                    ROUNDS                                                    */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @inheritdoc IGalaxyLedger
    function settle(uint256 job, Record calldata record) external {
        _settle(job, _job(job), record, _wordOf(record));
    }

    /// @inheritdoc IGalaxyLedger
    function claim(uint256 job, Record calldata record, bytes calldata submissions) external {
        Job storage job_ = _job(job);
        bytes32 word = _wordOf(record);
        if (record.round > job_.state.settled) _settle(job, job_, record, word);
        else if (_records[job][record.round] != word) revert UnknownRecord(job, record.round);
        (bytes32 head, uint256[] memory shown) =
            Submissions.read(submissions, Submissions.start(job, record.attempt, record.previousRoot));
        if (head != record.head) revert WrongSubmissions(head, record.head);
        (, uint256 amount) = _parts(record);
        if (amount == 0 || !_claim(job, record, shown, amount)) revert NothingToPay(msg.sender);
    }

    function _settle(uint256 job, Job storage job_, Record calldata record, bytes32 word) private {
        State memory state = job_.state;
        if (record.round != state.settled + 1) revert WrongRound(record.round, state.settled + 1);
        if (!_stands(job, job_, record, word)) revert UnknownRecord(job, record.round);
        uint40 end = record.time + job_.terms.challengeSeconds;
        if (block.timestamp < end) revert WindowOpen(end);
        uint32 demands = _marks[job][word].demands;
        if (demands != 0) revert DemandsOpen(demands);
        if (record.round == state.round - 1 && record.round != state.lastRound && !state.built) {
            uint40 builtAt = record.time + 2 * uint40(job_.terms.idleSeconds);
            if (block.timestamp < builtAt) revert NotBuiltUpon(record.round, builtAt);
        }
        // Where commits have been refused until now, everybody's turn begins now.
        if (state.round - 1 - state.settled == job_.terms.maxUnsettled && state.closesAt < block.timestamp) {
            state.closesAt = _now();
        }
        state.settled = record.round;
        state.activeAt = _now();
        job_.state = state;
        (uint256 serverAmount, uint256 clientAmount) = _parts(record);
        Account storage committer = _accounts[job][record.server];
        // A record after the superseded one is of its round or a higher one, because lower ones were committed before.
        if (committer.late && record.round >= committer.lateRound) committer.late = false;
        committer.balance += uint96(serverAmount);
        emit RoundSettled(job, record.round, record.server, serverAmount, clientAmount, state.closesAt, _now());
    }

    /// @dev The parts of a record's reward: the committer's, and that of each included entry.
    function _parts(Record calldata record) private pure returns (uint256 serverAmount, uint256 clientAmount) {
        serverAmount = (uint256(record.reward) * record.share) / WHOLE;
        clientAmount = (record.reward - serverAmount) / (record.updates - record.excluded.count());
    }

    /// @dev Credits those of the shown entries that are included and have not been credited. Returns whether there was
    /// one.
    function _claim(
        uint256 job,
        Record calldata record,
        uint256[] memory shown,
        uint256 amount
    ) private returns (bool any) {
        mapping(uint256 word => uint256) storage claimed = _claimed[job][record.round];
        mapping(address => Account) storage accounts = _accounts[job];
        uint256 next;
        // A word at a time: one slot, and one event, for 256 entries.
        while (next < shown.length) {
            uint256 word = shown[next].numberOf() >> 8;
            uint256 before = claimed[word];
            uint256 bits = before;
            uint256 excluded = record.excluded.part(word);
            for (; next < shown.length; ++next) {
                uint256 found = shown[next];
                uint256 number = found.numberOf();
                if (number >> 8 != word) break;
                uint256 bit = 1 << (number & 255);
                if (bits & bit != 0 || Bits.isSet(excluded, number)) continue;
                bits |= bit;
                accounts[found.clientOf()].balance += uint96(amount);
            }
            if (bits == before) continue;
            any = true;
            claimed[word] = bits;
            emit RewardsClaimed(job, record.round, word, amount, bits ^ before);
        }
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                   ACCOUNTS                                                   */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @inheritdoc IGalaxyLedger
    function withdraw(uint256 job) external {
        if (!_withdraw(job, msg.sender)) revert NothingToPay(msg.sender);
    }

    /// @inheritdoc IGalaxyLedger
    function withdrawFor(uint256 job, address[] calldata accounts) external {
        bool any;
        for (uint256 place = 0; place < accounts.length; ++place) {
            if (_withdraw(job, accounts[place])) any = true;
        }
        if (!any) revert NothingToPay(accounts.length == 0 ? address(0) : accounts[0]);
    }

    /// @dev Whether there was anything. All effects come before the payment, which may call back.
    function _withdraw(uint256 job, address receiver) private returns (bool) {
        Account storage account = _accounts[job][receiver];
        uint256 amount = account.balance;
        if (amount == 0) return false;
        account.balance = 0;
        emit BalanceWithdrawn(job, receiver, amount);
        _pay(receiver, amount);
        return true;
    }

    /// @inheritdoc IGalaxyLedger
    function depositBond(uint256 job) external payable {
        Job storage job_ = _job(job);
        if (job_.state.status == Status.Final) revert JobNotRunning(job, Status.Final);
        Account storage account = _accounts[job][msg.sender];
        if (account.barred) revert Barred(msg.sender);
        account.bond += _value();
        emit BondDeposited(job, msg.sender, msg.value);
    }

    /// @inheritdoc IGalaxyLedger
    function withdrawBond(uint256 job) external {
        Account storage account = _accounts[job][msg.sender];
        uint256 amount = account.bond;
        if (amount == 0) revert NothingToPay(msg.sender);
        if (account.demands != 0) revert DemandsOpen(account.demands);
        if (block.timestamp < account.lockedUntil) revert WindowOpen(account.lockedUntil);
        if (account.late && _jobs[job].state.status != Status.Final) revert BondLate(msg.sender, account.lateRound);
        account.bond = 0;
        emit BondWithdrawn(job, msg.sender, amount);
        _pay(msg.sender, amount);
    }
}
