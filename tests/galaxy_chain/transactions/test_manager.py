"""Transactions of unlocked and of local accounts, on the embedded chain and on anvil."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from galaxy_chain.exceptions import (
    AlreadySubmittedError,
    InsufficientFundsError,
    LedgerRefusedError,
    NotAdmittedError,
    RpcError,
    TransactionError,
    UnknownJobError,
)
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.deployment import Deployment, deploy
from galaxy_chain.ledger.structs import ZERO_ADDRESS, Model, Terms, Update
from galaxy_chain.rpc.errors import RpcAnswerError
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import LocalSigner, NodeSigner
from galaxy_chain.transactions.journal import Call
from galaxy_chain.transactions.manager import Signer, Transactions, TransactionSettings
from galaxy_fl.exceptions import RoundMovedOnError
from tests.end_to_end.processes import anvil

MODEL = Model(b"\1" * 32, b"\2" * 32)
QUICK = TransactionSettings(timeout=300)
UPDATE = Update(b"\3" * 32, b"\4" * 32, 5)


@pytest.fixture(scope="session")
def anvil_url() -> Iterator[str]:
    with anvil() as url:
        yield url


@pytest.fixture(params=["embedded", "anvil"])
def rpc(request: pytest.FixtureRequest) -> Iterator[Rpc]:
    url = request.getfixturevalue("node").url if request.param == "embedded" else request.getfixturevalue("anvil_url")
    rpc = Rpc(url)
    snapshot = rpc.request("evm_snapshot")
    yield rpc
    rpc.request("evm_setAutomine", True)
    assert rpc.request("evm_revert", snapshot) is True


@pytest.fixture
def deployed(rpc: Rpc) -> Deployment:
    return deploy(rpc, Transactions(rpc, unlocked(rpc)))[0]


def unlocked(rpc: Rpc, index: int = 0) -> NodeSigner:
    return NodeSigner(to_checksum_address(rpc.request("eth_accounts")[index]))


def local(rpc: Rpc, ether: int = 1) -> LocalSigner:
    """An account whose key is here; it has that much ether."""
    signer = LocalSigner(Account.create())
    if ether:
        Transactions(rpc, unlocked(rpc)).send(signer.address, b"", ether * 10**18)
    return signer


def ledger_of(rpc: Rpc, deployed: Deployment, signer: Signer) -> LedgerContract:
    return LedgerContract(rpc, deployed.ledger, Transactions(rpc, signer, settings=QUICK), first_block=deployed.block)


def register(rpc: Rpc, deployed: Deployment, **changed: object) -> int:
    terms = {
        "spec": b"\1" * 32, "rule_word": bytes(32), "rule": deployed.rules["weighted_mean"], "demand_deposit": 0,
        "server": ZERO_ADDRESS, "bond": 1, "rounds": 2, "min_clients": 1, "max_clients": 1, "max_excluded": 0,
        "deadline": 0, "aggregate_seconds": 1, "challenge_seconds": 24, "idle_seconds": 4, "server_share": 0,
        "max_unsettled": 1, "answer_seconds": 1, "max_weight": 100, "chunk_parameters": 64, "fan_in": 16, "open": True,
        "parameters": 100,
    }  # fmt: skip
    ledger = ledger_of(rpc, deployed, unlocked(rpc))
    ledger.register_job(Terms(**(terms | changed)), MODEL).transact()
    return ledger.jobs()


@pytest.fixture(params=["unlocked", "local"])
def signer(request: pytest.FixtureRequest, rpc: Rpc) -> Signer:
    return unlocked(rpc, 3) if request.param == "unlocked" else local(rpc)


def test_a_transaction_is_in_a_block_when_it_returns(rpc, deployed, signer):
    job = register(rpc, deployed)
    receipt = ledger_of(rpc, deployed, signer).join(job, 10, bytes(32)).transact()
    assert receipt.block == rpc.number("eth_blockNumber")
    assert 21_000 < receipt.gas_used < 100_000
    assert receipt.contract is None
    assert ledger_of(rpc, deployed, signer).client_of(job, signer.address).samples == 10


def test_ether_goes_with_it(rpc, deployed, signer):
    job = register(rpc, deployed, bond=7)
    ledger_of(rpc, deployed, signer).deposit_bond(job, value=7).transact()
    assert ledger_of(rpc, deployed, signer).account_of(job, signer.address).bond == 7


def test_what_was_enough_before_is_tried_and_not_estimated_again(rpc, deployed, signer, monkeypatch):
    jobs, asked, request = [register(rpc, deployed) for _ in range(4)], list[str](), Rpc.request
    ledger = ledger_of(rpc, deployed, signer)
    assert ledger.transactions is not None
    enough = ledger.transactions._enough

    def counted(self: Rpc, method: str, *parameters: object) -> object:
        asked.append(method)
        return request(self, method, *parameters)

    monkeypatch.setattr(Rpc, "request", counted)

    def estimates(job: int) -> int:
        asked.clear()
        ledger.join(job, 10, bytes(32)).transact()
        return asked.count("eth_estimateGas")

    assert estimates(jobs[0]) == 1
    assert estimates(jobs[1]) == 0
    join = Call(deployed.ledger, ledger.join(jobs[2], 10, bytes(32)).data, 0)
    enough.note(join, 30_000)  # not enough any more
    assert estimates(jobs[2]) == 1
    enough.note(join, 10 * rpc.number("eth_getBalance", signer.address, "latest"))  # more than it can pay for
    assert estimates(jobs[3]) == 1


def test_reverts_are_the_contracts_own_errors_and_cost_nothing(rpc, deployed, signer):
    job, closed = register(rpc, deployed), register(rpc, deployed, open=False)
    ledger = ledger_of(rpc, deployed, signer)
    ledger.join(job, 10, bytes(32)).transact()
    ledger.submit_update(job, 1, MODEL.root, UPDATE).transact()
    nonce = rpc.number("eth_getTransactionCount", signer.address, "latest")
    other = Update(b"\7" * 32, b"\4" * 32, 5)
    for error, said, call in [
        (
            AlreadySubmittedError,
            "another update is in already for attempt 1",
            ("submitUpdate", job, 1, MODEL.root, other),
        ),
        (RoundMovedOnError, "it is at attempt 1, not 2", ("submitUpdate", job, 2, MODEL.root, UPDATE)),
        (
            RoundMovedOnError,
            "other updates are in",
            ("commitRound", job, 1, bytes(32), MODEL, b"\0", b"", bytes(32), bytes(32)),
        ),
        (NotAdmittedError, f"{signer.address} is not admitted", ("join", closed, 1, bytes(32))),
        (NotAdmittedError, "has not joined", ("submitUpdate", closed, 1, MODEL.root, UPDATE)),
        (UnknownJobError, "there is no job 999", ("join", 999, 1, bytes(32))),
        (LedgerRefusedError, "has joined before", ("join", job, 1, bytes(32))),
        (LedgerRefusedError, "is not the job's owner", ("admit", closed, [signer.address])),
        (LedgerRefusedError, "0 samples can't be declared: .* 1 to 100", ("join", closed, 0, bytes(32))),
        (LedgerRefusedError, "nothing to pay out", ("withdraw", job)),
    ]:
        with pytest.raises(error, match=said) as caught:
            ledger.function(*call).transact()
        assert type(caught.value) is error
    assert rpc.number("eth_getTransactionCount", signer.address, "latest") == nonce


def test_a_retry_of_the_same_update_is_harmless(rpc, deployed, signer):
    ledger = ledger_of(rpc, deployed, signer)
    job = register(rpc, deployed)
    ledger.join(job, 10, bytes(32)).transact()
    ledger.submit_update(job, 1, MODEL.root, UPDATE).transact()
    ledger.submit_update(job, 1, MODEL.root, UPDATE).transact()
    assert ledger.job_of(job).state.updates == 1


def test_an_account_without_funds(rpc, deployed):
    poor = ledger_of(rpc, deployed, local(rpc, ether=0))
    job = register(rpc, deployed)
    with pytest.raises(InsufficientFundsError, match=r"can't pay .*send it some ether") as caught:
        poor.join(job, 10, bytes(32)).transact()
    assert caught.value.exit_code == 26
    with pytest.raises(InsufficientFundsError):
        poor.deposit_bond(job, value=1).transact()


def test_a_call_to_what_is_no_ledger_is_the_nodes_refusal(rpc, deployed, signer):
    ledger = LedgerContract(rpc, deployed.rules["relay"], Transactions(rpc, signer), any_ledger=True)
    with pytest.raises(RpcAnswerError, match="refuses eth_estimateGas"):
        ledger.join(1, 1, bytes(32)).transact()
    with pytest.raises(RpcError):
        ledger.job_of(1)


def test_a_transaction_that_gets_into_no_block(rpc, signer):
    rpc.request("evm_setAutomine", False)
    with pytest.raises(TransactionError, match="is in no block after 0 s") as caught:
        Transactions(rpc, signer, settings=TransactionSettings(timeout=0.05)).send(unlocked(rpc).address, b"")
    assert caught.value.exit_code == 25


def test_programs_of_one_account_do_not_get_in_each_others_way(rpc, signer):
    to = unlocked(rpc, 5).address
    with ThreadPoolExecutor(4) as threads:
        senders = [Transactions(Rpc(rpc.url), signer, settings=QUICK) for _ in range(4)]
        # Each sends something else: what is the same to the last bit, the nonce included, is one transaction for all.
        receipts = list(
            threads.map(lambda at: [senders[at].send(to, b"", 1 + 3 * at + n) for n in range(3)], range(len(senders)))
        )
    assert len({receipt.transaction for some in receipts for receipt in some}) == 12


def test_what_came_in_between_is_told_as_the_contracts_own_error(rpc, deployed):
    """Two submissions are tried out while the round takes one; the later one fails in its block."""
    job = register(rpc, deployed)
    ledgers = [ledger_of(rpc, deployed, unlocked(rpc, index)) for index in (3, 4)]
    for ledger in ledgers:
        ledger.join(job, 10, bytes(32)).transact()
    rpc.request("evm_setAutomine", False)

    def submit(ledger):
        try:
            return ledger.submit_update(job, 1, MODEL.root, UPDATE).transact()
        except RoundMovedOnError as error:
            return error

    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(submit, ledger) for ledger in ledgers]
        # Unless the node tries the second one out on top of the first: then it is refused before it is sent.
        while len(rpc.request("eth_getBlockByNumber", "pending", False)["transactions"]) < 2:
            if any(each.done() for each in waiting):
                break
        rpc.request("evm_mine")
        results = [each.result() for each in waiting]
    errors = [result for result in results if isinstance(result, RoundMovedOnError)]
    assert len(errors) == 1
    assert "takes no more updates" in str(errors[0])


def test_a_transaction_that_a_dearer_one_has_replaced_is_sent_again(rpc, signer):
    """Another program of the account takes the same nonce while no block is made."""
    to = unlocked(rpc, 5).address
    rpc.request("evm_setAutomine", False)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(Transactions(Rpc(rpc.url), signer, settings=QUICK).send, to, b"", 1)
        while not rpc.request("eth_getBlockByNumber", "pending", False)["transactions"]:
            assert not waiting.done()
        dearer = {
            "to": to, "data": b"", "value": 2, "gas": 21_000, "chainId": rpc.number("eth_chainId"), "type": 2,
            "nonce": rpc.number("eth_getTransactionCount", signer.address, "latest"),
            "maxFeePerGas": 10**12, "maxPriorityFeePerGas": 10**11,
        }  # fmt: skip
        replacement = rpc.request("eth_sendRawTransaction", "0x" + signer.sign(rpc, dearer).hex())
        rpc.request("evm_mine")
        rpc.request("evm_setAutomine", True)
        receipt = waiting.result()
    assert receipt.transaction != replacement
    assert rpc.request("eth_getTransactionReceipt", receipt.transaction)["status"] == "0x1"


def test_a_node_signs_without_sending(rpc):
    signer = unlocked(rpc, 3)
    transaction = {
        "to": signer.address,
        "value": 1,
        "data": b"",
        "gas": 21_000,
        "nonce": 77,
        "chainId": rpc.number("eth_chainId"),
    }
    for fees in ({"type": 2, "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9}, {"gasPrice": 10**10}):
        raw = signer.sign(rpc, transaction | fees)
        assert Account.recover_transaction(raw) == signer.address
        assert rpc.request("eth_getTransactionByHash", "0x" + keccak(raw).hex()) is None
    with pytest.raises(RpcError):
        NodeSigner(Account.create().address).sign(rpc, transaction)
