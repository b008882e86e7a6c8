// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedgerTypes} from "./ILedgerTypes.sol";

/// @title The ledger's errors, those of the verifier among them.
interface ILedgerErrors is ILedgerTypes {
    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                     JOBS                                                     */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @notice Thrown when no job has that number.
    /// @param job The number.
    error UnknownJob(uint256 job);

    /// @notice Thrown when a term is out of its bounds.
    /// @param term The term's name.
    error InvalidTerm(string term);

    /// @notice Thrown when an answer would be larger or cost more gas than a transaction can: choose smaller chunks or
    /// fewer `maxUpdates`.
    /// @param size Bytes of the largest answer.
    /// @param sizeAllowed Bytes that an answer may have.
    /// @param gasNeeded Gas of the most expensive answer.
    /// @param gasAllowed Gas that an answer may need.
    error AnswerTooLarge(uint256 size, uint256 sizeAllowed, uint256 gasNeeded, uint256 gasAllowed);

    /// @notice Thrown when the job accepts no more of this: it is final, or all of its rounds are committed.
    /// @param job The job's number.
    /// @param status Where the job stands.
    error JobNotRunning(uint256 job, Status status);

    /// @notice Thrown when the job was cancelled before.
    /// @param job The job's number.
    error AlreadyCancelled(uint256 job);

    /// @notice Thrown when the job is not idle yet.
    /// @param job The job's number.
    /// @param idleAt When it will be idle if nothing happens.
    error JobNotIdle(uint256 job, uint40 idleAt);

    /// @notice Thrown when rounds of the job are not settled: the last one, or a standing one of a cancelled job.
    /// @param job The job's number.
    /// @param settled The last settled round.
    /// @param required The round that has to be settled.
    error JobNotSettled(uint256 job, uint32 settled, uint32 required);

    /// @notice Thrown when somebody other than the owner calls.
    /// @param caller Who calls.
    /// @param owner The job's owner.
    error NotOwner(address caller, address owner);

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                    ROUNDS                                                    */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @notice Thrown when the address may not join.
    /// @param client The address.
    error NotAdmitted(address client);

    /// @notice Thrown when the owner has expelled the client.
    /// @param client The client.
    error Expelled(address client);

    /// @notice Thrown when the client has joined before.
    /// @param client The client.
    error AlreadyJoined(address client);

    /// @notice Thrown when a client declares no samples, or more than `maxWeight`.
    /// @param samples What it declares.
    /// @param maxWeight The most that the job allows.
    error SamplesOutOfRange(uint32 samples, uint32 maxWeight);

    /// @notice Thrown when the address has not joined.
    /// @param client The address.
    error NotJoined(address client);

    /// @notice Thrown when the attempt that was named is not the current one.
    /// @param named The attempt that was named.
    /// @param current The current attempt.
    error WrongAttempt(uint32 named, uint32 current);

    /// @notice Thrown when the attempt stands on another model than the one that was named.
    /// @param named The root that was named.
    /// @param current The root of the current model.
    error WrongModel(bytes32 named, bytes32 current);

    /// @notice Thrown when the client has another submission in this attempt.
    /// @param attempt The attempt.
    error AlreadySubmitted(uint32 attempt);

    /// @notice Thrown when updates are no longer accepted.
    /// @param closedAt When collecting ended.
    error RoundClosed(uint40 closedAt);

    /// @notice Thrown when updates are still accepted.
    /// @param closesAt When collecting ends.
    error RoundOpen(uint40 closesAt);

    /// @notice Thrown when a weight is 0 or more than the client declared.
    /// @param weight The update's weight.
    /// @param declared What the client declared when it joined.
    error WeightOutOfRange(uint32 weight, uint32 declared);

    /// @notice Thrown when entries and signatures are not as many, are none, or have other lengths than 88 and 65 bytes.
    /// @param entries Bytes of all entries.
    /// @param signatures Bytes of all signatures.
    error MalformedEntries(uint256 entries, uint256 signatures);

    /// @notice Thrown when a signed entry can never be accepted: nothing of the call is.
    /// @param place Its place among the entries of the call, from 0.
    /// @param client Its client.
    /// @param fault What is wrong with it.
    error WrongEntry(uint256 place, address client, Fault fault);

    /// @notice Thrown when a signed join can never be accepted, or not before its client is admitted: nobody of the
    /// call joins.
    /// @param place Its place in the call, from 0.
    /// @param client Its client.
    /// @param fault What is wrong with it.
    error WrongJoin(uint256 place, address client, JoinFault fault);

    /// @notice Thrown when the head that was named is not the current one: other updates are in.
    /// @param named The head that was named.
    /// @param current The current head.
    error HeadChanged(bytes32 named, bytes32 current);

    /// @notice Thrown when as many rounds as `maxUnsettled` are committed but not settled.
    /// @param unsettled How many there are.
    /// @param allowed The job's `maxUnsettled`.
    error TooManyUnsettled(uint32 unsettled, uint32 allowed);

    /// @notice Thrown when it is not the caller's turn yet.
    /// @param caller Who calls.
    /// @param openFrom When its turn begins.
    error NotYet(address caller, uint40 openFrom);

    /// @notice Thrown when the caller's bond is below the job's.
    /// @param bond The caller's bond, in wei.
    /// @param required The bond that the job asks for, in wei.
    error BondTooSmall(uint96 bond, uint96 required);

    /// @notice Thrown when the address was proved wrong in this job.
    /// @param server The address.
    error Barred(address server);

    /// @notice Thrown when the bit map of excluded entries has another length, or a bit beyond the last entry.
    /// @param length Bytes of the bit map.
    /// @param updates Entries of the attempt.
    error MalformedExcluded(uint256 length, uint256 updates);

    /// @notice Thrown when more entries are excluded than the terms allow at this time.
    /// @param excluded How many are excluded.
    /// @param allowed The job's `maxExcluded`.
    /// @param allFrom From when on any number may be excluded.
    error TooManyExcluded(uint256 excluded, uint256 allowed, uint40 allFrom);

    /// @notice Thrown when too few updates are left for a commit.
    /// @param left How many are left.
    /// @param required The job's `minUpdates`.
    error TooFewUpdates(uint256 left, uint256 required);

    /// @notice Thrown when the nodes have another length than the tree of sums of so many updates.
    /// @param length Bytes of the nodes.
    /// @param required Bytes that they should have.
    error MalformedNodes(uint256 length, uint256 required);

    /// @notice Thrown when the weight of a node above the first level is not the sum of its children's weights.
    /// @param node The node's number, from 1.
    /// @param weight Its weight.
    /// @param required The sum.
    error WrongNodeWeight(uint256 node, uint256 weight, uint256 required);

    /// @notice Thrown when the rule keeps the model and the commit names another root.
    /// @param named The root that was named.
    /// @param root The root of the current model.
    error ModelNotKept(bytes32 named, bytes32 root);

    /// @notice Thrown when the record is neither that of a commit that stands and is not settled, nor a superseded one.
    /// @param job The job's number.
    /// @param round The record's round.
    error UnknownRecord(uint256 job, uint32 round);

    /// @notice Thrown when the record can't be superseded: it is the last round's, settled, not the newest, built upon,
    /// or the caller's own.
    /// @param round The record's round.
    error NotSupersedable(uint32 round);

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                    MONEY                                                     */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @notice Thrown when the record is of another round than the one to be settled next.
    /// @param round The record's round.
    /// @param required The round to be settled next.
    error WrongRound(uint32 round, uint32 required);

    /// @notice Thrown when nothing was built upon the record yet.
    /// @param round The record's round.
    /// @param builtAt From when on it counts as built upon.
    error NotBuiltUpon(uint32 round, uint40 builtAt);

    /// @notice Thrown when the value sent is out of range: below what is asked for, or more than a slot keeps.
    /// @param sent The value sent, in wei.
    /// @param required What is asked for, or the most that a slot keeps, in wei.
    error WrongValue(uint256 sent, uint256 required);

    /// @notice Thrown when the bond is locked because a record of the account was superseded: until a later one of its
    /// settles, or the job is final.
    /// @param account The account.
    /// @param round The round of the superseded record.
    error BondLate(address account, uint32 round);

    /// @notice Thrown when there is nothing to pay out.
    /// @param account The account.
    error NothingToPay(address account);

    /// @notice Thrown when the receiver refuses ether.
    /// @param receiver The receiver.
    error PaymentRefused(address receiver);

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                                  CHALLENGES                                                  */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @notice Thrown when the time for it is over.
    /// @param endedAt When it ended.
    error WindowOver(uint40 endedAt);

    /// @notice Thrown when the time for it has not come.
    /// @param endsAt When it comes.
    error WindowOpen(uint40 endsAt);

    /// @notice Thrown when the commit has no node with that number.
    /// @param node The number.
    /// @param nodes How many it has, besides node 0.
    error NoSuchNode(uint256 node, uint256 nodes);

    /// @notice Thrown when no chunk has that index.
    /// @param index The index.
    /// @param chunks How many chunks a vector has.
    error NoSuchChunk(uint256 index, uint256 chunks);

    /// @notice Thrown when the openings have another length than the record and the job ask for.
    /// @param length Bytes of the openings; behind nodes and submissions where these are there.
    /// @param required Bytes that are asked for.
    error MalformedOpenings(uint256 length, uint256 required);

    /// @notice Thrown when the shown nodes don't lead to the record's hash of them.
    error WrongNodes();

    /// @notice Thrown when an opening leads to another root than the record's or the node's, or, for an update, to
    /// another commitment.
    /// @param number Which opening, from 0, in the order that `IOpeningVerifier.sol` describes.
    error WrongOpening(uint256 number);

    /// @notice Thrown when submissions are cut off, or not in the form that `Submissions.sol` describes.
    /// @param position The byte where that shows.
    error MalformedSubmissions(uint256 position);

    /// @notice Thrown when the submissions don't lead to the record's head.
    /// @param computed The head that they lead to.
    /// @param head The record's head.
    error WrongSubmissions(bytes32 computed, bytes32 head);

    /// @notice Thrown when openings don't show all entries that the node stands for.
    /// @param shown How many of them they show.
    /// @param required How many there are.
    error SubmissionsHidden(uint256 shown, uint256 required);

    /// @notice Thrown when the rule returns a chunk of another length.
    /// @param length Bytes of that chunk.
    error RuleMisbehaved(uint256 length);

    /// @notice Thrown when the caller's announcement of the finding does not count: it has to be in an earlier block,
    /// and at most an hour old.
    /// @param digest What should have been announced.
    /// @param announced When it was; 0 if never.
    error NotAnnounced(bytes32 digest, uint40 announced);

    /// @notice Thrown when a challenged chunk is right.
    /// @param round The record's round.
    /// @param node The node's number.
    /// @param index The chunk's index.
    error CommitIsRight(uint32 round, uint256 node, uint256 index);

    /// @notice Thrown when the answer itself shows that the commit is wrong.
    /// @param round The record's round.
    /// @param node The node's number.
    /// @param index The chunk's index.
    error CommitIsWrong(uint32 round, uint256 node, uint256 index);

    /// @notice Thrown when a demand is open for this chunk already.
    /// @param round The record's round.
    /// @param node The node's number.
    /// @param index The chunk's index.
    error AlreadyDemanded(uint32 round, uint256 node, uint256 index);

    /// @notice Thrown when no such demand is open.
    /// @param round The record's round.
    /// @param node The node's number.
    /// @param index The chunk's index.
    error NotDemanded(uint32 round, uint256 node, uint256 index);

    /// @notice Thrown when demands are open.
    /// @param demands How many.
    error DemandsOpen(uint256 demands);
}
