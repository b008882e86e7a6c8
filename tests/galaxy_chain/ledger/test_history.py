"""The fold of a job's events is where the contract is, whatever happened."""

from __future__ import annotations

import random

import numpy as np
import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given

from galaxy_chain.exceptions import AuditError
from galaxy_chain.ledger.abi import Event
from galaxy_chain.ledger.follower import JobFollower
from galaxy_chain.ledger.history import JobHistory, first_head, next_head, record_word
from galaxy_chain.ledger.structs import Model, Opening, Openings, Status, Update
from galaxy_fl.vectors import ChunkTree
from tests.galaxy_chain.federation import CHUNK, made_up
from tests.galaxy_chain.ledger.test_abi import TERMS, addresses, plain, records, unsigned, updates, words

LEDGER = "0x" + "ab" * 20
RECORD = "(uint32,uint32,uint16,bytes32,bytes32,(bytes32,bytes32),address[],address,uint40)"


@given(records)
def test_a_record_word_is_the_hash_of_the_abi_encoding(record):
    assert record_word(record) == keccak(encode([RECORD], [plain(record)]))


@given(unsigned(64), addresses, unsigned(256), unsigned(32), words)
def test_the_first_head_is_the_hash_of_the_abi_encoding(chain_id, ledger, job, attempt, root):
    encoded = encode(["uint256", "address", "uint256", "uint32", "bytes32"], [chain_id, ledger, job, attempt, root])
    assert first_head(chain_id, ledger, job, attempt, root) == keccak(encoded)


@given(words, addresses, updates)
def test_a_head_is_the_hash_of_the_abi_encoding(head, client, update):
    encoded = encode(["bytes32", "address", "(bytes32,bytes32,uint32)"], [head, client, plain(update)])
    assert next_head(head, client, update) == keccak(encoded)


def assert_same(federation, history):
    """The history is where the contract's own views are."""
    ledger = federation.ledger()
    stored = ledger.job(federation.job)
    assert history.terms == stored.terms
    assert (history.owner, history.round, history.attempt, history.origin, history.status) == (
        stored.owner, stored.state.round, stored.state.attempt, stored.state.origin, stored.state.status,
    )  # fmt: skip
    assert (history.model.root, history.head, len(history.submissions)) == (
        stored.root, stored.head, stored.state.updates,
    )  # fmt: skip
    for number in range(1, history.terms.rounds + 1):
        kept = ledger.call("recordOf", federation.job, number)
        assert kept == (record_word(history.commits[number].record) if number in history.commits else bytes(32))
    for client, samples in history.clients.items():
        assert ledger.client(federation.job, client).samples == samples


def challenge(federation, commit):
    """Proves the first chunk of a commit wrong."""

    def opening(content):
        found = ChunkTree(np.fromfile(federation.content(content), "<i4"), CHUNK).opening(0)
        return Opening(found.chunk, tuple(found.path))

    openings = Openings(
        opening(commit.previous.content),
        opening(commit.record.next.content),
        commit.submissions,
        tuple(opening(s.update.content) for s in commit.included),
    )
    federation.ledger(federation.clients[2]).transact("challenge", federation.job, commit.record, 0, openings)


def step(federation, chance, follower):
    """One random thing that somebody may do where the job stands."""
    history = follower.history
    count = len(history.submissions)
    running = history.status is Status.RUNNING and not history.finished
    wrong = [c for c in history.commits.values() if c.record.server == federation.clients[0]]
    choices = []
    if running:
        waiting = [i for i in range(3) if federation.clients[i] not in {s.client for s in history.submissions}]
        if history.origin == history.attempt and count < 3 and waiting:
            choices += [lambda: federation.submit(chance.choice(waiting), seed=history.attempt)] * 3
        if count == 3:
            choices += [federation.commit, lambda: federation.commit(excluded=(chance.randrange(3),))]
            choices += [lambda: federation.commit(made_up(999), account=federation.clients[0])]
        if count == 2:
            choices.append(lambda: (federation.travel(200), federation.commit()))
            choices.append(lambda: (federation.travel(200), reopen(federation)))
    if wrong:
        choices.append(lambda: challenge(federation, chance.choice(wrong)))
    chance.choice(choices)() if choices else None


def reopen(federation):
    server = federation.serve()
    round = server.round()
    server.reopen(round, dict.fromkeys(server.updates(round)[:1], "unusable"))


@pytest.mark.parametrize("seed", range(4))
def test_after_every_step_the_history_is_where_the_contract_is(federation, seed):
    federation.job = federation.register(rounds=3, max_excluded=2)
    chance = random.Random(seed)
    follower = JobFollower(federation.ledger(), federation.job)
    for _ in range(10):
        barred = federation.ledger().account(federation.job, federation.clients[0]).barred
        if barred and follower.history.status is Status.RUNNING and not follower.history.finished:
            break
        step(federation, chance, follower)
        follower.poll()
        assert_same(federation, follower.history)


def test_a_rolled_back_round_has_its_updates_and_its_model_again(federation):
    federation.submit(0, 1, 2)
    federation.commit(made_up(999))
    federation.submit(0, 1, 2, seed=2)
    follower = JobFollower(federation.ledger(), federation.job)
    wrong = follower.history.commits[1]
    challenge(federation, wrong)
    assert follower.poll()
    history = follower.history
    assert_same(federation, history)
    assert (history.round, history.attempt, history.origin) == (1, 3, 1)
    assert history.commits == {}
    assert history.reverted == [wrong]
    assert history.model == history.initial
    federation.commit(account=federation.clients[1])
    follower.poll()
    assert_same(federation, follower.history)
    assert follower.history.commits[1].record.attempt == 1
    assert follower.history.commits[1].attempt == 3


def test_cancelled_and_final_jobs_are_known_as_such(federation):
    follower = JobFollower(federation.ledger(), federation.job)
    federation.ledger(federation.owner).transact("cancelJob", federation.job)
    follower.poll()
    assert follower.history.status is Status.CANCELLED
    federation.ledger(federation.owner).transact("finalizeJob", federation.job)
    follower.poll()
    assert_same(federation, follower.history)
    assert follower.history.status is Status.FINAL


def event(name, **arguments):
    return Event(name, arguments, 5, b"", 0, b"")


MODEL, NEXT = Model(b"\1" * 32, b"\2" * 32), Model(b"\3" * 32, b"\4" * 32)
UPDATE = Update(b"\5" * 32, b"\6" * 32, 7)
CLIENT, SERVER = "0x" + "11" * 20, "0x" + "22" * 20
REGISTERED = event("JobRegistered", owner=SERVER, terms=TERMS, model=MODEL)
HEAD = next_head(first_head(1, LEDGER, 1, 1, MODEL.root), CLIENT, UPDATE)


def submitted(**changed):
    return event("UpdateSubmitted", **{"client": CLIENT, "update": UPDATE, "round": 1, "attempt": 1} | changed)


def committed(**changed):
    usual = {"round": 1, "attempt": 1, "head": HEAD, "model": NEXT, "excluded": (), "server": SERVER, "time": 9}
    return event("RoundCommitted", **usual | changed)


def history_of(*events):
    history = JobHistory(1, LEDGER, 1)
    for each in events:
        history.apply(each)
    return history


def test_events_that_fit_are_taken():
    history = history_of(REGISTERED, submitted(), committed())
    assert (history.round, history.attempt, history.model) == (2, 2, NEXT)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([submitted()], "not registered yet"),
        ([REGISTERED, REGISTERED], "registered before"),
        ([REGISTERED, submitted(attempt=2)], "attempt 2, but the events before it lead to round 1, attempt 1"),
        ([REGISTERED, submitted(round=2)], "round 2, attempt 1, but"),
        ([REGISTERED, submitted(), committed(head=b"\0" * 32)], "commit names the head 0000"),
        ([REGISTERED, committed()], "commit names the head"),
        ([REGISTERED, submitted(), submitted(), committed()], "commit names the head"),
        ([REGISTERED, submitted(), committed(attempt=2)], "lead to round 1, attempt 1"),
        ([REGISTERED, submitted(), committed(), committed()], "lead to round 2, attempt 2"),
        ([REGISTERED, submitted(), committed(), submitted()], "lead to round 2, attempt 2"),
        ([REGISTERED, event("RoundReopened", round=2, attempt=1)], "lead to round 1"),
        ([REGISTERED, event("RoundReverted", round=1, attempt=2)], "has no commit"),
        (
            [REGISTERED, submitted(), committed(), event("RoundReverted", round=1, attempt=4)],
            "as attempt 4, but the attempt before is 2",
        ),
    ],
)
def test_events_that_contradict_each_other_are_an_audit_error(events, said):
    with pytest.raises(AuditError, match=said):
        history_of(*events)


def demanded(**changed):
    usual = {"round": 1, "attempt": 1, "demander": CLIENT, "index": 3, "answer_by": 50}
    return event("ChunkDemanded", **usual | changed)


def answered(**changed):
    usual = {"round": 1, "attempt": 1, "server": SERVER, "index": 3, "next": None}
    return event("ChunkAnswered", **usual | changed)


def expired(**changed):
    return event("DemandExpired", **{"round": 1, "attempt": 1, "demander": CLIENT, "index": 3} | changed)


REVERTED = event("RoundReverted", round=1, attempt=3)
COMMITTED = (REGISTERED, submitted(), committed())


def waiting(history, record=None):
    """Chunks and prices of what waits for a record's server, by default that of round 1."""
    record = history.commits[1].record if record is None else record
    return [(demand.index, demand.deposits) for demand in history.open_demands(record)]


def test_the_demands_that_wait_follow_from_the_events():
    history = history_of(*COMMITTED)
    assert waiting(history) == []
    for each in (demanded(), demanded(index=1), demanded(index=2)):
        history.apply(each)
    assert waiting(history) == [(1, 2), (2, 3), (3, 1)]
    history.apply(answered(index=1))
    assert waiting(history) == [(2, 3), (3, 1)]
    history.apply(demanded(index=1))
    assert waiting(history) == [(1, 3), (2, 3), (3, 1)]


def test_demands_of_a_reverted_record_are_not_those_of_the_one_in_its_place():
    history = history_of(*COMMITTED, demanded(), demanded(index=4), REVERTED)
    void = history.reverted[0].record
    history.apply(committed(attempt=3, server=CLIENT))
    history.apply(demanded())
    assert (waiting(history, void), waiting(history)) == ([(3, 1), (4, 2)], [(3, 1)])
    history.apply(expired())
    history.apply(expired(index=4))
    assert (waiting(history, void), waiting(history)) == ([], [(3, 1)])
    history.apply(expired())
    assert waiting(history) == []


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([demanded(round=2)], "round 2, attempt 1, which has no commit that stands"),
        ([demanded(attempt=2)], "round 1, attempt 2, which has no commit that stands"),
        ([demanded(), demanded()], "chunk 3 is demanded again in block 5, unanswered"),
        ([answered()], "chunk 3, which nobody has demanded"),
        ([demanded(), answered(), answered()], "chunk 3, which nobody has demanded"),
        ([demanded(), expired(demander=SERVER)], "chunk 3, which nobody has demanded"),
        ([demanded(), REVERTED, answered()], "which has no commit that stands"),
    ],
)
def test_demands_and_answers_that_can_not_be_are_an_audit_error(events, said):
    with pytest.raises(AuditError, match=said):
        history_of(*COMMITTED, *events)


def test_the_open_demands_are_those_of_the_ledger_and_nobody_is_asked_for_them(federation):
    federation.submit(0, 1, 2)
    federation.commit()
    follower = JobFollower(federation.ledger(), federation.job)
    record = follower.history.commits[1].record
    ledger = federation.ledger(federation.clients[0])
    for deposits, index in enumerate((2, 0), 1):
        ledger.transact("demand", federation.job, record, index, value=deposits * 10**16)
    follower.poll()
    found = follower.history.open_demands(record)
    for demand in found:
        stored = ledger.call("demandOf", federation.job, record_word(record), demand.index)
        assert (demand.demander, demand.answer_by, demand.deposits) == (
            stored.demander, stored.answer_by, stored.deposits,
        )  # fmt: skip
    assert [demand.index for demand in found] == [0, 2]
    federation.serve().round()  # answers both
    follower.poll()
    assert follower.history.open_demands(record) == []
    asked = []
    request = follower.ledger.rpc.request
    follower.ledger.rpc.request = lambda method, *parameters: asked.append(method) or request(method, *parameters)
    follower.poll()
    assert follower.history.open_demands(record) == []
    assert "eth_call" not in asked
