"""Clients of one process hand in together, and none of them is worse off than by itself."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest

from galaxy_chain.coordinators import LedgerClientCoordinator, gathering
from galaxy_chain.coordinators.shared_job import SharedJob
from galaxy_chain.exceptions import AlreadySubmittedError, InsufficientFundsError, LedgerRefusedError, RpcError
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.lane.lanes import lanes
from galaxy_chain.ledger.events import BalanceWithdrawn, ClientJoined
from galaxy_chain.ledger.structs import Update
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_fl.exceptions import RoundMovedOnError
from tests.galaxy_chain.federation import PATIENCE, SAMPLES, made_up


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """All clients are waited for, however busy the machine."""
    monkeypatch.setattr(gathering, "GATHER_SECONDS", 60.0)


@contextmanager
def hosted(federation, count=3):
    """Clients of one process, all of which have joined."""
    with closing(SharedJob(federation.ledger(), federation.store, federation.job, poll=0.02)) as shared:
        clients = [
            LedgerClientCoordinator(
                federation.ledger(account), federation.store, federation.job, PATIENCE, shared=shared
            )
            for account in federation.clients[:count]
        ]
        with ThreadPoolExecutor(count) as threads:
            list(threads.map(lambda client: client.enter(SAMPLES), clients))
        yield clients


def submit(clients, rounds=None):
    """Has all of them submit at the same time: what each has paid for, or the error that it has met."""
    rounds = rounds or [client.round() for client in clients]

    def one(number):
        try:
            return clients[number].submit(rounds[number], made_up(100 + number), SAMPLES)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(clients)) as threads:
        return list(threads.map(one, range(len(clients))))


def handed_in(federation):
    with closing(JobFollower(federation.ledger(), federation.job)) as follower:
        follower.poll()
        return lanes(federation.ledger(), follower)


def balance(federation, account):
    return federation.rpc.number("eth_getBalance", account, "latest")


def gas_of(federation, transaction):
    return int(federation.rpc.request("eth_getTransactionReceipt", transaction)["gasUsed"], 16)


def test_what_all_have_trained_is_one_transaction_whose_gas_they_share(federation):
    with hosted(federation) as clients:
        gas = submit(clients)
        transactions = {client.transaction for client in clients}
    (call,) = handed_in(federation)
    assert (call.lane, set(call.clients)) == ("signed", set(federation.clients))
    assert {call.transaction} == transactions
    assert sum(gas) == gas_of(federation, call.transaction)
    assert max(gas) - min(gas) <= 1


def test_the_entries_are_those_that_each_would_have_submitted_alone(federation):
    with hosted(federation) as clients:
        submit(clients)
        together = {entry.client: entry for entry in clients[0].round() and clients[0].history.entries}
    federation.job = federation.register()
    for number in range(3):
        client = federation.client(number)
        client.submit(client.round(), made_up(100 + number), SAMPLES)
    alone = {entry.client: entry for entry in client.round() and client.history.entries}
    assert together == alone


def sent(federation, kind):
    """The transactions that had an event of that kind in the job, with how many of them each."""
    ledger = federation.ledger()
    events = ledger.events(kind, 0, federation.rpc.block("latest").number, job=federation.job)
    return Counter(event.transaction for event in events)


def test_all_join_in_one_transaction(federation):
    with hosted(federation) as clients:
        assert {federation.ledger().client_of(federation.job, client.address).samples for client in clients} == {
            SAMPLES
        }
    assert list(sent(federation, ClientJoined).values()) == [3]


def test_one_that_may_not_join_keeps_nobody_else_from_it(federation):
    federation.job = federation.register(open=False)
    federation.ledger(federation.owner).admit(federation.job, federation.clients[:2]).transact()
    with closing(SharedJob(federation.ledger(), federation.store, federation.job, hosted=3)) as shared:
        deadline = federation.rpc.block("latest").time + 100

        def join(account):
            return shared.together.join(federation.ledger(account), SAMPLES, bytes(32), deadline)

        with ThreadPoolExecutor(3) as threads:
            assert list(threads.map(join, federation.clients)) == [True, True, False]
    assert list(sent(federation, ClientJoined).values()) == [2]


def test_all_balances_are_paid_out_in_one_transaction_each_to_its_account(federation):
    federation.job = federation.register(pool=6 * 10**15, rounds=1)
    paid = {}
    with hosted(federation) as clients:
        submit(clients)
        federation.travel(200)
        federation.commit()
        federation.travel(federation.terms().challenge_seconds)
        before = {client.address: balance(federation, client.address) for client in clients}

        def stay(client):
            client.listen(lambda amount: paid.setdefault(client.address, amount), lambda *_: None)
            return client.stay(client.round())

        with ThreadPoolExecutor(3) as threads:
            assert all(round.over for round in threads.map(stay, clients))
    (transaction,) = sent(federation, BalanceWithdrawn)
    assert set(paid) == set(federation.clients)
    payer = federation.rpc.request("eth_getTransactionByHash", "0x" + transaction.hex())["from"]
    others = [account for account in federation.clients if account.lower() != payer.lower()]
    assert any(balance(federation, account) - before[account] == paid[account] for account in others)
    assert all(federation.ledger().account_of(federation.job, account).balance == 0 for account in federation.clients)


def test_a_client_alone_signs_nothing(federation):
    with hosted(federation, 1) as clients:
        submit(clients)
    (call,) = handed_in(federation)
    assert (call.lane, call.clients) == ("direct", (federation.clients[0],))


@pytest.mark.parametrize("poor", [(0,), (0, 1)])
def test_whoever_can_pay_pays_for_those_who_can_not(federation, poor):
    with hosted(federation) as clients:
        for number in poor:
            federation.rpc.request("anvil_setBalance", federation.clients[number], "0x0")
        assert [gas for gas in submit(clients) if not isinstance(gas, int)] == []
    (call,) = handed_in(federation)
    assert call.by in {federation.clients[number] for number in range(3) if number not in poor}


def test_where_nobody_can_pay_each_is_told(federation):
    with hosted(federation) as clients:
        for account in federation.clients:
            federation.rpc.request("anvil_setBalance", account, "0x0")
        assert [type(error) for error in submit(clients)] == [InsufficientFundsError] * 3


def test_one_that_is_expelled_or_in_already_is_left_out_and_told(federation):
    with hosted(federation) as clients:
        rounds = [client.round() for client in clients]
        federation.ledger(federation.owner).expel(federation.job, federation.clients[0]).transact()
        federation.ledger(federation.clients[1]).submit_update(
            federation.job, rounds[1].attempt, clients[1].history.model.root, Update(b"1" * 32, b"2" * 32, 1)
        ).transact()
        expelled, already, fine = submit(clients, rounds)
    assert isinstance(expelled, LedgerRefusedError)
    assert expelled.name == "Expelled"
    assert isinstance(already, AlreadySubmittedError)
    assert isinstance(fine, int)


def test_one_whose_join_a_reorganisation_took_joins_again(federation):
    with hosted(federation, 2) as clients:
        late = LedgerClientCoordinator(
            federation.ledger(federation.clients[2]), federation.store, federation.job, PATIENCE,
            shared=clients[0]._shared,
        )  # fmt: skip
        late._samples = SAMPLES
        assert [gas for gas in submit([*clients, late]) if not isinstance(gas, int)] == []
    first, second = handed_in(federation)
    assert set(first.clients) == set(federation.clients[:2])
    assert second.clients == (federation.clients[2],)


def test_after_the_round_has_moved_on_all_are_told_so(federation):
    with hosted(federation) as clients:
        rounds = [client.round() for client in clients]
        federation.submit(0, 1, seed=2)
        federation.travel(200)
        federation.commit()
        assert [type(error) for error in submit(clients, rounds)] == [RoundMovedOnError] * 3


def test_accounts_that_sign_transactions_and_nothing_else_send_their_own(federation, monkeypatch):
    def refuse(self, rpc, data, digest):
        raise RpcError("the method eth_signTypedData_v4 is not available")

    with hosted(federation) as clients:
        monkeypatch.setattr(NodeSigner, "sign_typed_data", refuse)
        assert [gas for gas in submit(clients) if not isinstance(gas, int)] == []
    assert [call.lane for call in handed_in(federation)] == ["direct"] * 3
