"""What a client verifies, when, and what it does where it can't. Lies are caught by clients in tests/adversary, too."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy_chain.coordinators import LedgerClientCoordinator, Patience
from galaxy_chain.ledger.records import record_word
from galaxy_chain.verify.challenge import challenge
from galaxy_chain.verify.how import Verify
from galaxy_chain.verify.inspection import Verified, Withheld
from galaxy_fl.exceptions import ConfigurationError, RoundMovedOnError
from galaxy_fl.rounds.client import run_client
from galaxy_fl.rounds.coordinator import Phase
from tests.adversary.arena import OffByOne, honest_root, punished, rival, serve_round, server
from tests.galaxy_chain.federation import PATIENCE, SAMPLES, said
from tests.galaxy_chain.ledger.test_abi import records

HOURS = Patience(poll=0.02, content=3_600)


def client_of(federation, folder=None, how="full", withheld=Withheld.GO_ON, patience=PATIENCE):
    """A client that has joined, and what it has challenged."""
    client = LedgerClientCoordinator(
        federation.ledger(federation.clients[0]), federation.store, federation.job, patience,
        verify=Verify.parse(how), withheld=withheld, own=folder,
    )  # fmt: skip
    client.enter(SAMPLES)
    challenged = []
    client.challenged = lambda commit, node, chunk: challenged.append((commit.record.round, chunk))
    return client, challenged


@pytest.fixture
def second(federation):
    """A job of three rounds, of which the first is committed rightly, and the second's updates are in."""
    federation.job = federation.register(rounds=3, max_unsettled=3)
    federation.submit(0, 1, 2)
    federation.commit()
    federation.submit(0, 1, 2, seed=2)
    return federation


def test_the_same_model_committed_again_is_another_commit(second):
    client, challenged = client_of(second)
    model = client.model(client.round())
    serve_round(server(second, KeepsTheModel))
    assert client.round().number == 3
    with pytest.raises(RoundMovedOnError, match="round 2 was committed wrongly, and has been challenged"):
        client.model(client.round())
    assert challenged == [(2, 0)]
    assert client.round().number == 2
    assert client.model(client.round()) == model
    punished(second, second.clients[0], round=2)


class KeepsTheModel(OffByOne):
    """Commits the round's model again."""

    def commit(self, round, next_model, excluded):
        next_model.write_bytes(self.model(round).read_bytes())
        return super(OffByOne, self).commit(round, next_model, excluded)


def test_a_client_that_comes_late_verifies_what_was_committed_before_oldest_first(federation):
    federation.job = federation.register(rounds=4, max_unsettled=4)
    federation.submit(0, 1, 2)
    serve_round(server(federation, OffByOne))
    federation.submit(0, 1, 2, seed=2)
    serve_round(server(federation, OffByOne, rival(federation)))
    federation.submit(0, 1, 2, seed=3)
    federation.commit(account=federation.node.accounts[7])
    client, challenged = client_of(federation)
    with pytest.raises(RoundMovedOnError, match="round 1 was committed wrongly"):
        client.model(client.round())
    assert challenged == [(1, 1)]
    assert client.round().number == 1
    assert federation.ledger().account_of(federation.job, rival(federation)).barred is False


def test_what_was_verified_is_remembered_when_the_client_starts_again(second, tmp_path, caplog):
    second.commit()
    client, _ = client_of(second, tmp_path / "own")
    client.model(client.round())
    client.close()
    for commit in client.history.commits.values():
        second.content(commit.entries[0].update.content).unlink()
    again, _ = client_of(second, tmp_path / "own", patience=HOURS)  # and so would wait, were there anything to do
    again.model(again.round())
    assert said(caplog) == []
    again.close()
    other, _ = client_of(second, tmp_path / "other")
    other.model(other.round())
    assert "round 1, committed by" in caplog.text


def test_samples_do_not_count_for_full(second, tmp_path):
    client, _ = client_of(second, tmp_path, "sample:1")
    client.model(client.round())
    client.close()
    sampled = LedgerClientCoordinator(
        second.ledger(second.clients[0]), second.store, second.job, PATIENCE, own=tmp_path
    )
    assert sampled._inspection._verified.has(sampled.history.commits[1].word, Verify(1))
    assert not sampled._inspection._verified.has(sampled.history.commits[1].word, Verify(None))


def withhold_an_update(federation, number):
    """Takes an included update out of the store, and gives it."""
    commit = server(federation).history.commits[number]
    path = federation.content(commit.entries[1].update.content)
    content = path.read_bytes()
    path.unlink()
    return content


@pytest.fixture
def lie(second):
    """The second round is committed wrongly, one of its updates withheld; gives that."""
    serve_round(server(second, OffByOne))
    return withhold_an_update(second, 2)


def test_where_content_is_withheld_a_client_goes_on_and_tries_again_with_the_next_attempt(second, lie, caplog):
    client, challenged = client_of(second)
    round = client.round()
    assert client.model(round).exists()
    assert f"round 2, committed by {second.server}, can't be verified" in caplog.text
    second.store.put(lie)
    client.model(round)  # not asked for at every look
    assert challenged == []
    second.submit(0, 1, 2, seed=3)
    second.commit(account=rival(second))
    assert client.round().phase is Phase.CLOSED  # the last round is over, and all is verified before it counts
    assert challenged == [(2, 1)]
    punished(second, second.clients[0], round=2)


def test_a_client_that_is_told_to_waits_for_what_is_withheld(second, lie):
    client, challenged = client_of(second, withheld=Withheld.WAIT)
    looks = []

    def looked():
        looks.append(1)
        if len(looks) == 5:
            second.store.put(lie)

    round = client.round()
    client.looked = looked
    with pytest.raises(RoundMovedOnError, match="round 2 was committed wrongly"):
        client.model(round)
    assert challenged == [(2, 1)]
    assert len(looks) >= 5


def test_it_waits_no_longer_than_the_commit_can_be_challenged(second, lie, caplog):
    client, challenged = client_of(second, withheld=Withheld.WAIT)
    round = client.round()
    client.looked = lambda: second.travel(30_000)
    assert client.model(round).exists()
    assert challenged == []
    assert "can't be verified" in caplog.text


def test_it_stops_waiting_where_the_commit_is_gone(second, lie):
    client, _ = client_of(second, withheld=Withheld.WAIT)
    round = client.round()
    other = server(second, account=rival(second))

    def challenged_by_another():
        client.looked = lambda: None
        second.store.put(lie)
        commit = other.history.commits[2]
        challenge(other.ledger, other.verifier, second.job, other.history, commit, 0, 1)
        second.content(commit.entries[1].update.content).unlink()

    client.looked = challenged_by_another
    with pytest.raises(RoundMovedOnError, match="the commit of round 2 is gone"):
        client.model(round)


def test_a_lie_whose_window_is_over_is_said_once_and_gone_on_with(federation, caplog):
    federation.job = federation.register(rounds=3)
    federation.submit(0, 1, 2)
    serve_round(server(federation, OffByOne))
    federation.travel(90_000)
    client, challenged = client_of(federation)
    for _ in range(2):
        assert client.model(client.round()).exists()
    assert challenged == []
    assert caplog.text.count("is wrong in chunk 1, and its window is over: it stands for ever") == 1


def never(task):
    raise AssertionError("there is nothing to train")


class Idle:
    train = staticmethod(never)


def test_a_client_that_challenges_the_last_commit_goes_on_with_the_job(federation):
    federation.job = federation.register(rounds=1)
    federation.submit(0, 1, 2)
    honest = honest_root(federation)
    serve_round(server(federation, OffByOne))
    client, challenged = client_of(federation)

    def looked():
        if client.history.void and not client.history.finished:
            client.looked = lambda: None
            serve_round(server(federation, account=rival(federation)))

    client.looked = looked
    end = run_client(client, Idle(), SAMPLES)
    assert challenged == [(1, 1)]
    assert federation.ledger().account_of(federation.job, federation.server).barred
    assert end.phase is Phase.FINISHED
    assert federation.ledger().job_of(federation.job).root == honest


def test_a_client_that_verifies_nothing_asks_for_nothing(second, lie, caplog):
    client, challenged = client_of(second, how="off", patience=HOURS)
    assert client.model(client.round()).exists()
    assert (challenged, said(caplog)) == ([], [])


@settings(max_examples=15)
@given(st.lists(st.tuples(records, st.sampled_from([None, 1, 7, 99])), max_size=5))
def test_what_is_remembered_is_there_for_the_next_process(tmp_path_factory, found):
    file = tmp_path_factory.mktemp("verified") / "job"
    first = Verified(file)
    for record, chunks in found:
        first.add(record_word(record), Verify(chunks))
    file.write_text((file.read_text() if found else "") + "abc full\nff")
    again = Verified(file)
    for record, _ in found:
        for chunks in (None, 1, 7, 99):
            assert again.has(record_word(record), Verify(chunks)) == first.has(record_word(record), Verify(chunks))
        assert again.has(record_word(record), Verify(1))


@pytest.mark.parametrize("text", ["", "stop", "GO-ON"])
def test_what_is_nothing_to_do_is_refused(text):
    with pytest.raises(ConfigurationError, match="expected go-on or wait"):
        Withheld.parse(text)
