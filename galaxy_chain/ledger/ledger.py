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
from galaxy_chain.ledger.structs import ZERO_ADDRESS, Account, Client, Demand, Mark, State, Terms, python_name
from galaxy_chain.rpc.rpc import Rpc, RpcAnswerError
from galaxy_chain.shown import date
from galaxy_chain.transactions.manager import Receipt, Transactions
from galaxy_fl.exceptions import GalaxyError, RoundMovedOnError

__all__ = ["JobOnLedger", "Ledger", "ledger_abi"]


@cache
def ledger_abi() -> Abi:
    """The ABI of GalaxyLedger, and the errors of the rules, which it passes on."""
    errors = [entry for entry in artifact("Relay").abi if entry["type"] == "error"]
    return Abi([*errors, *artifact("GalaxyLedger").abi])


class JobOnLedger(NamedTuple):
    """What the ledger stores of a job; `root` and `head` 32 bytes, `pool` and `allotted` in wei."""

    terms: Terms
    owner: str
    state: State
    root: bytes
    head: bytes
    pool: int
    allotted: int


ADVICE = {
    "UnknownJob": "there is no job {job} on this ledger: `galaxy-chain job list` shows those that exist",
    "InvalidTerm": "the term {term} is out of its bounds (docs/protocol.md, section 5)",
    "ParametersRefused": "the rule can't aggregate every number of updates from {min_clients} to {max_clients} with "
    "the parameters {parameters}: a trimmed mean needs more than twice as many updates as it trims",
    "AnswerTooLarge": "an answer to a demand would take {size} bytes and {gas_needed} gas, but {size_allowed} bytes "
    "and {gas_allowed} gas are allowed: choose smaller chunks or fewer max_clients",
    "JobNotRunning": "job {job} takes nothing more of this: it is final, or all of its rounds are committed",
    "AlreadyCancelled": "job {job} was cancelled before",
    "JobNotIdle": "job {job} is not idle: others than its owner can cancel it, and anybody finalize what was "
    "cancelled, from {idle_at} on, if nothing happens until then",
    "JobNotSettled": "{settled} rounds of job {job} are settled, but {required} have to be: "
    "`galaxy-chain job settle {job}` settles them",
    "NotOwner": "{caller} is not the job's owner {owner}",
    "NotAdmitted": "{client} is not admitted to the job: ask its owner to run `galaxy-chain job admit`",
    "Expelled": "the job's owner has expelled {client}: it hands in nothing more, but what it has earned "
    "stays its own; `galaxy-chain claim` and `galaxy-chain withdraw` get it once its rounds are settled",
    "AlreadyJoined": "{client} has joined before",
    "SamplesOutOfRange": "{samples} samples can't be declared: the job's terms allow 1 to {max_weight}",
    "NotJoined": "{client} has not joined the job",
    "WrongAttempt": "the round has moved on: it is at attempt {current}, not {named}",
    "WrongModel": "the round has moved on: it stands on the model {current}, not {named}",
    "AlreadySubmitted": "another update is in already for attempt {attempt}: one a client and attempt",
    "RoundClosed": "the round takes no more updates since {closed_at}",
    "RoundOpen": "the round still takes updates until {closes_at}",
    "WeightOutOfRange": "an update of {weight} samples, but {declared} were declared when joining",
    "HeadChanged": "other updates are in than those that were aggregated",
    "TooManyUnsettled": "{unsettled} rounds are committed and not settled, and the job allows {allowed}: wait until "
    "the window of the oldest is over and its demands are answered, then settle it",
    "NotYet": "it is not the turn of {caller} before {open_from}",
    "BondTooSmall": "the bond is {bond} wei, but {required} are required",
    "Barred": "{server} was proved wrong in this job and is barred from it",
    "TooManyExcluded": "{excluded} updates are left out, but before {all_from} no more than {allowed} may be",
    "TooFewUpdates": "{left} updates are left, but {required} are required",
    "ModelNotKept": "the job's rule keeps the model {root}, but the commit names {named}",
    "UnknownRecord": "the commit of round {round} is settled or void, or was never made",
    "WrongRound": "round {required} is settled next, not {round}",
    "NotBuiltUpon": "nobody has built upon round {round} yet: it can be settled once the next round has enough "
    "updates, and at {built_at} in any case",
    "NotSupersedable": "the commit of round {round} can't be superseded: it is the last, settled, built upon, the "
    "caller's own, or not the newest",
    "WindowOver": "the time for it was over at {ended_at}",
    "WindowOpen": "the time for it comes at {ends_at}",
    "NotAnnounced": "the announcement does not count: it has to be in an earlier block, and at most an hour old",
    "AlreadyDemanded": "chunk {index} of round {round} is demanded already",
    "NotDemanded": "chunk {index} of round {round} is not demanded, or no more",
    "WrongValue": "{sent} wei were sent, but {required} are required",
    "DemandsOpen": "{demands} demands are open: they have to be answered, or to expire, first",
    "BondLate": "the bond of {account} is locked because its commit of round {round} was superseded: until a later one "
    "of its commits is settled, or the job is final",
    "NothingToPay": "there is nothing to pay out to {account}: `galaxy-chain claim` credits what settled rounds owe",
    "PaymentRefused": "{receiver} refuses ether: take part with an account that accepts it",
}
"""What the errors of `IGalaxyLedger.sol` that users meet mean to them; the others speak for themselves."""

KINDS: dict[str, type[LedgerRefusedError]] = {
    "NotAdmitted": NotAdmittedError,
    "NotJoined": NotAdmittedError,
    "AlreadySubmitted": AlreadySubmittedError,
}

ROUND_CALLS = frozenset({"submitUpdate", "commitRound", "reopenRound", "supersede"})
"""Calls that are about a round as somebody saw it."""
MOVED_ON = {
    "WrongAttempt": ROUND_CALLS,
    "WrongModel": ROUND_CALLS,
    "RoundClosed": ROUND_CALLS,
    "RoundOpen": ROUND_CALLS,
    "HeadChanged": ROUND_CALLS,
    "NotYet": ROUND_CALLS,
    "TooManyUnsettled": ROUND_CALLS,
    "JobNotRunning": ROUND_CALLS,
    "NotSupersedable": ROUND_CALLS,
    "UnknownRecord": frozenset({"supersede", "settle", "claim"}),
    "WrongRound": frozenset({"settle", "claim"}),
    "NotBuiltUpon": frozenset({"settle", "claim"}),
    "WindowOpen": frozenset({"settle", "claim"}),
    "DemandsOpen": frozenset({"settle", "claim"}),
}
"""Refusals that mean that the round is not where the caller saw it, by the calls in which they do: look again."""


TIMES = frozenset({"idle_at", "closed_at", "closes_at", "open_from", "all_from", "built_at", "ended_at", "ends_at"})
"""Arguments of errors that are seconds of the chain's clock."""
FAR = 2**37
"""Seconds that no date is needed for, among them those of a time that never comes."""


def _shown(name: str, value: object) -> object:
    if name == "term":
        return python_name(str(value))
    if name in TIMES and isinstance(value, int) and value < FAR:
        return date(value)
    return value.hex() if isinstance(value, bytes) else value


def _refusal(function: str, data: bytes) -> GalaxyError | None:
    decoded = ledger_abi().error(data)
    if decoded is None:
        return None
    name, arguments = decoded
    shown = {key: _shown(key, value) for key, value in arguments.items()}
    advice = ADVICE.get(name, "{0}").format(f"{name}({', '.join(map(str, shown.values()))})", **shown)
    message = f"the ledger refuses {function}: {advice}"
    if function in MOVED_ON.get(name, ()):
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
        """What an address has in a job."""
        account: Account = self.call("accountOf", job, address)
        return account

    def record(self, job: int, round: int) -> bytes:
        """The word of the record that stands for a round; zero if none does."""
        record: bytes = self.call("recordOf", job, round)
        return record

    def mark(self, job: int, word: bytes) -> Mark:
        """What the ledger knows of a record by its word."""
        mark: Mark = self.call("markOf", job, word)
        return mark

    def demand(self, job: int, word: bytes, index: int) -> Demand | None:
        """The demand that is open for a chunk of the record with that word."""
        demand: Demand = self.call("demandOf", job, word, index)
        return None if demand.demander == ZERO_ADDRESS else demand

    def claimed(self, job: int, round: int, updates: int) -> frozenset[int]:
        """The numbers of a settled round's entries, of so many, that were credited."""
        words = [self.call("claimedOf", job, round, place) for place in range((updates + 255) // 256)]
        return frozenset(number for number in range(updates) if words[number // 256] >> number % 256 & 1)

    def announced_at(self, sender: str, digest: bytes) -> int:
        """When an address last announced a digest, in seconds; 0 for never."""
        time: int = self.call("announcedAt", sender, digest)
        return time

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
