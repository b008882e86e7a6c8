"""Transactions of one account: written down, signed, broadcast, and followed until they are in a block.

What to do at each turn is decided in `state.py`, what is kept is in `journal.py`; here is the I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import randrange
from typing import Any, NoReturn, Protocol

from eth_utils.address import to_checksum_address

from galaxy_chain.exceptions import (
    InsufficientFundsError,
    RpcError,
    TransactionError,
    TransactionFailedError,
)
from galaxy_chain.rpc.errors import RpcAnswerError
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.fees import Fees, Market
from galaxy_chain.transactions.gas import Enough
from galaxy_chain.transactions.journal import Call, Intent, Journal, Signed, State
from galaxy_chain.transactions.refusals import Refusal
from galaxy_chain.transactions.state import (
    Action,
    Broadcast,
    Bump,
    Done,
    Event,
    Fail,
    Gone,
    Known,
    Mined,
    NonceTaken,
    Phase,
    Queued,
    Reason,
    Refused,
    Resend,
    Sent,
    Tick,
    TransactionSettings,
    TransactionState,
    Undecided,
)
from galaxy_fl.faults import fault_point
from galaxy_fl.keccak import keccak
from galaxy_fl.patience import REAL, Backoff, Clock

__all__ = ["Receipt", "Signer", "TransactionSettings", "Transactions"]

LOOKS = Backoff(0.002, 1.0, 1.5)
"""Pauses between looks for a receipt, in seconds: at the second look a development chain has it."""
QUICK_PAUSE = 0.1
"""Seconds. Up to here only the receipt is asked for: on a chain that makes blocks at once that is all."""
DIFFERENT_GAS = 1000
LARGEST_GAS = 2**24
"""The largest gas limit of a transaction (EIP-7825)."""
RESCUE_SECONDS = 2.0
"""How long an earlier transaction of the account may hold up a later one before that one's process looks after both."""


class Signer(Protocol):
    """An account that can sign transactions, and messages that are none."""

    @property
    def address(self) -> str:
        """With checksum."""

    def sign(self, rpc: Rpc, transaction: dict[str, Any]) -> bytes:
        """Signs a complete transaction (integers, `data` as bytes) and gives its bytes, which `rpc` can broadcast."""

    def sign_message(self, rpc: Rpc, text: str) -> bytes:
        """Signs a message (EIP-191, `personal_sign`) and gives the signature, 65 bytes."""

    def sign_typed_data(self, rpc: Rpc, data: dict[str, Any], digest: bytes) -> bytes:
        """Signs typed data (EIP-712), as `eth_signTypedData_v4` takes them, and gives the signature, 65 bytes.

        Whoever has the key signs the digest, which is the hash of the data, 32 bytes.
        """


@dataclass(frozen=True)
class Receipt:
    """A transaction that is in a block."""

    transaction: str
    block: int
    gas_used: int
    contract: str | None
    fee: int
    """Wei that it has cost."""


@dataclass
class _Following:
    """An intent on its way."""

    intent: Intent
    state: TransactionState
    quick: bool = False
    """Whether it is likely in at once."""
    receipt: Receipt | None = None
    refused: RpcAnswerError | None = None
    """What a node said last when it did not take it."""
    behind: int | None = None
    """An earlier nonce of the account that is due first."""
    since: float = 0.0
    """When that was seen."""
    rescued: _Following | None = None
    """The intent that has it, if it is looked after from here."""


class Transactions:
    """Sends an account's transactions. Threads may share it, and processes the journal.

    Programs of one account that do not share a journal do no harm, but get in each other's way: a transaction whose
    nonce another program uses is sent again once that is certain.

    Args:
        rpc: The node.
        signer: The account.
        journal: The SQLite file of the account's intents, on a disk of this machine. None: what this process has under
            way is not known to any other.
        settings: How transactions are got in.
        clock: Times their offers and their end.

    Raises:
        ConfigurationError: the journal can't be used.
        RpcError: the node fails.
    """

    def __init__(
        self,
        rpc: Rpc,
        signer: Signer,
        journal: Path | None = None,
        settings: TransactionSettings = TransactionSettings(),
        clock: Clock = REAL,
    ) -> None:
        self.rpc = rpc
        self._clock = clock
        self.signer = signer
        self.settings = settings
        self._chain_id = rpc.number("eth_chainId")
        # Development chains begin anew with the same id and other nonces; then their first block is another.
        chain = str(self._chain_id) if journal is None else f"{self._chain_id} {rpc.block(0).identity}"
        self._journal = Journal(journal, chain, signer.address)
        self._market = Market(rpc)
        self._enough = Enough()

    def of(self, signer: Signer) -> Transactions:
        """Those of another account, by the same node, journal and settings: nothing is asked for again."""
        other = copy(self)
        other.signer, other._journal = signer, self._journal.of(signer.address)
        return other

    def send(self, to: str | None, data: bytes, value: int = 0, key: str | None = None) -> Receipt:
        """Sends a transaction and waits until it is in a block: `begin`, and then what that returns."""
        return self.begin(to, data, value, key)()

    def begin(self, to: str | None, data: bytes, value: int = 0, key: str | None = None) -> Callable[[], Receipt]:
        """Sends a transaction; it is tried out first, so a revert costs nothing.

        What is returned has to be called: it waits until the transaction is in a block, and mends what may befall it
        until then. Whoever begins several before it waits for the first may have them all in one block.

        Args:
            to: None to deploy `data`.
            value: Wei.
            key: Names what is wanted (job, attempt and action). If the same call is in the journal under this key, and
                has not failed, it is continued, and nothing else is sent: whoever was killed asks again. Another
                call under this key waits for the end of that one first.

        Raises:
            RpcAnswerError: it would revert, or did; `data` has the revert data.
            InsufficientFundsError: the account can't pay for it.
            TransactionError: it did not get in in time, or failed without saying why. Where it may get in all the same,
                the message says so, and the same `key` continues with it.
            RpcError: no node answers. It may get in all the same.
        """
        call = Call(None if to is None else to_checksum_address(to), data, value)
        before = None if key is None else self._journal.find(key)
        if before is not None and before.call == call:
            return partial(self._follow, self._resumed(before))
        if before is not None and before.state is State.LIVE:
            with suppress(TransactionError, RpcAnswerError):
                self._follow(self._resumed(before))
        fees = self._market.fees().capped(self.settings.fee_cap)
        gas = self._known_gas(call, fees) or self._estimate(call)
        with self._journal.lock():
            now = None if key is None else self._journal.find(key)
            faster = now is not None and (before is None or now.number != before.number)
            if not faster:
                intent = self._journal.add(key, call, self._sign(call, self._next_nonce(0), gas, fees))
        if faster:  # another process that wants the same
            return self.begin(to, data, value, key)
        fault_point("after-intent")
        following = _Following(intent, TransactionState(self.settings, self._clock.now, fees), quick=True)
        return partial(self._follow, following, self._carry_out(following, Broadcast()))

    def finish(self, key: str) -> Receipt | None:
        """Waits for the end of what was begun under a key, here or before a crash, and has not ended; None where there
        is nothing. So whoever would now want something else looks first what has become of it.

        Raises:
            RpcAnswerError, TransactionError, RpcError: as `begin`.
        """
        before = self._journal.find(key)
        return None if before is None or before.state is not State.LIVE else self._follow(self._resumed(before))

    def most(self, to: str, data: bytes, value: int = 0) -> int:
        """The most that a transaction's gas would cost if it were sent now, in wei.

        Raises:
            RpcAnswerError: it would revert.
            InsufficientFundsError: the account can't pay for it.
            RpcError: no node answers.
        """
        return self._estimate(Call(to_checksum_address(to), data, value)) * self.price()

    def price(self) -> int:
        """The most that a unit of gas would cost in a transaction that is sent now, in wei.

        Raises:
            RpcError: no node answers.
        """
        return self._market.fees().capped(self.settings.fee_cap).price

    def gas_price(self) -> int:
        """What a unit of gas costs now, in wei, as the node has it; asked for again after some seconds.

        Raises:
            RpcError: no node answers.
        """
        return self._market.gas_price()

    def _resumed(self, intent: Intent) -> _Following:
        fees = intent.signed[-1].fees
        return _Following(intent, TransactionState(self.settings, self._clock.now, fees, resumed=True))

    def _follow(self, following: _Following, action: Action | None = None) -> Receipt:
        looks = 0
        while True:
            action = self._carry_out(following, action)
            if isinstance(action, Fail):
                self._fail(following, action)
            if isinstance(action, Done):
                fault_point("before-receipt")
                self._journal.mark(following.intent, State.DONE)
                assert following.receipt is not None
                return following.receipt
            if (action := self._look(following)) is None:
                looks += 1
                self._clock.sleep(LOOKS.after(looks))
                following.quick = following.quick and LOOKS.after(looks + 1) <= QUICK_PAUSE

    # Doing

    def _carry_out(self, following: _Following, action: Action | None) -> Done | Fail | None:
        """Does what is to be done until that is nothing, or the end."""
        while action is not None and not isinstance(action, Done | Fail):
            match action:
                case Broadcast():
                    action = self._broadcast(following)
                case Bump():
                    action = self._bump(following)
                case Resend():
                    action = self._resend(following)
        return action

    def _broadcast(self, following: _Following) -> Action | None:
        if following.intent.state is not State.LIVE:  # taken for done, and reorganised out: it holds its nonce again
            self._journal.mark(following.intent, State.LIVE)
            following.intent = self._journal.get(following.intent)
        raw = following.intent.signed[-1].raw
        try:
            self.rpc.request("eth_sendRawTransaction", "0x" + raw.hex())
        except RpcAnswerError as error:
            following.refused, following.quick = error, False
            return following.state.on(Refused(Refusal.of(error.reason)))
        fault_point("after-broadcast")
        return following.state.on(Sent())

    def _bump(self, following: _Following) -> Action | None:
        fees = following.state.offer(self._market.fees(now=True))
        if fees is None:
            return None
        with self._journal.lock():
            if (adopted := self._adopt(following)) is not None:
                return adopted
            newest = following.intent.signed[-1]
            signed = self._sign(following.intent.call, newest.nonce, newest.gas, fees)
            following.intent = self._journal.sign(following.intent, signed)
        fault_point("after-intent")
        return following.state.bumped(fees)

    def _resend(self, following: _Following) -> Action | None:
        self._clock.sleep(QUICK_PAUSE)  # whoever took the nonce may be about to take the next
        newest = following.intent.signed[-1]
        try:
            # It may not be wanted any more: then the contract refuses it here.
            gas = max(self._estimate(following.intent.call), newest.gas)
        except (RpcAnswerError, InsufficientFundsError):
            self._journal.mark(following.intent, State.FAILED)
            raise
        fees = self._market.fees().capped(self.settings.fee_cap)
        with self._journal.lock():
            if (adopted := self._adopt(following)) is not None:
                return adopted
            signed = self._sign(following.intent.call, self._next_nonce(newest.nonce + 1), gas, fees)
            following.intent = self._journal.sign(following.intent, signed)
        fault_point("after-intent")
        return following.state.resent(fees)

    def _adopt(self, following: _Following) -> Broadcast | None:
        """Goes on with what another process has signed for the intent meanwhile."""
        before, now = following.intent, self._journal.get(following.intent)
        if now.signed == before.signed:
            return None
        following.intent = now
        fees = now.signed[-1].fees
        same = now.nonce == before.nonce
        return following.state.bumped(fees) if same else following.state.resent(fees, exposed=True)

    def _known_gas(self, call: Call, fees: Fees) -> int | None:
        """Gas to allow for, if what was enough for such calls before is enough for this one, and can be paid for; else
        None, and whatever is wrong with the call is for the estimate to say."""
        if call.to is None or (gas := self._enough.of(call)) is None:
            return None
        allowed = self._allowed(gas)
        try:
            if self.rpc.number("eth_getBalance", self.signer.address, "latest") < call.value + allowed * fees.price:
                return None
            self.rpc.request("eth_call", {**self._request(call), "gas": hex(allowed)}, "pending")
        except RpcAnswerError:
            return None
        return allowed

    def _estimate(self, call: Call) -> int:
        """Gas to allow for."""
        try:
            gas = self._number("eth_estimateGas", self._request(call))
        except RpcAnswerError as error:
            if Refusal.of(error.reason) is Refusal.INSUFFICIENT_FUNDS:
                raise self._unpayable(error) from error
            raise
        self._enough.note(call, gas)
        return self._allowed(gas)

    def _allowed(self, gas: int) -> int:
        # Another transaction may come in between and make it dearer, but never by a quarter. The random part makes the
        # bytes differ from those of another program with the same nonce: what a node knows is what was signed here.
        allowed = gas + gas // 4 + randrange(DIFFERENT_GAS)
        # What fits a transaction is not refused for what it is allowed on top.
        return allowed if gas > LARGEST_GAS else min(allowed, LARGEST_GAS)

    def _request(self, call: Call) -> dict[str, Any]:
        request = {"from": self.signer.address, "data": "0x" + call.data.hex(), "value": hex(call.value)}
        return request if call.to is None else {**request, "to": call.to}

    def _next_nonce(self, least: int) -> int:
        """The first that neither the chain, the node's pool nor the journal has. Under the lock."""
        due = self._number("eth_getTransactionCount", self.signer.address, "pending")
        return self._journal.free_nonce(max(due, least))

    def _number(self, method: str, *parameters: Any) -> int:
        """A quantity that can be signed and written down."""
        number = self.rpc.number(method, *parameters)
        if not 0 <= number < 2**62:
            raise RpcError(f"{self.rpc.name} answers {method} with {number}, which can't be")
        return number

    def _sign(self, call: Call, nonce: int, gas: int, fees: Fees) -> Signed:
        transaction: dict[str, Any] = {
            "data": call.data,
            "value": call.value,
            "gas": gas,
            "nonce": nonce,
            "chainId": self._chain_id,
            **fees.fields(),
        }
        if call.to is not None:
            transaction["to"] = call.to
        raw = self.signer.sign(self.rpc, transaction)
        return Signed("0x" + keccak(raw).hex(), nonce, gas, fees, raw)

    # Looking

    def _look(self, following: _Following) -> Action | None:
        event = self._seen(following)
        action = None if event is None else following.state.on(event)
        return following.state.on(Tick()) if action is None else action

    def _seen(self, following: _Following) -> Event | None:
        """What the chain and the node's pool have of it."""
        intent = following.intent
        if following.quick:
            return self._mined(following, intent.signed[-1])
        used = self.rpc.number("eth_getTransactionCount", self.signer.address, "latest")
        if used < intent.nonce:
            self._rescue(following, used)
            return Queued()
        following.behind = following.rescued = None
        if used == intent.nonce:
            known = any(self.rpc.request("eth_getTransactionByHash", each.hash) for each in reversed(intent.signed))
            return Known() if known else Gone()
        # The nonce was asked for before the receipts: whatever used it has one by now.
        for each in reversed(intent.signed):
            if (mined := self._mined(following, each)) is not None:
                return mined
        return NonceTaken() if self._settled(intent.nonce) else Undecided()

    def _mined(self, following: _Following, signed: Signed) -> Mined | None:
        receipt = self.rpc.request("eth_getTransactionReceipt", signed.hash)
        if receipt is None:
            return None
        try:
            block, succeeded = int(receipt["blockNumber"], 16), int(receipt["status"], 16) == 1
            gas = int(receipt["gasUsed"], 16)
            price = int(receipt.get("effectiveGasPrice") or hex(signed.fees.price), 16)
            following.receipt = Receipt(signed.hash, block, gas, receipt["contractAddress"], gas * price)
        except (KeyError, TypeError, ValueError) as error:
            raise RpcError(f"{self.rpc.name} gives a malformed receipt: {receipt!r:.300}") from error
        following.quick = False
        confirmations = 1
        if self.settings.confirmations > 1:
            confirmations = self.rpc.number("eth_blockNumber") - block + 1
        return Mined(signed.hash, block, succeeded, confirmations)

    def _settled(self, nonce: int) -> bool:
        """Whether the nonce is used in a block with enough confirmations."""
        if self.settings.confirmations == 1:
            return True
        confirmed = self.rpc.number("eth_blockNumber") - self.settings.confirmations + 1
        return (
            confirmed >= 0 and self.rpc.number("eth_getTransactionCount", self.signer.address, hex(confirmed)) > nonce
        )

    def _rescue(self, following: _Following, due: int) -> None:
        """Gets on with the intent whose nonce is due before this one's: the process that wanted it may be gone."""
        now = self._clock.now()
        if following.behind != due:
            following.behind, following.since, following.rescued = due, now, None
        if following.rescued is None:
            intent = self._journal.holder(due)
            # Whoever wants a live one may be at it; nobody is at one that was taken for done.
            if intent is None or (intent.state is State.LIVE and now - following.since < RESCUE_SECONDS):
                return
            following.rescued = self._resumed(intent)
        other = following.rescued
        action = self._look(other)
        if isinstance(action, Resend):  # only whoever wanted it knows whether that is so still
            return
        end = self._carry_out(other, action)
        if end is not None:
            following.rescued = None
            if isinstance(end, Done) or not end.live:
                self._journal.mark(other.intent, State.DONE if isinstance(end, Done) else State.FAILED)

    # Ends

    def _fail(self, following: _Following, fail: Fail) -> NoReturn:
        if not fail.live:
            self._journal.mark(following.intent, State.FAILED)
        intent, settings, refused = following.intent, self.settings, following.refused
        what = f"transaction {intent.signed[-1].hash}"
        late = f"{what} is in no block after {settings.timeout:.0f} s"
        match fail.reason:
            case Reason.INSUFFICIENT_FUNDS:
                assert refused is not None
                raise self._unpayable(refused) from refused
            case Reason.REFUSED if not fail.live:
                assert refused is not None
                raise refused
            case Reason.REVERTED:
                assert following.receipt is not None
                block = following.receipt.block
                # Something else came in between. The state before this block's end tells why, nearly always.
                self.rpc.request("eth_call", self._request(intent.call), hex(block))
                raise TransactionFailedError(f"{what} failed in block {block} after it had been tried out")
            case Reason.OVERTAKEN:
                raise TransactionError(
                    f"other transactions of {self.signer.address} came first again and again: have all programs of the "
                    "account share one journal, or give each an account of its own"
                )
            case Reason.FEE_CAP:
                said = "" if refused is None else f" ({refused.reason})"
                raise TransactionError(
                    f"{late if fail.live else f'{what} is not taken'}{said}, and the fee cap of "
                    f"{settings.fee_cap / 10**9:g} gwei allows no higher offer: raise it, or wait for cheaper times"
                ) from refused
        if following.state.phase is Phase.MINED:
            late = f"{what} is in a block, but not confirmed by {settings.confirmations} after {settings.timeout:.0f} s"
        elif following.behind is not None:
            late += f", because no transaction with nonce {following.behind} is, which is due before its {intent.nonce}"
        said = "" if refused is None else f"; when it was sent last, the node said: {refused.reason}"
        raise TransactionError(f"{late}: see whether the chain makes blocks; it may get in still{said}") from refused

    def _unpayable(self, error: RpcAnswerError) -> InsufficientFundsError:
        return InsufficientFundsError(
            f"{self.signer.address} can't pay for it ({error.reason}): send it some ether first"
        )
