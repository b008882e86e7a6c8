// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title How the updates of a round become the next model, for one chunk of it.
/// @notice A rule is stateless, works on each parameter by itself, and has a twin in `galaxy_fl/aggregation` that
/// returns the same bytes. Participants know rules by the hash of their runtime code. Every rule is an `ISumRule` or an
/// `IChunkRule`.
/// @dev Warning: a job whose rule reverts or runs out of gas can't be challenged. Take part in no job whose rule you
/// don't know.
interface IAggregationRule {
    /// @notice What a rule is: it aggregates chunks (`IChunkRule`), it does so and always returns the round's model,
    /// or it finishes a weighted sum (`ISumRule`).
    enum Kind {
        Chunk,
        KeepsModel,
        Sum
    }

    /// @notice Thrown when the updates, the weights or the lengths of the chunks don't fit together.
    error MalformedChunks();
    /// @notice Thrown when the rule can't aggregate every number of updates from `minUpdates` to `maxUpdates` with
    /// these parameters.
    /// @param parameters The word of the job's terms.
    /// @param minUpdates The fewest updates of a commit.
    /// @param maxUpdates The most updates of a commit.
    error ParametersRefused(bytes32 parameters, uint256 minUpdates, uint256 maxUpdates);

    /// @notice What the rule is, for good.
    /// @return The kind.
    function kind() external view returns (Kind);

    /// @notice How many int32 a parameter of the model has, one after the other: what clients train comes first, then
    /// what the rule remembers of earlier rounds. 1 to 8. A parameter of an update or of a sum is one number for all
    /// rules.
    /// @return Lanes.
    function lanes() external view returns (uint256);

    /// @notice Refuses parameters with which some number of updates from `minUpdates` to `maxUpdates` has no aggregate.
    /// @param parameters The word of the job's terms.
    /// @param minUpdates The fewest updates of a commit.
    /// @param maxUpdates The most updates of a commit.
    function check(bytes32 parameters, uint256 minUpdates, uint256 maxUpdates) external view;

    /// @notice An upper bound of the gas that `aggregate` or `finish` needs, whatever the values are.
    /// @param updates How many updates are aggregated.
    /// @param chunkParameters Parameters per chunk.
    /// @return Gas.
    function gasFor(uint256 updates, uint256 chunkParameters) external view returns (uint256);
}

/// @title A rule that needs the chunk of every update at once.
/// @notice All chunks are consecutive little-endian int32, for each of a multiple of eight parameters one, or of the
/// model as many as it has lanes. The last chunk of a vector is padded with zeros; what becomes of the padding does not
/// matter.
interface IChunkRule is IAggregationRule {
    /// @notice Aggregates one chunk.
    /// @param parameters One word of the job's terms; its meaning is the rule's own.
    /// @param model The chunk of the round's model.
    /// @param updates The same chunk of every included update, in the order of submission.
    /// @param weights The number of samples that each update was trained on, at least 1; their sum is below 2**32.
    /// @return next The chunk of the next model, as long as `model`.
    function aggregate(
        bytes32 parameters,
        bytes calldata model,
        bytes[] calldata updates,
        uint32[] calldata weights
    ) external view returns (bytes memory next);
}

/// @title A rule that needs the weighted sum of the updates alone, whose partial sums many can check.
interface ISumRule is IAggregationRule {
    /// @notice Makes the next model of a weighted sum, for one chunk. Total: it reverts for no values, because a sum
    /// that somebody has committed to may be any.
    /// @param parameters One word of the job's terms; its meaning is the rule's own.
    /// @param model The chunk of the round's model, `lanes()` consecutive little-endian int32 for each of a multiple of
    /// eight parameters.
    /// @param sum The chunk of the sum of weight * update, a little-endian int64 for each of as many parameters.
    /// @param weight The sum of the weights.
    /// @return next The chunk of the next model, as long as `model`.
    function finish(
        bytes32 parameters,
        bytes calldata model,
        bytes calldata sum,
        uint256 weight
    ) external view returns (bytes memory next);
}
