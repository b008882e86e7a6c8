"""Forged proofs, money asked for twice or too soon, replays, reorganisations, and rules that nobody knows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_account import Account

from galaxy_chain.exceptions import JobMismatchError, LedgerRefusedError, RpcError
from galaxy_chain.ledger.announcing import announce_finding
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.deployment import deploy
from galaxy_chain.ledger.events import BondDeposited, ClientJoined
from galaxy_chain.ledger.structs import Model
from galaxy_chain.ledger.submissions import show
from galaxy_chain.transactions.accounts import LocalSigner, NodeSigner
from galaxy_chain.transactions.manager import Transactions
from galaxy_chain.verify.audit import Auditor
from galaxy_chain.verify.challenge import challenge, demand
from galaxy_chain.verify.proofs import Proofs
from galaxy_fl.exceptions import RoundMovedOnError
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
from tests.contracts.compiled import compiled
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
        ledger.function(name, *arguments, value=value).transact()
    return caught.value.name


def test_an_honest_commit_can_not_be_challenged_by_any_chunk(committed):
    malicious = server(committed, account=stranger(committed))
    commit = malicious.history.commits[1]
    for chunk in range(3):
        with pytest.raises(LedgerRefusedError, match="CommitIsRight"):
            challenge(malicious.ledger, malicious.verifier, committed.job, malicious.history, commit, 0, chunk)
    at_stake = committed.ledger().account_of(committed.job, committed.server)
    assert (at_stake.bond, at_stake.barred) == (BOND, False)
    assert looks(tower(committed)) == ["right"]


def test_forged_openings_prove_nothing(committed):
    malicious = server(committed, account=stranger(committed))
    commit = malicious.history.commits[1]
    good = Proofs(malicious.verifier).openings(malicious.history, commit, 0, 0)
    next_model, model, first, *others = good.opened
    forged_chunk = replace(next_model, chunk=bytes([next_model.chunk[0] ^ 1]) + next_model.chunk[1:])
    forged_update = replace(first, chunk=bytes(len(first.chunk)))
    blocks = commit.blocks
    lighter = replace(blocks[0][0], update=replace(blocks[0][0].update, weight=1))

    def opened(*openings):
        return replace(good, opened=openings)

    def showing(*blocks):
        return replace(good, submissions=show(blocks))

    forgeries = [
        (opened(forged_chunk, model, first, *others), "WrongOpening"),
        (opened(next_model, next_model, first, *others), "WrongOpening"),
        (opened(next_model, model, forged_update, *others), "WrongOpening"),
        (opened(next_model, model, *others, first), "WrongOpening"),
        (opened(next_model, model, *others), "MalformedOpenings"),
        (opened(*good.opened, first), "MalformedOpenings"),
        (showing(*blocks[1:]), "WrongSubmissions"),
        (showing((lighter,), *blocks[1:]), "WrongSubmissions"),
        (showing(blocks[0] + blocks[1], *blocks[2:]), "WrongSubmissions"),
        # Nobody shows nodes where there are none, and what they say is not looked at.
        (replace(showing(*blocks[1:]), nodes=bytes(36)), "WrongSubmissions"),
    ]
    salt = announce_finding(malicious.ledger, commit.word, 0, 0)
    committed.rpc.request("evm_mine")
    for openings, reason in forgeries:
        arguments = (committed.job, commit.record, 0, 0, salt, openings.pack())
        assert refusal(malicious.ledger, "challenge", *arguments) == reason
    assert committed.ledger().job_of(committed.job).state.round == 2


def test_a_record_with_another_beginning_of_the_head_is_unknown(federation):
    """Neither a challenger nor the server can choose where the hash chain begins, or what it leads to."""
    federation.submit(0, 1, 2)
    lying = server(federation, OffByOne)
    serve_round(lying)
    lying.round()
    commit = lying.history.commits[1]
    openings = Proofs(lying.verifier).openings(lying.history, commit, 0, 0).pack()
    demand(tower(federation).ledger, federation.job, lying.history, commit, 0, 1)
    forgeries = [
        replace(commit.record, attempt=2),
        replace(commit.record, previous_root=b"\1" * 32),
        replace(commit.record, head=b"\1" * 32),
        replace(commit.record, server=federation.clients[0]),
    ]
    for record in forgeries:
        assert refusal(lying.ledger, "answer", federation.job, record, 0, 1, openings) == "UnknownRecord"
        assert refusal(lying.ledger, "challenge", federation.job, record, 0, 0, bytes(32), openings) == "UnknownRecord"
    # What is proved is challenged, although a chunk that it has demanded waits.
    assert looks(tower(federation)) == ["challenged"]
    punished(federation, federation.node.accounts[6])


def test_a_reward_is_paid_once_and_a_bond_not_before_its_window(federation):
    federation.job = federation.register(rounds=1)
    federation.ledger(federation.owner).fund(federation.job, value=POOL).transact()
    federation.submit(0, 1, 2)
    serve_round(server(federation))
    job, serving, client = (
        federation.job,
        federation.ledger(federation.server),
        federation.ledger(federation.clients[0]),
    )
    commit = server(federation).history.commits[1]
    all_of_it = show(commit.blocks, range(3))
    assert refusal(serving, "withdrawBond", job) == "WindowOpen"
    assert refusal(client, "finalizeJob", job) == "JobNotSettled"
    with pytest.raises(RoundMovedOnError, match="the time for it comes at"):
        client.claim(job, commit.record, all_of_it).transact()
    federation.travel(86_500)
    serving.withdraw_bond(job).transact()
    assert refusal(serving, "withdrawBond", job) == "NothingToPay"
    client.claim(job, commit.record, show(commit.blocks, [0])).transact()  # settles it on the way
    federation.ledger(stranger(federation)).claim(job, commit.record, all_of_it).transact()  # for the others
    assert refusal(client, "claim", job, commit.record, all_of_it) == "NothingToPay"
    each = (POOL - POOL // 5) // 3
    balances = [federation.ledger().account_of(job, account).balance for account in federation.clients]
    assert balances == [each] * 3
    assert federation.ledger().account_of(job, federation.server).balance == POOL // 5
    before = federation.rpc.number("eth_getBalance", federation.clients[0], "latest")
    client.withdraw(job).transact()
    assert federation.rpc.number("eth_getBalance", federation.clients[0], "latest") > before + each // 2
    assert refusal(client, "withdraw", job) == "NothingToPay"
    assert refusal(federation.ledger(stranger(federation)), "withdraw", job) == "NothingToPay"


def test_a_bond_is_locked_while_a_demand_waits(committed):
    watching = tower(committed)
    record = watching.history.commits[1].record
    committed.travel(86_000)
    watching.ledger.demand(committed.job, record, 0, 0, bytes(32), value=10**16).transact()
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
    ledger = LedgerContract(
        federation.rpc, where.ledger, transactions, first_block=where.block, chain_id=where.chain_id
    )
    ledger.join(federation.job, SAMPLES, bytes(32)).transact()
    (transaction,) = sent
    with pytest.raises(RpcError, match="(?i)nonce"):
        send(transaction)
    elsewhere = {**transaction, "chainId": where.chain_id + 1, "nonce": 1}
    with pytest.raises(RpcError, match="(?i)chain"):
        send(elsewhere)
    assert len(events(federation, ClientJoined)) == 1


def test_nothing_of_one_ledger_counts_on_another(federation, tmp_path):
    """The same job, number and submissions on two ledgers: their heads differ, and so do the words of their records."""
    other_place = deploy(federation.rpc, Transactions(federation.rpc, NodeSigner(federation.owner)))[0]
    other = Federation(federation.node, other_place, tmp_path / "other")
    while other.job < federation.job:
        other.job = other.register()
    federation.submit(0, 1, 2)
    other.submit(0, 1, 2)
    here, there = server(federation), server(other)
    assert list(here.history.entries) == list(there.history.entries)
    assert here.history.head != there.history.head
    there.enter()
    model, none = Model(honest_root(other), b"\1" * 32), b"\0"
    with pytest.raises(RoundMovedOnError, match="other updates are in"):
        there.ledger.commit_round(other.job, 1, here.history.head, model, none).transact()
    serve_round(here)
    serve_round(there)
    here.round()
    commit = here.history.commits[1]
    openings = Proofs(here.verifier).openings(here.history, commit, 0, 0).pack()
    assert refusal(there.ledger, "challenge", other.job, commit.record, 0, 0, bytes(32), openings) == "UnknownRecord"


def test_a_commit_that_a_reorganisation_puts_on_other_updates_does_not_land(federation):
    federation.submit(0, 1)
    snapshot = federation.rpc.request("evm_snapshot")
    federation.submit(2)
    serving = server(federation)
    serving.enter()
    stale = serving.round()
    path = federation.store.root.parent / "next"
    path.unlink(missing_ok=True)
    path.write_bytes(federation.aggregate(serving, {}).tobytes())
    assert federation.rpc.request("evm_revert", snapshot) is True
    federation.submit(2, seed=3)  # another update of the same client takes its place
    federation.ledger(federation.server).deposit_bond(federation.job, value=BOND).transact()
    with pytest.raises(RoundMovedOnError, match="other updates are in than those that were aggregated"):
        serving.commit(stale, path, {})
    assert federation.ledger().job_of(federation.job).state.round == 1
    honest = honest_root(federation)
    serve_round(serving)  # it looks again
    assert federation.ledger().job_of(federation.job).root == honest
    assert looks(tower(federation)) == ["right"]


def test_nobody_takes_part_in_a_job_with_a_hostile_rule(federation):
    transactions = Transactions(federation.rpc, NodeSigner(federation.owner))
    # It cuts chunks, reverts, or burns all gas, as its parameters say.
    rule = transactions.send(None, bytes.fromhex(compiled()["HostileRule"]["bytecode"].removeprefix("0x"))).contract
    federation.job = federation.register(rule=rule)
    for takes_part in (
        lambda: federation.client(0),
        lambda: federation.serve(),
        lambda: tower(federation),
        lambda: Auditor(federation.ledger(), federation.store, federation.job),
    ):
        with pytest.raises(JobMismatchError, match="whose code is none of the rules known here"):
            takes_part()
    assert events(federation, ClientJoined) == events(federation, BondDeposited) == []


def test_a_hostile_owner_can_not_stop_a_challenge_by_cancelling(federation):
    federation.submit(0, 1, 2)
    serve_round(server(federation, OffByOne))
    federation.ledger(federation.owner).cancel_job(federation.job).transact()
    assert looks(tower(federation)) == ["challenged"]
    punished(federation, federation.node.accounts[6])
