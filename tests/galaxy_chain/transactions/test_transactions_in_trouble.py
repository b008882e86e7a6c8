"""Transactions that do not get in at once, and processes that are killed, on anvil with its real pool."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from galaxy_chain.exceptions import InsufficientFundsError, TransactionError
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import LocalSigner, NodeSigner
from galaxy_chain.transactions.manager import Receipt, Transactions, TransactionSettings
from galaxy_fl.faults import FAULT_VARIABLE
from galaxy_fl.patience import Clock
from tests.end_to_end.processes import LONG, ROOT, anvil

TO = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
GWEI = 10**9
HOUR = 3600.0
PATIENT = TransactionSettings(timeout=1000 * HOUR, bump_after=HOUR)
"""By the test's own clock, as all settings here."""


class Late:
    """A clock that stands still until the test says how late it is. Pauses are real, and short."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses = 0
        self.clock = Clock(lambda: self.now, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.pauses += 1
        time.sleep(min(seconds, 0.02))


class Overheard(Rpc):
    """Says what was asked."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked: list[str] = []

    def request(self, method: str, *parameters: Any) -> Any:
        self.asked.append(method)
        return super().request(method, *parameters)


class Pool:
    """A node that makes a block only when it is told to, and an account of its own with one ether."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.rpc = Rpc(url)
        self.signer = LocalSigner(Account.create())
        self.rpc.request("anvil_setBalance", self.signer.address, hex(10**18))
        self.threads = ThreadPoolExecutor(4)
        self.time = Late()
        self.sender = Overheard(url)
        """Of the transaction sent last."""

    def send(self, settings: TransactionSettings, journal: Path | None = None, **call: Any) -> Future[Receipt]:
        self.sender = Overheard(self.url)
        transactions = Transactions(self.sender, self.signer, journal, settings, self.time.clock)
        return self.threads.submit(transactions.send, TO, b"", 1, **call)

    def later(self, seconds: float, sending: Future[Receipt]) -> None:
        """Lets time pass, and who sends notice it."""
        self.time.now += seconds
        seen = self.time.pauses
        until(lambda: self.time.pauses > seen + 1 or sending.done())

    def waiting(self) -> list[dict[str, Any]]:
        """The account's transactions that wait."""
        content = self.rpc.request("txpool_content")
        return [
            transaction
            for part in ("pending", "queued")
            for address, placed in content[part].items()
            if address.lower() == self.signer.address.lower()
            for transaction in placed.values()
        ]

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.rpc.request("evm_mine")

    def count(self) -> int:
        return self.rpc.number("eth_getTransactionCount", self.signer.address, "latest")

    def transaction(self, receipt: Receipt) -> dict[str, Any]:
        found = self.rpc.request("eth_getTransactionByHash", receipt.transaction)
        assert isinstance(found, dict)
        return found


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + LONG
    while not (found := condition()):
        assert time.monotonic() < deadline, "it does not become true"
        time.sleep(0.02)
    return found


@pytest.fixture
def pool() -> Iterator[Pool]:
    with anvil("--no-mining") as url:
        pool = Pool(url)
        yield pool
        pool.threads.shutdown()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "transactions" / "journal.sqlite"


def rows(journal: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(journal)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def signed(journal: Path) -> list[tuple[int, int, int, int]]:
    """(nonce, gas, price, tip) of all that was ever signed."""
    return [tuple(map(int, row)) for row in rows(journal, "SELECT nonce, gas, price, tip FROM signed ORDER BY place")]  # type: ignore[misc]


def test_it_is_bumped_until_it_gets_in(pool, journal):
    """The base fee rises over what was offered."""
    sending = pool.send(PATIENT, journal)
    first = until(pool.waiting)[0]
    pool.rpc.request("anvil_setNextBlockBaseFeePerGas", hex(10 * GWEI))
    pool.mine()
    assert int(first["maxFeePerGas"], 16) < 10 * GWEI
    while not any(int(each["maxFeePerGas"], 16) > 10 * GWEI for each in pool.waiting()):
        pool.later(HOUR, sending)
    pool.mine()
    receipt = sending.result()
    assert receipt.transaction != first["hash"]
    versions = signed(journal)
    assert len(versions) > 1
    for (nonce, gas, *fees), (next_nonce, next_gas, *next_fees) in pairwise(versions):
        assert next_nonce == nonce
        assert next_gas >= gas
        assert all(10 * later >= 11 * earlier for earlier, later in zip(fees, next_fees, strict=True))


def test_the_cap_is_never_passed_and_is_told(pool, journal):
    sending = pool.send(TransactionSettings(timeout=12 * HOUR, bump_after=HOUR, fee_cap=4 * GWEI), journal)
    until(pool.waiting)
    pool.rpc.request("anvil_setNextBlockBaseFeePerGas", hex(10 * GWEI))
    pool.mine()
    while not sending.done():
        pool.later(HOUR, sending)
    with pytest.raises(TransactionError, match="is in no block after 43200 s.* fee cap of 4 gwei allows no higher"):
        sending.result()
    assert max(price for _, _, price, _ in signed(journal)) <= 4 * GWEI


def test_a_node_that_takes_nothing_below_the_cap(pool):
    pool.rpc.request("anvil_setNextBlockBaseFeePerGas", hex(10 * GWEI))
    pool.mine()
    with pytest.raises(TransactionError, match="is not taken .*base fee.* fee cap of 4 gwei"):
        pool.send(TransactionSettings(fee_cap=4 * GWEI)).result()
    assert pool.waiting() == []


def test_what_the_node_forgets_is_sent_again(pool):
    sending = pool.send(PATIENT)
    forgotten = until(pool.waiting)[0]["hash"]
    pool.rpc.request("anvil_dropTransaction", forgotten)
    assert pool.waiting() == []
    pool.later(HOUR / 2, sending)
    until(pool.waiting)
    pool.mine()
    assert sending.result().transaction == forgotten


def test_what_is_reorganised_out_is_sent_again(pool, journal):
    sending = pool.send(TransactionSettings(confirmations=3), journal)
    first = until(pool.waiting)[0]["hash"]
    pool.mine(2)
    until(lambda: "eth_blockNumber" in pool.sender.asked)  # it was seen in its block, and is too young
    assert not sending.done()
    pool.rpc.request("anvil_reorg", 2, [])
    assert pool.count() == 0
    until(pool.waiting)
    pool.mine(3)
    assert sending.result().transaction == first
    assert pool.count() == 1


def test_what_another_program_replaces_is_sent_again_once_that_is_confirmed(pool, journal):
    sending = pool.send(TransactionSettings(confirmations=2), journal)
    mine = until(pool.waiting)[0]
    other = {
        "to": TO, "value": 5, "gas": 21_000, "nonce": 0, "chainId": pool.rpc.number("eth_chainId"), "type": 2,
        "maxFeePerGas": 50 * GWEI, "maxPriorityFeePerGas": 50 * GWEI,
    }  # fmt: skip
    pool.rpc.request("eth_sendRawTransaction", "0x" + pool.signer.sign(pool.rpc, other).hex())
    pool.mine()
    until(lambda: pool.sender.asked.count("eth_blockNumber") > 3)
    assert pool.waiting() == [], "it might still be reorganised out"
    pool.mine()
    again = until(pool.waiting)[0]
    assert (int(mine["nonce"], 16), int(again["nonce"], 16)) == (0, 1)
    pool.mine(2)
    assert sending.result().transaction == again["hash"]
    assert pool.count() == 2


def test_it_can_be_tried_out_but_not_paid_for(pool, journal):
    pool.rpc.request("anvil_setBalance", pool.signer.address, hex(10_000))
    with pytest.raises(InsufficientFundsError, match="can't pay .*send it some ether"):
        pool.send(PATIENT, journal).result()
    pool.rpc.request("anvil_setBalance", pool.signer.address, hex(10**18))
    sending = pool.send(PATIENT, journal)
    until(pool.waiting)
    pool.mine()
    assert sending.result().transaction
    assert signed(journal)[-1][0] == 0, "what was not taken holds no nonce"


@pytest.mark.parametrize("unlocked", [False, True])
def test_a_chain_without_a_base_fee(unlocked, journal):
    with anvil("--no-mining", "--hardfork", "berlin") as url:
        pool = Pool(url)
        if unlocked:
            pool.signer = NodeSigner(pool.rpc.request("eth_accounts")[3])
        sending = pool.send(PATIENT, journal)
        first = until(pool.waiting)[0]
        pool.later(HOUR, sending)
        bumped = until(lambda: [each for each in pool.waiting() if each["hash"] != first["hash"]])[0]
        assert 10 * int(bumped["gasPrice"], 16) >= 11 * int(first["gasPrice"], 16)
        pool.mine()
        assert pool.transaction(sending.result())["type"] == "0x0"
        pool.threads.shutdown()


def test_an_end_in_time_that_is_none_is_gone_on_with(pool, journal):
    hurried = pool.send(TransactionSettings(timeout=10), journal, key="1/1/submitUpdate")
    until(pool.waiting)
    pool.later(10, hurried)
    with pytest.raises(TransactionError, match="is in no block after 10 s: .* it may get in still"):
        hurried.result()
    sending = pool.send(PATIENT, journal, key="1/1/submitUpdate")
    pool.mine()
    sending.result()
    assert pool.count() == 1
    assert pool.send(PATIENT, journal, key="1/1/submitUpdate").result() == sending.result(), "it is done"
    assert len(signed(journal)) == 1


def test_what_was_done_and_is_reorganised_out_is_sent_again_when_it_is_asked_for(pool, journal):
    sending = pool.send(PATIENT, journal, key="1/1/submitUpdate")
    until(pool.waiting)
    pool.mine()
    done = sending.result()
    pool.rpc.request("anvil_reorg", 1, [])
    assert pool.count() == 0
    again = pool.send(PATIENT, journal, key="1/1/submitUpdate")
    until(pool.waiting)
    pool.mine()
    assert again.result().transaction == done.transaction
    assert len(signed(journal)) == 1


def test_two_that_want_the_same_follow_one_transaction(pool, journal):
    """And whichever of them bumps it, the other goes on with that."""
    both = [pool.send(PATIENT, journal, key="1/1/submitUpdate") for _ in range(2)]
    until(pool.waiting)
    while len(signed(journal)) < 4:
        pool.later(HOUR, both[0])
    pool.mine()
    assert both[0].result() == both[1].result()
    assert pool.count() == 1
    assert {nonce for nonce, *_ in signed(journal)} == {0}
    for (_, _, *fees), (_, _, *next_fees) in pairwise(signed(journal)):
        assert all(10 * later >= 11 * earlier for earlier, later in zip(fees, next_fees, strict=True))


def test_another_call_under_the_same_key_waits_for_the_first(pool, journal):
    first = pool.send(PATIENT, journal, key="1/1/commitRound")
    until(pool.waiting)
    changed = Transactions(Rpc(pool.url), pool.signer, journal, PATIENT, pool.time.clock)
    second = pool.threads.submit(changed.send, TO, b"", 2, "1/1/commitRound")
    pool.mine()
    first.result()
    until(pool.waiting)
    pool.mine()
    assert int(pool.transaction(second.result())["value"], 16) == 2
    assert pool.count() == 2


def test_a_chain_that_begins_anew_knows_nothing_of_the_journal(journal):
    account = LocalSigner(Account.create())
    for time_of_first_block in (1_700_000_000, 1_700_000_001):
        with anvil("--timestamp", time_of_first_block) as url:
            rpc = Rpc(url)
            rpc.request("anvil_setBalance", account.address, hex(10**18))
            for key in ("a", "b"):
                Transactions(rpc, account, journal).send(TO, b"", 1, key)
            assert rpc.number("eth_getTransactionCount", account.address, "latest") == 2


def sender(pool: Pool, journal: Path, count: int, *key: str, fault: str = "") -> subprocess.Popen[str]:
    assert isinstance(pool.signer, LocalSigner)
    arguments = [sys.executable, "-m", "tests.galaxy_chain.transactions.sender", pool.url, journal, TO, count, *key]
    secret = "0x" + bytes(pool.signer.account.key).hex()
    return subprocess.Popen(
        [*map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "GALAXY_KEY": secret, FAULT_VARIABLE: fault},
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> list[str]:
    said, _ = process.communicate(timeout=LONG)
    assert process.returncode == code
    return said.split()


def test_two_processes_of_one_account_leave_no_gap_and_lose_nothing(pool, journal):
    pool.rpc.request("evm_setAutomine", True)
    with sender(pool, journal, 20) as one, sender(pool, journal, 20) as two:
        hashes = finish(one) + finish(two)
    assert len(set(hashes)) == 40
    assert pool.count() == 40
    assert sorted(nonce for nonce, *_ in signed(journal)) == list(range(40)), "none was signed twice"


@pytest.mark.parametrize("point", ["after-intent", "after-broadcast", "before-receipt"])
def test_a_killed_process_comes_back_and_sends_nothing_twice(pool, journal, point):
    with sender(pool, journal, 1, "1/1/submitUpdate", fault=point) as killed:
        if point == "before-receipt":
            until(pool.waiting)
            pool.mine()
        assert finish(killed, -9) == []
    assert rows(journal, "SELECT state, key, nonce FROM intent") == [("live", "1/1/submitUpdate", 0)]
    assert len(pool.waiting()) == (1 if point == "after-broadcast" else 0)
    pool.rpc.request("evm_setAutomine", True)
    pool.mine()
    with sender(pool, journal, 1, "1/1/submitUpdate") as again:
        (identity,) = finish(again)
    assert rows(journal, "SELECT hash FROM signed") == [(identity,)]
    assert pool.count() == 1


def test_what_a_killed_process_left_does_not_hold_up_the_account(pool, journal):
    with sender(pool, journal, 1, "1/1/submitUpdate", fault="after-intent") as killed:
        finish(killed, -9)
    pool.rpc.request("evm_setAutomine", True)
    behind = pool.send(PATIENT, journal)
    until(pool.waiting)
    while not behind.done():
        pool.later(1, behind)
    assert int(pool.transaction(behind.result())["nonce"], 16) == 1
    assert pool.count() == 2


def test_what_waits_behind_another_programs_says_so(pool):
    """A nonce that somebody's pool had and that is gone: nobody here can fill it but the next transaction."""
    other = {
        "to": TO, "value": 5, "gas": 21_000, "nonce": 0, "chainId": pool.rpc.number("eth_chainId"), "type": 2,
        "maxFeePerGas": 50 * GWEI, "maxPriorityFeePerGas": GWEI,
    }  # fmt: skip
    first = pool.rpc.request("eth_sendRawTransaction", "0x" + pool.signer.sign(pool.rpc, other).hex())
    behind = pool.send(TransactionSettings(timeout=10))
    until(lambda: len(pool.waiting()) == 2)
    pool.rpc.request("anvil_dropTransaction", first)
    for _ in range(10):  # past the quick looks at the receipt alone it sees what is missing
        pool.later(0, behind)
    pool.later(10, behind)
    with pytest.raises(TransactionError, match="no transaction with nonce 0 is, which is due before its 1"):
        behind.result()
