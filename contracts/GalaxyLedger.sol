// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IAggregationRule} from "./interfaces/IAggregationRule.sol";
import {IGalaxyLedger} from "./interfaces/IGalaxyLedger.sol";
import {ChunkTree} from "./libraries/ChunkTree.sol";

/// @title GalaxyLedger
/// @notice Federated learning jobs whose rounds anyone can recompute, and whose servers answer for them with a bond.
/// @dev Read `IGalaxyLedger.sol` first. Nobody owns this contract and nothing in it can be changed or paused. Ether
/// moves in `_pay` and `_burn` alone, always after every effect, and to nobody but the caller or nobody at all; so
/// there is no reentrancy to guard against and no receiver that could block another.
contract GalaxyLedger is IGalaxyLedger {
    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                    STORAGE                                                   */
    /* ------------------------------------------------------------------------------------------------------------ */

    struct Job {
        Terms terms;
        State state;
        bytes32 head;
        bytes32 root;
        address owner;
        /// What was paid in; once the job is final: what clients earned.
        uint128 pool;
        /// Once the job is final: what the owner gets back.
        uint128 rest;
    }

    uint40 private constant NEVER = type(uint40).max;

    /// @inheritdoc IGalaxyLedger
    uint256 public jobs;

    mapping(uint256 job => Job) private _jobs;
    mapping(uint256 job => mapping(address => Client)) private _clients;
    mapping(uint256 job => mapping(address => Account)) private _accounts;

    /// @dev Only words of rounds below the current one stand. A rollback lowers the current round instead of deleting
    /// words, and each is overwritten before its round lies below the current one again.
    mapping(uint256 job => mapping(uint32 round => bytes32)) private _records;
    mapping(uint256 job => mapping(bytes32 word => mapping(uint256 index => Demand))) private _demands;

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                     JOBS                                                     */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @inheritdoc IGalaxyLedger
    function registerJob(Terms calldata terms, Model calldata initial) external payable returns (uint256 job) {
        _checkTerms(terms);
        job = ++jobs;
        Job storage j = _jobs[job];
        j.terms = terms;
        j.owner = msg.sender;
        j.pool = _value();
        State memory s;
        s.status = Status.Running;
        _open(job, j, s, 1, initial.root);
        emit JobRegistered(job, msg.sender, terms, initial);
        if (msg.value != 0) emit JobFunded(job, msg.sender, msg.value);
    }

    /// @inheritdoc IGalaxyLedger
    function fund(uint256 job) external payable {
        Job storage j = _job(job);
        if (j.state.status != Status.Running) revert JobNotRunning(job, j.state.status);
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
    function cancelJob(uint256 job) external {
        Job storage j = _job(job);
        _onlyOwner(j);
        _collecting(job, j.state.status, j.state.round, j.terms.rounds);
        j.state.status = Status.Cancelled;
        emit JobCancelled(job, msg.sender);
    }

    /// @inheritdoc IGalaxyLedger
    function finalizeJob(uint256 job) external {
        Job storage j = _job(job);
        State memory s = j.state;
        bool ended = s.status == Status.Cancelled || (s.status == Status.Running && s.round > j.terms.rounds);
        if (!ended) revert JobNotRunning(job, s.status);
        if (block.timestamp < s.finalAt) revert WindowOpen(s.finalAt);
        if (s.openDemands != 0) revert DemandsOpen(s.openDemands);
        uint128 earned = s.totalCredits == 0 ? 0 : uint128((uint256(j.pool) * (s.round - 1)) / j.terms.rounds);
        j.state.status = Status.Final;
        j.rest = j.pool - earned;
        j.pool = earned;
        emit JobFinalized(job, j.root, earned);
    }

    /// @inheritdoc IGalaxyLedger
    function claimReward(uint256 job) external {
        Job storage j = _job(job);
        if (j.state.status != Status.Final) revert JobNotRunning(job, j.state.status);
        Client storage client = _clients[job][msg.sender];
        uint256 amount;
        if (client.credits != 0) {
            amount = (uint256(j.pool) * client.credits) / j.state.totalCredits;
            client.credits = 0;
        }
        if (msg.sender == j.owner) {
            amount += j.rest;
            j.rest = 0;
        }
        if (amount == 0) revert NothingToPay(msg.sender);
        emit RewardClaimed(job, msg.sender, amount);
        _pay(amount);
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                    ROUNDS                                                    */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @inheritdoc IGalaxyLedger
    function join(uint256 job, uint24 samples, bytes32 key) external {
        Job storage j = _jobs[job];
        _collecting(job, j.state.status, j.state.round, j.terms.rounds);
        Client storage client = _clients[job][msg.sender];
        if (client.samples != 0) revert AlreadyJoined(msg.sender);
        if (samples == 0) revert NoSamples();
        if (!j.terms.open && !client.admitted) revert NotAdmitted(msg.sender);
        client.samples = samples;
        emit ClientJoined(job, msg.sender, samples, key);
    }

    /// @inheritdoc IGalaxyLedger
    function submitUpdate(uint256 job, uint32 attempt, Update calldata update) external {
        Client storage client = _clients[job][msg.sender];
        if (client.samples == 0) revert NotJoined(msg.sender);
        uint160 digest = uint160(uint256(keccak256(abi.encode(update))));
        if (client.attempt == attempt) {
            // A retry after a crash or a reorganisation: before the checks, for the round may have moved on meanwhile.
            if (client.digest == digest) return;
            revert AlreadySubmitted(attempt);
        }
        Job storage j = _jobs[job];
        State storage s = j.state;
        uint32 round = s.round;
        uint40 closesAt = s.closesAt;
        _collecting(job, s.status, round, j.terms.rounds);
        if (attempt != s.attempt) revert WrongAttempt(attempt, s.attempt);
        if (block.timestamp >= closesAt) revert RoundClosed(closesAt);
        if (update.weight == 0 || update.weight > client.samples) {
            revert WeightOutOfRange(update.weight, client.samples);
        }
        uint16 updates = s.updates + 1;
        uint40 totalCredits = s.totalCredits + 1;
        if (updates == j.terms.minUpdates) closesAt = uint40(block.timestamp) + j.terms.collectSeconds;
        if (updates == j.terms.maxUpdates) closesAt = uint40(block.timestamp);
        uint32 credits = client.credits + 1;
        bytes32 head = _nextHead(j.head, msg.sender, update);
        // All reads are done: the compiler puts what goes into one slot into one write.
        s.updates = updates;
        s.closesAt = closesAt;
        s.totalCredits = totalCredits;
        client.attempt = attempt;
        client.credits = credits;
        client.digest = digest;
        j.head = head;
        emit UpdateSubmitted(job, attempt, msg.sender, round, update);
    }

    /// @inheritdoc IGalaxyLedger
    function commitRound(
        uint256 job,
        uint32 attempt,
        bytes32 head,
        Model calldata next,
        address[] calldata excluded
    ) external {
        Job storage j = _jobs[job];
        State memory s = j.state;
        uint256 left = _closeRound(job, j, s, attempt, head, excluded);
        if (excluded.length > j.terms.maxExcluded) revert TooManyExcluded(excluded.length, j.terms.maxExcluded);
        if (left < j.terms.minUpdates) revert TooFewUpdates(left, j.terms.minUpdates);
        uint40 time = uint40(block.timestamp);
        _records[job][s.round] = keccak256(
            abi.encode(Record(s.origin, s.round, s.updates, head, j.root, next, excluded, msg.sender, time))
        );
        s.finalAt = time + j.terms.challengeSeconds;
        _accounts[job][msg.sender].lockedUntil = s.finalAt;
        emit RoundCommitted(job, attempt, msg.sender, s.round, head, next, excluded, time);
        _open(job, j, s, s.round + 1, next.root);
    }

    /// @inheritdoc IGalaxyLedger
    function reopenRound(uint256 job, uint32 attempt, bytes32 head, address[] calldata excluded) external {
        Job storage j = _jobs[job];
        State memory s = j.state;
        uint256 left = _closeRound(job, j, s, attempt, head, excluded);
        if (left >= j.terms.minUpdates) revert EnoughUpdates(left, j.terms.minUpdates);
        emit RoundReopened(job, attempt, msg.sender, s.round, excluded);
        _open(job, j, s, s.round, j.root);
    }

    /// @dev What a commit and a reopening have in common: who may, when, over which updates. Gives how many are left.
    function _closeRound(
        uint256 job,
        Job storage j,
        State memory s,
        uint32 attempt,
        bytes32 head,
        address[] calldata excluded
    ) private returns (uint256 left) {
        _collecting(job, s.status, s.round, j.terms.rounds);
        if (attempt != s.attempt) revert WrongAttempt(attempt, s.attempt);
        if (block.timestamp < s.closesAt) revert RoundOpen(s.closesAt);
        if (head != j.head) revert HeadChanged(head, j.head);
        Account memory account = _accounts[job][msg.sender];
        if (account.barred) revert Barred(msg.sender);
        if (account.amount < j.terms.bond) revert BondTooSmall(account.amount, j.terms.bond);
        address server = j.terms.server;
        // After a rollback anybody bonded may commit, and nobody has to wait for a server that is barred.
        if (server != address(0) && msg.sender != server && s.attempt == s.origin && !_accounts[job][server].barred) {
            uint40 openFrom = s.closesAt + j.terms.aggregateSeconds;
            if (block.timestamp < openFrom) revert NotTheServer(msg.sender, server, openFrom);
        }
        address previous;
        for (uint256 i = 0; i < excluded.length; ++i) {
            address address_ = excluded[i];
            if (address_ <= previous) revert ExcludedNotAscending(address_);
            previous = address_;
            Client storage client = _clients[job][address_];
            // After a rollback a submitter of the origin may have submitted to a later, void attempt since.
            if (client.attempt < s.origin || client.credits == 0) revert ExcludedNotSubmitter(address_);
            --client.credits;
        }
        if (excluded.length > s.updates) revert TooManyExcluded(excluded.length, s.updates);
        s.totalCredits -= uint40(excluded.length);
        left = s.updates - excluded.length;
    }

    /// @dev Opens the next attempt on the model with `root`.
    function _open(uint256 job, Job storage j, State memory s, uint32 round, bytes32 root) private {
        s.round = round;
        ++s.attempt;
        s.origin = s.attempt;
        s.updates = 0;
        s.closesAt = NEVER;
        j.state = s;
        j.root = root;
        j.head = _firstHead(job, s.attempt, root);
    }

    function _firstHead(uint256 job, uint32 attempt, bytes32 root) private view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), job, attempt, root));
    }

    function _nextHead(bytes32 head, address client, Update calldata update) private pure returns (bytes32) {
        return keccak256(abi.encode(head, client, update));
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                    BONDS                                                     */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @inheritdoc IGalaxyLedger
    function depositBond(uint256 job) external payable {
        Job storage j = _job(job);
        if (j.state.status == Status.Final) revert JobNotRunning(job, Status.Final);
        Account storage account = _accounts[job][msg.sender];
        if (account.barred) revert Barred(msg.sender);
        account.amount += _value();
        emit BondDeposited(job, msg.sender, msg.value);
    }

    /// @inheritdoc IGalaxyLedger
    function withdrawBond(uint256 job) external {
        Account storage account = _accounts[job][msg.sender];
        uint96 amount = account.amount;
        if (amount == 0) revert NothingToPay(msg.sender);
        if (account.demands != 0) revert DemandsOpen(account.demands);
        if (block.timestamp < account.lockedUntil) revert WindowOpen(account.lockedUntil);
        account.amount = 0;
        emit BondWithdrawn(job, msg.sender, amount);
        _pay(amount);
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                            CHALLENGES AND DEMANDS                                            */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @inheritdoc IGalaxyLedger
    function challenge(uint256 job, Record calldata record, uint256 index, Openings calldata openings) external {
        Job storage j = _job(job);
        _word(job, j, record);
        _inWindow(j, record);
        if (_isRight(job, j, record, index, openings)) revert CommitIsRight(record.round, index);
        (uint256 reward, uint256 burned) = _revertRound(job, j, record, msg.sender);
        _pay(reward);
        _burn(burned);
    }

    /// @inheritdoc IGalaxyLedger
    function demand(uint256 job, Record calldata record, uint256 index) external payable {
        Job storage j = _job(job);
        bytes32 word = _word(job, j, record);
        _inWindow(j, record);
        _chunks(j, index);
        Demand storage d = _demands[job][word][index];
        if (d.demander != address(0)) revert AlreadyDemanded(record.round);
        uint32 deposits = ++_accounts[job][record.server].demands;
        uint256 deposit = uint256(deposits) * j.terms.demandDeposit;
        if (msg.value != deposit) revert WrongValue(msg.value, deposit);
        d.demander = msg.sender;
        d.answerBy = uint40(block.timestamp) + j.terms.answerSeconds;
        d.deposits = deposits;
        ++j.state.openDemands;
        emit ChunkDemanded(job, record.attempt, msg.sender, record.round, index, d.answerBy);
    }

    /// @inheritdoc IGalaxyLedger
    function answer(uint256 job, Record calldata record, uint256 index, Openings calldata openings) external {
        Job storage j = _job(job);
        Demand memory d = _endDemand(job, j, record, _word(job, j, record), index);
        if (msg.sender != record.server) revert NotTheServer(msg.sender, record.server, NEVER);
        if (block.timestamp >= d.answerBy) revert WindowOver(d.answerBy);
        if (!_isRight(job, j, record, index, openings)) revert CommitIsWrong(record.round, index);
        emit ChunkAnswered(job, record.attempt, msg.sender, record.round, index, openings.next);
        _pay(uint256(d.deposits) * j.terms.demandDeposit);
    }

    /// @inheritdoc IGalaxyLedger
    function expire(uint256 job, Record calldata record, uint256 index) external {
        Job storage j = _job(job);
        bytes32 word = keccak256(abi.encode(record));
        Demand memory d = _endDemand(job, j, record, word, index);
        bool stands = _stands(job, j, record, word);
        if (stands && block.timestamp < d.answerBy) revert WindowOpen(d.answerBy);
        emit DemandExpired(job, record.attempt, d.demander, record.round, index);
        uint256 reward;
        uint256 burned;
        if (stands) (reward, burned) = _revertRound(job, j, record, d.demander);
        // To the account, not to the address: a demander that refuses ether must not keep a wrong commit alive.
        _accounts[job][d.demander].amount += uint96(reward + uint256(d.deposits) * j.terms.demandDeposit);
        _burn(burned);
    }

    /// @dev Ends the demand for that chunk and gives it.
    function _endDemand(
        uint256 job,
        Job storage j,
        Record calldata record,
        bytes32 word,
        uint256 index
    ) private returns (Demand memory d) {
        d = _demands[job][word][index];
        if (d.demander == address(0)) revert NotDemanded(record.round, index);
        delete _demands[job][word][index];
        --j.state.openDemands;
        --_accounts[job][record.server].demands;
    }

    /// @dev Takes the committer's bond, bars it, and goes back to the record's round with its updates, closed.
    function _revertRound(
        uint256 job,
        Job storage j,
        Record calldata record,
        address challenger
    ) private returns (uint256 reward, uint256 burned) {
        Account storage account = _accounts[job][record.server];
        uint256 amount = account.amount;
        account.amount = 0;
        account.barred = true;
        reward = amount / 2;
        burned = amount - reward;
        for (uint256 i = 0; i < record.excluded.length; ++i) {
            ++_clients[job][record.excluded[i]].credits;
        }
        State memory s = j.state;
        s.totalCredits += uint40(record.excluded.length);
        s.round = record.round;
        ++s.attempt;
        s.origin = record.attempt;
        s.updates = record.updates;
        s.closesAt = uint40(block.timestamp);
        j.state = s;
        j.root = record.previousRoot;
        j.head = record.head;
        emit BondSlashed(job, record.server, amount, challenger, reward);
        emit RoundReverted(job, s.attempt, record.server, record.round, challenger);
    }

    /// @dev Recomputes one chunk of a commit from its openings. Reverts unless these are what the ledger has recorded;
    /// gives whether the commit says what the rule says.
    function _isRight(
        uint256 job,
        Job storage j,
        Record calldata record,
        uint256 index,
        Openings calldata openings
    ) private view returns (bool) {
        (uint256 size, uint256 chunks) = _chunks(j, index);
        uint256 depth = ChunkTree.depth(chunks);
        if (_root(openings.previous, index, size, depth, address(0)) != record.previousRoot)
            revert WrongOpening(address(0));
        if (_root(openings.next, index, size, depth, address(0)) != record.next.root) revert WrongOpening(address(0));

        bytes[] memory updates = new bytes[](openings.included.length);
        uint32[] memory weights = new uint32[](openings.included.length);
        uint256 included;
        bytes32 head = _firstHead(job, record.attempt, record.previousRoot);
        for (uint256 i = 0; i < openings.submissions.length; ++i) {
            Submission calldata submission = openings.submissions[i];
            address client = submission.client;
            head = _nextHead(head, client, submission.update);
            if (_contains(record.excluded, client)) continue;
            if (included == updates.length) revert WrongOpening(client);
            Opening calldata opening = openings.included[included];
            bytes32 root = _root(opening, index, size, depth, client);
            if (sha256(abi.encodePacked(root, client)) != submission.update.commitment) revert WrongOpening(client);
            updates[included] = opening.chunk;
            weights[included++] = submission.update.weight;
        }
        if (head != record.head) revert WrongSubmissions(head, record.head);
        if (included != updates.length) revert WrongOpening(address(0));
        // An excluded address that had not submitted (possible after a rollback only).
        if (openings.submissions.length - included != record.excluded.length) return false;

        bytes memory next = IAggregationRule(j.terms.rule).aggregate(
            j.terms.ruleParameters,
            openings.previous.chunk,
            updates,
            weights
        );
        if (next.length != size) revert RuleMisbehaved(next.length);
        if (index == chunks - 1) {
            // Behind the last parameter there are zeros, in the chunk and in the tree: otherwise a root could be wrong
            // over chunks that are all right.
            if (!ChunkTree.isPadded(openings.next.path, index)) return false;
            for (uint256 i = j.terms.parameters * 4 - index * size; i < size; ++i) next[i] = 0;
        }
        return keccak256(next) == keccak256(openings.next.chunk);
    }

    /// @dev The root that an opening leads to, its form being right.
    function _root(
        Opening calldata opening,
        uint256 index,
        uint256 size,
        uint256 depth,
        address client
    ) private view returns (bytes32) {
        if (opening.chunk.length != size || opening.path.length != depth) revert WrongOpening(client);
        return ChunkTree.root(opening.chunk, opening.path, index);
    }

    /// @dev The bytes of a chunk and the number of chunks, the index being one of them.
    function _chunks(Job storage j, uint256 index) private view returns (uint256 size, uint256 chunks) {
        uint256 chunkParameters = j.terms.chunkParameters;
        size = chunkParameters * 4;
        chunks = (j.terms.parameters + chunkParameters - 1) / chunkParameters;
        if (index >= chunks) revert NoSuchChunk(index, chunks);
    }

    /// @dev Binary search in strictly ascending addresses.
    function _contains(address[] calldata sorted, address wanted) private pure returns (bool) {
        uint256 low = 0;
        uint256 high = sorted.length;
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (sorted[middle] == wanted) return true;
            if (sorted[middle] < wanted) low = middle + 1;
            else high = middle;
        }
        return false;
    }

    /// @dev The word of a record that stands.
    function _word(uint256 job, Job storage j, Record calldata record) private view returns (bytes32 word) {
        word = keccak256(abi.encode(record));
        if (!_stands(job, j, record, word)) revert UnknownRecord(job, record.round);
    }

    function _stands(uint256 job, Job storage j, Record calldata record, bytes32 word) private view returns (bool) {
        return record.round < j.state.round && _records[job][record.round] == word;
    }

    function _inWindow(Job storage j, Record calldata record) private view {
        uint40 end = record.time + j.terms.challengeSeconds;
        if (block.timestamp >= end) revert WindowOver(end);
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                     VIEWS                                                    */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @inheritdoc IGalaxyLedger
    function jobOf(
        uint256 job
    )
        external
        view
        returns (Terms memory terms, address owner, State memory state, bytes32 root, bytes32 head, uint256 pool)
    {
        Job storage j = _job(job);
        return (j.terms, j.owner, j.state, j.root, j.head, j.pool);
    }

    /// @inheritdoc IGalaxyLedger
    function clientOf(uint256 job, address client) external view returns (Client memory) {
        return _clients[job][client];
    }

    /// @inheritdoc IGalaxyLedger
    function accountOf(uint256 job, address server) external view returns (Account memory) {
        return _accounts[job][server];
    }

    /// @inheritdoc IGalaxyLedger
    function recordOf(uint256 job, uint32 round) external view returns (bytes32) {
        return round < _jobs[job].state.round ? _records[job][round] : bytes32(0);
    }

    /// @inheritdoc IGalaxyLedger
    function demandOf(uint256 job, bytes32 word, uint256 index) external view returns (Demand memory) {
        return _demands[job][word][index];
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                              CHECKS AND PAYMENTS                                             */
    /* ------------------------------------------------------------------------------------------------------------ */

    function _job(uint256 job) private view returns (Job storage j) {
        j = _jobs[job];
        if (j.owner == address(0)) revert UnknownJob(job);
    }

    function _onlyOwner(Job storage j) private view {
        if (msg.sender != j.owner) revert NotOwner(msg.sender, j.owner);
    }

    /// @dev Updates and commits are taken: the job is there, runs and has a round left. The status tells whether it is
    /// there; the owner, as in `_job`, would be one more slot to load.
    function _collecting(uint256 job, Status status, uint32 round, uint32 rounds) private pure {
        if (status == Status.None) revert UnknownJob(job);
        if (status != Status.Running || round > rounds) revert JobNotRunning(job, status);
    }

    function _checkTerms(Terms calldata t) private view {
        if (t.rounds == 0 || t.rounds > 2 ** 31) revert InvalidTerm("rounds");
        if (t.minUpdates == 0 || t.minUpdates > t.maxUpdates) revert InvalidTerm("minUpdates");
        if (t.maxUpdates > 256) revert InvalidTerm("maxUpdates");
        if (t.maxExcluded > t.maxUpdates) revert InvalidTerm("maxExcluded");
        if (t.collectSeconds > 2 ** 31) revert InvalidTerm("collectSeconds");
        if (t.aggregateSeconds == 0 || t.aggregateSeconds > 2 ** 31) revert InvalidTerm("aggregateSeconds");
        if (t.challengeSeconds == 0 || t.challengeSeconds > 2 ** 31) revert InvalidTerm("challengeSeconds");
        if (t.answerSeconds == 0 || t.answerSeconds > 2 ** 31) revert InvalidTerm("answerSeconds");
        uint256 size = t.chunkParameters;
        if (size == 0 || size > 256 || size % 8 != 0 || size * t.maxUpdates > 16_384)
            revert InvalidTerm("chunkParameters");
        // More than a chunk, so that no content digest equals a tree root; and a tree of at most 40 levels.
        if (t.parameters <= size || t.parameters > 2 ** 40) revert InvalidTerm("parameters");
        if (t.bond == 0) revert InvalidTerm("bond");
        if (t.rule.code.length == 0) revert InvalidTerm("rule");
        if (t.maxUpdates > IAggregationRule(t.rule).maxUpdates()) revert InvalidTerm("maxUpdates");
    }

    /// @dev The value sent, within what a slot keeps: more than all ether there is.
    function _value() private view returns (uint96) {
        if (msg.value > type(uint96).max) revert WrongValue(msg.value, type(uint96).max);
        return uint96(msg.value);
    }

    /// @dev Pays the caller. The last thing that a call does, but for `_burn`.
    function _pay(uint256 amount) private {
        (bool taken, ) = msg.sender.call{value: amount}("");
        if (!taken) revert PaymentRefused(msg.sender);
    }

    /// @dev To the zero address, whose key nobody has.
    function _burn(uint256 amount) private {
        (bool taken, ) = address(0).call{value: amount}("");
        if (!taken) revert PaymentRefused(address(0));
    }
}
