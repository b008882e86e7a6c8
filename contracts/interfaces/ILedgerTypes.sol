// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What the ledger keeps and passes: terms, models, updates, records, states, accounts.
/// @dev Vectors, chunk trees, content ids and commitments are those of `docs/protocol.md`.
interface ILedgerTypes {
    /// @notice What a job is, fixed when it is registered.
    /// @dev `registerJob` refuses terms that are never sane, so that every job can be challenged and answered. Whether
    /// bond, deposit, share and times are wise on this chain is for each participant to judge.
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
        /// How long updates are accepted after the `minUpdates`-th; may be 0. At most 30 days.
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
        /// Parameters per chunk.
        uint16 chunkParameters;
        /// Entries of a block, and children of a node of the tree of sums: 2 to 64.
        uint8 fanIn;
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
    /// on. Together with its client it is an entry; `Submissions.sol` packs it into 88 bytes.
    struct Update {
        bytes32 commitment;
        bytes32 content;
        uint32 weight;
    }

    /// @notice The preimage of the word that the ledger keeps for a commit: keccak256 of its ABI encoding.
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
        /// Binds the nodes of the tree of sums (`SumTree.sol`); zero in a round that is flat.
        bytes32 nodesHash;
        /// What the round is worth, in wei.
        uint128 reward;
        /// What the standing records had been allotted before this one, in wei.
        uint128 allottedBefore;
        /// The committer's part of the reward, in basis points: `serverShare` or nothing.
        uint16 share;
        address server;
        uint40 time;
    }

    /// @notice Whether a job exists, runs, or has its books closed.
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
        /// Blocks in the segment that is open: 0 to 63.
        uint8 blocks;
        /// Entries in full segments.
        uint16 shut;
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
        /// Whether the rule finishes a weighted sum, so that rounds with more than `fanIn` entries have a tree of sums.
        bool isSum;
        /// `reopenings` of the round that was committed last: what it has again if its record is superseded.
        uint8 reopeningsBefore;
    }

    /// @notice A client of a job, in one slot.
    struct Client {
        /// Declared when joining: the bound of its weight; 0: has not joined.
        uint32 samples;
        /// The attempt of its latest submission.
        uint32 attempt;
        /// The low 160 bits of the EIP-712 hash of the struct `Update` of its latest submission, signed or not.
        uint160 digest;
        bool admitted;
        bool expelled;
    }

    /// @notice What an address has in a job.
    struct Account {
        /// Locked, slashed, and counted for committing, in wei.
        uint96 bond;
        /// What it has earned or been refunded, free to withdraw at any time, in wei.
        uint96 balance;
        /// The bond is locked until then: `challengeSeconds` after its last commit, reopening or superseding.
        uint40 lockedUntil;
        /// Proved to have committed a wrong model: never commits, reopens or supersedes here again.
        bool barred;
        /// A record of it was superseded and no later one has settled: it commits late, and its bond is locked.
        bool late;
        /// Open demands on its records, including void ones until `expire` ends them.
        uint32 demands;
        /// The round of its latest superseded record.
        uint32 lateRound;
    }

    /// @notice What is wrong with a signed entry.
    enum Fault {
        NotJoined,
        Weight,
        Signature
    }

    /// @notice A client's signature to join.
    struct JoinBySignature {
        /// Who joins.
        address client;
        /// The most samples that an update of this client may weigh, at most `maxWeight`.
        uint32 samples;
        /// A public key for encrypted or masked updates, or zero.
        bytes32 key;
        /// Until when the signature is valid, in seconds since 1970.
        uint256 deadline;
        /// 65 bytes: r, s, v; v is 27 or 28, and s in the lower half.
        bytes signature;
    }

    /// @notice What is wrong with a signature to join.
    enum JoinFault {
        Samples,
        NotAdmitted,
        Expired,
        Signature
    }

    /// @notice A demand for one chunk of a node of a commit.
    struct Demand {
        address demander;
        uint40 answerBy;
        /// How many times `demandDeposit` it cost.
        uint32 deposits;
        /// Whether its demander's announcement counted when it was made: then its expiry is rewarded.
        bool announced;
    }

    /// @notice What is known about a record, by its word, besides whether it stands.
    struct Mark {
        /// How many demands are open on it.
        uint32 demands;
        /// It was superseded and not proved wrong since: it can be demanded, answered and challenged as if it stood.
        bool superseded;
    }
}
