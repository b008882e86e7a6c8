"""Forged proofs, money asked for twice or too soon, replays, reorganisations, and rules that nobody knows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_account import Account

from galaxy_chain.accounts import LocalSigner, NodeSigner
from galaxy_chain.audit import Auditor
from galaxy_chain.challenge import challenge
from galaxy_chain.deployment import deploy
from galaxy_chain.exceptions import JobMismatchError, LedgerRefusedError, RpcError
from galaxy_chain.ledger.ledger import Ledger
from galaxy_chain.ledger.structs import Model
from galaxy_chain.ledger.transactions import Transactions
from galaxy_fl.exceptions import RoundMovedOnError
from scripts.compile import compile_contracts, compiler
from tests.adversary.arena import (
    BOND,
    OffByOne,
    events,
    honest_root,
    looks,
    punished,
    serve_round,
    server,
    stranger,
    tower,
)
from tests.galaxy_chain.federation import SAMPLES, Federation

POOL = 3 * 10**18


@pytest.fixture
def committed(federation):
    """A right commit."""
    federation.submit(0, 1, 2)
    serve_round(server(federation))
    return federation


def refusal(ledger, name, *arguments, value=0):
    """Why the ledger refuses a call."""
    with pytest.raises(LedgerRefusedError) as caught:
        ledger.transact(name, *arguments, value=value)
    return caught.value.name


def test_an_honest_commit_can_not_be_challenged_by_any_chunk(committed):
    malicious = server(committed, account=stranger(committed))
    commit = malicious.history.commits[1]
    for chunk in range(3):
        with pytest.raises(LedgerRefusedError, match="CommitIsRight"):
            challenge(malicious.ledger, malicious.verifier, committed.job, malicious.history, commit, chunk)
    at_stake = committed.ledger().account(committed.job, committed.server)
    assert (at_stake.bond, at_stake.barred) == (BOND, False)
    assert looks(tower(committed)) == ["right"]


def test_forged_openings_prove_nothing(committed):
    malicious = server(committed, account=stranger(committed))
    commit = malicious.history.commits[1]
    good = malicious.verifier.openings(malicious.history, commit, 0)
    forged_chunk = replace(good.next, chunk=bytes([good.next.chunk[0] ^ 1]) + good.next.chunk[1:])
    first, *others = good.included
    forged_update = replace(first, chunk=bytes(len(first.chunk)))
    lighter = replace(good.submissions[0], update=replace(good.submissions[0].update, weight=1))
    forgeries = [
        (replace(good, next=forged_chunk), "WrongOpening"),
        (replace(good, previous=good.next), "WrongOpening"),
        (replace(good, included=(forged_update, *others)), "WrongOpening"),
        (replace(good, included=(*others, first)), "WrongOpening"),
        (replace(good, submissions=good.submissions[1:], included=tuple(others)), "WrongSubmissions"),
        (replace(good, submissions=(lighter, *good.submissions[1:])), "WrongSubmissions"),
    ]
    for openings, reason in forgeries:
        assert refusal(malicious.ledger, "challenge", committed.job, commit.record, 0, openings) == reason
    assert committed.ledger().job(committed.job).state.round == 2


def test_a_record_with_another_beginning_of_the_head_is_unknown(federation):
    """Neither a challenger nor the server can choose where the hash chain begins, or what it leads to."""
    federation.submit(0, 1, 2)
    lying = server(federation, OffByOne)
    serve_round(lying)
    lying.round()
    commit = lying.history.commits[1]
    openings = lying.verifier.openings(lying.history, commit, 0)
    tower(federation).ledger.transact("demand", federation.job, commit.record, 1, value=10**16)
    forgeries = [
        replace(commit.record, attempt=2),
        replace(commit.record, previous_root=b"\1" * 32),
        replace(commit.record, head=b"\1" * 32),
        replace(commit.record, server=federation.clients[0]),
    ]
    for record in forgeries:
        assert refusal(lying.ledger, "answer", federation.job, record, 1, openings) == "UnknownRecord"
        assert refusal(lying.ledger, "challenge", federation.job, record, 0, openings) == "UnknownRecord"
    assert looks(tower(federation)) == []  # a chunk that it has demanded waits
    federation.travel(3_700)
    assert looks(tower(federation)) == ["expired"]
    punished(federation, federation.node.accounts[6])


def test_a_reward_is_paid_once_and_a_bond_not_before_its_window(federation):
    federation.job = federation.register(rounds=1)
    federation.ledger(federation.owner).transact("fund", federation.job, value=POOL)
    federation.submit(0, 1, 2)
    serve_round(server(federation))
    job, serving, client = (
        federation.job,
        federation.ledger(federation.server),
        federation.ledger(federation.clients[0]),
    )
    assert refusal(serving, "withdrawBond", job) == "WindowOpen"
    assert refusal(client, "finalizeJob", job) == "WindowOpen"
    assert refusal(client, "claimReward", job) == "JobNotRunning"
    federation.travel(86_500)
    serving.transact("withdrawBond", job)
    assert refusal(serving, "withdrawBond", job) == "NothingToPay"
    client.transact("finalizeJob", job)
    before = federation.rpc.number("eth_getBalance", federation.clients[0], "latest")
    client.transact("claimReward", job)
    assert federation.rpc.number("eth_getBalance", federation.clients[0], "latest") > before + POOL // 4
    assert refusal(client, "claimReward", job) == "NothingToPay"
    assert refusal(federation.ledger(stranger(federation)), "claimReward", job) == "NothingToPay"
    assert [event.amount for event in events(federation, "RewardClaimed")] == [POOL // 3]


def test_a_bond_is_locked_while_a_demand_waits(committed):
    watching = tower(committed)
    record = watching.history.commits[1].record
    committed.travel(86_000)
    watching.ledger.transact("demand", committed.job, record, 0, value=10**16)
    committed.travel(1_000)
    assert refusal(committed.ledger(committed.server), "withdrawBond", committed.job) == "DemandsOpen"


def test_a_transaction_is_taken_once_and_on_its_own_chain_only(federation):
    key = Account.create()
    federation.rpc.request(
        "eth_sendTransaction", {"from": federation.owner, "to": key.address, "value": hex(10**18), "gas": hex(21_000)}
    )
    sent = []

    class Recording(LocalSigner):
        def sign(self, rpc, transaction):
            sent.append(transaction)
            return super().sign(rpc, transaction)

    def send(transaction):
        federation.rpc.request(
            "eth_sendRawTransaction", "0x" + LocalSigner(key).sign(federation.rpc, transaction).hex()
        )

    transactions = Transactions(federation.rpc, Recording(key))
    where = federation.deployment
    ledger = Ledger(federation.rpc, where.ledger, transactions, first_block=where.block, chain_id=where.chain_id)
    ledger.transact("join", federation.job, SAMPLES, bytes(32))
    (transaction,) = sent
    with pytest.raises(RpcError, match="(?i)nonce"):
        send(transaction)
    elsewhere = {**transaction, "chainId": where.chain_id + 1, "nonce": 1}
    with pytest.raises(RpcError, match="(?i)chain"):
        send(elsewhere)
    assert len(events(federation, "ClientJoined")) == 1


def test_nothing_of_one_ledger_counts_on_another(federation, tmp_path):
    """The same job, number and submissions on two ledgers: their heads differ, and so do the words of their records."""
    other_place = deploy(federation.rpc, Transactions(federation.rpc, NodeSigner(federation.owner)))[0]
    other = Federation(federation.node, other_place, tmp_path / "other")
    while other.job < federation.job:
        other.job = other.register()
    federation.submit(0, 1, 2)
    other.submit(0, 1, 2)
    here, there = server(federation), server(other)
    assert here.history.entries == there.history.submissions
    assert here.history.head != there.history.head
    there.enter()
    model = Model(honest_root(other), b"\1" * 32)
    with pytest.raises(RoundMovedOnError, match="other updates are in"):
        there.ledger.transact("commitRound", other.job, 1, here.history.head, model, [])
    serve_round(here)
    serve_round(there)
    here.round()
    commit = here.history.commits[1]
    openings = here.verifier.openings(here.history, commit, 0)
    assert refusal(there.ledger, "challenge", other.job, commit.record, 0, openings) == "UnknownRecord"


def test_a_commit_that_a_reorganisation_puts_on_other_updates_does_not_land(federation):
    federation.submit(0, 1)
    snapshot = federation.rpc.request("evm_snapshot")
    federation.submit(2)
    serving = server(federation)
    serving.enter()
    stale = serving.round()
    path = federation.store.root.parent / "next"
    path.write_bytes(federation.aggregate(serving, {}).tobytes())
    assert federation.rpc.request("evm_revert", snapshot) is True
    federation.submit(2, seed=3)  # another update of the same client takes its place
    federation.ledger(federation.server).transact("depositBond", federation.job, value=BOND)
    with pytest.raises(RoundMovedOnError, match="other updates are in than those that were aggregated"):
        serving.commit(stale, path, {})
    assert federation.ledger().job(federation.job).state.round == 1
    honest = honest_root(federation)
    serve_round(serving)  # it looks again
    assert federation.ledger().job(federation.job).root == honest
    assert looks(tower(federation)) == ["right"]


@pytest.fixture(scope="module")
def hostile_code():
    """A rule that cuts chunks, reverts, or burns all gas, as its parameters say."""
    folder = "tests/contracts/solidity"
    artifacts = compile_contracts(compiler(None), {"HostileRule": f"{folder}/HostileRule.sol"})
    return bytes.fromhex(artifacts["HostileRule"]["bytecode"].removeprefix("0x"))


def test_nobody_takes_part_in_a_job_with_a_hostile_rule(federation, hostile_code):
    transactions = Transactions(federation.rpc, NodeSigner(federation.owner))
    rule = transactions.send(None, hostile_code).contract
    federation.job = federation.register(rule=rule)
    for takes_part in (
        lambda: federation.client(0),
        lambda: federation.serve(),
        lambda: tower(federation),
        lambda: Auditor(federation.ledger(), federation.store, federation.job),
    ):
        with pytest.raises(JobMismatchError, match="whose code is none of the rules known here"):
            takes_part()
    assert events(federation, "ClientJoined") == events(federation, "BondDeposited") == []


def test_a_hostile_owner_can_not_stop_a_challenge_by_cancelling(federation):
    federation.submit(0, 1, 2)
    serve_round(server(federation, OffByOne))
    federation.ledger(federation.owner).transact("cancelJob", federation.job)
    assert looks(tower(federation)) == ["challenged"]
    punished(federation, federation.node.accounts[6])
