"""Servers and their puppets that withhold parts of a round's sums: to stall clients, or to have others' deposits."""

from __future__ import annotations

import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator
from galaxy_chain.following.history import Commit
from galaxy_chain.verify.how import BRANCH
from galaxy_chain.verify.reports import Report, Reports
from galaxy_chain.verify.watchtower import Watchtower
from galaxy_fl.content import LocalStore
from galaxy_fl.exceptions import RoundMovedOnError
from tests.adversary.arena import looks, punished, rival, serve_round, tower
from tests.galaxy_chain.federation import PATIENCE, SAMPLES, Federation
from tests.galaxy_chain.verify.trees import commit_tree, large, without

DEPOSIT = 10**16


def watcher(federation: Federation, index: int) -> LedgerClientCoordinator:
    """A client that verifies its branch."""
    client = LedgerClientCoordinator(
        federation.ledger(federation.clients[index]), federation.store, federation.job, PATIENCE
    )
    client.enter(SAMPLES)
    return client


def hide(federation: Federation, commit: Commit, *numbers: int) -> list[bytes]:
    """Takes entries' updates out of the store, and returns them."""
    contents = []
    for number in numbers:
        path = federation.content(tuple(commit.entries)[number].update.content)
        contents.append(path.read_bytes())
        path.unlink()
    return contents


def test_a_withheld_node_and_a_withheld_update_in_it_are_what_the_others_leave(federation):
    many = large(federation)
    server = commit_tree(many)
    commit = server.history.commits[1]
    without(many, server, commit, 2)
    hide(many, commit, 3)
    client = watcher(many, 2)  # its own node is withheld, and can't be made of its entries
    client.model(client.round())
    assert client._inspection._verified.has(commit.word, BRANCH)
    assert looks(tower(many)) == ["right"]
    assert many.ledger().account_of(many.job, many.server).demands == 0


def test_puppets_that_withhold_their_updates_do_not_stall_the_clients_beside_them(federation):
    many = large(federation, fan_in=3)
    server = commit_tree(many)
    commit = server.history.commits[1]
    hide(many, commit, 1, 2)
    client = watcher(many, 0)
    assert client.model(client.round()).exists()
    # Its node is there, and what is left for the two within what their weights allow. It is demanded once.
    assert [demand.node for demand in client.history.open_demands(commit.word)] == [1]
    assert not client._inspection._verified.has(commit.word, BRANCH)


def test_what_is_withheld_and_right_does_not_take_what_a_challenge_needs(federation):
    def lie(vectors, weights):
        vectors[2][0] += 2**20
        return 3

    many = large(federation)
    server = commit_tree(many, lie)
    commit = server.history.commits[1]
    hidden = hide(many, commit, 2, 3, 4, 5)  # node 2 is right, node 3 wrong, and both may be either
    watching = tower(many)
    needed = watching._acting._gas_of_openings(commit) + watching._acting._gas_of_announcing()
    watching.purse.most = DEPOSIT + needed  # enough for a demand, or a challenge
    assert looks(watching) == ["unaffordable"]
    for content in hidden[2:]:
        many.store.put(content)
    assert looks(watching) == ["challenged"]
    punished(many, many.node.accounts[6])


def test_a_flood_of_reports_has_a_watchtower_demand_one_thing_at_a_time(federation):
    many = large(federation)
    server = commit_tree(many)
    commit = server.history.commits[1]
    hide(many, commit, 2, 3, 4, 5)
    reports = Reports(many.job)
    ledger = many.ledger(many.node.accounts[6])
    watching = Watchtower(ledger, LocalStore(many.store.root), many.job, grace=0, reports=reports)
    reports.expect({commit.word: len(commit.nodes)})
    verdicts = []
    for node in (0, 2, 3, 5):
        reports.add(Report(job=many.job, record="0x" + commit.word.hex(), node=node))
        verdicts += looks(watching)
    assert verdicts == ["demanded"]
    assert many.ledger().account_of(many.job, many.server).demands == 1


def test_a_server_that_withholds_the_root_and_one_puppets_line_is_superseded_and_its_clients_go_on(federation):
    many = large(federation)
    server = commit_tree(many)
    commit = server.history.commits[1]
    without(many, server, commit, 2, 4, 6)
    hide(many, commit, 3)
    other = many.serve(rival(many))
    client = watcher(many, 0)
    round, seen = client.round(), []

    def looked():
        if many.ledger().job_of(many.job).state.round == 2:  # it waits for the root
            seen.append(1)
            many.travel(7_300)
            other.round()

    client.looked = looked
    with pytest.raises(RoundMovedOnError):
        client.model(round)
    assert seen
    assert many.ledger().account_of(many.job, many.server).late
    serve_round(other)
    round = client.round()
    assert (round.number, client.model(round).exists()) == (2, True)
    standing = client.history.commits[1]
    assert [entry.client for entry in standing.excluded] == [many.clients[3]]
    assert client._inspection._verified.has(standing.word, BRANCH)
