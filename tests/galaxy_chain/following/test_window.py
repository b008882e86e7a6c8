"""The follower against a model of a chain: no log is missed and none applied twice, whatever happens in which order."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from galaxy_chain.following import window as window_module
from galaxy_chain.following.cursor import Cursor
from galaxy_chain.following.follower import BEHIND_SECONDS, Applied, Final, Follower, Reverted
from galaxy_chain.following.window import LINKED, Window
from galaxy_chain.rpc.errors import UnreliableAnswerError
from tests.galaxy_chain.following.model_chain import FIRST, ModelChain


class Watched:
    """A follower of a model chain, and all that it ever said."""

    def __init__(self, chain: ModelChain, database: Path | None = None, confirmations: int | None = None) -> None:
        self.chain, self.database, self.confirmations = chain, database, confirmations
        self.now = 0.0
        self.applied: dict[tuple[str, int], bool] = {}
        """The logs that are applied, by their key, and whether they were said to be final."""
        self.start()

    def start(self) -> None:
        self.cursor = Cursor(self.database, "the model")
        self.follower = Follower(
            self.chain, self.cursor, FIRST, self.confirmations, lambda changes: None, lambda: self.now
        )

    def poll(self) -> list:
        """Looks, again and again where the node contradicts itself."""
        for _ in range(100):
            try:
                self.follower.look()
                break
            except UnreliableAnswerError:
                self.listen()
        else:
            pytest.fail("it never comes to an end")
        return self.listen()

    def listen(self) -> list:
        changes = self.follower.changes[:]
        self.follower.changes.clear()
        for change in changes:
            key = change.log.identity, change.log.place
            match change:
                case Applied():
                    assert key not in self.applied, "applied twice"
                    self.applied[key] = False
                case Reverted():
                    assert self.applied.pop(key) == change.final
                case Final():
                    assert self.applied[key] is False, "final twice"
                    self.applied[key] = True
        return changes

    @property
    def stored(self) -> list:
        return self.cursor.logs()


class FollowerMachine(RuleBasedStateMachine):
    """Blocks, reorganisations, polls, lagging nodes, crashes, in any order, also in the middle of a poll."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.chain = ModelChain()
        self.watched = Watched(self.chain, Path(self.folder.name) / "events.sqlite", confirmations=3)
        self.branches: list = []

    def teardown(self) -> None:
        self.watched.cursor.close()
        self.folder.cleanup()

    @rule(logs=st.lists(st.integers(0, 2), min_size=1, max_size=4))
    def mine(self, logs):
        for number in logs:
            self.chain.mine(number)

    @rule(blocks=st.integers(30, 60))
    def mine_many(self, blocks):
        for number in range(blocks):
            self.chain.mine(number % 7 == 0)

    @rule(depth=st.integers(1, 6), logs=st.lists(st.integers(0, 2), min_size=1, max_size=8))
    def reorganise(self, depth, logs):
        self.branches.append(self.chain.fork(depth))
        self.mine(logs)

    @rule(depth=st.integers(20, 90))
    def reorganise_deeply(self, depth):
        gone = self.chain.fork(depth)
        self.branches.append(gone)
        self.mine([1] * (len(gone) + 1))

    @precondition(lambda self: any(self.branches))
    @rule(data=st.data())
    def go_back_to_an_old_branch(self, data):
        branch = data.draw(
            st.sampled_from([b for b in self.branches if b and b[0].parent in self._identities()] or [None])
        )
        if branch:
            self.branches.append(self.chain.blocks[branch[0].number :])
            self.chain.back_to(branch)
            self.chain.mine(1)

    def _identities(self):
        return {block.identity for block in self.chain.blocks}

    @rule(span=st.sampled_from([1, 3, 2_000]))
    def answer_smaller_ranges(self, span):
        self.chain.span = span

    @rule()
    def poll(self):
        self.watched.poll()

    @rule(lag=st.integers(1, 4))
    def poll_a_lagging_node(self, lag):
        stored, window = self.watched.stored, self.watched.follower.window
        self.chain.lag = lag
        nothing_new = self.chain.visible[-1] in window.blocks
        self.watched.poll()
        self.chain.lag = 0
        if nothing_new:
            assert self.watched.stored == stored, "a lagging node is no reorganisation"

    @rule(after=st.integers(1, 8), depth=st.integers(1, 5), logs=st.lists(st.integers(0, 2), min_size=1, max_size=7))
    def poll_while_the_chain_is_reorganised(self, after, depth, logs):
        left = after

        def before():
            nonlocal left
            left -= 1
            if left == 0:
                self.reorganise(depth, logs)

        self.chain.before = before
        self.watched.poll()
        self.chain.before = lambda: None

    @rule(after=st.integers(1, 8))
    def crash_in_a_poll(self, after):
        left = after

        def before():
            nonlocal left
            left -= 1
            if left == 0:
                raise ConnectionError

        self.chain.before = before
        try:
            self.watched.poll()
        except ConnectionError:
            self.watched.listen()
        self.chain.before = lambda: None
        self.restart()

    @rule()
    def restart(self):
        self.watched.cursor.close()
        self.watched.start()

    @invariant()
    def what_is_stored_is_what_was_said(self):
        assert {(log.identity, log.place) for log in self.watched.stored} == set(self.watched.applied)

    @invariant()
    def what_is_stored_is_the_chain_up_to_the_head_where_that_stands(self):
        head = self.watched.follower.window.head
        if head is not None and head in self.chain.blocks:
            assert self.watched.stored == [log for log in self.chain.canonical if log.block <= head.number]

    @invariant()
    def what_is_final_is_below_the_confirmations(self):
        final = self.watched.follower.final
        said = {key for key, is_final in self.watched.applied.items() if is_final}
        assert said == {(log.identity, log.place) for log in self.watched.stored if log.block <= final}


TestFollowerMachine = FollowerMachine.TestCase
TestFollowerMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.fixture
def chain() -> ModelChain:
    return ModelChain()


def test_a_poll_that_finds_nothing_asks_once(chain):
    watched = Watched(chain)
    watched.poll()
    chain.asked.clear()
    watched.poll()
    assert chain.asked == ["latest"]


def test_a_poll_of_one_new_block_asks_twice_and_for_finality_where_something_waits_for_it(chain):
    watched = Watched(chain)
    watched.poll()
    chain.mine(0)
    chain.asked.clear()
    watched.poll()
    assert chain.asked == ["latest", "logs"]
    chain.mine(1)
    chain.asked.clear()
    watched.poll()
    assert chain.asked == ["latest", "logs", "finalized"]


def test_a_restart_asks_for_no_old_logs(chain, tmp_path):
    for _ in range(100):
        chain.mine(1)
    watched = Watched(chain, tmp_path / "events", confirmations=3)
    watched.poll()
    assert watched.stored == chain.canonical
    watched.cursor.close()
    chain.asked.clear()
    again = Watched(chain, tmp_path / "events", confirmations=3)
    assert again.stored == chain.canonical
    assert again.poll() == []
    assert chain.asked == ["latest"]


def test_a_long_absence_is_caught_up_with_in_ranges(chain, tmp_path):
    watched = Watched(chain, tmp_path / "events", confirmations=3)
    watched.poll()
    for _ in range(1_000):
        chain.mine(1)
    chain.asked.clear()
    watched.poll()
    assert watched.stored == chain.canonical
    assert len(chain.asked) < LINKED + 20


@pytest.mark.parametrize("depth", [1, 10, 300])
def test_a_reorganisation_during_an_absence(chain, tmp_path, depth):
    for _ in range(400):
        chain.mine(1)
    watched = Watched(chain, tmp_path / "events", confirmations=3)
    watched.poll()
    chain.fork(depth)
    for _ in range(depth + 50):
        chain.mine(1)
    changes = watched.poll()
    assert watched.stored == chain.canonical
    reverted = [change for change in changes if isinstance(change, Reverted)]
    assert len(reverted) == depth


def test_exactly_what_was_on_the_replaced_blocks_is_taken_back_newest_first(chain):
    watched = Watched(chain, confirmations=100)
    for logs in (1, 2, 0, 1):
        chain.mine(logs)
    watched.poll()
    kept, *gone = chain.canonical
    chain.fork(3)
    for logs in (0, 1, 0, 0):
        chain.mine(logs)
    changes = watched.poll()
    assert changes == [*(Reverted(log, False) for log in reversed(gone)), *map(Applied, chain.canonical[1:])]
    assert chain.canonical[0] == kept


def test_replaced_blocks_without_logs_are_no_news(chain):
    watched = Watched(chain)
    chain.mine(1)
    for _ in range(3):
        chain.mine(0)
    watched.poll()
    chain.fork(3)
    for _ in range(4):
        chain.mine(0)
    assert watched.poll() == []


def test_a_shorter_chain_is_believed_after_a_while(chain):
    watched = Watched(chain, confirmations=100)
    for _ in range(5):
        chain.mine(1)
    watched.poll()
    chain.fork(2)
    assert watched.poll() == []
    assert watched.follower.behind
    watched.now = BEHIND_SECONDS / 2
    assert watched.poll() == []
    watched.now = BEHIND_SECONDS
    assert len(watched.poll()) == 2
    assert watched.stored == chain.canonical


def test_a_chain_that_has_lost_all_blocks_of_interest_is_believed_after_a_while(chain):
    watched = Watched(chain, confirmations=100)
    chain.mine(1)
    watched.poll()
    del chain.blocks[2:]
    assert watched.poll() == []
    watched.now = BEHIND_SECONDS
    assert [type(change) for change in watched.poll()] == [Reverted]
    assert (watched.stored, watched.follower.window.head) == ([], None)


def test_a_node_that_lags_now_and_then_is_no_shorter_chain(chain):
    watched = Watched(chain, confirmations=100)
    for _ in range(5):
        chain.mine(1)
    for lag in (0, 2, 0, 2, 1, 0):
        watched.now += BEHIND_SECONDS * 0.9
        chain.lag = lag
        watched.poll()
        assert watched.stored == chain.canonical


def test_logs_that_a_node_keeps_back_are_missed(chain):
    watched = Watched(chain)
    watched.poll()
    chain.mine(1)
    chain.hide = True
    with pytest.raises(UnreliableAnswerError, match="kept back"):
        watched.follower.look()
    chain.hide = False
    assert [type(change) for change in watched.poll()] == [Applied]


def test_a_log_of_another_block_of_that_number_is_refused(chain):
    watched = Watched(chain)
    chain.mine(1)
    (other,) = chain.fork(1)
    chain.mine(1)
    chain.logs_of[chain.blocks[-1].identity] = chain.logs_of[other.identity]
    with pytest.raises(UnreliableAnswerError, match=f"said to be in block 5 of the hash {other.identity}"):
        watched.follower.look()
    assert watched.stored == []


@pytest.mark.parametrize("confirmations", [0, 2])
def test_confirmations_make_final(chain, confirmations):
    watched = Watched(chain, confirmations=confirmations)
    chain.mine(1)
    for _ in range(confirmations):
        assert not any(isinstance(change, Final) for change in watched.poll())
        chain.mine(0)
    assert Final(chain.canonical[0]) in watched.poll()
    assert watched.follower.final == FIRST


def test_the_chains_own_finality_makes_final(chain):
    chain.final = 2
    watched = Watched(chain)
    chain.mine(1)
    watched.poll()
    chain.mine(0)
    assert watched.poll() == []
    chain.mine(0)
    assert watched.poll() == [Final(chain.canonical[0])]


def test_where_a_node_knows_no_finality_many_confirmations_do(chain):
    watched = Watched(chain)
    chain.mine(1)
    for _ in range(63):
        chain.mine(0)
    assert not any(isinstance(change, Final) for change in watched.poll())
    chain.mine(0)
    assert watched.poll() == [Final(chain.canonical[0])]


def test_a_final_log_that_is_reorganised_out_is_said_to_have_been_final(chain):
    watched = Watched(chain, confirmations=0)
    chain.mine(1)
    watched.poll()
    log = chain.canonical[0]
    chain.fork(1)
    chain.mine(0)
    assert watched.poll() == [Reverted(log, True)]
    assert watched.follower.final < log.block


def test_what_the_taker_refuses_is_not_written_down(chain):
    watched = Watched(chain)
    watched.poll()
    chain.mine(1)

    def refuse(changes):
        raise ValueError("not that")

    watched.follower._take = refuse
    with pytest.raises(ValueError, match="not that"):
        watched.follower.look()
    assert (watched.stored, watched.listen()) == ([], [])
    watched.follower._take = lambda changes: None
    assert [type(change) for change in watched.poll()] == [Applied]


def test_a_window_keeps_the_newest_blocks_only(chain):
    for _ in range(400):
        chain.mine(0)
    window = Window(chain.blocks)
    assert len(window.blocks) == window_module.KEPT
    assert (window.head, window.at(404), window.at(405), window.at(10)) == (
        chain.blocks[-1],
        chain.blocks[-1],
        None,
        None,
    )


def test_a_parent_of_another_height_is_refused(chain):
    for _ in range(3):
        chain.mine(0)
    latest, grandparent = chain.blocks[-1], chain.blocks[-3]
    with pytest.raises(UnreliableAnswerError, match="is said to be block 5"):
        Window().branch_to(latest, FIRST, lambda identity: grandparent, chain.at, list)
