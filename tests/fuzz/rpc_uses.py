"""What participants do with a node, each a function of an Rpc; whatever the node answers, a GalaxyError or a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from galaxy_chain.following.follower import JobFollower
from galaxy_chain.following.job_logs import JobLogs
from galaxy_chain.ledger.abi import ledger_abi
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.deployment import deploy
from galaxy_chain.ledger.events import Event
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.rpc.values import Block
from galaxy_chain.transactions.accounts import Keystore, LocalSigner, find_signer
from galaxy_chain.transactions.manager import Transactions, TransactionSettings
from tests.fuzz.folder import folder

__all__ = ["USES"]

LEDGER = "0x" + "ab" * 20
KEY = "0x" + "11" * 32


def _request(rpc: Rpc) -> None:
    rpc.request("eth_anything")


def _number(rpc: Rpc) -> None:
    assert isinstance(rpc.number("eth_gasPrice"), int)
    rpc.check_chain(1337)


def _data(rpc: Rpc) -> None:
    assert isinstance(rpc.data("eth_getCode", LEDGER, "latest"), bytes)


def _block(rpc: Rpc) -> None:
    assert isinstance(rpc.block("latest"), Block)
    assert rpc.block(1).number == 1


def _logs(rpc: Rpc) -> None:
    logs = JobLogs(rpc, LEDGER, 1)
    last, found = logs.logs(0, 10)
    assert all(0 <= log.block <= last for log in found)
    block = logs.latest()
    if logs.may_have_logs(block):
        logs.prove_none(block)


def _ledger(rpc: Rpc) -> None:
    ledger = LedgerContract(rpc, LEDGER, chain_id=1337, any_ledger=True)
    ledger.job_of(1)
    ledger.client_of(1, LEDGER)
    ledger.events(Event, 0, 10)


def _follow(rpc: Rpc) -> None:
    follower = JobFollower(LedgerContract(rpc, LEDGER, chain_id=1337, any_ledger=True), 1)
    assert follower.history.owner is not None
    follower.poll()


def _signer() -> LocalSigner:
    from eth_account import Account

    return LocalSigner(Account.from_key(KEY))


def _send(rpc: Rpc) -> None:
    data = ledger_abi().functions["cancelJob"].encode(1)
    Transactions(rpc, _signer(), settings=TransactionSettings(timeout=0.0)).send(LEDGER, data)


def _deploy(rpc: Rpc) -> None:
    deploy(rpc, Transactions(rpc, _signer(), settings=TransactionSettings(timeout=0.0)))


def _unlocked(rpc: Rpc) -> None:
    find_signer("dev:0", Keystore(folder() / "nothing"), rpc)
    find_signer(LEDGER, Keystore(folder() / "nothing"), rpc)


USES: Sequence[Callable[[Rpc], Any]] = (
    _request, _number, _data, _block, _logs, _ledger, _follow, _send, _deploy, _unlocked,
)  # fmt: skip
