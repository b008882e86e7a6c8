"""The typed face of one GalaxyLedger contract."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

from galaxy_chain.exceptions import (
    AlreadySubmittedError,
    LedgerRefusedError,
    NotAdmittedError,
    RpcError,
    UnknownJobError,
)
from galaxy_chain.ledger.abi import Abi, Event
from galaxy_chain.ledger.artifacts import artifact
from galaxy_chain.ledger.genuine import check_code
from galaxy_chain.ledger.rpc import Rpc, RpcAnswerError
from galaxy_chain.ledger.structs import Account, Client, State, Terms
from galaxy_chain.ledger.transactions import Receipt, Transactions
from galaxy_fl.exceptions import GalaxyError, RoundMovedOnError

__all__ = ["JobOnLedger", "Ledger", "ledger_abi"]


@cache
def ledger_abi() -> Abi:
    """The ABI of GalaxyLedger."""
    return Abi(artifact("GalaxyLedger").abi)


class JobOnLedger(NamedTuple):
    """What the ledger stores of a job; `root` and `head` 32 bytes, `pool` in wei."""

    terms: Terms
    owner: str
    state: State
    root: bytes
    head: bytes
    pool: int


ADVICE = {
    "WrongAttempt": "the round has moved on: it is at attempt {current}, not {named}",
    "RoundClosed": "the round takes no more updates since {closed_at}",
    "RoundOpen": "the round still takes updates until {closes_at}",
    "HeadChanged": "other updates are in than those that were aggregated",
    "UnknownJob": "there is no job {job} on this ledger: `galaxy-chain job list` shows those that exist",
    "JobNotRunning": "job {job} takes nothing more: it is finished, cancelled or final",
    "NotAdmitted": "{client} is not admitted to the job: ask its owner to run `galaxy-chain job admit`",
    "NotJoined": "{client} has not joined the job",
    "AlreadySubmitted": "another update is in already for attempt {attempt}: one a client and attempt",
    "AlreadyJoined": "{client} has joined before",
    "WeightOutOfRange": "an update of {weight} samples, but {declared} were declared when joining",
    "NotTheServer": "{caller} is not the job's server {server}; others may commit from {open_from} on",
    "BondTooSmall": "the bond is {amount} wei, but {required} are required",
    "Barred": "{server} was proved wrong in this job and is barred from it",
    "NotOwner": "{caller} is not the job's owner {owner}",
    "InvalidTerm": "the term {term} is out of its bounds (docs/protocol.md, section 5)",
}
"""What the errors of `IGalaxyLedger.sol` that users meet mean to them; the others speak for themselves."""

KINDS: dict[str, type[LedgerRefusedError]] = {
    "NotAdmitted": NotAdmittedError,
    "NotJoined": NotAdmittedError,
    "AlreadySubmitted": AlreadySubmittedError,
}


def _refusal(function: str, data: bytes) -> GalaxyError | None:
    decoded = ledger_abi().error(data)
    if decoded is None:
        return None
    name, arguments = decoded
    advice = ADVICE.get(name, "{0}").format(f"{name}({', '.join(map(str, arguments.values()))})", **arguments)
    message = f"the ledger refuses {function}: {advice}"
    if name in ("WrongAttempt", "RoundClosed", "RoundOpen", "HeadChanged") or (
        name == "JobNotRunning" and function in ("submitUpdate", "commitRound", "reopenRound")
    ):
        return RoundMovedOnError(message)
    if name == "UnknownJob":
        return UnknownJobError(message)
    return KINDS.get(name, LedgerRefusedError)(message, name, arguments)


@contextmanager
def _refusals(function: str) -> Iterator[None]:
    """Raises what a node answers with as the contract's own error, where it is one."""
    try:
        yield
    except RpcAnswerError as error:
        raise _refusal(function, error.data) or error from error


class Ledger:
    """One GalaxyLedger on one chain.

    Args:
        rpc: A node of the chain.
        address: Of the contract.
        transactions: Of the account that calls; None for one who only reads.
        first_block: The block of its deployment: where its events begin.
        chain_id: Of the chain; a node of another is refused.
        any_ledger: Take a contract of any code for a ledger.

    Raises:
        NoLedgerError: there is no code at the address.
        ForeignLedgerError: its code is not that of the ledger that is known here.
        WrongChainError: the node is of another chain.
        RpcError: the node can't be reached.
    """

    def __init__(
        self,
        rpc: Rpc,
        address: str,
        transactions: Transactions | None = None,
        *,
        first_block: int = 0,
        chain_id: int | None = None,
        any_ledger: bool = False,
    ) -> None:
        self.rpc = rpc
        self.address = address
        self.first_block = first_block
        self.transactions = transactions
        if chain_id is not None:
            rpc.check_chain(chain_id)
        self.chain_id = chain_id if chain_id is not None else rpc.number("eth_chainId")
        check_code(rpc, address, any_ledger=any_ledger)

    def call(self, name: str, *arguments: Any) -> Any:
        """Calls a view of the contract by its Solidity name.

        Raises:
            GalaxyError: the contract refuses, or the node fails.
        """
        function = ledger_abi().functions[name]
        call = {"to": self.address, "data": "0x" + function.encode(*arguments).hex()}
        with _refusals(name):
            answer = self.rpc.data("eth_call", call, "latest")
        try:
            return function.decode(answer)
        except ValueError as error:
            raise RpcError(f"{self.rpc.name}: {error}") from error

    def transact(self, name: str, *arguments: Any, value: int = 0, once: str | None = None) -> Receipt:
        """Calls a function of the contract by its Solidity name in a transaction, and waits until it is in a block:
        `begin`, and then what that returns."""
        return self.begin(name, *arguments, value=value, once=once)()

    def begin(self, name: str, *arguments: Any, value: int = 0, once: str | None = None) -> Callable[[], Receipt]:
        """Calls a function of the contract in a transaction, and returns what waits until that is in a block.

        Args:
            name, arguments, value: Of the function; wei.
            once: What this call is for. A call for the same is not sent again after a crash, but gone on with; so it
                has to name what can be wanted once alone on a chain: an attempt, or the number of a deposit.

        Raises:
            RoundMovedOnError: it was for a round that has moved on.
            LedgerRefusedError: the contract refuses; nothing was sent.
            InsufficientFundsError, TransactionError, RpcError: as `Transactions.send`.
        """
        assert self.transactions is not None, "a ledger that only reads was asked to write"
        data = ledger_abi().functions[name].encode(*arguments)
        key = None if once is None else f"{self.address} {name} {once}"
        with _refusals(name):
            receipt = self.transactions.begin(self.address, data, value, key)

        def wait() -> Receipt:
            with _refusals(name):
                return receipt()

        return wait

    def most(self, name: str, *arguments: Any, value: int = 0) -> int:
        """The most that the gas of a transaction may cost now, in wei: as `transact`, but tried out alone.

        Raises:
            GalaxyError: as `transact`.
        """
        assert self.transactions is not None, "a ledger that only reads was asked to write"
        data = ledger_abi().functions[name].encode(*arguments)
        try:
            return self.transactions.most(self.address, data, value)
        except RpcAnswerError as error:
            raise _refusal(name, error.data) or error from error

    def job(self, job: int) -> JobOnLedger:
        """What the ledger stores of a job.

        Raises:
            UnknownJobError: there is none of that number.
        """
        return JobOnLedger(*self.call("jobOf", job))

    def client(self, job: int, address: str) -> Client:
        """What the ledger stores of a client."""
        client: Client = self.call("clientOf", job, address)
        return client

    def account(self, job: int, address: str) -> Account:
        """What an address has at stake in a job."""
        account: Account = self.call("accountOf", job, address)
        return account

    def events(
        self, first: int, last: int, *, job: int | None = None, names: Iterable[str] | None = None
    ) -> list[Event]:
        """The contract's events of blocks first to last, both included, in order.

        Args:
            first, last: Block numbers.
            job: Of one job only.
            names: Of these kinds only.

        Raises:
            RpcError: the node fails, or answers with something that is no log of this contract.
        """
        topics: list[Any] = [None, None]
        if names is not None:
            topics[0] = ["0x" + ledger_abi().topics[name].hex() for name in names]
        if job is not None:
            topics[1] = f"0x{job:064x}"
        logs = self.rpc.request(
            "eth_getLogs",
            {"address": self.address, "topics": topics, "fromBlock": hex(first), "toBlock": hex(last)},
        )
        if not isinstance(logs, list):
            raise RpcError(f"{self.rpc.name} answers eth_getLogs with {logs!r:.200}, which is no list")
        try:
            return [event for log in logs if (event := ledger_abi().event(log)) is not None]
        except ValueError as error:
            raise RpcError(f"{self.rpc.name}: {error}") from error
