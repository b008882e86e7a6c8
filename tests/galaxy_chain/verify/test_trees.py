"""Rounds with a tree of sums: what is right is found right, and every lie where it is."""

from __future__ import annotations

import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.verify.audit import Auditor, WrongAggregateError
from galaxy_chain.verify.challenge import challenge
from galaxy_chain.verify.checks import Checks
from galaxy_chain.verify.faults import Kind
from galaxy_chain.verify.how import Verify
from galaxy_chain.verify.watchtower import Finding, Watchtower
from galaxy_fl.exceptions import ContentMissingError, RoundMovedOnError
from galaxy_fl.vectors import tree_root
from tests.galaxy_chain.federation import CHUNK, PATIENCE, SAMPLES, Federation
from tests.galaxy_chain.verify.trees import CLIENTS, WRONG, commit_tree, large, model_off, off, without


@pytest.fixture
def many(federation: Federation) -> Federation:
    return large(federation)


def watch(federation, account=6):
    ledger = federation.ledger(federation.node.accounts[account])
    return Watchtower(ledger, federation.store, federation.job, grace=0)


def client_of(federation, index, how="branch", draws=None, folder=None):
    """A client that verifies; `draws`: the nodes that it looks at besides its own."""
    client = LedgerClientCoordinator(
        federation.ledger(federation.clients[index]), federation.store, federation.job, PATIENCE,
        verify=Verify.parse(how), own=folder,
    )  # fmt: skip
    client.enter(SAMPLES)
    round = client.round()
    if draws is not None:
        client._inspection._drawn[client.history.commits[1].word] = draws
    return client, round


def checked(federation):
    """A view of the job, and what checks it."""
    server = federation.serve()
    server.round()
    return server, Checks(server.verifier)


# ---- What is right


def test_a_round_with_nodes_makes_the_model_that_it_makes_without(many):
    server = many.serve()
    right = many.aggregate(server, {})
    commit_tree(many)
    commit = JobFollower(many.ledger(), many.job).history.commits[1]
    assert len(commit.nodes) == 6
    assert commit.record.nodes_hash != bytes(32)
    assert commit.nodes[-1].weight == sum(entry.update.weight for entry in commit.entries)
    assert commit.record.next.root == tree_root(right, CHUNK)
    (audited,) = Auditor(many.ledger(), many.store, many.job).rounds()
    assert (audited.updates, audited.objections) == (CLIENTS, ())
    assert watch(many).look() == [Finding(1, "right")]
    for how in ("branch", "full", "sample:1"):
        client, round = client_of(many, 0, how)
        assert client.model(round).read_bytes() == right.tobytes()
        assert client._inspection._verified.has(commit.word, Verify.parse(how))


def test_as_many_entries_as_a_node_stands_for_are_flat_and_a_branch_of_them_is_all(federation):
    federation.job = federation.register(fan_in=3)
    federation.submit(0, 1, 2)
    federation.commit()
    client, round = client_of(federation, 0)
    client.model(round)
    commit = client.history.commits[1]
    assert commit.nodes == ()
    assert client._inspection._verified.has(commit.word, Verify())


def test_what_one_client_of_a_machine_has_checked_the_others_do_not_read(many, tmp_path):
    commit_tree(many)
    first, round = client_of(many, 0, "full", folder=tmp_path / "own")
    first.model(round)
    first.close()
    commit = first.history.commits[1]
    read = []
    second, round = client_of(many, 1, "full", folder=tmp_path / "own")
    second.verifier.update = lambda entry, what: read.append(entry)
    second.model(round)
    assert read == []
    assert second._inspection._verified.has(commit.word, Verify())
    second.close()


def test_an_excluded_entry_counts_as_nothing_and_its_client_draws_two(many):
    entry = many.serve().history.entries.blocks[2][0]
    many.content(entry.update.content).unlink()
    commit_tree(many)
    client, round = client_of(many, 2)
    commit = client.history.commits[1]
    assert [each.client for each in commit.excluded] == [many.clients[2]]
    client.model(round)
    assert client._inspection._verified.has(commit.word, Verify(branch=True))
    assert len(client._inspection._drawn[commit.word]) == 2
    (audited,) = Auditor(many.ledger(), many.store, many.job).rounds()
    assert audited.excluded == (many.clients[2],)


def test_nodes_that_are_gone_are_made_again_and_a_model_of_them(many):
    server = commit_tree(many)
    commit = server.history.commits[1]
    content = many.content(commit.record.next.content).read_bytes()
    without(many, server, commit, 2, 6)
    many.content(commit.record.next.content).unlink()
    client, round = client_of(many, 0)
    assert client.model(round).read_bytes() == content
    for node in (2, 6):
        assert server.verifier.nodes.found(commit, node).exists()


# ---- Lies


def beyond(vectors, weights):
    vectors[0][WRONG] = 2**40
    return 1


def heavier(vectors, weights):
    weights[1] += 1
    return 3


LIES = {
    "lowest": (off(1), 1),
    "another": (off(3), 3),
    "higher": (off(4), 4),
    "root": (off(6, by=2**20), 6),
    "weight": (heavier, 2),
    "range": (beyond, 1),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_in_a_node_is_found_there_and_punished(many, lie):
    alter, node = LIES[lie]
    commit_tree(many, alter)
    with pytest.raises(WrongAggregateError) as caught:
        list(Auditor(many.ledger(), many.store, many.job).rounds())
    assert caught.value.node == node
    (finding,) = watch(many).look()
    assert (finding.verdict, finding.node) == ("challenged", node)
    assert many.ledger().account_of(many.job, many.server).barred
    assert many.ledger().job_of(many.job).state.round == 1


def test_a_lie_in_the_last_step_is_found_there_and_punished_by_a_client(many):
    commit_tree(many, final=model_off)
    client, round = client_of(many, 5)
    with pytest.raises(RoundMovedOnError, match="round 1 was committed wrongly, and has been challenged"):
        client.model(round)
    assert many.ledger().account_of(many.job, many.server).barred


def test_a_child_beyond_its_bounds_makes_the_node_above_it_wrong(many):
    commit_tree(many, beyond)
    server, checks = checked(many)
    commit = server.history.commits[1]
    (fault,) = checks.tree(server.history, commit).node(4)
    assert (fault.node, fault.chunk, fault.kind) == (4, 1, Kind.PROVED)
    assert "beyond what updates of its weight sum to" in fault.reason
    finder = many.ledger(many.node.accounts[6])
    done = challenge(finder, server.verifier, many.job, server.history, commit, fault.node, fault.chunk)
    assert done is not None
    assert many.ledger().account_of(many.job, many.server).barred


# ---- Branches


def test_a_client_finds_a_lie_on_its_branch(many):
    commit_tree(many, off(3))
    client, round = client_of(many, 4, draws=[1])
    with pytest.raises(RoundMovedOnError, match="has been challenged"):
        client.model(round)
    assert many.ledger().account_of(many.job, many.clients[4]).balance == 10**18 // 4


def test_a_client_misses_a_lie_elsewhere_and_its_draw_finds_it(many):
    commit_tree(many, off(3))
    misses, round = client_of(many, 0, draws=[2])
    assert misses.model(round).exists()
    finds, round = client_of(many, 1, draws=[3])
    with pytest.raises(RoundMovedOnError, match="has been challenged"):
        finds.model(round)
    assert many.ledger().account_of(many.job, many.server).barred


def test_samples_find_a_lie_in_a_node(many):
    commit_tree(many, off(4, by=2**20))  # less may be rounded off, which harms nobody
    client, round = client_of(many, 0, "sample:9")
    with pytest.raises(RoundMovedOnError, match="has been challenged"):
        client.model(round)


# ---- What is withheld


def test_a_wrong_node_that_is_withheld_is_demanded_until_nobody_answers(many):
    server = commit_tree(many, off(2))
    without(many, server, server.history.commits[1], 2)
    watching = watch(many)
    (finding,) = watching.look()
    assert (finding.verdict, finding.node) == ("demanded", 2)
    assert finding.reason.startswith("it is wrong and withheld")
    many.travel(3_100)
    assert [(found.verdict, found.node) for found in watching.look()] == [("expired", 2)]
    assert many.ledger().account_of(many.job, many.server).barred


def test_an_update_that_alone_is_missing_is_made_again_of_its_node(many):
    server = commit_tree(many)
    commit = server.history.commits[1]
    hidden = many.content(commit.entries[3].update.content)
    content = hidden.read_bytes()
    hidden.unlink()
    assert watch(many).look() == [Finding(1, "right")]
    assert hidden.read_bytes() == content


def test_what_two_missing_updates_may_have_made_is_demanded_once(many):
    server = commit_tree(many)
    commit = server.history.commits[1]
    contents = []
    for entry in commit.entries[2:4]:
        path = many.content(entry.update.content)
        contents.append(path.read_bytes())
        path.unlink()
    watching = watch(many)
    (finding,) = watching.look()
    assert (finding.verdict, finding.node) == ("demanded", 2)
    for content in contents:
        many.store.put(content)
    server.round()  # answers
    for entry in commit.entries[2:4]:
        many.content(entry.update.content).unlink()
    assert [found.verdict for found in watching.look()] == ["unknown"]
    assert not many.ledger().account_of(many.job, many.server).barred


def test_what_no_missing_update_explains_is_demanded_there(many):
    def far(vectors, weights):
        vectors[1][WRONG] = (2**31 - 1) * weights[1]
        return 2

    server = commit_tree(many, far)
    many.content(server.history.commits[1].entries[3].update.content).unlink()
    watching = watch(many)
    (finding,) = watching.look()
    assert (finding.verdict, finding.node, finding.chunk) == ("demanded", 2, 1)
    assert "does not explain this chunk" in finding.reason
    many.travel(3_100)
    assert [found.verdict for found in watching.look()] == ["expired"]
    assert many.ledger().account_of(many.job, many.server).barred


def test_what_is_left_for_a_missing_update_has_to_be_what_it_has_committed_to(many):
    server = many.serve()
    weight = tuple(server.history.entries)[3].update.weight
    commit_tree(many, off(2, by=weight))
    server.round()
    commit = server.history.commits[1]
    many.content(commit.entries[3].update.content).unlink()
    faults = list(Checks(server.verifier).tree(server.history, commit).node(2))
    assert [(fault.node, fault.kind) for fault in faults] == [(2, Kind.HIDDEN)]
    assert "is not what was committed to" in faults[0].reason


def test_a_client_builds_on_nothing_until_it_has_its_branch_and_takes_back_what_is_withheld(many):
    server = commit_tree(many)
    commit = server.history.commits[1]
    without(many, server, commit, 1, 2)  # one of them could be made again of node 4
    for number in (1, 3):
        many.content(tuple(commit.entries)[number].update.content).unlink()
    client, round = client_of(many, 0, draws=[3])
    seen = []

    def looked():
        seen.append(1)
        if many.ledger().account_of(many.job, many.server).demands:
            many.travel(3_100)

    client.looked = looked
    with pytest.raises(RoundMovedOnError, match="was withheld, and is taken back"):
        client.model(round)
    assert many.ledger().account_of(many.job, many.server).barred
    assert many.ledger().account_of(many.job, many.clients[0]).balance > 10**18 // 4
    assert client.round().number == 1


def test_a_client_goes_on_where_another_branch_is_withheld(many, caplog):
    server = commit_tree(many)
    commit = server.history.commits[1]
    for entry in commit.entries[4:]:
        many.content(entry.update.content).unlink()
    client, round = client_of(many, 0, draws=[3])
    assert client.model(round).exists()
    assert "can't be verified" in caplog.text
    demands = client.history.open_demands(commit.word)
    assert [(demand.demander, demand.node) for demand in demands] == [(many.clients[0], 3)]
    client.model(round)
    assert client.history.open_demands(commit.word) == demands


def test_an_update_that_is_not_there_is_seen_without_being_read(many):
    server = commit_tree(many)
    commit = server.history.commits[1]
    for entry in commit.entries[4:]:
        many.content(entry.update.content).unlink()
    tree = Checks(server.verifier).tree(server.history, commit)
    assert tree.absent() == [3]
    client, round = client_of(many, 0, draws=[2])
    client.model(round)
    assert [demand.node for demand in client.history.open_demands(commit.word)] == [3]


# ---- Answers


def test_a_server_that_has_lost_its_nodes_answers_for_each_kind(many):
    server = commit_tree(many)
    commit = server.history.commits[1]
    without(many, server, commit, 1, 4, 6)
    griefer = many.ledger(many.node.accounts[7])
    for price, node in enumerate((0, 1, 3, 4, 5, 6), 1):
        griefer.demand(many.job, commit.record, node, 2, bytes(32), value=price * 10**16).transact()
    again = many.serve()
    again.round()
    again.round()
    account = many.ledger().account_of(many.job, many.server)
    assert (account.demands, account.barred) == (0, False)


def test_nodes_are_kept_as_long_as_they_can_be_asked_for(federation):
    many = large(federation, rounds=1)
    server = commit_tree(many)
    commit = server.history.commits[1]
    nodes = {content.cid for content in server._nodes_of(commit)}
    assert len(nodes) == 6  # the list, and node 5 is node 3 once more
    assert nodes <= many.store.pins()
    many.travel(90_000)
    server.round()  # settles
    server._let_go()
    assert server.history.settled == 1
    assert not nodes & many.store.pins()
    assert many.store.pins()


def test_audit_names_what_is_missing(many):
    server = commit_tree(many)
    for entry in server.history.commits[1].entries[2:4]:
        many.content(entry.update.content).unlink()
    with pytest.raises(ContentMissingError, match="the update of"):
        list(Auditor(many.ledger(), many.store, many.job).rounds())
