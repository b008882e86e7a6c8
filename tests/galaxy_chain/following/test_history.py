"""What a job's events make of it, and what they can't say of each other. `test_history_on_contract.py` has the rest."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
from eth_utils.address import to_checksum_address

from galaxy_chain.exceptions import AuditError
from galaxy_chain.following.claims import claims, earnings
from galaxy_chain.following.history import JobHistory
from galaxy_chain.following.turns import (
    bond_free_from,
    cancel_from,
    commit_from,
    commits_refused,
    exclude_any_from,
    finalize_from,
    idle_from,
    most_excluded,
    reopen_from,
    settle_from,
    settleable,
    supersede_from,
)
from galaxy_chain.ledger import events
from galaxy_chain.ledger.openings import Opening
from galaxy_chain.ledger.records import record_word
from galaxy_chain.ledger.structs import NEVER, Model, Record, Update
from galaxy_chain.ledger.submissions import Entries, Entry, pack_block, start
from galaxy_fl.aggregation.sum_tree import Node, nodes_hash, pack_nodes, unpack_nodes
from tests.galaxy_chain.ledger.test_abi import TERMS as ANY_TERMS
from tests.galaxy_chain.ledger.unpacking import unpack_submissions

LEDGER = "0x" + "ab" * 20
OWNER, SERVER, OTHER, FINDER = ("0x" + digit * 40 for digit in "5678")
CLIENTS = ["0x" + digit * 40 for digit in "1234"]
TERMS = replace(
    ANY_TERMS, server=SERVER, min_clients=2, max_clients=4, rounds=3, bond=100, demand_deposit=10, chunk_parameters=8,
    fan_in=4,
)  # fmt: skip
MODELS = [Model(bytes([i]) * 32, bytes([100 + i]) * 32) for i in range(5)]


def event(name, **arguments):
    return getattr(events, name)(block=5, block_hash=b"", log_index=0, transaction=b"", job=1, **arguments)


def deadline_of(history):
    """How long the ledger takes updates of the current attempt after its `min_clients`-th entry."""
    if history.reopenings == 0:
        return TERMS.deadline
    return max(TERMS.deadline, TERMS.aggregate_seconds) * 2 ** min(history.reopenings, 10)


class Chain:
    """Makes the events of a job as the ledger would, and folds them."""

    def __init__(self, terms=TERMS, pool=9_000, clients=CLIENTS, is_sum=True):
        self.history = JobHistory(1, LEDGER, 1)
        self.terms = terms
        self.now = 1_000
        job = {"owner": OWNER, "terms": terms, "model": MODELS[0], "keeps_model": False, "is_sum": is_sum}
        self.clients = clients
        self.apply("JobRegistered", **job, time=self.now)
        self.apply("JobFunded", funder=OWNER, amount=pool)
        for server in (SERVER, OTHER):
            self.apply("BondDeposited", server=server, amount=100)
        for client in clients:
            self.apply("ClientJoined", client=client, samples=50, key=bytes(32))

    def apply(self, name, **arguments):
        self.history.apply(event(name, **arguments))

    def entry(self, place, weight=7):
        return Entry(self.clients[place], Update(bytes([place + 1]) * 32, bytes([place + 51]) * 32, weight))

    def submitted(self, *places, **changed):
        history = self.history
        count = len(history.entries) + len(places)
        closes_at = history.closes_at
        if count >= self.terms.min_clients and closes_at == NEVER:
            closes_at = self.now + deadline_of(history)
        return {
            "attempt": history.attempt,
            "first": len(history.entries),
            "closes_at": closes_at,
            "entries": pack_block(self.entry(place) for place in places),
        } | changed

    def submit(self, *places, **changed):
        """What the clients at these places have signed, in one call."""
        self.apply("UpdatesSubmitted", **self.submitted(*places, **changed))

    def record(self, **changed):
        history = self.history
        record = Record(
            attempt=history.origin,
            round=history.round,
            updates=len(history.entries),
            head=history.head,
            previous_root=history.model.root,
            next=MODELS[history.round],
            excluded=bytes((len(history.entries) + 7) // 8),
            nodes_hash=bytes(32),
            reward=(history.pool - history.allotted) // (self.terms.rounds - history.round + 1),
            allotted_before=history.allotted,
            share=self.terms.server_share,
            server=SERVER,
            time=self.now + 10,
        )
        return replace(record, **changed)

    def commit(self, nodes=b"", nodes_content=bytes(32), **changed):
        record = self.record(**changed)
        named = {"server": record.server, "record": record, "nodes": nodes, "nodes_content": nodes_content}
        self.apply("RoundCommitted", attempt=self.history.attempt, **named)
        self.now = record.time
        return self.history.commits[record.round]

    def round(self, *places, **changed):
        """A round of one block."""
        self.submit(*places)
        return self.commit(**changed)

    def reverted(self, commit, **changed):
        usual = {
            "attempt": self.history.attempt + 1,
            "word": commit.word,
            "round": commit.record.round,
            "time": self.now,
        }
        self.apply("RoundReverted", **usual | changed)

    def superseded(self, commit, **changed):
        usual = {"attempt": self.history.attempt + 1, "word": commit.word, "round": commit.record.round}
        usual |= {"server": commit.record.server, "sender": OTHER, "time": self.now}
        self.apply("RoundSuperseded", **usual | changed)

    def settle(self, commit, **changed):
        record = commit.record
        server_amount = record.reward * record.share // 10_000
        usual = {
            "round": record.round,
            "server": record.server,
            "server_amount": server_amount,
            "client_amount": (record.reward - server_amount) // len(commit.included),
            "closes_at": self.history.closes_at,
            "time": record.time + self.terms.challenge_seconds,
        }
        self.apply("RoundSettled", **usual | changed)

    def claim(self, commit, *numbers, **changed):
        record = commit.record
        amount = (record.reward - record.reward * record.share // 10_000) // len(commit.included)
        usual = {"round": record.round, "word": 0, "amount": amount, "entries": sum(1 << number for number in numbers)}
        self.apply("RewardsClaimed", **usual | changed)

    def demand(self, commit, index=0, node=0, **changed):
        deposit = self.terms.demand_deposit * (self.history.account(commit.record.server).demands + 1)
        usual = {"word": commit.word, "demander": FINDER, "round": commit.record.round, "node": node, "index": index}
        usual |= {"answer_by": self.now + 12, "announced": True, "deposit": deposit, "excess": 3}
        self.apply("ChunkDemanded", **usual | changed)

    def answer(self, commit, index=0, node=0, **changed):
        usual = {"word": commit.word, "sender": OTHER, "round": commit.record.round, "node": node, "index": index}
        chunk = bytes(64 if node else 32)
        usual |= {"paid": commit.record.server, "deposit": 10, "chunk": chunk + b"\1" * 64}
        self.apply("ChunkAnswered", **usual | changed)

    def expire(self, commit, index=0, node=0, **changed):
        usual = {"word": commit.word, "demander": FINDER, "round": commit.record.round, "node": node, "index": index}
        usual |= {"deposit": 10}
        self.apply("DemandExpired", **usual | changed)

    def slash(self, commit, **changed):
        usual = {"word": commit.word, "server": commit.record.server, "amount": 100, "finder": FINDER, "reward": 25}
        self.apply("BondSlashed", **usual | changed)


@pytest.fixture
def chain():
    return Chain()


@pytest.fixture
def committed(chain):
    chain.round(0, 1)
    return chain


def test_blocks_lead_to_the_head(chain):
    chain.submit(0)
    chain.submit(1, 2)
    history = chain.history
    assert [entry.client for entry in history.entries] == CLIENTS[:3]
    begun = start(1, LEDGER, 1, 1, MODELS[0].root)
    assert history.head == Entries(begun, history.entries.blocks).head
    assert history.closes_at == chain.now + TERMS.deadline
    assert history.built


MANY = [to_checksum_address(sha256(b"%d" % place).digest()[:20]) for place in range(200)]
LARGE = replace(TERMS, max_clients=200)


def test_entries_of_a_call_are_cut_into_blocks_and_segments():
    chain = Chain(LARGE, clients=MANY)
    history, count = chain.history, 0
    for entries, blocks, open_blocks, shut in [
        (1, [1], 1, 0),
        (10, [4, 4, 2], 4, 0),
        (4, [4], 5, 0),
        (1, [1], 6, 0),
        (100, [4] * 25, 31, 0),
        (80, [4] * 20, 51, 0),
    ]:
        before = len(history.entries.blocks)
        chain.submit(*range(count, count + entries))
        count += entries
        assert [len(block) for block in history.entries.blocks[before:]] == blocks
        assert (history.state.blocks, history.state.shut) == (open_blocks, shut)
    ones = Chain(LARGE, clients=MANY)
    for place in range(65):
        ones.submit(place)
    ones.submit(*range(65, 75))
    assert (ones.history.state.blocks, ones.history.state.shut) == (4, 64)
    commit = ones.commit(nodes=(packed := tree(ones)), nodes_hash=bound(ones, packed))
    ones.submit(0)
    assert (ones.history.state.blocks, ones.history.state.shut) == (1, 0)
    # A rollback brings back entries to which nothing is appended: nobody keeps count of their blocks.
    ones.reverted(commit)
    assert (ones.history.state.blocks, ones.history.state.shut, len(ones.history.entries)) == (1, 0, 75)
    assert ones.history.head == commit.record.head


def tree(chain, weight=7, roots=b"\3"):
    """The nodes over all entries of a chain, each of that weight, as the ledger packs them."""
    weights, size, nodes = [weight] * len(chain.history.entries), 0, []
    while size != 1:
        weights = [sum(weights[at : at + chain.terms.fan_in]) for at in range(0, len(weights), chain.terms.fan_in)]
        size = len(weights)
        nodes += [Node(bytes([len(nodes)]) + roots * 31, weight) for weight in weights]
    return pack_nodes(nodes)


def bound(chain, packed):
    return nodes_hash(unpack_nodes(packed), len(chain.history.entries), chain.terms.fan_in)


@pytest.fixture
def large():
    chain = Chain(LARGE, clients=MANY)
    chain.submit(*range(18))
    return chain


def test_a_commit_has_the_nodes_of_its_sums(large):
    packed = tree(large)
    commit = large.commit(nodes=packed, nodes_hash=bound(large, packed), nodes_content=b"\x09" * 32)
    assert [node.weight for node in commit.nodes] == [28, 28, 28, 28, 14, 112, 14, 126]
    assert (commit.nodes, commit.nodes_content) == (unpack_nodes(packed), b"\x09" * 32)
    history = large.history
    large.demand(commit, 2, node=7)
    large.demand(commit, 2, node=1)
    large.demand(commit, 1, node=0)
    assert [(d.node, d.index) for d in history.open_demands(commit.word)] == [(0, 1), (1, 2), (7, 2)]
    large.answer(commit, 2, node=1, deposit=20)
    assert history.answers[commit.word] == {(1, 2): Opening(bytes(64), (b"\1" * 32, b"\1" * 32))}
    large.expire(commit, 2, node=7)
    assert history.expired[commit.word] == {(7, 2)}
    assert history.demands[commit.word].keys() == {(0, 1)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda packed, right: {"nodes": packed[:-36], "nodes_hash": right}, "there are 7 nodes, expected 8 over 18 entries"),
        (lambda packed, right: {"nodes": packed + packed[:36], "nodes_hash": right}, "there are 9 nodes, expected 8"),
        (lambda packed, right: {"nodes": packed[:-1], "nodes_hash": right}, "287 bytes are not nodes"),
        (lambda packed, right: {"nodes": b"", "nodes_hash": bytes(32)}, "there are 0 nodes, expected 8"),
        (lambda packed, right: {"nodes": packed[:-1] + b"\x7f", "nodes_hash": right}, "node 8 weighs 127, expected 126"),
        (lambda packed, right: {"nodes": packed, "nodes_hash": bytes(32)}, "nodes_hash is 0000"),
        (lambda packed, right: {"nodes": b"\4" + packed[1:], "nodes_hash": right}, "record's nodes_hash is"),
    ],
)  # fmt: skip
def test_nodes_that_can_t_be_are_an_audit_error(large, change, said):
    packed = tree(large)
    with pytest.raises(AuditError, match=said):
        large.commit(**change(packed, bound(large, packed)))


def test_rounds_of_few_entries_and_of_other_rules_have_no_nodes(chain):
    one = pack_nodes([Node(bytes(32), 28)])
    chain.submit(0, 1, 2, 3, closes_at=chain.now)
    with pytest.raises(AuditError, match="there are 1 nodes, expected 0 over 4 entries"):
        chain.commit(nodes=one)
    other = Chain(LARGE, clients=MANY, is_sum=False)
    other.submit(*range(18))
    with pytest.raises(AuditError, match="there are 8 nodes, but the job's rule is not a sum"):
        other.commit(nodes=tree(other))
    assert other.commit().nodes == ()


@pytest.mark.parametrize("fan_in", [0, 1, 65])
def test_a_fan_in_that_no_ledger_takes_is_an_audit_error(fan_in):
    with pytest.raises(AuditError, match=f"fan_in is {fan_in}, expected 2 to 64"):
        Chain(replace(TERMS, fan_in=fan_in))


def test_a_commit_has_its_record_and_who_is_left_out(chain):
    chain.submit(0, 1, 2)
    commit = chain.commit(excluded=b"\2")
    assert commit.word == record_word(commit.record)
    assert [entry.client for entry in commit.included] == [CLIENTS[0], CLIENTS[2]]
    assert [entry.client for entry in commit.excluded] == [CLIENTS[1]]
    history = chain.history
    assert (history.round, history.attempt, history.allotted, history.built) == (2, 2, 3_000, False)
    assert history.account(SERVER).locked_until == commit.record.time + TERMS.challenge_seconds


def test_a_revert_takes_the_money_of_the_round_and_of_all_later_ones_back(committed):
    first = committed.history.commits[1]
    second = committed.round(1, 2)
    committed.now += 5
    committed.slash(first)
    committed.reverted(first)
    history = committed.history
    assert history.commits == {}
    assert history.void == {first.word: first, second.word: second}
    assert (history.round, history.attempt, history.origin, history.allotted) == (1, 4, 1, 0)
    assert (history.closes_at, history.active_at, history.built) == (committed.now, committed.now, True)
    assert history.head == first.record.head
    assert history.account(SERVER).barred
    assert history.account(FINDER).balance == 25
    assert list(history.challengeable()) == []
    again = committed.commit(server=OTHER, share=0)
    assert (again.record.attempt, again.attempt) == (1, 4)


def test_a_void_commit_has_the_past_that_it_was_made_on(committed):
    first, history = committed.history.commits[1], committed.history
    second = committed.round(1, 2)
    assert history.lineage(first) == []
    assert history.lineage(second) == [first]
    committed.superseded(second)
    committed.slash(first)
    committed.reverted(first)
    other = committed.commit(server=OTHER, share=0, next=MODELS[4])
    assert history.lineage(second) == [first]
    committed.submit(0, 1)
    third = committed.commit(server=OTHER, share=0)
    assert history.lineage(third) == [other]


def test_what_is_superseded_can_still_be_demanded_and_slashed(committed):
    commit = committed.history.commits[1]
    committed.now += TERMS.idle_seconds
    committed.superseded(commit)
    history = committed.history
    assert (history.account(SERVER).late, history.account(SERVER).late_round) == (True, 1)
    assert list(history.challengeable()) == [commit]
    assert commit_from(history, SERVER) is None
    assert commit_from(history, OTHER) == history.closes_at == committed.now
    committed.demand(commit)
    assert [demand.index for demand in history.open_demands(commit.word)] == [0]
    committed.expire(commit)
    committed.slash(commit)
    assert history.superseded == set()
    assert list(history.challengeable()) == []
    assert history.round == 1  # nothing was rolled back again


def test_a_later_settled_record_ends_the_lateness(committed):
    commit, history = committed.history.commits[1], committed.history
    committed.now += TERMS.idle_seconds
    committed.superseded(commit)
    committed.apply("RoundReopened", attempt=3, sender=OTHER, round=1, time=committed.now)
    committed.submit(0, 1)
    assert commit_from(history, SERVER) == history.closes_at + 3 * TERMS.aggregate_seconds
    assert commit_from(history, OTHER) == history.closes_at
    again = committed.commit(time=commit_from(history, SERVER))
    assert bond_free_from(history, SERVER) is None
    committed.submit(0, 1)
    committed.settle(again)
    assert not history.account(SERVER).late
    assert bond_free_from(history, SERVER) == again.record.time + TERMS.challenge_seconds


def test_a_superseded_round_collects_as_long_as_before(chain):
    chain.submit(0, 1)
    chain.apply("RoundReopened", attempt=1, sender=OTHER, round=1, time=chain.now)
    commit = chain.round(0, 1, time=chain.now + 2 * TERMS.aggregate_seconds)
    assert (chain.history.reopenings, chain.history.reopenings_before) == (0, 1)
    chain.superseded(commit)
    assert chain.history.reopenings == 1
    chain.apply("RoundReopened", attempt=4, sender=OTHER, round=1, time=chain.now)
    assert deadline_of(chain.history) == 4 * TERMS.aggregate_seconds


def test_rounds_settle_in_order_and_are_claimed_entry_by_entry(committed):
    first = committed.history.commits[1]
    committed.round(0, 1, 2)
    history = committed.history
    assert settleable(history, first.record.time + TERMS.challenge_seconds - 1) == []
    assert settleable(history, first.record.time + TERMS.challenge_seconds) == [first]
    assert earnings(history, CLIENTS[0]).unsettled == 1_200 + 800
    committed.settle(first)
    assert (history.settled, history.account(SERVER).balance) == (1, 600)
    (claim,) = claims(history)
    assert (claim.numbers, claim.amount, claim.total) == ((0, 1), 1_200, 2_400)
    shown = unpack_submissions(start(1, LEDGER, 1, 1, MODELS[0].root), claim.submissions)
    assert (shown.head, set(shown.entries)) == (first.record.head, {0, 1})
    committed.claim(first, 1)
    assert claims(history, [CLIENTS[1]]) == []
    assert [claim.numbers for claim in claims(history)] == [(0,)]
    assert [claim.numbers for claim in claims(history, through=2)] == [(0,), (0, 1, 2)]
    found = earnings(history, CLIENTS[1])
    assert (found.balance, found.claimable, found.unsettled) == (1_200, 0, 800)
    found = earnings(history, CLIENTS[0])
    assert (found.balance, found.claimable, found.unsettled) == (0, 1_200, 800)
    assert earnings(history, SERVER).unsettled == 600
    committed.apply("BalanceWithdrawn", account=CLIENTS[1], amount=1_200)
    assert earnings(history, CLIENTS[1]).balance == 0


def test_demands_are_open_until_answered_and_each_makes_the_next_dearer(committed):
    commit, history = committed.history.commits[1], committed.history
    committed.demand(commit)
    committed.demand(commit, 4, announced=False)
    assert [(d.index, d.deposits, d.announced) for d in history.open_demands(commit.word)] == [
        (0, 1, True), (4, 2, False),
    ]  # fmt: skip
    assert history.account(FINDER).balance == 6
    assert history.account(SERVER).demands == 2
    committed.submit(0, 1)
    assert settle_from(history) is None
    committed.answer(commit)
    committed.answer(commit, 4, paid=OTHER, deposit=20)
    assert history.answers[commit.word][0, 0] == Opening(bytes(32), (b"\1" * 32, b"\1" * 32))
    assert (history.account(SERVER).balance, history.account(OTHER).balance) == (10, 20)
    assert settle_from(history) == commit.record.time + TERMS.challenge_seconds
    assert history.demands == {}


def test_turns_of_a_round(chain):
    history = chain.history
    assert commit_from(history, SERVER) is None  # too few entries
    assert reopen_from(history, OTHER) is None
    chain.submit(0, 1)
    closes, turn = history.closes_at, TERMS.aggregate_seconds
    assert (commit_from(history, SERVER), commit_from(history, OTHER)) == (closes, closes + turn)
    assert reopen_from(history, OTHER) == closes + 4 * turn
    chain.submit(2)
    chain.submit(3, closes_at=chain.now)
    assert most_excluded(history, chain.now) == TERMS.max_excluded == 1
    assert most_excluded(history, exclude_any_from(history)) == 2
    chain.now = reopen_from(history, OTHER)
    chain.apply("RoundReopened", attempt=1, sender=OTHER, round=1, time=chain.now)
    assert [reopening.sender for reopening in history.reopened] == [OTHER]
    assert deadline_of(history) == 2 * TERMS.aggregate_seconds
    assert history.closes_at == NEVER


def test_commits_wait_for_settling(committed):
    history = committed.history
    committed.round(0, 1)
    committed.submit(0, 1)
    assert commits_refused(history)
    assert commit_from(history, SERVER) is None
    assert cancel_from(history, OTHER) is None
    assert cancel_from(history, OWNER) == 0
    committed.settle(history.commits[1], closes_at=2_000)
    assert not commits_refused(history)
    assert commit_from(history, SERVER) == 2_000


def test_the_newest_commit_waits_until_it_is_built_upon(committed):
    history, record = committed.history, committed.history.commits[1].record
    slow = max(record.time + TERMS.challenge_seconds, record.time + 2 * TERMS.idle_seconds)
    assert settle_from(history) == slow
    assert supersede_from(history, OTHER) == record.time + TERMS.idle_seconds
    assert supersede_from(history, SERVER) is None
    committed.submit(0)
    assert supersede_from(history, OTHER) is not None
    committed.submit(1)
    assert settle_from(history) == record.time + TERMS.challenge_seconds
    assert supersede_from(history, OTHER) is None


def test_a_cancelled_job_ends_with_its_round(committed):
    history = committed.history
    committed.apply("JobCancelled", sender=OWNER, last_round=2, time=committed.now)
    assert idle_from(history) == committed.now + 2 * TERMS.idle_seconds
    committed.submit(0, 1)
    committed.settle(history.commits[1])
    assert finalize_from(history) == idle_from(history)
    committed.commit()
    assert history.finished
    assert finalize_from(history) is None
    assert settle_from(history) == history.commits[2].record.time + TERMS.challenge_seconds
    committed.settle(history.commits[2])
    assert finalize_from(history) == 0
    committed.apply("JobFinalized", owner=OWNER, root=MODELS[2].root, rest=3_000)
    assert history.account(OWNER).balance == 3_000
    assert finalize_from(history) is None


def fails(said, act, *arguments, **changed):
    return pytest.param(act, arguments, changed, said, id=f"{act.__name__} {said}")


@pytest.mark.parametrize(
    ("act", "arguments", "changed", "said"),
    [
        fails("attempt is 2, expected 1", Chain.submit, 0, attempt=2),
        fails("first is 1, expected 0", Chain.submit, 0, first=1),
        fails("0 bytes are not entries", Chain.submit, entries=b""),
        fails("87 bytes are not entries", Chain.submit, entries=bytes(87)),
        fails("a weight of 0, but declared 0", Chain.submit, entries=bytes(88)),
        fails("collecting ends at 7 with 1 entries", Chain.submit, 0, closes_at=7),
        fails(f"collecting ends at {NEVER} with 2 entries", Chain.submit, 0, 1, closes_at=NEVER),
        fails("has an entry in this attempt", Chain.submit, 0, 0),
    ],
)
def test_entries_that_can_t_be_are_an_audit_error(chain, act, arguments, changed, said):
    with pytest.raises(AuditError, match=said):
        act(chain, *arguments, **changed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"head": bytes(32)}, "commit names the head 0000"),
        ({"attempt": 2}, "attempt is 2, expected 1"),
        ({"round": 2}, "is of round 2, attempt 1, but"),
        ({"updates": 4}, "updates is 4, expected 3"),
        ({"previous_root": b"\7" * 32}, "previous_root is 0707.*, expected 0000"),
        ({"reward": 3_001}, "reward is 3001, expected 3000"),
        ({"allotted_before": 1}, "allotted_before is 1, expected 0"),
        ({"share": 1}, "share is 1"),
        ({"share": 0}, "share is 0"),
        ({"time": 1_000}, "collecting ends at 1009"),
        ({"excluded": b"\0\0"}, "has 2 bytes, expected 1"),
        ({"excluded": b"\x08"}, "has a bit beyond the last of 3"),
        ({"excluded": b"\3"}, "1 updates are included, expected 2"),
        ({"server": FINDER, "share": 0}, "has a bond of 0"),
    ],
)
def test_records_that_can_t_be_are_an_audit_error(chain, changed, said):
    chain.submit(0, 1, 2)
    with pytest.raises(AuditError, match=said):
        chain.commit(**changed)


def test_two_lives_of_one_job_are_an_audit_error(chain):
    again = {"owner": OWNER, "terms": TERMS, "model": MODELS[0], "keeps_model": False, "is_sum": True, "time": 1}
    with pytest.raises(AuditError, match="registered before"):
        chain.apply("JobRegistered", **again)
    with pytest.raises(AuditError, match="not registered yet"):
        JobHistory(1, LEDGER, 1).apply(event("JobFunded", funder=OWNER, amount=1))


@pytest.mark.parametrize(
    ("said", "act"),
    [
        ("is none that stands", lambda chain, commit: chain.reverted(commit, word=bytes(32))),
        ("is none that stands", lambda chain, commit: chain.reverted(commit, round=2)),
        ("attempt is 9, expected 3", lambda chain, commit: chain.reverted(commit, attempt=9)),
        ("can't do this", lambda chain, commit: chain.superseded(commit, sender=SERVER)),
        ("can't do this", lambda chain, commit: chain.superseded(commit, server=OTHER)),
        ("can't be superseded", lambda chain, commit: chain.superseded(chain.round(0, 1), round=1)),
        ("round is 2, expected 1", lambda chain, commit: chain.settle(chain.round(0, 1))),
        ("window of round 1 is not over", lambda chain, commit: chain.settle(commit, time=commit.record.time)),
        ("server is 0x7777", lambda chain, commit: chain.settle(commit, server=OTHER)),
        ("server_amount is 601, expected 600", lambda chain, commit: chain.settle(commit, server_amount=601)),
        ("client_amount is 9, expected 1200", lambda chain, commit: chain.settle(commit, client_amount=9)),
        ("demands on round 1 are open", lambda chain, commit: (chain.demand(commit), chain.settle(commit))),
        ("settled rounds are 1 to 0", lambda chain, commit: chain.claim(commit, 0)),
        (
            "entry 0 of round 1 has nothing to claim",
            lambda chain, commit: (chain.settle(commit), chain.claim(commit, 0), chain.claim(commit, 0)),
        ),
        ("entry 512 of round", lambda chain, commit: (chain.settle(commit), chain.claim(commit, word=2, entries=1))),
        ("amount is 5", lambda chain, commit: (chain.settle(commit), chain.claim(commit, 0, amount=5))),
        ("round 1 is settled", lambda chain, commit: (chain.settle(commit), chain.reverted(commit))),
        ("void or settled", lambda chain, commit: (chain.settle(commit), chain.demand(commit))),
        ("there is no record 0000", lambda chain, commit: chain.demand(commit, word=bytes(32))),
        ("is demanded already", lambda chain, commit: (chain.demand(commit), chain.demand(commit, deposit=20))),
        ("deposit is 10, expected 20", lambda chain, commit: (chain.demand(commit), chain.demand(commit, 1, deposit=10))),
        ("is not demanded", lambda chain, commit: chain.answer(commit)),
        ("neither committed nor answered", lambda chain, commit: (chain.demand(commit), chain.answer(commit, paid=FINDER))),
        ("are not a chunk", lambda chain, commit: (chain.demand(commit), chain.answer(commit, chunk=bytes(33)))),
        ("demander is 0x7777", lambda chain, commit: (chain.demand(commit), chain.expire(commit, demander=OTHER))),
        ("amount is 99, expected 100", lambda chain, commit: chain.slash(commit, amount=99)),
        ("has 50 of a bond of 100", lambda chain, commit: chain.slash(commit, reward=50)),
        ("last_round is 1, expected 2", lambda chain, commit: chain.apply("JobCancelled", sender=OWNER, last_round=1, time=1)),
        ("only 0 are settled", lambda chain, commit: chain.apply("JobFinalized", owner=OWNER, root=b"", rest=0)),
        ("amount is 7, expected 0", lambda chain, commit: chain.apply("BalanceWithdrawn", account=OWNER, amount=7)),
        ("amount is 7, expected 100", lambda chain, commit: chain.apply("BondWithdrawn", server=OTHER, amount=7)),
        ("was expelled", lambda chain, commit: (chain.apply("ClientExpelled", client=CLIENTS[0]), chain.submit(0))),
        ("has joined before", lambda chain, commit: chain.apply("ClientJoined", client=CLIENTS[0], samples=1, key=b"")),
        ("is barred", lambda chain, commit: (chain.slash(commit), chain.reverted(commit), chain.commit())),
        ("are complete", lambda chain, commit: (chain.reverted(commit), chain.submit(2, closes_at=1_010))),
    ],
)  # fmt: skip
def test_events_that_contradict_each_other_are_an_audit_error(committed, said, act):
    with pytest.raises(AuditError, match=said):
        act(committed, committed.history.commits[1])


def test_a_claim_is_cut_where_a_transaction_has_no_more_room(monkeypatch):
    chain = Chain(replace(LARGE, max_unsettled=3), clients=MANY)
    for first in range(0, 100, 10):
        chain.submit(*range(first, first + 10))
    for place in range(100, 200):
        chain.submit(place, closes_at=min(chain.history.closes_at, chain.now if place == 199 else NEVER))
    packed = tree(chain)
    commit = chain.commit(nodes=packed, nodes_hash=bound(chain, packed))
    chain.submit(0, 1)
    chain.settle(commit)
    (claim,) = claims(chain.history)
    assert [part.numbers for part in claim.parts()] == [tuple(range(200))]
    monkeypatch.setattr("galaxy_chain.following.claims.MOST_AT_ONCE", 8)
    begun = start(1, LEDGER, 1, 1, MODELS[0].root)
    for clients in (MANY, [MANY[5], *MANY[8:12], MANY[39], MANY[60], *MANY[99:]]):
        (claim,) = claims(chain.history, clients)
        parts = claim.parts()
        assert [number for part in parts for number in part.numbers] == list(claim.numbers)
        shown = [unpack_submissions(begun, part.submissions) for part in parts]
        assert all(read.head == commit.record.head for read in shown)
        assert all(set(part.numbers) <= read.entries.keys() for part, read in zip(parts, shown, strict=True))
        assert max(len(read.entries) for read in shown) == 8
    monkeypatch.setattr("galaxy_chain.following.claims.MOST_AT_ONCE", 256)
    monkeypatch.setattr("galaxy_chain.following.claims.MOST_BYTES", 5_000)
    parts = claims(chain.history)[0].parts()
    assert len(parts) > 5
    assert all(len(part.submissions) <= 5_000 for part in parts)


def test_the_last_key_of_an_account_counts_and_epochs_begin_in_the_order_of_their_first_sharing():
    chain = Chain(clients=CLIENTS[:3])
    chain.apply("ClientJoined", client=CLIENTS[3], samples=1, key=b"\1" * 32)
    chain.apply("KeyRegistered", account=CLIENTS[3], key=b"\2" * 32)
    chain.apply("KeyRegistered", account=OTHER, key=b"\3" * 32)
    for digest, wraps in ((b"\5", b"a"), (b"\6", b"b"), (b"\5", b"c")):
        chain.apply("KeyShared", digest=digest * 32, wraps=wraps)
    before = chain.history.snapshot()
    chain.apply("KeyShared", digest=b"\7" * 32, wraps=b"")
    assert before.keys == {CLIENTS[3]: (b"\1" * 32, b"\2" * 32), OTHER: (b"\3" * 32,)}
    assert list(before.epochs.items()) == [(b"\5" * 32, (b"a", b"c")), (b"\6" * 32, (b"b",))]
