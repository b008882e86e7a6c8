// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedgerErrors} from "./ILedgerErrors.sol";
import {ILedgerEvents} from "./ILedgerEvents.sol";

/// @title The ledger of federated learning jobs: what every round was made of, and who answers for it.
/// @notice The structs are in `ILedgerTypes.sol`, the events in `ILedgerEvents.sol`, the errors in `ILedgerErrors.sol`.
/// @dev Two byte strings are packed, not ABI-encoded. `submissions` shows entries of an attempt; `Submissions.sol`
/// describes it. `openings` opens one chunk of everything that a commit is made of; `IOpeningVerifier.sol` describes
/// it.
///
/// The life of a round: collecting (`submitUpdates`, `submitUpdate`) until `closesAt`; `commitRound`; the record's window of
/// `challengeSeconds` (`challenge`, `demand`, `answer`, `expire`); `settle`, in the order of rounds; `claim`. Rounds
/// above `settled` can still be reverted; nothing at or below it ever changes.
interface IGalaxyLedger is ILedgerEvents, ILedgerErrors {
    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                     JOBS                                                     */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @notice Registers a job and opens its first round; the value sent is the reward pool.
    /// @dev Warning: the ledger can't know whether `initial` exists or whether the job document agrees with the terms.
    /// Clients check it before they join.
    /// @param terms What the job is, for good.
    /// @param initial The model that the first round starts from.
    /// @return job The job's number.
    function registerJob(Terms calldata terms, Model calldata initial) external payable returns (uint256 job);

    /// @notice Adds to the reward pool; refused once all rounds are committed, or the job is cancelled.
    /// @param job The job's number.
    function fund(uint256 job) external payable;

    /// @notice Admits clients to a job that is not open. Admitting twice does nothing.
    /// @param job The job's number.
    /// @param clients The addresses that may join.
    function admit(uint256 job, address[] calldata clients) external;

    /// @notice Accepts no more entries of that address, for good. Those that are in stay.
    /// @param job The job's number.
    /// @param client The address.
    function expel(uint256 job, address client) external;

    /// @notice Registers the public key that the caller's content keys are to be wrapped for; the latest counts. Clients
    /// may name theirs as they join.
    /// @dev Warning: the ledger can't know whether the key is one, or whether the caller has its secret.
    /// @param job The job's number.
    /// @param key The x coordinate of a point of secp256k1.
    function registerKey(uint256 job, bytes32 key) external;

    /// @notice Shares a key that contents of the job are sealed with, by its owner.
    /// @dev Warning: the ledger can't know whether a wrap has the key in it; whoever opens one compares the digest.
    /// @param job The job's number.
    /// @param digest Names the key; one that was not shared before begins a new epoch.
    /// @param wraps The key, encrypted for some of the members; means nothing to the ledger.
    function shareKey(uint256 job, bytes32 digest, bytes calldata wraps) external;

    /// @notice Makes a job shorter, once: it ends with the current round, or the highest that was ever committed.
    /// Everything else continues as before. By the owner at any time; by anyone when the job is idle and commits are
    /// not refused because of `maxUnsettled`.
    /// @param job The job's number.
    function cancelJob(uint256 job) external;

    /// @notice Closes the books and credits the owner with what no record allots: once the last round is settled, or,
    /// in a cancelled job, once all standing records are settled and the job is idle.
    /// @param job The job's number.
    function finalizeJob(uint256 job) external;

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                    ROUNDS                                                    */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @notice Joins a job, once.
    /// @dev Warning: in an open job one person can join with many addresses.
    /// @param job The job's number.
    /// @param samples The most samples that an update of this client may weigh, at most `maxWeight`.
    /// @param key A public key for encrypted or masked updates, or zero.
    function join(uint256 job, uint32 samples, bytes32 key) external;

    /// @notice Lets clients join by their signatures (EIP-712) of `Join(uint256 job,uint32 samples,bytes32 key,uint256
    /// deadline)`, whoever sends them. The domain: name `Galaxy`, version `2`, this chain, this ledger. Clients that
    /// have joined already or are expelled are left out; a join that can't be accepted reverts the call.
    /// @dev Contracts can't sign (EIP-1271): they send their own transactions.
    /// @param job The job's number.
    /// @param joins Who joins, and with what.
    function joinBySignatures(uint256 job, JoinBySignature[] calldata joins) external;

    /// @notice Submits updates that their clients have signed (EIP-712): `Update(uint256 job,uint32 attempt,bytes32
    /// model,bytes32 commitment,bytes32 content,uint32 weight)`. Anyone may send them. Entries of clients that are in
    /// already or expelled are left out, and those for which there is no room; an entry that can never be accepted
    /// reverts the call. What is accepted is cut into blocks of `fanIn`; if nothing is, nothing happens.
    /// @param job The job's number.
    /// @param attempt The current attempt.
    /// @param model The root of the model that the updates were trained on.
    /// @param entries At least one entry, packed, 88 bytes each.
    /// @param signatures As many signatures, 65 bytes each.
    function submitUpdates(
        uint256 job,
        uint32 attempt,
        bytes32 model,
        bytes calldata entries,
        bytes calldata signatures
    ) external;

    /// @notice Submits an update to an attempt on the model with that root, once. The very same submission again does
    /// nothing.
    /// @dev Warning: whether the content exists shows only later; a client that never reveals can be excluded.
    /// @param job The job's number.
    /// @param attempt The current attempt.
    /// @param model The root of the model that the update was trained on.
    /// @param update The update.
    function submitUpdate(uint256 job, uint32 attempt, bytes32 model, Update calldata update) external;

    /// @notice Commits the next model and opens the next round.
    /// @dev Who may commit when: the named server from `closesAt`, others from `closesAt + aggregateSeconds`, or from
    /// `closesAt` where no server is named, it is barred or late, or the attempt follows a rollback; an account that is
    /// late from `closesAt + 3 * aggregateSeconds`, and not to an attempt that follows a rollback.
    /// Warning: a false exclusion is visible and, before `closesAt + 2 * aggregateSeconds`, bounded by `maxExcluded`,
    /// not prevented.
    /// @param job The job's number.
    /// @param attempt The current attempt.
    /// @param head The head that was aggregated.
    /// @param next The next model.
    /// @param excluded The entries that were left out, as in `Record`.
    /// @param nodes The nodes of the tree of sums, packed as `SumTree.sol` describes; none in a round that is flat.
    /// @param nodesContent The digest of the content id of a manifest of the nodes' contents.
    /// @param salt The salt of the caller's announcement of keccak256(abi.encode(sender, salt, head, next.root)),
    /// without which a commit by another than the named server earns nothing; or zero.
    function commitRound(
        uint256 job,
        uint32 attempt,
        bytes32 head,
        Model calldata next,
        bytes calldata excluded,
        bytes calldata nodes,
        bytes32 nodesContent,
        bytes32 salt
    ) external;

    /// @notice Collects again on the same model, because nobody could or would commit: from
    /// `closesAt + 4 * aggregateSeconds`, by any account with a bond, which is locked as after a commit.
    /// @dev Every further attempt of a round collects for twice as long.
    /// @param job The job's number.
    /// @param attempt The current attempt, which ends.
    /// @param head Its head.
    function reopenRound(uint256 job, uint32 attempt, bytes32 head) external;

    /// @notice Goes back to the round of the newest commit, `idleSeconds` after it, because nobody builds upon it: its
    /// model is withheld. Nobody is slashed, but its committer is late. By any other account with a bond, which is
    /// locked as after a commit.
    /// @dev Warning: the commit of an honest server can be superseded where clients need longer than `idleSeconds`; and
    /// the last round's model can be withheld.
    /// @param job The job's number.
    /// @param record The newest commit's record.
    function supersede(uint256 job, Record calldata record) external;

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                    MONEY                                                     */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @notice Settles the record of round `settled + 1`: once its window is over, no demand on it is open, and it is
    /// built upon, or of the last round. Credits its committer.
    /// @param job The job's number.
    /// @param record The record.
    function settle(uint256 job, Record calldata record) external;

    /// @notice Credits the included entries that are shown and have not been credited, whoever calls; settles the
    /// record first if it is its turn.
    /// @dev Rounding dust stays in the ledger.
    /// @param job The job's number.
    /// @param record The record.
    /// @param submissions Leads to the record's head and shows the entries in question; see `Submissions.sol`.
    function claim(uint256 job, Record calldata record, bytes calldata submissions) external;

    /// @notice Pays out the caller's balance.
    /// @param job The job's number.
    function withdraw(uint256 job) external;

    /// @notice Pays out accounts' balances, each to its account, whoever calls: their owners may have no ether for gas.
    /// Accounts that have none are left out; if none has any, it reverts.
    /// @dev Warning: an account may be a contract, which is called with all the gas that is left. One that refuses its
    /// ether reverts the call.
    /// @param job The job's number.
    /// @param accounts The accounts.
    function withdrawFor(uint256 job, address[] calldata accounts) external;

    /// @notice Adds to the caller's bond. One bond answers for all commits of its owner in the job.
    /// @param job The job's number.
    function depositBond(uint256 job) external payable;

    /// @notice Pays out the caller's bond: `challengeSeconds` after its last commit, reopening or superseding, with no
    /// demand open on any of its records, and not while it is late in a job that is not final.
    /// @param job The job's number.
    function withdrawBond(uint256 job) external;

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                  CHALLENGES                                                  */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @notice Announces what the caller will show later, for any job.
    /// @dev It counts from the next block on for an hour. It emits no event, because it tells nobody else anything.
    /// @param digest For a finding keccak256(abi.encode(sender, salt, word, node, index)), `word` being that of the record;
    /// for a commit keccak256(abi.encode(sender, salt, head, next.root)).
    function announce(bytes32 digest) external;

    /// @notice Proves one chunk of a node of a commit wrong, as the caller has announced. A quarter of the committer's bond goes
    /// to the caller, the rest is burned; the job goes back to that round, with the same entries, and anybody with a
    /// bond may commit at once.
    /// @param job The job's number.
    /// @param record The commit's record.
    /// @param node The node's number; 0 is the step to the next model.
    /// @param index The chunk's index.
    /// @param salt The announcement's salt.
    /// @param openings Opens the chunk; see `IOpeningVerifier.sol`.
    function challenge(
        uint256 job,
        Record calldata record,
        uint256 node,
        uint256 index,
        bytes32 salt,
        bytes calldata openings
    ) external;

    /// @notice Demands that a chunk is opened. Costs `demandDeposit` times one more than the demands that are open on
    /// that committer; what is sent beyond goes to the caller's balance.
    /// @dev Warning: an unannounced demand for the same chunk, made before, keeps the finder from the reward.
    /// @param job The job's number.
    /// @param record The commit's record.
    /// @param node The node's number; 0 is the step to the next model.
    /// @param index The chunk's index.
    /// @param salt The salt of an announcement of this finding, or zero. Whether the announcement counts now decides
    /// whether an expiry is rewarded.
    function demand(uint256 job, Record calldata record, uint256 node, uint256 index, bytes32 salt) external payable;

    /// @notice Answers a demand, by anyone: with the same openings as for a challenge, which have to prove the chunk
    /// right. The deposit goes to the committer in the first half of `answerSeconds`, later to the caller.
    /// @param job The job's number.
    /// @param record The commit's record.
    /// @param node The node's number; 0 is the step to the next model.
    /// @param index The chunk's index.
    /// @param openings Opens the chunk; see `IOpeningVerifier.sol`.
    function answer(uint256 job, Record calldata record, uint256 node, uint256 index, bytes calldata openings) external;

    /// @notice Ends a demand that was not answered in time: the same as a challenge, the demander being the finder; an
    /// unannounced one gets its deposit back and no reward. Where the record is void, the deposit goes back at once.
    /// @param job The job's number.
    /// @param record The commit's record.
    /// @param node The node's number; 0 is the step to the next model.
    /// @param index The chunk's index.
    function expire(uint256 job, Record calldata record, uint256 node, uint256 index) external;

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                    VIEWS                                                     */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @notice How many jobs exist; they are numbered from 1.
    /// @return The number of the newest job.
    function jobs() external view returns (uint256);

    /// @notice The contract that judges openings: the first that this one created, so that its address is known without
    /// being part of the code.
    /// @return The verifier's address.
    function verifier() external view returns (address);

    /// @notice The contract whose code takes jobs and signed entries in: the second that this one created.
    /// @return The intake's address.
    function intake() external view returns (address);

    /// @notice What the ledger knows about a job.
    /// @param job The job's number.
    /// @return terms What the job is.
    /// @return owner Who registered it.
    /// @return state Where it stands.
    /// @return root The root of its current model.
    /// @return head The head of the current attempt.
    /// @return pool What was paid into its pool, in wei.
    /// @return allotted What the standing records allot of the pool, in wei.
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
        );

    /// @notice A client of a job.
    /// @param job The job's number.
    /// @param client The client's address.
    /// @return What the ledger knows about it; all zero if the address has not joined and was not admitted.
    function clientOf(uint256 job, address client) external view returns (Client memory);

    /// @notice What an address has in a job.
    /// @param job The job's number.
    /// @param account The address.
    /// @return Its bond, balance and standing.
    function accountOf(uint256 job, address account) external view returns (Account memory);

    /// @notice The word of the record that stands for a round.
    /// @param job The job's number.
    /// @param round The round.
    /// @return keccak256 of the record's ABI encoding; zero if none stands.
    function recordOf(uint256 job, uint32 round) external view returns (bytes32);

    /// @notice What is known about a record by its word.
    /// @param job The job's number.
    /// @param word The record's word.
    /// @return Its open demands, and whether it was superseded.
    function markOf(uint256 job, bytes32 word) external view returns (Mark memory);

    /// @notice The demand that is open for a chunk of the record with that word.
    /// @param job The job's number.
    /// @param word The record's word.
    /// @param node The node's number; 0 is the step to the next model.
    /// @param index The chunk's index.
    /// @return The demand; all zero if none is open.
    function demandOf(uint256 job, bytes32 word, uint256 node, uint256 index) external view returns (Demand memory);

    /// @notice Which entries of a settled round were credited.
    /// @param job The job's number.
    /// @param round The round.
    /// @param word Which 256 entries.
    /// @return Bit i is set if entry 256 * `word` + i was credited.
    function claimedOf(uint256 job, uint32 round, uint256 word) external view returns (uint256);

    /// @notice When an address last announced a digest.
    /// @param sender The address.
    /// @param digest The digest.
    /// @return Seconds since 1970; 0 if never.
    function announcedAt(address sender, bytes32 digest) external view returns (uint40);
}
