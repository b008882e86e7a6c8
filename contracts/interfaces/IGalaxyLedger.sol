// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title The ledger of federated learning jobs: what every round was made of, and who answers for it.
/// @notice Vectors, chunk trees, content ids and commitments are those of `docs/protocol.md`.
/// @dev Two byte strings are packed, not ABI-encoded. `submissions` shows entries of an attempt; `Submissions.sol`
/// describes it. `openings` opens one chunk of everything that a commit is made of; `IOpeningVerifier.sol` describes it.
///
/// The life of a round: collecting (`submitUpdate`) until `closesAt`; `commitRound`; the record's window of
/// `challengeSeconds` (`challenge`, `demand`, `answer`, `expire`); `settle`, in the order of rounds; `claim`. Rounds above
/// `settled` can still be reverted; nothing at or below it ever changes.
interface IGalaxyLedger {
    // ------------------------------------------------------------------------------------------------ structs

    /// @notice What a job is, fixed when it is registered.
    /// @dev `registerJob` refuses what is never sane, so that every job can be challenged and answered. Whether bond,
    /// deposit, share and times are wise on this chain is for each participant to judge.
    struct Terms {
        /// Digest (sha2-256 of the raw block) of the job document.
        bytes32 spec;
        /// One word for the rule.
        bytes32 ruleParameters;
        /// The aggregation rule's contract.
        address rule;
        /// What a demand costs, in wei; the second that is open on the same committer twice as much, and so on.
        uint96 demandDeposit;
        /// Who aggregates; zero: anyone with a bond.
        address server;
        /// What every committer must have deposited, in wei.
        uint96 bond;
        /// The number of rounds, 1 to 2**31.
        uint32 rounds;
        /// The update with this number starts the end of collecting; a commit includes at least as many.
        uint16 minUpdates;
        /// The update with this number ends collecting at once.
        uint16 maxUpdates;
        /// The most updates that a commit leaves out before `closesAt + 2 * aggregateSeconds`.
        uint16 maxExcluded;
        /// How long updates are taken after the `minUpdates`-th; may be 0. At most 30 days.
        uint32 collectSeconds;
        /// The unit of a round's turns after `closesAt`. 60 seconds (on development chains 1) to 30 days.
        uint32 aggregateSeconds;
        /// How long a commit can be challenged; at least `4 * (depth + 5) * answerSeconds`.
        uint32 challengeSeconds;
        /// How long a model may stay without `minUpdates` entries built upon it before its commit can be superseded; a
        /// job without any progress for twice as long is idle. At least `collectSeconds + 4 * aggregateSeconds`.
        uint32 idleSeconds;
        /// The committer's part of a round's reward, in basis points; at most 5,000.
        uint16 serverShare;
        /// The most rounds that may be committed but not settled; at least 1.
        uint32 maxUnsettled;
        /// How long a demand can be answered; at least 5 minutes (on development chains 1 second).
        uint32 answerSeconds;
        /// The largest weight of an update; `maxWeight * maxUpdates < 2**32`.
        uint32 maxWeight;
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
    /// on. Together with its client it is an entry, packed into 88 bytes: client (20), weight (4, big-endian),
    /// commitment (32), content (32).
    struct Update {
        bytes32 commitment;
        bytes32 content;
        uint32 weight;
    }

    /// @notice The preimage of the word that the ledger keeps of a commit: keccak256 of its ABI encoding.
    struct Record {
        /// The attempt whose entries were aggregated; an earlier one than the commit's if that followed a rollback.
        uint32 attempt;
        uint32 round;
        /// How many entries the attempt had, the excluded ones among them.
        uint16 updates;
        bytes32 head;
        bytes32 previousRoot;
        Model next;
        /// A bit for each entry, by its number: bit `i % 8` (the lowest is 0) of byte `i / 8`. `ceil(updates / 8)`
        /// bytes; the bits beyond the last entry are zero.
        bytes excluded;
        /// What the round is worth, in wei.
        uint128 reward;
        /// What the standing records had been allotted before this one, in wei.
        uint128 allottedBefore;
        /// The committer's part of the reward, in basis points: `serverShare` or nothing.
        uint16 share;
        address server;
        uint40 time;
    }

    enum Status {
        None,
        Running,
        Final
    }

    /// @notice Where a job stands.
    struct State {
        /// From 1; `lastRound + 1` once the last round is committed.
        uint32 round;
        /// Grows by one with every commit, reopening, rollback and superseding; never used again.
        uint32 attempt;
        /// The last settled round; 0 before the first.
        uint32 settled;
        /// The round with which the job ends: `rounds`, or less once the job is cancelled.
        uint32 lastRound;
        /// When collecting ends; the largest value while fewer than `minUpdates` are in.
        uint40 closesAt;
        /// Entries so far.
        uint16 updates;
        Status status;
        /// Whether an attempt of this round has had `minUpdates` entries: the record before it is built upon.
        bool built;
        /// How many further attempts this round has had by reopening, since the last commit or revert; a superseding
        /// brings back those of its round.
        uint8 reopenings;
        /// The attempt whose entries the head is made of: `attempt`, or an earlier one after a rollback.
        uint32 origin;
        /// The highest round that was ever committed.
        uint32 highest;
        /// When the job was last registered, committed to, rolled back, superseded, settled or cancelled.
        uint40 activeAt;
        bool cancelled;
        /// Whether the rule keeps the model, so that a commit has to name the root before it.
        bool keepsModel;
        /// `reopenings` of the round that was committed last: what it has again if its record is superseded.
        uint8 reopeningsBefore;
    }

    /// @notice A client of a job, in one slot.
    struct Client {
        /// Declared when joining: the bound of its weight; 0: has not joined.
        uint32 samples;
        /// The attempt of its latest submission.
        uint32 attempt;
        /// Of its latest submission: the low 160 bits of keccak256(abi.encode(model, update)).
        uint160 digest;
        bool admitted;
        bool expelled;
    }

    /// @notice What an address has in a job.
    struct Account {
        /// Locked, slashed, and counted for committing, in wei.
        uint96 bond;
        /// What it has earned or got back, free at any time, in wei.
        uint96 balance;
        /// The bond is locked until then: `challengeSeconds` after its last commit, reopening or superseding.
        uint40 lockedUntil;
        /// Proved to have committed a wrong model: never commits, reopens or supersedes here again.
        bool barred;
        /// A record of it was superseded and no later one has settled: it commits late, and its bond is locked.
        bool late;
        /// Open demands on its records, on void ones too until they are ended by `expire`.
        uint32 demands;
        /// The round of its latest superseded record.
        uint32 lateRound;
    }

    /// @notice A demand for one chunk of a commit.
    struct Demand {
        address demander;
        uint40 answerBy;
        /// How many times `demandDeposit` it cost.
        uint32 deposits;
        /// Whether its demander's announcement counted when it was made: then its expiry is rewarded.
        bool announced;
    }

    /// @notice What is known of a record by its word beside whether it stands.
    struct Mark {
        /// Demands that are open on it.
        uint32 demands;
        /// It was superseded and not proved wrong since: it can be demanded, answered and challenged as if it stood.
        bool superseded;
    }

    // ------------------------------------------------------------------------------------------------- events

    event JobRegistered(
        uint256 indexed job,
        address indexed owner,
        Terms terms,
        Model model,
        bool keepsModel,
        uint40 time
    );
    event JobFunded(uint256 indexed job, address indexed funder, uint256 amount);
    event ClientAdmitted(uint256 indexed job, address indexed client);
    event ClientExpelled(uint256 indexed job, address indexed client);
    event ClientJoined(uint256 indexed job, address indexed client, uint32 samples, bytes32 key);
    /// @dev `first` is the number of the first of these packed entries. `closesAt` is what it is after them. The round is
    /// the attempt's, and the clients are in the entries.
    event UpdatesSubmitted(uint256 indexed job, uint32 indexed attempt, uint16 first, uint40 closesAt, bytes entries);
    /// @dev `attempt` is the one that ends with the commit; `record.attempt` differs from it after a rollback.
    event RoundCommitted(uint256 indexed job, uint32 indexed attempt, address indexed server, Record record);
    /// @dev `attempt` is the one that ends.
    event RoundReopened(uint256 indexed job, uint32 indexed attempt, address indexed sender, uint32 round, uint40 time);
    /// @dev `attempt` is the new one; the round's head and entries are those of the record again, and closed. The
    /// record and all later ones are void.
    event RoundReverted(uint256 indexed job, uint32 indexed attempt, bytes32 indexed word, uint32 round, uint40 time);
    /// @dev As `RoundReverted`, but the record can still be challenged, and its committer is late.
    event RoundSuperseded(
        uint256 indexed job,
        uint32 indexed attempt,
        bytes32 indexed word,
        uint32 round,
        address server,
        address sender,
        uint40 time
    );
    /// @notice The committer was credited with `serverAmount`; each included entry can claim `clientAmount`.
    /// @dev `closesAt` is that of the current attempt, which may begin anew with this.
    event RoundSettled(
        uint256 indexed job,
        uint32 indexed round,
        address indexed server,
        uint256 serverAmount,
        uint256 clientAmount,
        uint40 closesAt,
        uint40 time
    );
    /// @notice Each of these entries was credited with `amount`: bit i stands for entry `256 * word + i`.
    event RewardsClaimed(
        uint256 indexed job,
        uint32 indexed round,
        uint256 indexed word,
        uint256 amount,
        uint256 entries
    );
    /// @dev `deposit` is what the demand keeps; `excess` was credited to the demander.
    event ChunkDemanded(
        uint256 indexed job,
        bytes32 indexed word,
        address indexed demander,
        uint32 round,
        uint256 index,
        uint40 answerBy,
        bool announced,
        uint256 deposit,
        uint256 excess
    );
    /// @dev `paid` was credited with `deposit`. `next` is the chunk of the committed model and its path.
    event ChunkAnswered(
        uint256 indexed job,
        bytes32 indexed word,
        address indexed sender,
        uint32 round,
        uint256 index,
        address paid,
        uint256 deposit,
        bytes next
    );
    /// @dev `demander` was credited with `deposit`. A `BondSlashed` comes with it unless the record was void.
    event DemandExpired(
        uint256 indexed job,
        bytes32 indexed word,
        address indexed demander,
        uint32 round,
        uint256 index,
        uint256 deposit
    );
    /// @notice The committer of that record lost `amount` and is barred; `finder` was credited with `reward`, the rest
    /// is burned. A `RoundReverted` comes with it unless the record was superseded.
    event BondSlashed(
        uint256 indexed job,
        bytes32 indexed word,
        address indexed server,
        uint256 amount,
        address finder,
        uint256 reward
    );
    event JobCancelled(uint256 indexed job, address indexed sender, uint32 lastRound, uint40 time);
    /// @notice The owner was credited with `rest`.
    event JobFinalized(uint256 indexed job, address indexed owner, bytes32 root, uint256 rest);
    event BondDeposited(uint256 indexed job, address indexed server, uint256 amount);
    event BondWithdrawn(uint256 indexed job, address indexed server, uint256 amount);
    event BalanceWithdrawn(uint256 indexed job, address indexed account, uint256 amount);

    // ------------------------------------------------------------------------------------------------- errors

    /// @notice Thrown when there is no job of that number.
    error UnknownJob(uint256 job);
    /// @notice Thrown when a term is out of its bounds.
    error InvalidTerm(string term);
    /// @notice Thrown when an answer would be larger or dearer than a transaction can be: choose smaller chunks or
    /// fewer `maxUpdates`.
    error AnswerTooLarge(uint256 size, uint256 sizeAllowed, uint256 gasNeeded, uint256 gasAllowed);
    /// @notice Thrown when the job takes no more of this: it is final, or all of its rounds are committed.
    error JobNotRunning(uint256 job, Status status);
    /// @notice Thrown when the job was cancelled before.
    error AlreadyCancelled(uint256 job);
    /// @notice Thrown when the job is not idle, and is before that time.
    error JobNotIdle(uint256 job, uint40 idleAt);
    /// @notice Thrown when rounds of the job are not settled: the last one, or a standing one of a cancelled job.
    error JobNotSettled(uint256 job, uint32 settled, uint32 required);
    /// @notice Thrown when somebody else than the owner calls.
    error NotOwner(address caller, address owner);
    /// @notice Thrown when the address may not join.
    error NotAdmitted(address client);
    /// @notice Thrown when the owner has expelled the client.
    error Expelled(address client);
    /// @notice Thrown when the client has joined before.
    error AlreadyJoined(address client);
    /// @notice Thrown when a client declares no samples, or more than `maxWeight`.
    error SamplesOutOfRange(uint32 samples, uint32 maxWeight);
    /// @notice Thrown when the address has not joined.
    error NotJoined(address client);
    /// @notice Thrown when the attempt that was named is not the current one.
    error WrongAttempt(uint32 named, uint32 current);
    /// @notice Thrown when the attempt stands on another model than the one that was named.
    error WrongModel(bytes32 named, bytes32 current);
    /// @notice Thrown when the client has another submission in this attempt.
    error AlreadySubmitted(uint32 attempt);
    /// @notice Thrown when updates are no longer taken.
    error RoundClosed(uint40 closedAt);
    /// @notice Thrown when updates are still taken.
    error RoundOpen(uint40 closesAt);
    /// @notice Thrown when a weight is 0 or more than the client declared.
    error WeightOutOfRange(uint32 weight, uint32 declared);
    /// @notice Thrown when the head that was named is not the current one: other updates are in.
    error HeadChanged(bytes32 named, bytes32 current);
    /// @notice Thrown when as many rounds as `maxUnsettled` are committed but not settled.
    error TooManyUnsettled(uint32 unsettled, uint32 allowed);
    /// @notice Thrown when it is not the caller's turn before that time.
    error NotYet(address caller, uint40 openFrom);
    /// @notice Thrown when the caller's bond is below the job's.
    error BondTooSmall(uint96 bond, uint96 required);
    /// @notice Thrown when the address was proved wrong in this job.
    error Barred(address server);
    /// @notice Thrown when the bit map of excluded entries has another length, or a bit beyond the last entry.
    error MalformedExcluded(uint256 length, uint256 updates);
    /// @notice Thrown when more are excluded than the terms allow before `allFrom`.
    error TooManyExcluded(uint256 excluded, uint256 allowed, uint40 allFrom);
    /// @notice Thrown when too few updates are left for a commit.
    error TooFewUpdates(uint256 left, uint256 required);
    /// @notice Thrown when the rule keeps the model and the commit names another root.
    error ModelNotKept(bytes32 named, bytes32 root);
    /// @notice Thrown when the record is neither that of a commit that stands and is not settled, nor a superseded one.
    error UnknownRecord(uint256 job, uint32 round);
    /// @notice Thrown when the record is of another round than the one to be settled next.
    error WrongRound(uint32 round, uint32 required);
    /// @notice Thrown when nothing was built upon the record, before that time.
    error NotBuiltUpon(uint32 round, uint40 builtAt);
    /// @notice Thrown when the record can't be superseded: it is the last round's, settled, not the newest, built upon,
    /// or the caller's own.
    error NotSupersedable(uint32 round);
    /// @notice Thrown when the time for it is over.
    error WindowOver(uint40 endedAt);
    /// @notice Thrown when the time for it has not come.
    error WindowOpen(uint40 endsAt);
    /// @notice Thrown when there is no chunk of that index.
    error NoSuchChunk(uint256 index, uint256 chunks);
    /// @notice Thrown when the openings have another length than the record and the job ask for.
    error MalformedOpenings(uint256 length, uint256 required);
    /// @notice Thrown when an opening leads to another root than the record's, or, for an update, to another
    /// commitment; the previous model's is number 0, the next model's 1, that of included update i 2 + i.
    error WrongOpening(uint256 number);
    /// @notice Thrown when submissions are cut off, or not in the form that `Submissions.sol` describes, at that byte.
    error MalformedSubmissions(uint256 position);
    /// @notice Thrown when the submissions don't lead to the record's head.
    error WrongSubmissions(bytes32 computed, bytes32 head);
    /// @notice Thrown when openings don't show all entries of the attempt.
    error SubmissionsHidden(uint256 shown, uint256 required);
    /// @notice Thrown when the rule gives a chunk of another length.
    error RuleMisbehaved(uint256 length);
    /// @notice Thrown when the caller's announcement of the finding does not count: it has to be in an earlier block,
    /// and at most an hour old. `announced` is 0 if there is none.
    error NotAnnounced(bytes32 digest, uint40 announced);
    /// @notice Thrown when a challenged chunk is right.
    error CommitIsRight(uint32 round, uint256 index);
    /// @notice Thrown when the answer itself shows that the commit is wrong.
    error CommitIsWrong(uint32 round, uint256 index);
    /// @notice Thrown when a demand is open for this chunk already.
    error AlreadyDemanded(uint32 round, uint256 index);
    /// @notice Thrown when no such demand is open.
    error NotDemanded(uint32 round, uint256 index);
    /// @notice Thrown when the value sent is out of range: below what is asked for, or more than a slot keeps.
    error WrongValue(uint256 sent, uint256 required);
    /// @notice Thrown when demands are open.
    error DemandsOpen(uint256 demands);
    /// @notice Thrown when the bond is locked because a record of the account was superseded: until a later one of its
    /// settles, or the job is final.
    error BondLate(address account, uint32 round);
    /// @notice Thrown when there is nothing to pay out.
    error NothingToPay(address account);
    /// @notice Thrown when the receiver refuses ether.
    error PaymentRefused(address receiver);

    // --------------------------------------------------------------------------------------------------- jobs

    /// @notice Registers a job and opens its first round; the value sent is the reward pool.
    /// @dev Warning: the ledger can't know whether `initial` exists or whether the job document says what the terms
    /// say. Clients check it before they join.
    function registerJob(Terms calldata terms, Model calldata initial) external payable returns (uint256 job);

    /// @notice Adds to the reward pool; refused once all rounds are committed, or the job is cancelled.
    function fund(uint256 job) external payable;

    /// @notice Admits clients to a job that is not open. Admitting twice does nothing.
    function admit(uint256 job, address[] calldata clients) external;

    /// @notice Takes no more entries of that address, for good. Those that are in stay.
    function expel(uint256 job, address client) external;

    /// @notice Makes a job shorter, once: it ends with the current round, or the highest that was ever committed. All
    /// else goes on as ever. By the owner at any time; by anyone when the job is idle and commits are not refused for
    /// `maxUnsettled`.
    function cancelJob(uint256 job) external;

    /// @notice Closes the books and credits the owner with what no record allots: once the last round is settled, or,
    /// in a cancelled job, once all standing records are settled and the job is idle.
    function finalizeJob(uint256 job) external;

    // ------------------------------------------------------------------------------------------------- rounds

    /// @notice Joins a job, once.
    /// @param samples The most samples that an update of this client may weigh, at most `maxWeight`.
    /// @param key A public key for encrypted or masked updates, or zero.
    /// @dev Warning: in an open job one person can join with many addresses.
    function join(uint256 job, uint32 samples, bytes32 key) external;

    /// @notice Submits an update to an attempt on the model with that root, once. The very same submission again does
    /// nothing.
    /// @dev Warning: whether the content exists shows only later; a client that never reveals can be excluded.
    function submitUpdate(uint256 job, uint32 attempt, bytes32 model, Update calldata update) external;

    /// @notice Commits the next model and opens the next round.
    /// @param head The head that was aggregated.
    /// @param excluded The entries that were left out, as in `Record`.
    /// @param salt For another than the named server: of its announcement of
    /// keccak256(abi.encode(sender, salt, head, next.root)), without which the commit earns it nothing; or zero.
    /// @dev Who may commit when: the named server from `closesAt`, others from `closesAt + aggregateSeconds`, or from
    /// `closesAt` where no server is named, it is barred or late, or the attempt follows a rollback; an account that is
    /// late from `closesAt + 3 * aggregateSeconds`, and not to an attempt that follows a rollback.
    /// Warning: a false exclusion is visible and, before `closesAt + 2 * aggregateSeconds`, bounded by `maxExcluded`,
    /// not prevented.
    function commitRound(
        uint256 job,
        uint32 attempt,
        bytes32 head,
        Model calldata next,
        bytes calldata excluded,
        bytes32 salt
    ) external;

    /// @notice Collects again on the same model, because nobody could or would commit: from
    /// `closesAt + 4 * aggregateSeconds`, by any account with a bond, which is locked as after a commit.
    /// @dev Every further attempt of a round collects for twice as long.
    function reopenRound(uint256 job, uint32 attempt, bytes32 head) external;

    /// @notice Goes back to the round of the newest commit, `idleSeconds` after it, because nobody builds upon it: its
    /// model is withheld. Nobody is slashed, but its committer is late. By any other account with a bond, which is
    /// locked as after a commit.
    /// @dev Warning: the commit of an honest server can be superseded where clients need longer than `idleSeconds`; and
    /// the last round's model can be withheld.
    function supersede(uint256 job, Record calldata record) external;

    // -------------------------------------------------------------------------------------------------- money

    /// @notice Settles the record of round `settled + 1`: once its window is over, no demand on it is open, and it is
    /// built upon, or of the last round. Credits its committer.
    function settle(uint256 job, Record calldata record) external;

    /// @notice Credits the included entries that are shown and have not been credited, whoever calls; settles the
    /// record before if that is its turn.
    /// @param submissions Leads to the record's head and shows the entries in question; see `Submissions.sol`.
    /// @dev Rounding dust stays in the ledger.
    function claim(uint256 job, Record calldata record, bytes calldata submissions) external;

    /// @notice Pays out the caller's balance.
    function withdraw(uint256 job) external;

    /// @notice Adds to the caller's bond. One bond answers for all commits of its owner in the job.
    function depositBond(uint256 job) external payable;

    /// @notice Pays out the caller's bond: `challengeSeconds` after its last commit, reopening or superseding, with no
    /// demand open on any of its records, and not while it is late in a job that is not final.
    function withdrawBond(uint256 job) external;

    // --------------------------------------------------------------------------------------------- challenges

    /// @notice Announces what the caller will show later, for any job. Of a finding, the digest is
    /// keccak256(abi.encode(sender, salt, word, index)), `word` being that of the record; of a commit
    /// keccak256(abi.encode(sender, salt, head, next.root)).
    /// @dev It counts from the next block on for an hour. Without an event, for it says nothing to anybody else.
    function announce(bytes32 digest) external;

    /// @notice Proves one chunk of a commit wrong, as the caller has announced. A quarter of the committer's bond goes to
    /// the caller, the rest is burned; the job goes back to that round, with the same entries, and anybody with a bond
    /// may commit at once.
    function challenge(
        uint256 job,
        Record calldata record,
        uint256 index,
        bytes32 salt,
        bytes calldata openings
    ) external;

    /// @notice Demands that a chunk is opened. Costs `demandDeposit` times one more than the demands that are open on
    /// that committer; what is sent beyond goes to the caller's balance.
    /// @param salt Of an announcement of this finding, or zero. Whether it counts now decides whether an expiry is
    /// rewarded.
    /// @dev Warning: an unannounced demand for the same chunk, made before, keeps the finder from the reward.
    function demand(uint256 job, Record calldata record, uint256 index, bytes32 salt) external payable;

    /// @notice Answers a demand, by anyone: the same openings as of a challenge, which have to prove the chunk right. The
    /// deposit goes to the committer in the first half of `answerSeconds`, later to the caller.
    function answer(uint256 job, Record calldata record, uint256 index, bytes calldata openings) external;

    /// @notice Ends a demand that was not answered in time: the same as a challenge, the demander being the finder; an
    /// unannounced one has its deposit back and no reward. Where the record is void, the deposit goes back at once.
    function expire(uint256 job, Record calldata record, uint256 index) external;

    // -------------------------------------------------------------------------------------------------- views

    /// @notice How many jobs there are; they are numbered from 1.
    function jobs() external view returns (uint256);

    /// @notice The contract that judges openings: the first that this one created, so that its address is known without
    /// being part of the code.
    function verifier() external view returns (address);

    /// @notice A job's terms, owner, state, the root of its current model, its head, what was paid into its pool, and
    /// what the standing records allot of it.
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
        );

    /// @notice A client of a job.
    function clientOf(uint256 job, address client) external view returns (Client memory);

    /// @notice What an address has in a job.
    function accountOf(uint256 job, address account) external view returns (Account memory);

    /// @notice The word of the record that stands for a round; zero if none does.
    function recordOf(uint256 job, uint32 round) external view returns (bytes32);

    /// @notice What is known of a record by its word.
    function markOf(uint256 job, bytes32 word) external view returns (Mark memory);

    /// @notice The demand that is open for a chunk of the record with that word.
    function demandOf(uint256 job, bytes32 word, uint256 index) external view returns (Demand memory);

    /// @notice 256 bits of the entries of a settled round that were credited: bit i of word w is entry 256 * w + i.
    function claimedOf(uint256 job, uint32 round, uint256 word) external view returns (uint256);

    /// @notice When an address last announced a digest; 0: never.
    function announcedAt(address sender, bytes32 digest) external view returns (uint40);
}
