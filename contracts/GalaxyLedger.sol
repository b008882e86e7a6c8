// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {OpeningVerifier} from "./OpeningVerifier.sol";
import {IGalaxyLedger} from "./interfaces/IGalaxyLedger.sol";
import {IOpeningVerifier} from "./interfaces/IOpeningVerifier.sol";
import {Bits} from "./libraries/Bits.sol";
import {ChunkTree} from "./libraries/ChunkTree.sol";
import {Submissions} from "./libraries/Submissions.sol";

/// @title GalaxyLedger
/// @notice Federated learning jobs whose rounds anyone can recompute, and whose servers answer for them with a bond.
/// @dev Read `IGalaxyLedger.sol` first. Nobody owns this contract and nothing in it can be changed or paused. Ether
/// leaves in `withdraw`, `withdrawBond` and `_burn` alone, always after every effect, and to nobody but the caller or
/// nobody at all; so there is no reentrancy to guard against and no receiver that could block another. Rules and the
/// verifier are only asked, by static calls.
contract GalaxyLedger is IGalaxyLedger {
    using Bits for bytes;
    using Submissions for uint256;

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                    STORAGE                                                   */
    /* ------------------------------------------------------------------------------------------------------------ */

    struct Job {
        Terms terms;
        State state;
        /// The outer link, if the attempt has a full segment; after a rollback the head itself, for nothing is appended
        /// to it. Neither this nor the next is ever zero, so that no submission pays for a fresh slot.
        bytes32 outer;
        /// The inner link, if the last segment has a block.
        bytes32 inner;
        bytes32 root;
        address owner;
        uint128 pool;
        /// The rewards of the records that stand.
        uint128 allotted;
    }

    uint40 private constant NEVER = type(uint40).max;
    /// @dev How long an announcement counts.
    uint40 private constant ANNOUNCED_SECONDS = 3600;
    /// @dev Hundredths of a percent.
    uint256 private constant WHOLE = 10_000;

    /// @inheritdoc IGalaxyLedger
    uint256 public jobs;

    mapping(uint256 job => Job) private _jobs;
    mapping(uint256 job => mapping(address => Client)) private _clients;
    mapping(uint256 job => mapping(address => Account)) private _accounts;

    /// @dev Only words of rounds below the current one stand. A rollback lowers the current round instead of deleting
    /// words, and each is overwritten before its round lies below the current one again.
    mapping(uint256 job => mapping(uint32 round => bytes32)) private _records;
    mapping(uint256 job => mapping(bytes32 word => Mark)) private _marks;
    mapping(uint256 job => mapping(bytes32 word => mapping(uint256 index => Demand))) private _demands;
    mapping(uint256 job => mapping(uint32 round => mapping(uint256 word => uint256))) private _claimed;
    mapping(address sender => mapping(bytes32 digest => uint40)) private _announced;

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
        emit JobRegistered(job, msg.sender, terms, initial, s.keepsModel);
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
        emit JobCancelled(job, msg.sender, s.lastRound);
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
        client.attempt = attempt;
        client.digest = digest;
        _append(job, j, attempt, abi.encodePacked(msg.sender, update.weight, update.commitment, update.content));
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
        uint32 round = s.round;
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
        emit UpdatesSubmitted(job, attempt, msg.sender, round, first, closesAt, entry);
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

    function _head(uint256 job, Job storage j, State memory s) private view returns (bytes32) {
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
        s.reopenings = 0;
        _open(j, s, s.round + 1, next.root);
        emit RoundCommitted(job, attempt, msg.sender, record);
    }

    /// @inheritdoc IGalaxyLedger
    function reopenRound(uint256 job, uint32 attempt, bytes32 head) external {
        Job storage j = _jobs[job];
        State memory s = j.state;
        _closed(job, j, s, attempt, head);
        uint40 openFrom = _allFrom(j, s) + j.terms.aggregateSeconds;
        if (block.timestamp < openFrom) revert NotYet(msg.sender, openFrom);
        _lock(job, j);
        // Beyond the tenth it doesn't count.
        if (s.reopenings < 10) ++s.reopenings;
        _open(j, s, s.round, j.root);
        emit RoundReopened(job, attempt, msg.sender, s.round);
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
        emit RoundSuperseded(job, attempt, word, record.round, record.server, msg.sender);
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
        if (_accounts[job][msg.sender].late) return _allFrom(j, s);
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
    function _open(Job storage j, State memory s, uint32 round, bytes32 root) private {
        s.round = round;
        ++s.attempt;
        s.origin = s.attempt;
        s.updates = 0;
        s.closesAt = NEVER;
        j.state = s;
        j.root = root;
    }

    /// @dev Goes back to the record's round with its entries, closed. The record before it is built upon: this round had
    /// been committed.
    function _rollback(Job storage j, Record calldata record) private returns (uint32 attempt) {
        State memory s = j.state;
        attempt = s.attempt + 1;
        s.round = record.round;
        s.attempt = attempt;
        s.origin = record.attempt;
        s.updates = record.updates;
        s.closesAt = _now();
        s.activeAt = _now();
        s.built = true;
        s.reopenings = 0;
        j.state = s;
        j.root = record.previousRoot;
        j.outer = record.head;
        j.allotted = record.allottedBefore;
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                     MONEY                                                    */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @inheritdoc IGalaxyLedger
    function settle(uint256 job, Record calldata record) external {
        _settle(job, _job(job), record, _wordOf(record));
    }

    /// @inheritdoc IGalaxyLedger
    function claim(uint256 job, Record calldata record, bytes calldata submissions) external {
        Job storage j = _job(job);
        bytes32 word = _wordOf(record);
        if (record.round > j.state.settled) _settle(job, j, record, word);
        else if (_records[job][record.round] != word) revert UnknownRecord(job, record.round);
        (bytes32 head, uint256[] memory shown) = Submissions.read(
            submissions,
            Submissions.start(job, record.attempt, record.previousRoot)
        );
        if (head != record.head) revert WrongSubmissions(head, record.head);
        (, uint256 amount) = _parts(record);
        (uint16[] memory numbers, address[] memory clients) = _claim(job, record, shown, amount);
        if (numbers.length == 0 || amount == 0) revert NothingToPay(msg.sender);
        emit RewardsClaimed(job, record.round, amount, numbers, clients);
    }

    /// @inheritdoc IGalaxyLedger
    function withdraw(uint256 job) external {
        Account storage account = _accounts[job][msg.sender];
        uint256 amount = account.balance;
        if (amount == 0) revert NothingToPay(msg.sender);
        account.balance = 0;
        emit BalanceWithdrawn(job, msg.sender, amount);
        _pay(msg.sender, amount);
    }

    /// @inheritdoc IGalaxyLedger
    function depositBond(uint256 job) external payable {
        Job storage j = _job(job);
        if (j.state.status == Status.Final) revert JobNotRunning(job, Status.Final);
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

    function _settle(uint256 job, Job storage j, Record calldata record, bytes32 word) private {
        State memory s = j.state;
        if (record.round != s.settled + 1) revert WrongRound(record.round, s.settled + 1);
        if (!_stands(job, j, record, word)) revert UnknownRecord(job, record.round);
        uint40 end = record.time + j.terms.challengeSeconds;
        if (block.timestamp < end) revert WindowOpen(end);
        uint32 demands = _marks[job][word].demands;
        if (demands != 0) revert DemandsOpen(demands);
        if (record.round == s.round - 1 && record.round != s.lastRound && !s.built) {
            uint40 builtAt = record.time + 2 * uint40(j.terms.idleSeconds);
            if (block.timestamp < builtAt) revert NotBuiltUpon(record.round, builtAt);
        }
        // Where commits have been refused until now, everybody's turn begins now.
        if (s.round - 1 - s.settled == j.terms.maxUnsettled && s.closesAt < block.timestamp) s.closesAt = _now();
        s.settled = record.round;
        s.activeAt = _now();
        j.state = s;
        (uint256 serverAmount, uint256 clientAmount) = _parts(record);
        Account storage committer = _accounts[job][record.server];
        // A later record than the superseded one is of its round or a higher one, for lower ones were committed before.
        if (committer.late && record.round >= committer.lateRound) committer.late = false;
        committer.balance += uint96(serverAmount);
        emit RoundSettled(job, record.round, record.server, serverAmount, clientAmount, s.closesAt);
    }

    /// @dev What a record gives its committer, and each of its included entries.
    function _parts(Record calldata record) private pure returns (uint256 serverAmount, uint256 clientAmount) {
        serverAmount = (uint256(record.reward) * record.share) / WHOLE;
        clientAmount = (record.reward - serverAmount) / (record.updates - record.excluded.count());
    }

    /// @dev Credits those of the shown entries that are included and have not been credited.
    function _claim(
        uint256 job,
        Record calldata record,
        uint256[] memory shown,
        uint256 amount
    ) private returns (uint16[] memory numbers, address[] memory clients) {
        numbers = new uint16[](shown.length);
        clients = new address[](shown.length);
        mapping(uint256 word => uint256) storage claimed = _claimed[job][record.round];
        mapping(address => Account) storage accounts = _accounts[job];
        uint256 count;
        uint256 wordIndex;
        uint256 bits = claimed[0];
        for (uint256 i = 0; i < shown.length; ++i) {
            uint256 number = shown[i].numberOf();
            if (number >> 8 != wordIndex) {
                claimed[wordIndex] = bits;
                wordIndex = number >> 8;
                bits = claimed[wordIndex];
            }
            uint256 bit = 1 << (number & 255);
            if (bits & bit != 0 || record.excluded.has(number)) continue;
            bits |= bit;
            address client = shown[i].clientOf();
            accounts[client].balance += uint96(amount);
            numbers[count] = uint16(number);
            clients[count++] = client;
        }
        claimed[wordIndex] = bits;
        assembly ("memory-safe") {
            mstore(numbers, count)
            mstore(clients, count)
        }
    }

    function _credit(uint256 job, address account, uint256 amount) private {
        _accounts[job][account].balance += uint96(amount);
    }

    /// @dev The caller's bond answers from now on for as long as a commit can be challenged.
    function _lock(uint256 job, Job storage j) private {
        _accounts[job][msg.sender].lockedUntil = _now() + j.terms.challengeSeconds;
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                            CHALLENGES AND DEMANDS                                            */
    /* ------------------------------------------------------------------------------------------------------------ */

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
        else emit RoundReverted(job, _rollback(j, record), word, record.round);
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

    function _wordOf(Record calldata record) private pure returns (bytes32) {
        return keccak256(abi.encode(record));
    }

    function _stands(uint256 job, Job storage j, Record calldata record, bytes32 word) private view returns (bool) {
        return record.round < j.state.round && _records[job][record.round] == word;
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

    /// @dev Whether something announced at that time, 0 for never, counts now.
    function _counts(uint40 announced) private view returns (bool) {
        return announced < block.timestamp && block.timestamp <= announced + ANNOUNCED_SECONDS;
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                     VIEWS                                                    */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @inheritdoc IGalaxyLedger
    function verifier() public view returns (address) {
        // The address of the first contract that an address creates: keccak256 of the RLP of (address, 1).
        return address(uint160(uint256(keccak256(abi.encodePacked(hex"d694", address(this), hex"01")))));
    }

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

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                              CHECKS AND PAYMENTS                                             */
    /* ------------------------------------------------------------------------------------------------------------ */

    function _job(uint256 job) private view returns (Job storage j) {
        j = _jobs[job];
        if (j.state.status == Status.None) revert UnknownJob(job);
    }

    function _onlyOwner(Job storage j) private view {
        if (msg.sender != j.owner) revert NotOwner(msg.sender, j.owner);
    }

    /// @dev The job is there, runs and has a round left.
    function _running(uint256 job, Status status, uint32 round, uint32 lastRound) private pure {
        if (status == Status.None) revert UnknownJob(job);
        if (status != Status.Running || round > lastRound) revert JobNotRunning(job, status);
    }

    function _settledEnough(Job storage j, State memory s) private view {
        uint32 unsettled = s.round - 1 - s.settled;
        if (unsettled >= j.terms.maxUnsettled) revert TooManyUnsettled(unsettled, j.terms.maxUnsettled);
    }

    function _idle(uint256 job, Job storage j, State memory s) private view {
        uint40 since = s.closesAt != NEVER && s.closesAt > s.activeAt ? s.closesAt : s.activeAt;
        uint40 idleAt = since + 2 * uint40(j.terms.idleSeconds);
        if (block.timestamp < idleAt) revert JobNotIdle(job, idleAt);
    }

    function _bonded(uint256 job, Job storage j) private view {
        Account storage account = _accounts[job][msg.sender];
        if (account.barred) revert Barred(msg.sender);
        if (account.bond < j.terms.bond) revert BondTooSmall(account.bond, j.terms.bond);
    }

    function _now() private view returns (uint40) {
        return uint40(block.timestamp);
    }

    /// @dev The value sent, within what a slot keeps: more than all ether there is.
    function _value() private view returns (uint96) {
        if (msg.value > type(uint96).max) revert WrongValue(msg.value, type(uint96).max);
        return uint96(msg.value);
    }

    /// @dev To the zero address, whose key nobody has.
    function _burn(uint256 amount) private {
        _pay(address(0), amount);
    }

    /// @dev The last thing that a call does.
    function _pay(address receiver, uint256 amount) private {
        (bool taken, ) = receiver.call{value: amount}("");
        if (!taken) revert PaymentRefused(receiver);
    }
}
