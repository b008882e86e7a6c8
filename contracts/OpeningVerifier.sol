// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAggregationRule, IChunkRule, ISumRule} from "./interfaces/IAggregationRule.sol";
import {ILedgerErrors} from "./interfaces/ILedgerErrors.sol";
import {ILedgerTypes} from "./interfaces/ILedgerTypes.sol";
import {IOpeningVerifier} from "./interfaces/IOpeningVerifier.sol";
import {Bits} from "./libraries/Bits.sol";
import {ChunkTree} from "./libraries/ChunkTree.sol";
import {Int64Lanes} from "./libraries/Int64Lanes.sol";
import {Submissions} from "./libraries/Submissions.sol";
import {SumTree} from "./libraries/SumTree.sol";
import {Sums} from "./libraries/Sums.sol";

/// @title OpeningVerifier
/// @notice What a ledger judges without looking at its storage: whether a chunk of a commit or of a node is right, and
/// whether the terms of a job let it be challenged.
/// @dev Read `IOpeningVerifier.sol` first. It is a contract of its own because one contract can't hold both.
contract OpeningVerifier is IOpeningVerifier {
    using Bits for bytes;
    using Submissions for uint256;

    /// @dev How much of a transaction an answer may use: nodes accept 131,072 bytes and, since EIP-7825, 16,777,216
    /// gas.
    uint256 private constant MOST_BYTES = 120_000;
    uint256 private constant MOST_GAS = 15_000_000;
    uint256 private constant MOST_UPDATES = 4096;

    uint256 private constant MOST_LANES = 8;

    /// @dev Sizes of openings: of an update's (`small`), of a sum's (`large`), and of a model's (`model`), a chunk of
    /// which has `modelChunk` bytes. These two are for node 0 alone.
    struct Sizes {
        uint256 chunk;
        uint256 chunks;
        uint256 path;
        uint256 small;
        uint256 large;
        uint256 modelChunk;
        uint256 model;
    }

    /// @inheritdoc IOpeningVerifier
    function isRight(
        Question calldata question,
        ILedgerTypes.Record calldata record,
        bytes calldata openings
    ) external view returns (bool) {
        if (openings.length < 8) revert ILedgerErrors.MalformedOpenings(openings.length, 8);
        uint256 submissionsAt = 8 + uint256(uint32(bytes4(openings)));
        uint256 openedAt = submissionsAt + uint32(bytes4(openings[4:]));
        if (openings.length < openedAt) revert ILedgerErrors.MalformedOpenings(openings.length, openedAt);
        bytes calldata nodes = openings[8:submissionsAt];
        bytes calldata submissions = openings[submissionsAt:openedAt];
        bytes calldata opened = openings[openedAt:];

        Sizes memory sizes;
        sizes.chunk = question.chunkParameters * 4;
        sizes.chunks = (question.parameters + question.chunkParameters - 1) / question.chunkParameters;
        sizes.path = 32 * ChunkTree.depth(sizes.chunks);
        sizes.small = sizes.chunk + sizes.path;
        sizes.large = 2 * sizes.chunk + sizes.path;

        if (question.node == 0) {
            uint256 width = 4 * IAggregationRule(question.rule).lanes();
            sizes.modelChunk = question.chunkParameters * width;
            sizes.model = sizes.modelChunk + sizes.path;
            bytes memory next = record.nodesHash == 0
                ? _flat(question, record, submissions, opened, sizes)
                : _finished(question, record, nodes, opened, sizes);
            if (next.length != sizes.modelChunk) revert ILedgerErrors.RuleMisbehaved(next.length);
            return _matches(next, opened[:sizes.model], width, question, sizes);
        }
        SumTree.Place memory place = SumTree.locate(record.updates, question.fanIn, question.node);
        (bytes calldata node, bytes calldata children) = _nodes(record, nodes, place, question.node - 1);
        int256[] memory sums;
        if (place.level == 1) {
            (uint256[] memory entries, uint256 included, uint256 weight) =
                _entries(question, record, submissions, place);
            if (weight != SumTree.weightOf(node, 0)) return false;
            _exactly(opened, sizes.large + included * sizes.small);
            _opens(opened[:sizes.large], 2 * sizes.chunk, question.index, SumTree.rootOf(node, 0), 0);
            sums = _summed(question, entries, included, opened[sizes.large:], 1, sizes);
        } else {
            bool fits;
            _exactly(opened, (1 + place.end - place.first) * sizes.large);
            _opens(opened[:sizes.large], 2 * sizes.chunk, question.index, SumTree.rootOf(node, 0), 0);
            (sums, fits) = _gathered(question, children, opened, sizes);
            if (!fits) return false;
        }
        return _matches(Int64Lanes.pack(sums), opened[:sizes.large], 8, question, sizes);
    }

    /// @inheritdoc IOpeningVerifier
    function nodesHash(bytes calldata nodes, uint256 entries, uint256 fanIn) external pure returns (bytes32) {
        return SumTree.digest(nodes, entries, fanIn);
    }

    /// @inheritdoc IOpeningVerifier
    function checkTerms(ILedgerTypes.Terms calldata terms) external view returns (bool keepsModel, bool isSum) {
        bool development = block.chainid == 1337 || block.chainid == 31337;
        _require(terms.rounds != 0 && terms.rounds <= 2 ** 31, "rounds");
        _require(terms.minUpdates != 0 && terms.minUpdates <= terms.maxUpdates, "minUpdates");
        _require(terms.maxUpdates <= MOST_UPDATES, "maxUpdates");
        _require(terms.maxExcluded <= terms.maxUpdates, "maxExcluded");
        _require(terms.maxWeight != 0 && uint256(terms.maxWeight) * terms.maxUpdates < 2 ** 32, "maxWeight");
        _require(terms.serverShare <= 5000, "serverShare");
        _require(terms.maxUnsettled != 0, "maxUnsettled");
        _require(terms.bond != 0, "bond");

        uint256 size = terms.chunkParameters;
        _require(size != 0 && size <= 256 && size % 8 == 0, "chunkParameters");
        uint256 fanIn = terms.fanIn;
        _require(fanIn >= 2 && fanIn <= 64 && size * fanIn <= 16_384, "fanIn");
        // More than a chunk, so that a tree has a node above its leaves; and at most 40 levels.
        _require(terms.parameters > size && terms.parameters <= 2 ** 40, "parameters");
        uint256 depth = ChunkTree.depth((terms.parameters + size - 1) / size);

        _require(terms.collectSeconds <= 30 days, "collectSeconds");
        _require(
            terms.aggregateSeconds >= (development ? 1 : 60) && terms.aggregateSeconds <= 30 days, "aggregateSeconds"
        );
        _require(terms.answerSeconds >= (development ? 1 : 5 minutes), "answerSeconds");
        // A search that begins in the first half of the window ends within it.
        _require(
            terms.challengeSeconds >= 4 * (depth + 5) * terms.answerSeconds && terms.challengeSeconds <= 2 ** 31,
            "challengeSeconds"
        );
        _require(
            terms.idleSeconds >= uint256(terms.collectSeconds) + 4 * uint256(terms.aggregateSeconds)
                && terms.idleSeconds <= 2 ** 31,
            "idleSeconds"
        );

        _require(terms.rule.code.length != 0, "rule");
        IAggregationRule rule = IAggregationRule(terms.rule);
        rule.check(terms.ruleParameters, terms.minUpdates, terms.maxUpdates);
        IAggregationRule.Kind kind = rule.kind();
        isSum = kind == IAggregationRule.Kind.Sum;
        // A tree of at most four levels; trees of other rules are flat.
        _require(!isSum || terms.maxUpdates <= fanIn ** 4, "maxUpdates");
        uint256 lanes = rule.lanes();
        _require(lanes != 0 && lanes <= MOST_LANES, "rule");
        (uint256 bytesOf, uint256 gasOf) = _answer(terms.maxUpdates, fanIn, isSum, size, depth, lanes);
        gasOf += rule.gasFor(terms.maxUpdates, size);
        if (bytesOf > MOST_BYTES || gasOf > MOST_GAS) {
            revert ILedgerErrors.AnswerTooLarge(bytesOf, MOST_BYTES, gasOf, MOST_GAS);
        }
        return (kind == IAggregationRule.Kind.KeepsModel, isSum);
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                            WHAT A CHUNK SHOULD BE                                            */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @dev The next model's chunk by the updates' chunks, whose round is flat.
    function _flat(
        Question calldata question,
        ILedgerTypes.Record calldata record,
        bytes calldata submissions,
        bytes calldata opened,
        Sizes memory sizes
    ) private view returns (bytes memory) {
        SumTree.Place memory all;
        all.end = record.updates;
        (uint256[] memory entries, uint256 included, uint256 weight) = _entries(question, record, submissions, all);
        _exactly(opened, 2 * sizes.model + included * sizes.small);
        bytes calldata model = _models(question, record, opened, sizes);
        bytes calldata updates = opened[2 * sizes.model:];
        if (question.isSum) {
            bytes memory sum = Int64Lanes.pack(_summed(question, entries, included, updates, 2, sizes));
            return ISumRule(question.rule).finish(question.ruleParameters, model, sum, weight);
        }
        bytes[] memory chunks = new bytes[](included);
        uint32[] memory weights = new uint32[](included);
        for (uint256 i = 0; i < included; ++i) {
            chunks[i] = _update(question, entries[i], updates, i, 2 + i, sizes);
            weights[i] = entries[i].weightOf();
        }
        return IChunkRule(question.rule).aggregate(question.ruleParameters, model, chunks, weights);
    }

    /// @dev The next model's chunk by the root's sum.
    function _finished(
        Question calldata question,
        ILedgerTypes.Record calldata record,
        bytes calldata nodes,
        bytes calldata opened,
        Sizes memory sizes
    ) private view returns (bytes memory) {
        uint256 count = SumTree.count(record.updates, question.fanIn);
        SumTree.Place memory place = SumTree.locate(record.updates, question.fanIn, count);
        // The root's children are not shown.
        place.end = place.first;
        (bytes calldata root,) = _nodes(record, nodes, place, count - 1);
        _exactly(opened, 2 * sizes.model + sizes.large);
        bytes calldata model = _models(question, record, opened, sizes);
        bytes calldata sum = opened[2 * sizes.model:];
        _opens(sum, 2 * sizes.chunk, question.index, SumTree.rootOf(root, 0), 2);
        return ISumRule(question.rule)
            .finish(question.ruleParameters, model, sum[:2 * sizes.chunk], SumTree.weightOf(root, 0));
    }

    /// @dev The sum of weight * update over entries.
    function _summed(
        Question calldata question,
        uint256[] memory entries,
        uint256 included,
        bytes calldata updates,
        uint256 before,
        Sizes memory sizes
    ) private view returns (int256[] memory sums) {
        sums = new int256[](question.chunkParameters);
        for (uint256 i = 0; i < included; ++i) {
            bytes calldata update = _update(question, entries[i], updates, i, before + i, sizes);
            Sums.addUpdate(sums, update, entries[i].weightOf());
        }
    }

    /// @dev The sum over a node's children, and whether each of them is possible.
    function _gathered(
        Question calldata question,
        bytes calldata children,
        bytes calldata opened,
        Sizes memory sizes
    ) private view returns (int256[] memory sums, bool fits) {
        sums = new int256[](question.chunkParameters);
        fits = true;
        uint256 lanes = question.parameters - question.index * question.chunkParameters;
        for (uint256 i = 0; i < children.length / SumTree.NODE; ++i) {
            bytes calldata child = opened[(1 + i) * sizes.large:(2 + i) * sizes.large];
            _opens(child, 2 * sizes.chunk, question.index, SumTree.rootOf(children, i), 1 + i);
            if (!Sums.addSum(sums, child[:2 * sizes.chunk], SumTree.weightOf(children, i), lanes)) fits = false;
        }
    }

    /// @dev Whether an opened chunk, of parameters of so many bytes, is the computed one. Behind the last parameter
    /// there are zeros, in the chunk and in the tree: otherwise a root could be wrong over chunks that are all right.
    function _matches(
        bytes memory computed,
        bytes calldata opening,
        uint256 width,
        Question calldata question,
        Sizes memory sizes
    ) private view returns (bool) {
        if (question.index == sizes.chunks - 1) {
            if (!ChunkTree.isPadded(opening[computed.length:], question.index)) return false;
            uint256 left = (question.parameters - question.index * question.chunkParameters) * width;
            for (; left < computed.length; ++left) {
                computed[left] = 0;
            }
        }
        return keccak256(computed) == keccak256(opening[:computed.length]);
    }

    /* ------------------------------------------------------------------------------------------------------------ */
    /*                                              WHAT WAS COMMITTED                                              */
    /* ------------------------------------------------------------------------------------------------------------ */

    /// @dev The included entries that a node stands for: the first `included` words of `entries`, as `Submissions.read`
    /// returns them, and the sum of their weights. Reverts unless the submissions show them and lead to the record's
    /// head.
    function _entries(
        Question calldata question,
        ILedgerTypes.Record calldata record,
        bytes calldata submissions,
        SumTree.Place memory place
    ) private pure returns (uint256[] memory entries, uint256 included, uint256 weight) {
        bytes32 head;
        (head, entries) = Submissions.read(submissions, question.start);
        if (head != record.head) revert ILedgerErrors.WrongSubmissions(head, record.head);
        uint256 seen;
        for (uint256 i = 0; i < entries.length; ++i) {
            uint256 entry = entries[i];
            uint256 number = entry.numberOf();
            if (number < place.first || number >= place.end) continue;
            ++seen;
            if (record.excluded.has(number)) continue;
            weight += entry.weightOf();
            entries[included++] = entry;
        }
        uint256 required = place.end - place.first;
        if (seen != required) revert ILedgerErrors.SubmissionsHidden(seen, required);
    }

    /// @dev The node with that place in the list, and its children where these are nodes. Reverts unless the shown
    /// groups lead to the record's hash.
    function _nodes(
        ILedgerTypes.Record calldata record,
        bytes calldata nodes,
        SumTree.Place memory place,
        uint256 listed
    ) private pure returns (bytes calldata node, bytes calldata children) {
        uint256 groupAt = 32 * (place.nodes - place.lowest + 1);
        uint256 childrenAt = groupAt + SumTree.NODE * (place.groupEnd - place.groupFirst);
        uint256 size = place.level == 1 ? 0 : SumTree.NODE * (place.end - place.first);
        if (nodes.length != childrenAt + size || keccak256(nodes[:groupAt]) != record.nodesHash) {
            revert ILedgerErrors.WrongNodes();
        }
        if (keccak256(nodes[groupAt:childrenAt]) != bytes32(nodes[32 * place.group:])) {
            revert ILedgerErrors.WrongNodes();
        }
        children = nodes[childrenAt:childrenAt + size];
        if (size != 0 && keccak256(children) != bytes32(nodes[32 * (listed - place.lowest):])) {
            revert ILedgerErrors.WrongNodes();
        }
        node = nodes[groupAt + SumTree.NODE * (listed - place.groupFirst):];
    }

    /// @dev The chunk of the model, after both models' openings are looked at.
    function _models(
        Question calldata question,
        ILedgerTypes.Record calldata record,
        bytes calldata opened,
        Sizes memory sizes
    ) private view returns (bytes calldata) {
        _opens(opened[:sizes.model], sizes.modelChunk, question.index, record.next.root, 0);
        bytes calldata model = opened[sizes.model:2 * sizes.model];
        _opens(model, sizes.modelChunk, question.index, record.previousRoot, 1);
        return model[:sizes.modelChunk];
    }

    /// @dev The chunk of update `i` of some, opening `number` of all.
    function _update(
        Question calldata question,
        uint256 entry,
        bytes calldata updates,
        uint256 i,
        uint256 number,
        Sizes memory sizes
    ) private view returns (bytes calldata) {
        bytes calldata opening = updates[i * sizes.small:(i + 1) * sizes.small];
        bytes32 root = ChunkTree.root(opening[:sizes.chunk], opening[sizes.chunk:], question.index);
        if (sha256(abi.encodePacked(root, entry.clientOf())) != entry.commitmentOf()) {
            revert ILedgerErrors.WrongOpening(number);
        }
        return opening[:sizes.chunk];
    }

    /// @dev Reverts unless an opening with a chunk of `size` bytes leads to `root`.
    function _opens(bytes calldata opening, uint256 size, uint256 index, bytes32 root, uint256 number) private view {
        if (ChunkTree.root(opening[:size], opening[size:], index) != root) revert ILedgerErrors.WrongOpening(number);
    }

    function _exactly(bytes calldata opened, uint256 required) private pure {
        if (opened.length != required) revert ILedgerErrors.MalformedOpenings(opened.length, required);
    }

    /// @dev The bytes and the gas of an answer at most, without what the rule needs. The figures are measured
    /// (`tests/contracts/gas.json`) and rounded up.
    function _answer(
        uint256 updates,
        uint256 fanIn,
        bool isSum,
        uint256 size,
        uint256 depth,
        uint256 lanes
    ) private pure returns (uint256 bytesOf, uint256 gasOf) {
        uint256 small = 4 * size + 32 * depth;
        uint256 large = small + 4 * size;
        // Of both models.
        uint256 models = 2 * (4 * lanes * size + 32 * depth);
        bool flat = !isSum || updates <= fanIn;
        uint256 opened = flat ? updates : fanIn;
        // A round with at most `fanIn` entries opens everything, and so does every round of other rules.
        bytesOf = 1000 + updates / 8 + models + opened * small + 90 * opened;
        if (!flat) {
            // Digests of groups and two groups; for level 1 submissions of blocks of up to `fanIn` entries, the first
            // and the last of them in part, with the other blocks of two segments and the other segments shut; for
            // higher levels wider chunks.
            uint256 nodes = SumTree.count(updates, fanIn);
            uint256 shown = 1000 + updates / 8 + 32 * (nodes / fanIn + 5) + 72 * fanIn + large;
            uint256 shut = 100 + 33 * (updates < 128 ? updates : 128) + 35 * (updates / 64);
            uint256 lowest = shown + shut + 88 * (3 * fanIn - 2) + fanIn * small;
            uint256 higher = shown + fanIn * large;
            bytesOf = _most(_most(bytesOf, shown + models), _most(lowest, higher));
        }
        gasOf = 250_000 + 20 * bytesOf + (opened + 2) * (3800 + 350 * depth);
        if (isSum) gasOf += (opened + 1) * 250 * size;
    }

    function _most(uint256 a, uint256 b) private pure returns (uint256) {
        return a > b ? a : b;
    }

    function _require(bool holds, string memory term) private pure {
        if (!holds) revert ILedgerErrors.InvalidTerm(term);
    }
}
