// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title The ledger of federated learning jobs: what every round was made of, and who answers for it.
/// @notice Vectors, chunk trees, content ids and commitments are those of `docs/protocol.md`.
interface IGalaxyLedger {
    // ------------------------------------------------------------------------------------------------ structs

    /// @notice What a job is, fixed when it is registered.
    /// @dev Every bound is checked by `registerJob`, so that every job can be challenged.
    struct Terms {
        /// Digest (sha2-256 of the raw block) of the job document.
        bytes32 spec;
        /// One word for the rule.
        bytes32 ruleParameters;
        /// The aggregation rule's contract.
        address rule;
        /// What a demand costs, in wei; the second that waits at a time twice as much, and so on.
        uint96 demandDeposit;
        /// Who aggregates; zero: anyone with a bond.
        address server;
        /// What every committer must have deposited, in wei.
        uint96 bond;
        /// The number of rounds.
        uint32 rounds;
        /// The update with this number starts the end of collecting.
        uint16 minUpdates;
        /// The update with this number ends collecting at once.
        uint16 maxUpdates;
        /// The most updates that a commit may leave out.
        uint16 maxExcluded;
        /// How long updates are taken after the `minUpdates`-th; may be 0.
        uint32 collectSeconds;
        /// How long only the job's server may commit.
        uint32 aggregateSeconds;
        /// How long a commit can be challenged.
        uint32 challengeSeconds;
        /// How long a committer has to answer a demand.
        uint32 answerSeconds;
        /// Parameters a chunk.
        uint16 chunkParameters;
        /// Whether anyone may join, or only admitted addresses.
        bool open;
        /// Parameters of the model.
        uint64 parameters;
    }

    /// @notice A model: the root of its chunk tree, and the digest of its content id.
    struct Model {
        bytes32 root;
        bytes32 content;
    }

    /// @notice An update: `sha256(root || client)`, the digest of its content id, and the samples that it was trained
    /// on.
    struct Update {
        bytes32 commitment;
        bytes32 content;
        uint32 weight;
    }

    /// @notice The preimage of the word that the ledger keeps of a commit.
    struct Record {
        /// The attempt whose submissions were aggregated.
        uint32 attempt;
        uint32 round;
        /// How many submissions the attempt had, the excluded ones among them.
        uint16 updates;
        bytes32 head;
        bytes32 previousRoot;
        Model next;
        address[] excluded;
        address server;
        uint40 time;
    }

    /// @notice One submission of an attempt, as the chain of heads binds it.
    struct Submission {
        address client;
        Update update;
    }

    /// @notice One chunk of a vector and the siblings from it up to below the root.
    struct Opening {
        bytes chunk;
        bytes32[] path;
    }

    /// @notice All that is needed to recompute one chunk of a commit.
    struct Openings {
        Opening previous;
        Opening next;
        /// Every submission of the attempt, in order.
        Submission[] submissions;
        /// The chunk of every included update, in the order of submission.
        Opening[] included;
    }

    enum Status {
        None,
        Running,
        Cancelled,
        Final
    }

    /// @notice Where a job stands, in one slot.
    struct State {
        /// From 1; `rounds + 1` once the last round is committed.
        uint32 round;
        /// Grows by one with every commit, reopening and rollback; never used again.
        uint32 attempt;
        /// The attempt whose submissions the head is made of: `attempt`, or an earlier one after a rollback.
        uint32 origin;
        /// Submissions so far.
        uint16 updates;
        /// When collecting ends; the largest value while fewer than `minUpdates` are in.
        uint40 closesAt;
        /// When the window of the latest commit ends.
        uint40 finalAt;
        /// The sum of all clients' credits.
        uint40 totalCredits;
        /// Demands that wait for their answer.
        uint16 openDemands;
        Status status;
    }

    /// @notice A client of a job, in one slot.
    struct Client {
        /// Declared when joining: the bound of its weight; 0: has not joined.
        uint24 samples;
        /// The attempt of its latest submission.
        uint32 attempt;
        /// Submissions that count for the reward.
        uint32 credits;
        /// Of its latest submission: the low 160 bits of the keccak256 of the ABI-encoded update.
        uint160 digest;
        bool admitted;
    }

    /// @notice What an address has at stake in a job, in one slot.
    struct Account {
        uint96 amount;
        uint40 lockedUntil;
        /// Demands that it has to answer.
        uint32 demands;
        /// Proved to have committed a wrong model: never commits here again.
        bool barred;
    }

    /// @notice A demand for one chunk of a commit.
    struct Demand {
        address demander;
        uint40 answerBy;
        /// How many times `demandDeposit` it cost.
        uint32 deposits;
    }

    // ------------------------------------------------------------------------------------------------- events

    event JobRegistered(uint256 indexed job, address indexed owner, Terms terms, Model model);
    event JobFunded(uint256 indexed job, address indexed funder, uint256 amount);
    event ClientAdmitted(uint256 indexed job, address indexed client);
    event ClientJoined(uint256 indexed job, address indexed client, uint24 samples, bytes32 key);
    event UpdateSubmitted(
        uint256 indexed job,
        uint32 indexed attempt,
        address indexed client,
        uint32 round,
        Update update
    );
    event RoundCommitted(
        uint256 indexed job,
        uint32 indexed attempt,
        address indexed server,
        uint32 round,
        bytes32 head,
        Model model,
        address[] excluded,
        uint40 time
    );
    /// @dev `attempt` is the one that ends.
    event RoundReopened(
        uint256 indexed job,
        uint32 indexed attempt,
        address indexed server,
        uint32 round,
        address[] excluded
    );
    /// @dev `attempt` is the new one; the round's head and submissions are those of the reverted commit again, and
    /// closed.
    event RoundReverted(
        uint256 indexed job,
        uint32 indexed attempt,
        address indexed server,
        uint32 round,
        address challenger
    );
    event ChunkDemanded(
        uint256 indexed job,
        uint32 indexed attempt,
        address indexed demander,
        uint32 round,
        uint256 index,
        uint40 answerBy
    );
    event ChunkAnswered(
        uint256 indexed job,
        uint32 indexed attempt,
        address indexed server,
        uint32 round,
        uint256 index,
        Opening next
    );
    event DemandExpired(
        uint256 indexed job,
        uint32 indexed attempt,
        address indexed demander,
        uint32 round,
        uint256 index
    );
    event JobCancelled(uint256 indexed job, address indexed owner);
    event JobFinalized(uint256 indexed job, bytes32 root, uint256 earned);
    event BondDeposited(uint256 indexed job, address indexed server, uint256 amount);
    event BondSlashed(uint256 indexed job, address indexed server, uint256 amount, address challenger, uint256 reward);
    event BondWithdrawn(uint256 indexed job, address indexed server, uint256 amount);
    event RewardClaimed(uint256 indexed job, address indexed client, uint256 amount);

    // ------------------------------------------------------------------------------------------------- errors

    /// @notice Thrown when there is no job of that number.
    error UnknownJob(uint256 job);
    /// @notice Thrown when a term is out of its bounds.
    error InvalidTerm(string term);
    /// @notice Thrown when the job no longer runs: cancelled, final, or all of its rounds are committed.
    error JobNotRunning(uint256 job, Status status);
    /// @notice Thrown when somebody else than the owner calls.
    error NotOwner(address caller, address owner);
    /// @notice Thrown when the address may not join.
    error NotAdmitted(address client);
    /// @notice Thrown when the client has joined before.
    error AlreadyJoined(address client);
    /// @notice Thrown when a client declares no samples.
    error NoSamples();
    /// @notice Thrown when the address has not joined.
    error NotJoined(address client);
    /// @notice Thrown when the attempt that was named is not the current one.
    error WrongAttempt(uint32 named, uint32 current);
    /// @notice Thrown when the client has another submission in this attempt.
    error AlreadySubmitted(uint32 attempt);
    /// @notice Thrown when updates are no longer taken.
    error RoundClosed(uint40 closedAt);
    /// @notice Thrown when updates are still taken.
    error RoundOpen(uint40 closesAt);
    /// @notice Thrown when a weight is 0 or more than the client declared.
    error WeightOutOfRange(uint32 weight, uint24 declared);
    /// @notice Thrown when the head that was named is not the current one: other updates are in.
    error HeadChanged(bytes32 named, bytes32 current);
    /// @notice Thrown when another than the job's server commits before `aggregateSeconds` have passed.
    error NotTheServer(address caller, address server, uint40 openFrom);
    /// @notice Thrown when the caller's bond is below the job's.
    error BondTooSmall(uint96 amount, uint96 required);
    /// @notice Thrown when the address was proved wrong in this job.
    error Barred(address server);
    /// @notice Thrown when excluded addresses are not strictly ascending.
    error ExcludedNotAscending(address client);
    /// @notice Thrown when an excluded address is not a submitter.
    error ExcludedNotSubmitter(address client);
    /// @notice Thrown when more are excluded than the terms allow.
    error TooManyExcluded(uint256 excluded, uint256 allowed);
    /// @notice Thrown when too few updates are left for a commit.
    error TooFewUpdates(uint256 left, uint256 required);
    /// @notice Thrown when enough updates are left, so that the round has to be committed, not reopened.
    error EnoughUpdates(uint256 left, uint256 required);
    /// @notice Thrown when the record is not that of a commit that stands.
    error UnknownRecord(uint256 job, uint32 round);
    /// @notice Thrown when the time for it is over.
    error WindowOver(uint40 endedAt);
    /// @notice Thrown when the time for it has not come.
    error WindowOpen(uint40 endsAt);
    /// @notice Thrown when there is no chunk of that index.
    error NoSuchChunk(uint256 index, uint256 chunks);
    /// @notice Thrown when the number, the length or the path of an opening is wrong, or it leads to another root.
    error WrongOpening(address client);
    /// @notice Thrown when the submissions don't lead to the record's head.
    error WrongSubmissions(bytes32 computed, bytes32 head);
    /// @notice Thrown when the rule gives a chunk of another length.
    error RuleMisbehaved(uint256 length);
    /// @notice Thrown when a challenged chunk is right.
    error CommitIsRight(uint32 round, uint256 index);
    /// @notice Thrown when the answer itself shows that the commit is wrong.
    error CommitIsWrong(uint32 round, uint256 index);
    /// @notice Thrown when a demand waits for this chunk already.
    error AlreadyDemanded(uint32 round);
    /// @notice Thrown when no such demand waits.
    error NotDemanded(uint32 round, uint256 index);
    /// @notice Thrown when the value sent is not the one asked for.
    error WrongValue(uint256 sent, uint256 required);
    /// @notice Thrown when demands wait for their answers.
    error DemandsOpen(uint256 demands);
    /// @notice Thrown when there is nothing to pay out.
    error NothingToPay(address account);
    /// @notice Thrown when the receiver refuses ether.
    error PaymentRefused(address receiver);

    // --------------------------------------------------------------------------------------------------- jobs

    /// @notice Registers a job and opens its first round; the value sent is the reward pool.
    /// @dev Warning: the ledger can't know whether `initial` exists or whether the job document says what the terms
    /// say. Clients check it before they join.
    function registerJob(Terms calldata terms, Model calldata initial) external payable returns (uint256 job);

    /// @notice Adds to the reward pool.
    function fund(uint256 job) external payable;

    /// @notice Admits clients to a job that is not open. Admitting twice does nothing.
    function admit(uint256 job, address[] calldata clients) external;

    /// @notice Ends collecting for good. Bonds stay locked and commits can be challenged as before; what was earned
    /// stays earned.
    function cancelJob(uint256 job) external;

    /// @notice Closes the books: splits the pool into what clients earned and what goes back to the owner.
    function finalizeJob(uint256 job) external;

    /// @notice Pays the caller's share of the pool, and the owner what is left of it.
    /// @dev Rounding dust stays in the ledger.
    function claimReward(uint256 job) external;

    // ------------------------------------------------------------------------------------------------- rounds

    /// @notice Joins a job, once.
    /// @param samples The most samples that an update of this client may weigh.
    /// @param key A public key for encrypted or masked updates, or zero.
    /// @dev Warning: in an open job one person can join with many addresses.
    function join(uint256 job, uint24 samples, bytes32 key) external;

    /// @notice Submits an update, once an attempt. The very same submission again does nothing.
    /// @dev Warning: whether the content exists shows only later; a client that never reveals can be excluded.
    function submitUpdate(uint256 job, uint32 attempt, Update calldata update) external;

    /// @notice Commits the next model and opens the next round.
    /// @param head The head that was aggregated.
    /// @param excluded Submitters that were left out, ascending. It takes their credit for the attempt.
    /// @dev Warning: a false exclusion is visible and bounded by `maxExcluded`, not prevented. That an excluded address
    /// submitted is checked in full only by a challenge where the round had been reverted before.
    function commitRound(
        uint256 job,
        uint32 attempt,
        bytes32 head,
        Model calldata next,
        address[] calldata excluded
    ) external;

    /// @notice Collects again because too few updates are usable.
    /// @dev Warning: not bounded by `maxExcluded`, for otherwise silent clients could stop a job for ever; so a server
    /// can take credits and delay a job. The owner can cancel it.
    function reopenRound(uint256 job, uint32 attempt, bytes32 head, address[] calldata excluded) external;

    // -------------------------------------------------------------------------------------------------- bonds

    /// @notice Adds to the caller's bond. One bond answers for all commits of its owner in the job.
    function depositBond(uint256 job) external payable;

    /// @notice Pays out all of the caller's account, once the window of its last commit has passed and no demand waits
    /// for it.
    function withdrawBond(uint256 job) external;

    // --------------------------------------------------------------------------------------------- challenges

    /// @notice Proves one chunk of a commit wrong. Half of the committer's bond goes to the caller, half is burned; the
    /// job goes back to that round, with the same updates, and anybody with a bond may commit at once.
    /// @dev Warning: nodes take transactions of at most 128 kB; `docs/gas.md` says how many clients that is.
    function challenge(uint256 job, Record calldata record, uint256 index, Openings calldata openings) external;

    /// @notice Demands that the committer opens a chunk. Costs `demandDeposit` times the number of demands that the
    /// committer has to answer in this job, this one included; an answer earns it.
    /// @dev Were one demand open a record at a time, a server could occupy it with demands of its own, for chunks that
    /// are right, until the window is over. So it is one a chunk; the price, rising with each that waits, keeps demands
    /// from coming faster than an honest server can answer.
    function demand(uint256 job, Record calldata record, uint256 index) external payable;

    /// @notice Answers a demand: the same openings as of a challenge, which have to prove the chunk right.
    function answer(uint256 job, Record calldata record, uint256 index, Openings calldata openings) external;

    /// @notice Ends a demand that was not answered in time: the same as a challenge, for the demander, to whose account
    /// in this job the deposit and the reward go. Where the record no longer stands, only the deposit goes back.
    function expire(uint256 job, Record calldata record, uint256 index) external;

    // -------------------------------------------------------------------------------------------------- views

    /// @notice How many jobs there are; they are numbered from 1.
    function jobs() external view returns (uint256);

    /// @notice A job's terms, owner, state, the root of its current model, its head, and its pool.
    function jobOf(
        uint256 job
    )
        external
        view
        returns (Terms memory terms, address owner, State memory state, bytes32 root, bytes32 head, uint256 pool);

    /// @notice A client of a job.
    function clientOf(uint256 job, address client) external view returns (Client memory);

    /// @notice What an address has at stake in a job.
    function accountOf(uint256 job, address server) external view returns (Account memory);

    /// @notice The word kept of the latest commit of a round: keccak256 of the ABI-encoded `Record`.
    function recordOf(uint256 job, uint32 round) external view returns (bytes32);

    /// @notice The demand that waits for a chunk of the record with that word.
    function demandOf(uint256 job, bytes32 word, uint256 index) external view returns (Demand memory);
}
