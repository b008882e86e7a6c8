"""The typed face of one GalaxyLedger contract: a method for each of its functions, by the same name.

`abi.py` has the bytes of calls and events, `events.py` the events, `structs.py` the structs, `refusals.py` the errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from galaxy_chain.exceptions import RpcError
from galaxy_chain.ledger.abi import ledger_abi
from galaxy_chain.ledger.events import Event
from galaxy_chain.ledger.genuine import check_code
from galaxy_chain.ledger.refusals import refusals
from galaxy_chain.ledger.structs import (
    Account,
    Client,
    Demand,
    JoinBySignature,
    Mark,
    Model,
    Record,
    State,
    Terms,
    Update,
    status_of,
)
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.manager import Receipt, Signer, Transactions
from galaxy_fl.tables import table

__all__ = ["ContractCall", "JobOnLedger", "Jobs", "LedgerContract"]

Value = TypeVar("Value")
Kind = TypeVar("Kind", bound=Event)


class JobOnLedger(NamedTuple):
    """What the ledger stores of a job; `root` and `head` 32 bytes, `pool` and `allotted` in wei."""

    terms: Terms
    owner: str
    state: State
    root: bytes
    head: bytes
    pool: int
    allotted: int

    @property
    def status(self) -> str:
        """Where it stands: `running`, `cancelled`, `finished` or `final`."""
        return status_of(self.state.round, self.state.last_round, self.state.status, self.state.cancelled)

    def _cells(self) -> dict[str, object]:
        """What a table says of it."""
        return {
            "owner": self.owner,
            "status": self.status,
            "round": f"{min(self.state.round, self.state.last_round)} of {self.state.last_round}",
            "settled": self.state.settled,
            "updates": self.state.updates,
            "parameters": self.terms.parameters,
            "pool in wei": self.pool,
            "model": self.root.hex(),
        }

    def _repr_html_(self) -> str:
        return table((), self._cells().items())


class Jobs(dict[int, JobOnLedger]):
    """A ledger's jobs by their numbers; a notebook shows them as a table."""

    def __repr__(self) -> str:
        return f"Jobs({', '.join(f'{number}: {job.status}' for number, job in self.items())})"

    def _repr_html_(self) -> str:
        rows = [{"job": number, **job._cells()} for number, job in self.items()]
        return table(list(rows[0]) if rows else (), [list(row.values()) for row in rows])


@dataclass(frozen=True)
class ContractCall:
    """A call of a function that changes the ledger, which one of these methods sends.

    Attributes:
        contract: The ledger, with the transactions of the account that calls.
        name: The function, as the contract has it.
        data: The function and its arguments, encoded.
        value: What is sent with it, in wei.
    """

    contract: LedgerContract
    name: str
    data: bytes
    value: int = 0

    def transact(self, once: str | None = None) -> Receipt:
        """Sends the call in a transaction, and waits until that is in a block: `begin`, and then what that returns."""
        return self.begin(once)()

    def begin(self, once: str | None = None) -> Callable[[], Receipt]:
        """Sends the call in a transaction, and returns what waits until that is in a block.

        Args:
            once: What this call is for. After a crash, a call for the same is continued instead of being sent again; so
                it has to name what can be wanted only once on a chain: an attempt, or the number of a deposit.

        Raises:
            RoundMovedOnError: it was for a round that has moved on.
            LedgerRefusedError: the contract refuses; nothing was sent.
            InsufficientFundsError, TransactionError, RpcError: as `Transactions.send`.
        """
        key = None if once is None else self._key(once)
        with refusals(self.name):
            receipt = self._transactions.begin(self.contract.address, self.data, self.value, key)

        def wait() -> Receipt:
            with refusals(self.name):
                return receipt()

        return wait

    def finish(self, once: str) -> Receipt | None:
        """Waits for the end of a call of this function, with any arguments, that was begun for that and is under way;
        None where there is none.

        Raises:
            GalaxyError: as `begin`.
        """
        with refusals(self.name):
            return self._transactions.finish(self._key(once))

    def _key(self, once: str) -> str:
        return f"{self.contract.address} {self.name} {once}"

    def most(self) -> int:
        """The most that the gas of a transaction may cost now, in wei: as `transact`, but only tried out.

        Raises:
            GalaxyError: as `begin`.
        """
        with refusals(self.name):
            return self._transactions.most(self.contract.address, self.data, self.value)

    @property
    def _transactions(self) -> Transactions:
        assert self.contract.transactions is not None, "a ledger that only reads was asked to write"
        return self.contract.transactions


class LedgerContract:
    """One GalaxyLedger on one chain.

    Each function of the contract has its method here: a view returns what the ledger says, a function that changes the
    ledger a `ContractCall`. `IGalaxyLedger.sol` says what each does.

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

    def by(self, signer: Signer) -> LedgerContract:
        """The same contract, written to by another account: of what was made sure of nothing is asked for again."""
        assert self.transactions is not None, "a ledger that only reads has no transactions of another account"
        other = copy(self)
        other.transactions = self.transactions.of(signer)
        return other

    # Views

    def jobs(self) -> int:
        """How many jobs there are; they are numbered from 1."""
        return self._view(int, "jobs")

    def verifier(self) -> str:
        """The address of the contract that judges openings."""
        return self._view(str, "verifier")

    def intake(self) -> str:
        """The address of the contract whose code takes jobs and signed entries in."""
        return self._view(str, "intake")

    def job_of(self, job: int) -> JobOnLedger:
        """What the ledger stores of a job.

        Raises:
            UnknownJobError: there is none with that number.
        """
        return JobOnLedger(*self._view(tuple, "jobOf", job))

    def client_of(self, job: int, client: str) -> Client:
        """A client of a job."""
        return self._view(Client, "clientOf", job, client)

    def account_of(self, job: int, account: str) -> Account:
        """What an address has in a job."""
        return self._view(Account, "accountOf", job, account)

    def record_of(self, job: int, round: int) -> bytes:
        """The word of the record that stands for a round; zero if none does."""
        return self._view(bytes, "recordOf", job, round)

    def mark_of(self, job: int, word: bytes) -> Mark:
        """What the ledger knows of a record by its word."""
        return self._view(Mark, "markOf", job, word)

    def demand_of(self, job: int, word: bytes, node: int, index: int) -> Demand:
        """The demand that is open for a chunk of a node of that record; its demander is zero if none is."""
        return self._view(Demand, "demandOf", job, word, node, index)

    def claimed_of(self, job: int, round: int, word: int) -> int:
        """256 bits of the entries of a settled round that were credited: bit i of word w is entry 256 * w + i."""
        return self._view(int, "claimedOf", job, round, word)

    def announced_at(self, sender: str, digest: bytes) -> int:
        """When an address last announced a digest, in seconds; 0 for never."""
        return self._view(int, "announcedAt", sender, digest)

    # Jobs

    def register_job(self, terms: Terms, initial: Model, *, value: int = 0) -> ContractCall:
        """Registers a job and opens its first round; the value is the reward pool."""
        return self.function("registerJob", terms, initial, value=value)

    def fund(self, job: int, *, value: int) -> ContractCall:
        """Adds to the reward pool."""
        return self.function("fund", job, value=value)

    def admit(self, job: int, clients: Sequence[str]) -> ContractCall:
        """Admits clients to a job that is not open."""
        return self.function("admit", job, clients)

    def expel(self, job: int, client: str) -> ContractCall:
        """Takes no more entries of that address, for good."""
        return self.function("expel", job, client)

    def register_key(self, job: int, key: bytes) -> ContractCall:
        """Registers the public key of the account, x of a point of secp256k1."""
        return self.function("registerKey", job, key)

    def share_key(self, job: int, digest: bytes, wraps: bytes) -> ContractCall:
        """Shares a content key with those that it is wrapped for."""
        return self.function("shareKey", job, digest, wraps)

    def cancel_job(self, job: int) -> ContractCall:
        """Makes the job end with the current round."""
        return self.function("cancelJob", job)

    def finalize_job(self, job: int) -> ContractCall:
        """Closes the books and credits the owner with the rest."""
        return self.function("finalizeJob", job)

    # Rounds

    def join(self, job: int, samples: int, key: bytes = bytes(32)) -> ContractCall:
        """Joins a job; an update may weigh up to `samples`."""
        return self.function("join", job, samples, key)

    def join_by_signatures(self, job: int, joins: Sequence[JoinBySignature]) -> ContractCall:
        """Lets clients join that have signed it; see `signing.py`."""
        return self.function("joinBySignatures", job, joins)

    def submit_updates(self, job: int, attempt: int, model: bytes, entries: bytes, signatures: bytes) -> ContractCall:
        """Submits updates that their clients have signed; entries and signatures are packed, one after the other."""
        return self.function("submitUpdates", job, attempt, model, entries, signatures)

    def submit_update(self, job: int, attempt: int, model: bytes, update: Update) -> ContractCall:
        """Submits an update to an attempt on the model with that root."""
        return self.function("submitUpdate", job, attempt, model, update)

    def commit_round(
        self,
        job: int,
        attempt: int,
        head: bytes,
        next: Model,
        excluded: bytes,
        nodes: bytes = b"",
        nodes_content: bytes = bytes(32),
        salt: bytes = bytes(32),
    ) -> ContractCall:
        """Commits the next model and opens the next round; one that is flat has no nodes."""
        return self.function("commitRound", job, attempt, head, next, excluded, nodes, nodes_content, salt)

    def reopen_round(self, job: int, attempt: int, head: bytes) -> ContractCall:
        """Collects again on the same model."""
        return self.function("reopenRound", job, attempt, head)

    def supersede(self, job: int, record: Record) -> ContractCall:
        """Goes back to the round of the newest commit, because nobody builds upon it."""
        return self.function("supersede", job, record)

    # Money

    def settle(self, job: int, record: Record) -> ContractCall:
        """Settles a round and credits its committer."""
        return self.function("settle", job, record)

    def claim(self, job: int, record: Record, submissions: bytes) -> ContractCall:
        """Credits the entries that are shown."""
        return self.function("claim", job, record, submissions)

    def withdraw(self, job: int) -> ContractCall:
        """Pays out the caller's balance."""
        return self.function("withdraw", job)

    def withdraw_for(self, job: int, accounts: Sequence[str]) -> ContractCall:
        """Pays out accounts' balances, each to its account, whoever calls."""
        return self.function("withdrawFor", job, accounts)

    def deposit_bond(self, job: int, *, value: int) -> ContractCall:
        """Adds to the caller's bond."""
        return self.function("depositBond", job, value=value)

    def withdraw_bond(self, job: int) -> ContractCall:
        """Pays out the caller's bond."""
        return self.function("withdrawBond", job)

    # Challenges

    def announce(self, digest: bytes) -> ContractCall:
        """Announces what the caller will show later; see `announcements.py`."""
        return self.function("announce", digest)

    def challenge(self, job: int, record: Record, node: int, index: int, salt: bytes, openings: bytes) -> ContractCall:
        """Proves one chunk of a node of a commit wrong, as the caller has announced; node 0 is the next model."""
        return self.function("challenge", job, record, node, index, salt, openings)

    def demand(
        self, job: int, record: Record, node: int, index: int, salt: bytes = bytes(32), *, value: int
    ) -> ContractCall:
        """Demands that a chunk of a node is opened."""
        return self.function("demand", job, record, node, index, salt, value=value)

    def answer(self, job: int, record: Record, node: int, index: int, openings: bytes) -> ContractCall:
        """Answers a demand."""
        return self.function("answer", job, record, node, index, openings)

    def expire(self, job: int, record: Record, node: int, index: int) -> ContractCall:
        """Ends a demand that was not answered in time, or whose record is void."""
        return self.function("expire", job, record, node, index)

    # What they share

    def function(self, name: str, *arguments: Any, value: int = 0) -> ContractCall:
        """The call of a function by the contract's name for it: what the typed methods are made of."""
        return ContractCall(self, name, ledger_abi().functions[name].encode(*arguments), value)

    def _view(self, returns: type[Value], name: str, *arguments: Any) -> Value:
        """Calls a view by the contract's name for it.

        Raises:
            GalaxyError: the contract refuses, or the node fails.
        """
        function = ledger_abi().functions[name]
        call = {"to": self.address, "data": "0x" + function.encode(*arguments).hex()}
        with refusals(name):
            answer = self.rpc.data("eth_call", call, "latest")
        try:
            value = function.decode(answer)
        except ValueError as error:
            raise RpcError(f"{self.rpc.name}: {error}") from error
        assert isinstance(value, returns), f"{name} returns {value!r}, which is not {returns.__name__}"
        return value

    def emitted(self, kind: type[Kind], receipt: Receipt) -> list[Kind]:
        """The events of one kind that a transaction has emitted.

        Raises:
            RpcError: as `events`.
        """
        events = self.events(kind, receipt.block, receipt.block)
        return [event for event in events if "0x" + event.transaction.hex() == receipt.transaction]

    def events(self, kind: type[Kind], first: int, last: int, *, job: int | None = None) -> list[Kind]:
        """The contract's events of blocks first to last, both included, in order.

        Args:
            kind: The class of the events; `Event` for all.
            first, last: Block numbers.
            job: The number of the only job; None for all.

        Raises:
            RpcError: the node fails, or answers with something that is not a log of this contract.
        """
        kinds = None if kind is Event else "0x" + ledger_abi().topics[kind.__name__].hex()
        topics = [kinds, None if job is None else f"0x{job:064x}"]
        logs = self.rpc.request(
            "eth_getLogs",
            {"address": self.address, "topics": topics, "fromBlock": hex(first), "toBlock": hex(last)},
        )
        if not isinstance(logs, list):
            raise RpcError(f"{self.rpc.name} answers eth_getLogs with {logs!r:.200}, which is not a list")
        try:
            found = [ledger_abi().event(log) for log in logs]
        except ValueError as error:
            raise RpcError(f"{self.rpc.name}: {error}") from error
        return [event for event in found if isinstance(event, kind)]
