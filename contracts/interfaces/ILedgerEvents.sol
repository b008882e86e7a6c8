// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedgerTypes} from "./ILedgerTypes.sol";

/// @title The ledger's events. Besides them only content is needed to follow, rebuild or audit a job.
interface ILedgerEvents is ILedgerTypes {
    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                     JOBS                                                     */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @notice Emitted when a job is registered.
    /// @param job The job's number.
    /// @param owner Who registered it.
    /// @param terms What the job is, for good.
    /// @param model The model that the first round starts from.
    /// @param keepsModel Whether the rule keeps the model, so that every commit names the root before it.
    /// @param isSum Whether the rule finishes a weighted sum.
    /// @param time When, in seconds since 1970.
    event JobRegistered(
        uint256 indexed job, address indexed owner, Terms terms, Model model, bool keepsModel, bool isSum, uint40 time
    );

    /// @notice Emitted when ether is added to a reward pool.
    /// @param job The job's number.
    /// @param funder Who paid.
    /// @param amount How much, in wei.
    event JobFunded(uint256 indexed job, address indexed funder, uint256 amount);

    /// @notice Emitted when the owner admits a client.
    /// @param job The job's number.
    /// @param client The address that may join.
    event ClientAdmitted(uint256 indexed job, address indexed client);

    /// @notice Emitted when the owner expels a client.
    /// @param job The job's number.
    /// @param client The address whose entries are no longer accepted.
    event ClientExpelled(uint256 indexed job, address indexed client);

    /// @notice Emitted when somebody registers a public key, as clients also do by `ClientJoined`.
    /// @param job The job's number.
    /// @param account Whose key it is.
    /// @param key The x coordinate of a point of secp256k1.
    event KeyRegistered(uint256 indexed job, address indexed account, bytes32 key);

    /// @notice Emitted when the owner shares a key that contents are sealed with.
    /// @param job The job's number.
    /// @param digest Names the key.
    /// @param wraps The key, encrypted for some of the members.
    event KeyShared(uint256 indexed job, bytes32 indexed digest, bytes wraps);

    /// @notice Emitted when a job becomes shorter.
    /// @param job The job's number.
    /// @param sender Who cancelled it.
    /// @param lastRound The round with which it ends now.
    /// @param time When, in seconds since 1970.
    event JobCancelled(uint256 indexed job, address indexed sender, uint32 lastRound, uint40 time);

    /// @notice Emitted when the books of a job are closed.
    /// @param job The job's number.
    /// @param owner The job's owner, who was credited with `rest`.
    /// @param root The root of the final model.
    /// @param rest What no record allots, in wei.
    event JobFinalized(uint256 indexed job, address indexed owner, bytes32 root, uint256 rest);

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                    ROUNDS                                                    */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @notice Emitted when a client joins.
    /// @param job The job's number.
    /// @param client Who joined.
    /// @param samples The most samples that an update of this client may weigh.
    /// @param key A public key for encrypted or masked updates, or zero.
    event ClientJoined(uint256 indexed job, address indexed client, uint32 samples, bytes32 key);

    /// @notice Emitted when entries are appended to the current attempt: blocks of `fanIn` entries, the last of what is
    /// left.
    /// @dev The round is the attempt's, and the clients are in the entries.
    /// @param job The job's number.
    /// @param attempt The attempt that the entries belong to.
    /// @param first The number of the first of these entries.
    /// @param closesAt When collecting ends, with these entries counted.
    /// @param entries The entries, packed, 88 bytes each.
    event UpdatesSubmitted(uint256 indexed job, uint32 indexed attempt, uint16 first, uint40 closesAt, bytes entries);

    /// @notice Emitted when a round is committed.
    /// @param job The job's number.
    /// @param attempt The attempt that ends with the commit; `record.attempt` differs from it after a rollback.
    /// @param server Who committed.
    /// @param record What was committed.
    /// @param nodes The nodes of the tree of sums, as `SumTree.sol` packs them; empty in a round that is flat.
    /// @param nodesContent The digest of the content id of a manifest of the nodes' contents; means nothing to the
    /// ledger.
    event RoundCommitted(
        uint256 indexed job,
        uint32 indexed attempt,
        address indexed server,
        Record record,
        bytes nodes,
        bytes32 nodesContent
    );

    /// @notice Emitted when a round collects again because nobody could or would commit.
    /// @param job The job's number.
    /// @param attempt The attempt that ends.
    /// @param sender Who reopened the round.
    /// @param round The round.
    /// @param time When, in seconds since 1970.
    event RoundReopened(uint256 indexed job, uint32 indexed attempt, address indexed sender, uint32 round, uint40 time);

    /// @notice Emitted when a commit is proved wrong: the record and all later ones are void.
    /// @dev The round's head and entries are those of the record again, and closed.
    /// @param job The job's number.
    /// @param attempt The new attempt.
    /// @param word The word of the record that was proved wrong.
    /// @param round The round that the job goes back to.
    /// @param time When, in seconds since 1970.
    event RoundReverted(uint256 indexed job, uint32 indexed attempt, bytes32 indexed word, uint32 round, uint40 time);

    /// @notice Emitted when a commit is superseded because nobody builds upon its model.
    /// @dev As `RoundReverted`, but the record can still be challenged, and its committer is late.
    /// @param job The job's number.
    /// @param attempt The new attempt.
    /// @param word The word of the superseded record.
    /// @param round The round that the job goes back to.
    /// @param server Who had committed.
    /// @param sender Who superseded the commit.
    /// @param time When, in seconds since 1970.
    event RoundSuperseded(
        uint256 indexed job,
        uint32 indexed attempt,
        bytes32 indexed word,
        uint32 round,
        address server,
        address sender,
        uint40 time
    );

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                    MONEY                                                     */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @notice Emitted when a record is settled: nothing can revert it any more.
    /// @param job The job's number.
    /// @param round The round that was settled.
    /// @param server The committer.
    /// @param serverAmount What the committer was credited with, in wei.
    /// @param clientAmount What each included entry can claim, in wei.
    /// @param closesAt When collecting ends in the current attempt, whose turns may begin anew with this.
    /// @param time When, in seconds since 1970.
    event RoundSettled(
        uint256 indexed job,
        uint32 indexed round,
        address indexed server,
        uint256 serverAmount,
        uint256 clientAmount,
        uint40 closesAt,
        uint40 time
    );

    /// @notice Emitted when entries of a settled round are credited.
    /// @param job The job's number.
    /// @param round The settled round.
    /// @param word Which 256 entries `entries` stands for.
    /// @param amount What each of them was credited with, in wei.
    /// @param entries Bit i is set if entry `256 * word + i` was credited.
    event RewardsClaimed(
        uint256 indexed job, uint32 indexed round, uint256 indexed word, uint256 amount, uint256 entries
    );

    /// @notice Emitted when an account adds to its bond.
    /// @param job The job's number.
    /// @param server The account.
    /// @param amount How much, in wei.
    event BondDeposited(uint256 indexed job, address indexed server, uint256 amount);

    /// @notice Emitted when an account takes its bond back.
    /// @param job The job's number.
    /// @param server The account.
    /// @param amount How much, in wei.
    event BondWithdrawn(uint256 indexed job, address indexed server, uint256 amount);

    /// @notice Emitted when an account withdraws its balance.
    /// @param job The job's number.
    /// @param account The account.
    /// @param amount How much, in wei.
    event BalanceWithdrawn(uint256 indexed job, address indexed account, uint256 amount);

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                  CHALLENGES                                                  */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @notice Emitted when somebody demands that a chunk is opened.
    /// @param job The job's number.
    /// @param word The word of the record.
    /// @param demander Who demands.
    /// @param round The record's round.
    /// @param node The node's number.
    /// @param index The chunk's index.
    /// @param answerBy When the demand expires.
    /// @param announced Whether the demander's announcement counts, so that an expiry is rewarded.
    /// @param deposit What the demand keeps, in wei.
    /// @param excess What was sent beyond that and credited to the demander, in wei.
    event ChunkDemanded(
        uint256 indexed job,
        bytes32 indexed word,
        address indexed demander,
        uint32 round,
        uint256 node,
        uint256 index,
        uint40 answerBy,
        bool announced,
        uint256 deposit,
        uint256 excess
    );

    /// @notice Emitted when a demand is answered.
    /// @param job The job's number.
    /// @param word The word of the record.
    /// @param sender Who answered.
    /// @param round The record's round.
    /// @param node The node's number.
    /// @param index The chunk's index.
    /// @param paid Who was credited with `deposit`.
    /// @param deposit The demand's deposit, in wei.
    /// @param chunk The chunk of the node, or for node 0 of the committed model, and its path.
    event ChunkAnswered(
        uint256 indexed job,
        bytes32 indexed word,
        address indexed sender,
        uint32 round,
        uint256 node,
        uint256 index,
        address paid,
        uint256 deposit,
        bytes chunk
    );

    /// @notice Emitted when a demand ends without an answer.
    /// @dev A `BondSlashed` comes with it unless the record was void.
    /// @param job The job's number.
    /// @param word The word of the record.
    /// @param demander Who had demanded and was credited with `deposit`.
    /// @param round The record's round.
    /// @param node The node's number.
    /// @param index The chunk's index.
    /// @param deposit The demand's deposit, in wei.
    event DemandExpired(
        uint256 indexed job,
        bytes32 indexed word,
        address indexed demander,
        uint32 round,
        uint256 node,
        uint256 index,
        uint256 deposit
    );

    /// @notice Emitted when a committer loses its bond and is barred.
    /// @dev A `RoundReverted` comes with it unless the record was superseded.
    /// @param job The job's number.
    /// @param word The word of the record that was proved wrong.
    /// @param server The committer.
    /// @param amount What it lost, in wei.
    /// @param finder Who proved it.
    /// @param reward What the finder was credited with, in wei; the rest is burned.
    event BondSlashed(
        uint256 indexed job,
        bytes32 indexed word,
        address indexed server,
        uint256 amount,
        address finder,
        uint256 reward
    );
}
