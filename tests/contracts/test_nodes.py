"""Nodes of the tree of sums: every wrong one can be proved wrong, no right one can, and all can be demanded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from tests.contracts.ledger import (
    ETHER,
    NODES_CONTENT,
    SALT,
    ZERO,
    Chain,
    Commit,
    Job,
    bit_map,
    challenge_arguments,
    content_of,
    pack_openings,
)
from tests.contracts.oracle import is_wrong
from tests.contracts.sums import ALTERATIONS, Alter, Node, SumTree, finish

LAST = 2
"""The index of the last chunk, half of which is padding."""


@pytest.fixture(scope="session")
def prepared_tree() -> Job:
    job = Job(Chain(accounts=12), fanIn=3, minUpdates=4, maxUpdates=60, maxExcluded=60, pool=ETHER)
    job.bond(job.server)
    job.clients = job.crowd_of(19)
    return job


@pytest.fixture
def tree(prepared_tree: Job) -> Iterator[Job]:
    """19 entries are in, in blocks of three sizes; collecting is over.

    With a fan-in of 3 the nodes are seven over entries, the last over one, three over these, the last over one, and the
    root.
    """
    tester = prepared_tree.chain.tester
    snapshot = tester.take_snapshot()
    job = prepared_tree.copy()
    first = 0
    for size in (1, 5, 1, 1, 8, 2, 1):
        uploads = [job.upload(client, weight=1 + 5 * number) for number, client in enumerate(job.clients)]
        job.submit_signed(uploads[first : first + size])
        first += size
    job.chain.travel(job.state.closesAt)
    yield job
    tester.revert_to_snapshot(snapshot)


def _commit(job: Job, alter: dict[int, Alter] | None = None, excluded: tuple[int, ...] = ()) -> Commit:
    return job.commit(alter=alter, excluded=excluded)


def _nodes(commit: Commit) -> SumTree:
    assert commit.nodes is not None
    return commit.nodes


def _right(job: Job, commit: Commit, node: int, index: int) -> None:
    refusal = job.challenge_refusal(job.chain.accounts[8], commit, index, node=node)
    assert refusal == ("CommitIsRight", {"round": 1, "node": node, "index": index})


# ---------------------------------------------------------------------------------------------------- right and wrong


def test_a_commit_shows_its_nodes(tree: Job) -> None:
    commit = _commit(tree)
    event = tree.receipt.event("RoundCommitted")
    assert (event["nodes"], event["nodesContent"]) == (_nodes(commit).packed, NODES_CONTENT)
    assert event["record"]["nodesHash"] == _nodes(commit).hash
    assert len(_nodes(commit).nodes) == 11
    assert tree.chain.view("recordOf", tree.id, 1) == commit.word
    # The same model as in a round that is flat.
    uploads = commit.attempt.uploads
    total, weight = _weighted([upload.vector for upload in uploads], [upload.weight for upload in uploads])
    assert (finish(commit.attempt.model, total, weight) == commit.next).all()


def _weighted(vectors: list[Any], weights: list[int]) -> tuple[Any, int]:
    return sum(w * v.astype(np.int64) for v, w in zip(vectors, weights, strict=True)), sum(weights)


@pytest.mark.parametrize("excluded", [(), (0,), (3, 4, 5), (18,), tuple(range(1, 19, 2)), (0, 1, 2, 9, 10, 11, 18)])
def test_no_right_node_can_be_challenged_and_each_can_be_answered(tree: Job, excluded: tuple[int, ...]) -> None:
    """With an entry of a run left out, a whole run, the last run, which has one entry, and more."""
    commit = _commit(tree, excluded=excluded)
    finder, chain = tree.chain.accounts[8], tree.chain
    for node in range(12):
        for index in (0, LAST):
            # Calls see the time of the latest block: one for all of them.
            tree.announce(finder, commit, index, node=node)
    chain.travel(chain.now + 1)
    for node in range(12):
        for index in (0, LAST):
            refusal = tree.refusal(finder, "challenge", *challenge_arguments(commit, index, node=node))
            assert refusal == ("CommitIsRight", {"round": 1, "node": node, "index": index})
    for node in (0, 1, 2, 7, 8, 10, 11):
        tree.demand(finder, commit, LAST, node=node)
        receipt = tree.answer(tree.server, commit, LAST, node)
        subject = commit.next_tree if node == 0 else _nodes(commit)[node].tree
        proof = subject.opening(LAST)
        event = receipt.event("ChunkAnswered")
        assert event["chunk"] == proof.chunk + b"".join(proof.path)
        assert (event["node"], event["index"]) == (node, LAST)


@pytest.mark.parametrize("node", [1, 4, 7, 8, 10, 11])
@pytest.mark.parametrize("lie", ["a lane", "the last lane"])
def test_a_node_wrong_in_a_lane_is_proved_wrong_there_and_nowhere_else(tree: Job, node: int, lie: str) -> None:
    """Those above it, and the model, follow from it, and are right by themselves."""
    commit = _commit(tree, {node: ALTERATIONS[lie]})
    wrong = {"a lane": 1, "the last lane": LAST}[lie]
    for other in range(12):
        for index in (1, LAST):
            assert is_wrong(tree, commit, index, other) == ((other, index) == (node, wrong))
    for other in {0, 1, 8, 11} - {node}:
        _right(tree, commit, other, wrong)
    _right(tree, commit, node, 0)
    tree.challenge(tree.chain.accounts[8], commit, wrong, node)
    assert tree.account(tree.server).barred
    assert (tree.round, tree.state.origin) == (1, 1)


@pytest.mark.parametrize("node", [1, 7])
def test_a_weight_alone_is_wrong_in_every_chunk_and_needs_no_openings(tree: Job, node: int) -> None:
    commit = _commit(tree, {node: ALTERATIONS["the weight"]})
    snapshot = tree.chain.tester.take_snapshot()
    for index in (0, LAST):
        nodes, submissions, _ = commit.opened(index, node)
        tree.announce(tree.chain.accounts[8], commit, index, node=node)
        openings = pack_openings(nodes, submissions, b"")
        receipt = tree.send(tree.chain.accounts[8], "challenge", commit.record, node, index, SALT, openings)
        assert receipt.event("BondSlashed")["server"] == tree.server
        tree.chain.tester.revert_to_snapshot(snapshot)
    # It can't be answered either: the demand expires.
    demanded = tree.demand(tree.chain.accounts[8], commit, 0, node=node)
    refusal = tree.refusal(tree.server, "answer", commit.record, node, 0, commit.openings(0, node))
    assert refusal == ("CommitIsWrong", {"round": 1, "node": node, "index": 0})
    tree.chain.travel(demanded.event("ChunkDemanded")["answerBy"])
    tree.expire(tree.chain.accounts[8], commit, 0, node)
    assert tree.account(tree.server).barred


@pytest.mark.parametrize("node", [8, 10, 11])
@pytest.mark.parametrize("by", [1, -1])
def test_weights_of_higher_nodes_have_to_add_up_at_the_commit(tree: Job, node: int, by: int) -> None:
    nodes = tree.sums((), {node: lambda right: replace(right, weight=right.weight + by)})
    assert nodes
    total = sum(nodes[child].weight for child in nodes[node].children)
    refusal = tree.refusal(tree.server, "commitRound", *tree.commit_arguments(tree.aggregate(), nodes=nodes))
    assert refusal == ("WrongNodeWeight", {"node": node, "weight": total + by, "required": total})


def test_weights_that_add_up_to_more_than_fits_are_refused(tree: Job) -> None:
    """2**32 is zero in four bytes, and not the sum."""
    packed = bytearray(b"".join(node.packed for node in _sums(tree).nodes))
    packed[32:36] = (2**32 - 1).to_bytes(4, "big")
    refusal = _nodes_refusal(tree, bytes(packed))
    assert refusal[0] == "WrongNodeWeight"
    assert refusal[1]["required"] > 2**32


def _sums(job: Job) -> SumTree:
    nodes = job.sums()
    assert nodes
    return nodes


def _nodes_refusal(job: Job, packed: bytes) -> tuple[str, dict[str, Any]]:
    number, head, model, bits, _, *others = job.commit_arguments(job.aggregate())
    return job.refusal(job.server, "commitRound", number, head, model, bits, packed, *others)


@pytest.mark.parametrize("lie", ["above the range", "below the range", "far above the range"])
def test_a_child_out_of_range_makes_its_parent_wrong(tree: Job, lie: str) -> None:
    """Whoever has only the children's vectors sees it, and the sum of them may even be right.

    The child is at fault too, and its neighbour takes back what it has too much, so that the parent's sum is right.
    """
    right = _sums(tree)

    def back(node: Node) -> Node:
        out = ALTERATIONS[lie](right[4])
        vector = node.vector.copy()
        vector[3] = _wrapped(int(right[4].vector[3]) + int(right[5].vector[3]) - int(out.vector[3]))
        return replace(node, vector=vector)

    commit = _commit(tree, {4: ALTERATIONS[lie], 5: back})
    assert (_nodes(commit)[9].vector == right[9].vector).all()
    assert (commit.next == tree.commits[1].next).all()
    snapshot = tree.chain.tester.take_snapshot()
    for node in (4, 5, 9):
        assert is_wrong(tree, commit, 0, node)
        tree.copy().challenge(tree.chain.accounts[8], commit, 0, node)
        tree.chain.tester.revert_to_snapshot(snapshot)
    for node in (8, 10, 11, 0):
        _right(tree, commit, node, 0)


def _wrapped(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def test_the_ends_of_the_range_are_within_it(chain: Chain) -> None:
    """Clients that hold the largest and the smallest int32 with the largest weights: right, at every level."""
    most = (2**32 - 1) // 9
    job = Job(chain, fanIn=3, minUpdates=9, maxUpdates=9, maxExcluded=9, maxWeight=most)
    job.bond(job.server)
    clients = chain.accounts[2:11]
    for client in clients:
        job.join(client, most)
    for value, numbers in ((-(2**31), range(3)), (2**31 - 1, range(3, 6)), (-(2**31), range(6, 9))):
        vector = np.full(job.terms["parameters"], value, "<i4")
        job.submit_signed([job.upload(clients[number], vector, most) for number in numbers])
    commit = _commit(job)
    assert int(_nodes(commit)[1].vector[0]) == -3 * most * 2**31
    assert int(_nodes(commit)[2].vector[0]) == 3 * most * (2**31 - 1)
    for node in range(5):
        for index in (0, LAST):
            _right(job, commit, node, index)


def test_sums_of_the_smallest_over_all_fit_sixty_three_bits(chain: Chain) -> None:
    """The largest weights of all, and the smallest values: the root's sum is the smallest that can be."""
    most = (2**32 - 1) // 4
    job = Job(chain, fanIn=2, minUpdates=4, maxUpdates=4, maxExcluded=4, maxWeight=most)
    job.bond(job.server)
    clients = chain.accounts[2:6]
    vector = np.full(job.terms["parameters"], -(2**31), "<i4")
    for client in clients:
        job.join(client, most)
    job.submit_signed([job.upload(client, vector, most) for client in clients])
    commit = _commit(job)
    assert int(_nodes(commit).root.vector[0]) == -4 * most * 2**31 < -(2**62)
    for node in range(4):
        _right(job, commit, node, LAST)


# ------------------------------------------------------------------------------------------------------------- padding


def test_garbage_in_lanes_behind_the_last_parameter_is_wrong_in_the_last_chunk(tree: Job) -> None:
    """In a run, in a node above and in the root; nobody's sum goes wrong by it."""
    for node in (2, 9, 11):
        snapshot = tree.chain.tester.take_snapshot()
        job = tree.copy()

        def filled(right: Node) -> Node:
            return replace(right, vector=np.concatenate([right.vector, np.array([0, 5, 0, 0], np.int64)]))

        nodes = _sums(job)
        changed = filled(nodes[node])
        lying = SumTree((*nodes.nodes[: node - 1], changed, *nodes.nodes[node:]))
        next = job.aggregate()
        receipt = job.send(job.server, "commitRound", *job.commit_arguments(next, nodes=lying))
        commit = job.committed(job.server, next, (), ZERO, receipt.time, lying)
        for other in {0, 2, 8, 9, 10, 11} - {node}:
            _right(job, commit, other, LAST)
        job.challenge(job.chain.accounts[8], commit, LAST, node)
        assert job.account(job.server).barred
        tree.chain.tester.revert_to_snapshot(snapshot)


@pytest.mark.parametrize("node", [2, 9, 11])
def test_a_padding_node_that_is_not_zero_is_wrong_in_the_last_chunk(tree: Job, node: int) -> None:
    """All chunks are right, but the root is not that of the sum: nobody could ever fit content to it."""
    nodes = _sums(tree)
    proof = nodes[node].tree.opening(LAST)
    above = _pair(_pair(proof.chunk) + b"\1" * 32)
    first_two = proof.path[1]
    root = _pair(first_two + above)
    packed = bytearray(nodes.packed)
    packed[36 * (node - 1) : 36 * (node - 1) + 32] = root
    forged = _Forged(nodes, bytes(packed))
    next = tree.aggregate()
    number, head, model, bits, _, content, salt = tree.commit_arguments(next)
    receipt = tree.send(tree.server, "commitRound", number, head, model, bits, bytes(packed), content, salt)
    honest = tree.committed(tree.server, next, (), ZERO, receipt.time)
    commit = replace(honest, nodes=forged)  # type: ignore[arg-type]
    shown, submissions, opened = honest.opened(LAST, node)
    opened[0] = proof.chunk + b"\1" * 32 + first_two
    openings = pack_openings(forged.shown(node), submissions, b"".join(opened))
    finder = tree.chain.accounts[8]
    tree.announce(finder, commit, LAST, node=node)
    tree.send(finder, "challenge", commit.record, node, LAST, SALT, openings)
    assert tree.account(tree.server).barred
    assert shown != forged.shown(node)


def _pair(both: bytes) -> bytes:
    return sha256(both).digest()


class _Forged:
    """A tree whose list has another root for a node."""

    def __init__(self, right: SumTree, packed: bytes) -> None:
        self.right, self.packed = right, packed

    def _as_listed(self) -> SumTree:
        class Listed(SumTree):
            def group(self, numbers: Any) -> bytes:
                return b"".join(packed[36 * (number - 1) : 36 * number] for number in numbers)

        packed = self.packed
        return Listed(self.right.nodes)

    @property
    def hash(self) -> bytes:
        return self._as_listed().hash

    def shown(self, node: int) -> bytes:
        listed = self._as_listed()
        (own,) = [numbers for numbers in listed.groups if node in numbers]
        subject = listed[node]
        return listed.digests + listed.group(own) + (listed.group(subject.children) if subject.level > 1 else b"")


# ---------------------------------------------------------------------------------------------------- the list of nodes


@pytest.mark.parametrize("length", [0, 36, 36 * 10, 36 * 11 - 1, 36 * 11 + 1, 36 * 12])
def test_another_number_of_nodes_is_refused(tree: Job, length: int) -> None:
    packed = (_sums(tree).packed * 2)[:length]
    assert _nodes_refusal(tree, packed) == ("MalformedNodes", {"length": length, "required": 36 * 11})


def test_nodes_of_a_round_that_is_flat_are_refused(chain: Chain) -> None:
    job = Job(chain, fanIn=3).prepare()
    job.collect()
    assert _nodes_refusal(job, bytes(36)) == ("MalformedNodes", {"length": 36, "required": 0})
    assert job.sums() is None
    job.commit()


def test_nodes_of_another_rule_are_refused(chain: Chain) -> None:
    job = Job(chain, rule_name="coordinate_median", fanIn=2).prepare()
    job.collect()
    assert _nodes_refusal(job, bytes(36 * 3)) == ("MalformedNodes", {"length": 36 * 3, "required": 0})
    commit = job.commit()
    job.demand(chain.accounts[8], commit)
    job.answer(job.server, commit)


def test_nodes_in_another_order_are_wrong(tree: Job) -> None:
    """With equal weights the ledger can't see it at the commit; each that is exchanged is wrong."""
    nodes = _sums(tree)
    listed = list(nodes.nodes)
    listed[0], listed[1] = (
        replace(listed[1], weight=listed[0].weight, children=listed[0].children),
        replace(listed[0], weight=listed[1].weight, children=listed[1].children),
    )
    lying = SumTree(tuple(listed))
    next = tree.aggregate()
    receipt = tree.send(tree.server, "commitRound", *tree.commit_arguments(next, nodes=lying))
    commit = tree.committed(tree.server, next, (), ZERO, receipt.time, lying)
    _right(tree, commit, 8, 0)
    tree.challenge(tree.chain.accounts[8], commit, 0, 2)


def test_a_lie_in_the_root_that_the_model_follows_is_found_in_the_root(tree: Job) -> None:
    commit = _commit(tree, {11: ALTERATIONS["a lane"]})
    assert (commit.next != tree.commits[1].attempt.model).any()
    _right(tree, commit, 0, 1)
    tree.challenge(tree.chain.accounts[8], commit, 1, 11)


def test_a_model_that_does_not_follow_from_the_root_is_wrong(tree: Job) -> None:
    commit = tree.commit_wrong(index=1)
    for node in (1, 8, 11):
        _right(tree, commit, node, 1)
    _right(tree, commit, 0, 0)
    tree.challenge(tree.chain.accounts[8], commit, 1)


def test_a_run_all_of_whose_clients_are_excluded_is_zero_and_weighs_nothing(tree: Job) -> None:
    commit = _commit(tree, excluded=(3, 4, 5))
    assert (_nodes(commit)[2].weight, _nodes(commit)[2].vector.any()) == (0, False)
    _right(tree, commit, 2, 0)
    _right(tree, commit, 8, 0)


@pytest.mark.parametrize("lie", ["a lane", "the weight", "above the range"])
def test_a_lie_in_a_run_all_of_whose_clients_are_excluded_is_found(tree: Job, lie: str) -> None:
    commit = _commit(tree, {2: ALTERATIONS[lie]}, (3, 4, 5))
    index = 1 if lie == "a lane" else 0
    snapshot = tree.chain.tester.take_snapshot()
    tree.copy().challenge(tree.chain.accounts[8], commit, index, 2)
    tree.chain.tester.revert_to_snapshot(snapshot)
    if lie != "the weight":
        # Whoever sees only the vectors finds it in the node above: nothing that weighs nothing is more than nothing.
        tree.challenge(tree.chain.accounts[8], commit, index, 8)


def test_an_exclusion_that_the_nodes_ignore_is_found(tree: Job) -> None:
    """The record leaves an entry out, the sums do not."""
    nodes = _sums(tree)
    next = tree.aggregate()
    bits = bit_map({4}, 19)
    arguments = (1, tree.attempt.head, (tree.root_of(next), content_of(next)), bits, nodes.packed, NODES_CONTENT, ZERO)
    receipt = tree.send(tree.server, "commitRound", *arguments)
    commit = tree.committed(tree.server, next, (4,), ZERO, receipt.time, nodes)
    _right(tree, commit, 1, 0)
    tree.challenge(tree.chain.accounts[8], commit, 0, 2)


def test_a_round_that_was_rolled_back_is_committed_anew_with_other_nodes(tree: Job) -> None:
    chain, honest = tree.chain, tree.chain.accounts[9]
    lie = _commit(tree, {4: ALTERATIONS["a lane"]})
    tree.challenge(chain.accounts[8], lie, 1, 4)
    tree.bond(honest)
    commit = tree.commit(honest, excluded=(0,))
    assert commit.attempt is lie.attempt
    assert _nodes(commit).hash != _nodes(lie).hash
    for node in (0, 1, 4, 11):
        _right(tree, commit, node, 1)
    # What was found in the first says nothing of the second.
    refusal = tree.refusal(chain.accounts[8], "challenge", *challenge_arguments(lie, 1, node=4))
    assert refusal == ("UnknownRecord", {"job": tree.id, "round": 1})
    tree.settle(commit)
    assert tree.claimed_by(tree.claim(commit)) == list(range(1, 19))


# -------------------------------------------------------------------------------------------- what is asked and shown


@pytest.mark.parametrize("node", [12, 13, 2**32, 2**256 - 1])
def test_a_node_that_is_not_there_is_refused(tree: Job, node: int) -> None:
    commit = _commit(tree)
    finder, expected = tree.chain.accounts[8], ("NoSuchNode", {"node": node, "nodes": 11})
    value = tree.terms["demandDeposit"]
    assert tree.refusal(finder, "demand", commit.record, node, 0, ZERO, value=value) == expected
    tree.announce(finder, commit, node=node)
    tree.chain.travel(tree.chain.now + 1)
    assert tree.refusal(finder, "challenge", commit.record, node, 0, SALT, commit.openings(0)) == expected


def test_a_flat_round_has_no_node(chain: Chain, job: Job) -> None:
    job.collect()
    commit = job.commit()
    value = job.terms["demandDeposit"]
    refusal = job.refusal(chain.accounts[8], "demand", commit.record, 1, 0, ZERO, value=value)
    assert refusal == ("NoSuchNode", {"node": 1, "nodes": 0})


def test_demands_of_nodes_stand_beside_each_other(tree: Job) -> None:
    commit = _commit(tree)
    demander, deposit = tree.chain.accounts[8], tree.terms["demandDeposit"]
    for count, node in enumerate((0, 1, 8, 11), 1):
        assert tree.demand(demander, commit, 1, node=node).event("ChunkDemanded")["deposit"] == count * deposit
        assert tree.demand_of(commit, 1, node).demander == demander
        refusal = tree.refusal(demander, "demand", commit.record, node, 1, ZERO, value=9 * deposit)
        assert refusal == ("AlreadyDemanded", {"round": 1, "node": node, "index": 1})
    assert tree.demand_of(commit, 1, 2).demander == "0x" + "00" * 20
    for node in (8, 0):
        tree.answer(tree.server, commit, 1, node)
        refusal = tree.refusal(tree.server, "answer", commit.record, node, 1, commit.openings(1, node))
        assert refusal == ("NotDemanded", {"round": 1, "node": node, "index": 1})
    tree.chain.travel(tree.chain.now + tree.terms["answerSeconds"])
    receipt = tree.expire(demander, commit, 1, 11)
    assert receipt.event("DemandExpired")["node"] == 11
    assert receipt.event("RoundReverted")["round"] == 1
    # The one that is left is on a void record, and ends with its deposit back.
    assert not [event for event in tree.expire(demander, commit, 1, 1).events if event.name == "BondSlashed"]


def test_an_announcement_is_of_one_node(tree: Job) -> None:
    commit = _commit(tree, {4: ALTERATIONS["a lane"]})
    finder = tree.chain.accounts[8]
    for node in (0, 5):
        tree.announce(finder, commit, 1, node=node)
    tree.chain.travel(tree.chain.now + 1)
    refusal = tree.refusal(finder, "challenge", *challenge_arguments(commit, 1, node=4))
    assert refusal == ("NotAnnounced", {"digest": commit.finding(finder, 1, SALT, 4), "announced": 0})


def _shown_refusal(job: Job, commit: Commit, node: int, openings: bytes) -> tuple[str, dict[str, Any]]:
    return job.challenge_refusal(job.chain.accounts[8], commit, 1, openings, node)


@pytest.mark.parametrize("node", [0, 1, 7, 8, 11])
def test_nodes_that_do_not_lead_to_the_record_are_refused(tree: Job, node: int) -> None:
    commit = _commit(tree)
    shown, submissions, opened = commit.opened(1, node)
    wrong = [shown[:-1], shown + b"\0", shown[:-36], b"", shown[32:]]
    wrong += [
        shown[:place] + bytes([shown[place] ^ 1]) + shown[place + 1 :] for place in (0, 40, 159, 161, len(shown) - 1)
    ]
    for nodes in wrong:
        openings = pack_openings(nodes, submissions, b"".join(opened))
        assert _shown_refusal(tree, commit, node, openings)[0] == "WrongNodes"


@pytest.mark.parametrize("node", [0, 1, 7, 8, 11])
def test_openings_of_nodes_that_lead_elsewhere_are_refused(tree: Job, node: int) -> None:
    commit = _commit(tree)
    shown, submissions, opened = commit.opened(1, node)
    for number, proof in enumerate(opened):
        for forged in (bytes([proof[0] ^ 1]) + proof[1:], proof[:-1] + bytes([proof[-1] ^ 1])):
            changed = b"".join([*opened[:number], forged, *opened[number + 1 :]])
            refusal = _shown_refusal(tree, commit, node, pack_openings(shown, submissions, changed))
            assert refusal == ("WrongOpening", {"number": number})
    whole = b"".join(opened)
    for changed in (whole[:-1], whole + b"\0", b""):
        refusal = _shown_refusal(tree, commit, node, pack_openings(shown, submissions, changed))
        assert refusal == ("MalformedOpenings", {"length": len(changed), "required": len(whole)})


def test_a_runs_entries_have_to_be_shown_and_no_others_count(tree: Job) -> None:
    commit = _commit(tree)
    shown, submissions, opened = commit.opened(1, 2)
    hidden = pack_openings(shown, commit.submissions({0}), b"".join(opened))
    assert _shown_refusal(tree, commit, 2, hidden)[0] == "SubmissionsHidden"
    foreign = pack_openings(shown, commit.submissions({18}), b"".join(opened))
    assert _shown_refusal(tree, commit, 2, foreign) == ("SubmissionsHidden", {"shown": 0, "required": 3})
    # More than the run is allowed: blocks are not cut at its ends.
    everything = pack_openings(shown, commit.submissions(), b"".join(opened))
    assert _shown_refusal(tree, commit, 2, everything) == ("CommitIsRight", {"round": 1, "node": 2, "index": 1})
    assert submissions != commit.submissions()


def test_a_node_is_not_answered_by_another(tree: Job) -> None:
    commit = _commit(tree)
    tree.demand(tree.chain.accounts[8], commit, 1, node=1)
    for openings in (commit.openings(1, 2), commit.openings(0, 1), commit.openings(1, 8), commit.openings(1)):
        error, _ = tree.refusal(tree.server, "answer", commit.record, 1, 1, openings)
        assert error in ("WrongOpening", "WrongNodes", "SubmissionsHidden", "WrongSubmissions", "MalformedOpenings")


def test_runs_cross_blocks_and_segments(chain: Chain) -> None:
    """Entries by themselves and in batches, with runs that begin and end inside of blocks, on both sides of a segment."""
    job = Job(chain, fanIn=8, minUpdates=100, maxUpdates=200, maxExcluded=200, pool=ETHER)
    job.bond(job.server)
    job.clients = job.crowd_of(130)
    uploads = [job.upload(client, weight=1 + number % 50) for number, client in enumerate(job.clients)]
    first = 0
    for size in (5, *[1] * 58, 11, 3, 1, 1, 51):
        job.submit_signed(uploads[first : first + size])
        first += size
    assert first == 130
    assert len(job.attempt.blocks) > 64
    chain.travel(job.state.closesAt)
    commit = job.commit(excluded=(8, 64, 65, 129))
    tree = _nodes(commit)
    for node in (1, 2, 8, 9, 10, 11, 17, 18, len(tree.nodes), 0):
        _right(job, commit, node, LAST)
    for node in (8, 9, 10, 17):
        snapshot = chain.tester.take_snapshot()
        job.demand(chain.accounts[8], commit, 0, node=node)
        job.answer(job.server, commit, 0, node)
        chain.tester.revert_to_snapshot(snapshot)
