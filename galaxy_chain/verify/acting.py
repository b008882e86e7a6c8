"""Bringing what was found to the ledger, and answering there, within what may be spent."""

from __future__ import annotations

from galaxy_chain.exceptions import ErrorName, LedgerRefusedError, TransactionFailedError
from galaxy_chain.following.history import Commit, JobHistory, OpenDemand
from galaxy_chain.following.view import JobView
from galaxy_chain.jobs.answer_size import answer_gas
from galaxy_chain.ledger.contract import ContractCall, LedgerContract
from galaxy_chain.ledger.openings import Openings
from galaxy_chain.shown import ether
from galaxy_chain.verify.challenge import challenge, demand, demand_price
from galaxy_chain.verify.faults import Fault
from galaxy_chain.verify.proofs import Proofs
from galaxy_chain.verify.purse import Purse
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.exceptions import RoundMovedOnError
from galaxy_fl.vectors.chunk_tree import depth

__all__ = ["Acting", "UnaffordableError"]

PASSED: tuple[ErrorName, ...] = (
    "UnknownRecord",
    "AlreadyDemanded",
    "NotDemanded",
    "NotAnnounced",
    "WrongValue",
    "WindowOpen",
    "WindowOver",
)
"""What the ledger refuses because somebody else was faster, or the time has not come, or is past."""


class UnaffordableError(Exception):
    """A transaction would cost more than may be spent still."""


class Acting:
    """What one account does about the commits of a job.

    Args:
        ledger: With the account's transactions.
        verifier: Of the job.
        follower: Of the job.
        purse: What was spent, and may be.
        advice: What to do where that is too little.
    """

    def __init__(
        self, ledger: LedgerContract, verifier: Verifier, follower: JobView, purse: Purse, advice: str
    ) -> None:
        assert ledger.transactions is not None
        self.purse = purse
        self._ledger = ledger
        self._verifier = verifier
        self._follower = follower
        self._job = follower.job
        self._address = ledger.transactions.signer.address
        self._advice = advice

    @property
    def _history(self) -> JobHistory:
        return self._follower.history

    def challenge(self, commit: Commit, fault: Fault) -> bool:
        """Whether a fault is challenged; somebody else may be faster.

        Raises:
            UnaffordableError: it costs too much.
            GalaxyError: as `challenge.challenge`.
        """
        bound = 0

        def afford(openings: Openings) -> None:
            # It can't be tried out before it is announced.
            nonlocal bound
            bound = self._gas_of_openings(commit)
            self.check("challenge", bound + self._gas_of_announcing())

        done = challenge(
            self._ledger, self._verifier, self._job, self._history, commit, fault.node, fault.chunk, afford,
            lambda receipt: self.purse.pay(receipt.fee),
        )  # fmt: skip
        self.purse.pay(bound if done is None else done.fee)
        return done is not None

    def demand(self, commit: Commit, node: int, chunk: int, *, may_be_right: bool = False) -> int | None:
        """The chunk that is demanded now, which is another one where a demand of this account was under way; None where
        somebody else was faster, or it is too late, or the price has changed.

        Args:
            may_be_right: An answer may take the deposit. Then so much is kept that a challenge can be paid: otherwise a
                server would withhold what is right until nothing is left, and lie then.

        Raises:
            UnaffordableError: it costs too much.
            GalaxyError: as `challenge.demand`.
        """
        record = commit.record
        if (node, chunk) in self._history.demands.get(commit.word, {}):
            self.purse.want(record, node, chunk)
            return None
        node, chunk = self._begun(commit, node, chunk)
        value = demand_price(self._history, commit)
        announcing = self._gas_of_announcing()
        try:
            # Without an announcement: that it is refused for another reason is seen before anything is paid.
            bound = self._ledger.demand(self._job, record, node, chunk, value=value).most()
        except LedgerRefusedError as error:
            self._passed(commit, node, chunk, error)
            return None
        self.check(
            "demand", announcing + bound, value, announcing + self._gas_of_openings(commit) if may_be_right else 0
        )
        self.purse.deposit(record, node, chunk, value)
        try:
            done = demand(
                self._ledger, self._job, self._history, commit, node, chunk, lambda receipt: self.purse.pay(receipt.fee)
            )
        except LedgerRefusedError as error:
            # A demand and its answer in one block before this one change the price, and leave no other trace.
            self.purse.take_back(record, node, chunk)
            self._passed(commit, node, chunk, error)
            return None
        self.purse.pay(bound if done is None else done.fee)
        if done is None:
            self._follower.poll()
            waiting = self._history.demands.get(commit.word, {}).get((node, chunk))
            if waiting is None or waiting.demander != self._address:  # not what was sent before a crash
                self.purse.take_back(record, node, chunk)
            return None
        return chunk

    def _begun(self, commit: Commit, node: int, chunk: int) -> tuple[int, int]:
        """The chunk, or rather the one of the node that was noted before a crash: its demand may be under way, and two
        would cost two deposits."""
        ended = {*self._history.answers.get(commit.word, ()), *self._history.expired.get(commit.word, ())}
        noted = (each for each in self.purse.deposited(commit.record) if each not in ended and each[0] == node)
        return next(noted, (node, chunk))

    def _passed(self, commit: Commit, node: int, chunk: int, error: LedgerRefusedError) -> None:
        if error.name not in PASSED:
            raise error
        if error.name == "AlreadyDemanded":
            self.purse.want(commit.record, node, chunk)

    def expire(self, commit: Commit, waiting: OpenDemand) -> bool:
        """Whether a demand is ended that was not answered in time, or whose record is void."""
        return self._transact(self._ledger.expire(self._job, commit.record, waiting.node, waiting.index))

    def answer(self, commit: Commit, waiting: OpenDemand) -> bool:
        """Whether a demand is answered, whoever has committed.

        Raises:
            ContentError: an opening can't be made.
        """
        packed = Proofs(self._verifier).openings(self._history, commit, waiting.node, waiting.index).pack()
        if not self._transact(self._ledger.answer(self._job, commit.record, waiting.node, waiting.index, packed)):
            return False
        if waiting.demander == self._address:
            self.purse.take_back(commit.record, waiting.node, waiting.index)
        return True

    def serve_everybody(self, call: ContractCall, most: int) -> bool:
        """Whether a transaction that earns nothing is done, for up to `most` wei; somebody else may be faster."""
        bound = 0
        try:
            bound = call.most()
            if bound > most:
                raise UnaffordableError(
                    f"{call.name} takes gas for up to {ether(bound)}, more than the {ether(most)} that are set for it: "
                    "raise --max-settle, or leave it to those who are paid then"
                )
            self.check(call.name, bound)
            receipt = call.transact()
        except RoundMovedOnError:
            return False  # or it is not due yet
        except TransactionFailedError:
            self.purse.pay(bound)
            return False
        except LedgerRefusedError as error:
            if error.name not in ("AlreadyCancelled", "JobNotIdle", "JobNotRunning"):
                raise
            return False
        self.purse.pay(receipt.fee)
        return True

    def _transact(self, call: ContractCall) -> bool:
        """Whether it is done: somebody else may be faster, and the chain's clock behind this one's or ahead."""
        try:
            bound = call.most()
            self.check(call.name, bound)
            receipt = call.transact()
        except TransactionFailedError:
            self.purse.pay(bound)
            return False
        except LedgerRefusedError as error:
            if error.name not in PASSED:
                raise
            return False
        self.purse.pay(receipt.fee)
        return True

    def _gas_of_announcing(self) -> int:
        return self._ledger.announce(bytes(32)).most()

    def _gas_of_openings(self, commit: Commit) -> int:
        """What a challenge costs at most, in wei."""
        assert self._ledger.transactions is not None
        terms = self._history.terms
        levels = depth(terms.parameters, terms.chunk_parameters)
        rule, updates = self._verifier.document.rule.name, commit.record.updates
        gas = answer_gas(rule, updates, terms.fan_in, terms.chunk_parameters, levels)
        return gas * self._ledger.transactions.price()

    def check(self, name: str, gas: int, value: int = 0, kept: int = 0) -> None:
        """Makes sure that the gas and the value of a call, in wei, may be spent, and as much is left as is to be kept.

        Raises:
            UnaffordableError: they may not.
        """
        if gas + value + kept > self.purse.left:
            parts = f"{ether(value)} and gas for up to {ether(gas)}" if value else f"gas for up to {ether(gas)}"
            parts += f", and {ether(kept)} are kept for a challenge" if kept else ""
            raise UnaffordableError(
                f"to {name} here takes {parts}, but of {ether(self.purse.most)} only {ether(self.purse.left)} may be "
                f"spent still: {self._advice}"
            )
