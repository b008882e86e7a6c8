"""Whole jobs on a chain that is reorganised beneath them: the final model is that of the undisturbed job, to the bit."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator, LedgerServerCoordinator
from galaxy_chain.ledger.events import BondDeposited, ClientJoined, RoundCommitted, RoundReverted, UpdatesSubmitted
from galaxy_fl.rounds.coordinator import Phase
from tests.end_to_end.processes import anvil
from tests.galaxy_chain.federation import PARAMETERS, made_up
from tests.galaxy_chain.reorganised import LONG, Play


@pytest.fixture
def play(tmp_path: Path, request: pytest.FixtureRequest):
    with anvil() as url, Play(url, tmp_path, getattr(request, "param", 1)) as one:
        yield one


def test_without_any(play):
    play.start("server", "a", "b")
    play.finish()
    assert play.trainers["a"].trained == [1, 2, 3]


def held_in_round_2(play):
    play.trainers["b"].hold(2)
    play.start("server", "a", "b")
    play.held_in(2)


def test_an_update_during_collection(play):
    held_in_round_2(play)
    play.reorganise(play.wait_for(UpdatesSubmitted, 3).block)
    play.finish()
    assert play.trainers["a"].trained == [1, 2, 3], "what was trained is kept, and sent again"


def test_a_commit_and_the_update_after_it(play):
    held_in_round_2(play)
    play.reorganise(play.wait_for(RoundCommitted).block)
    play.finish()


def test_the_updates_that_were_committed_too(play):
    held_in_round_2(play)
    play.reorganise(play.wait_for(UpdatesSubmitted, 1, attempt=1).block)
    play.finish()


def test_a_join(play):
    held_in_round_2(play)
    play.reorganise(play.wait_for(ClientJoined, 2).block)
    play.finish()


def test_everything_since_the_job_was_registered(play):
    held_in_round_2(play)
    play.reorganise(play.first + 1)
    play.finish()


def test_a_join_alone(play):
    play.trainers["a"].hold(1)
    play.trainers["b"].hold(1)
    play.start("a", "b")
    play.held_in(1, submitted=False)
    assert play.trainers["a"].reached[1].wait(300)
    play.reorganise(play.wait_for(ClientJoined, 2).block)
    play.start("server")
    play.finish()


def test_a_bond(play):
    play.trainers["b"].hold(1)
    play.start("server")
    play.reorganise(play.wait_for(BondDeposited).block)
    play.start("a", "b")
    play.held_in(1)
    play.finish()


def test_a_longer_branch(play):
    held_in_round_2(play)
    play.reorganise(play.wait_for(RoundCommitted).block, longer=5)
    play.finish()


def test_blocks_without_events(play):
    held_in_round_2(play)
    play.rpc.request("anvil_mine", "0x4")
    play.reorganise(play.height - 2)
    play.finish()
    assert play.trainers["a"].trained == [1, 2, 3]


def test_twice_in_a_row(play):
    held_in_round_2(play)
    play.reorganise(play.wait_for(UpdatesSubmitted, 3).block)
    play.reorganise(play.wait_for(RoundCommitted).block)
    play.finish()


def test_twice_and_the_second_time_deeper_after_going_on(play):
    play.trainers["b"].hold(3)
    held_in_round_2(play)
    play.reorganise(play.wait_for(UpdatesSubmitted, 3).block)
    play.trainers["b"]._held[2].set()
    play.held_in(3)
    play.reorganise(play.wait_for(RoundCommitted, 1).block)
    play.finish()


def test_away_and_back(play):
    held_in_round_2(play)
    before = play.rpc.request("evm_snapshot")
    submitted = play.wait_for(UpdatesSubmitted, 3)
    play.rpc.request("anvil_mine", "0x1")
    away = play.height
    assert play.rpc.request("evm_revert", before)
    play.rpc.request("anvil_mine", "0x2")
    assert play.height > away
    assert play.wait_for(UpdatesSubmitted, 3).transaction == submitted.transaction
    play.finish()
    assert play.trainers["a"].trained == [1, 2, 3]


def test_while_a_server_is_down(play):
    play.trainers["b"].hold(2)
    play.start("a", "b")
    server = play.open("server")
    assert isinstance(server, LedgerServerCoordinator)
    server.enter()
    play.wait_for(UpdatesSubmitted, 1)
    server.round()
    server.close()
    play.reorganise(play.wait_for(BondDeposited).block)
    play.start("server")
    play.held_in(2)
    play.finish()


def test_while_a_client_is_down(play):
    client = play.open("a")
    assert isinstance(client, LedgerClientCoordinator)
    client.enter(10)
    round = client.round()
    client.submit(round, np.full(PARAMETERS, 4, np.int32), 10)
    client.round()
    client.close()
    play.reorganise(play.wait_for(ClientJoined).block)
    play.start("server", "a", "b")
    play.finish()


def test_a_commit_while_its_server_is_down(play):
    play.trainers["a"].hold(2)
    play.trainers["b"].hold(2)
    play.start("a", "b", "server")
    play.held_in(2, submitted=False)
    play.reorganise(play.wait_for(RoundCommitted).block)
    play.finish()


@pytest.mark.parametrize("play", [4], indirect=True)
def test_the_last_commit(play):
    play.start("server", "a", "b")
    play.reorganise(play.wait_for(RoundCommitted, 3).block)
    play.wait_for(RoundCommitted, 3)
    play.finish()


def test_an_update_that_is_taken_away_before_its_client_has_seen_it(play):
    client = play.open("a")
    assert isinstance(client, LedgerClientCoordinator)
    client.enter(10)
    seen = client.round()
    client.submit(seen, made_up(4), 10)
    play.reorganise(play.height, longer=1)
    again = []
    waiting = threading.Thread(target=lambda: again.append(client.wait(seen)), daemon=True)
    waiting.start()
    waiting.join(LONG)
    assert again == [seen]
    assert client.wants_update(seen)


@pytest.mark.parametrize("play", [4], indirect=True)
def test_the_last_round(play):
    play.start("server", "a", "b")
    play.wait_for(RoundCommitted, 3)
    play.reorganise(play.wait_for(UpdatesSubmitted, 5).block)
    play.finish()


@pytest.mark.parametrize("play", [3], indirect=True)
def test_nobody_leaves_before_the_last_commit_is_confirmed(play):
    play.start("server", "a", "b")
    play.wait_for(RoundCommitted, 3)
    assert play.coordinators["a"].round().phase in (Phase.SETTLING, Phase.CLOSED)
    assert play.ends == {}
    play.finish()


def test_a_challenge(play, tmp_path):
    liar = play.open("server")
    assert isinstance(liar, LedgerServerCoordinator)
    liar.enter()
    play.start("a", "b")
    play.wait_for(UpdatesSubmitted, 2)
    wrong = tmp_path / "wrong"
    wrong.write_bytes(np.zeros(PARAMETERS, np.int32).tobytes())
    liar.commit(liar.round(), wrong, {})
    play.reorganise(play.wait_for(RoundReverted).block)
    play.wait_for(RoundReverted)
    play.start("other")
    play.finish(wrong=[1])
    assert play.trainers["a"].trained == [1, 2, 3]


def test_an_attempts_number_that_comes_again_on_another_model(play, tmp_path):
    """What a client has handed in on the replaced branch does not land on the model of the new one."""
    honest, liar = play.open("server"), play.open("other")
    assert isinstance(honest, LedgerServerCoordinator)
    assert isinstance(liar, LedgerServerCoordinator)
    honest.enter()
    liar.enter()
    play.trainers["b"].hold(2)
    play.start("a", "b")
    play.wait_for(UpdatesSubmitted, 2)
    vector = tmp_path / "vector"
    vector.write_bytes((made_up(0) + np.int32(6)).tobytes())
    honest.commit(honest.round(), vector, {})
    honest.close()
    play.held_in(2)
    play.reorganise(play.wait_for(RoundCommitted).block)
    vector.write_bytes(np.full(PARAMETERS, 3, np.int32).tobytes())
    liar.commit(liar.round(), vector, {})
    assert play.wait_for(RoundCommitted).attempt == 1
    play.wait_for(RoundReverted)
    play.start("server")
    play.finish(wrong=[1])
    assert play.trainers["a"].trained == [1, 2, 3]
