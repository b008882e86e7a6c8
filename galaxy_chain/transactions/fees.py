"""What a transaction offers for gas: EIP-1559 fees, or the one gas price of a chain that has no base fee."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from galaxy_chain.exceptions import RpcError
from galaxy_chain.rpc.errors import RpcAnswerError
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.rpc.values import number

__all__ = ["Fees", "Market"]

MARKET_SECONDS = 10.0
HISTORY_BLOCKS = 10


@dataclass(frozen=True)
class Fees:
    """An offer, in wei for a unit of gas."""

    price: int
    """`maxFeePerGas`, or `gasPrice` where there is no tip."""
    tip: int | None
    """`maxPriorityFeePerGas`; None before EIP-1559."""

    def fields(self) -> dict[str, Any]:
        """As a transaction has them."""
        if self.tip is None:
            return {"gasPrice": self.price}
        return {"type": 2, "maxFeePerGas": self.price, "maxPriorityFeePerGas": self.tip}

    def capped(self, cap: int) -> Fees:
        """The same, but no more than `cap`."""
        return Fees(min(self.price, cap), None if self.tip is None else min(self.tip, cap))

    def outbids(self, other: Fees) -> bool:
        """Whether a pool takes it in place of the other: each fee at least 10 % higher, as geth asks."""
        return 10 * self.price >= 11 * other.price and 10 * (self.tip or 0) >= 11 * (other.tip or 0)

    def bumped(self, market: Fees, cap: int) -> Fees | None:
        """The market's fees, or these and an eighth where that is more; None if not within the cap."""
        price = max(market.price, _raised(self.price))
        tip = None if self.tip is None else max(market.tip or 0, _raised(self.tip))
        higher = Fees(max(price, tip or 0), tip).capped(cap)
        return higher if higher.outbids(self) else None


def _raised(fee: int) -> int:
    return fee + fee // 8 + 1


class Market:
    """What a node suggests; asked for again after some seconds, in which a base fee can't double."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._known: tuple[float, Fees] | None = None
        self._price: tuple[float, int] | None = None

    def fees(self, *, now: bool = False) -> Fees:
        """What gets a transaction in soon; `now` asks again in any case.

        Raises:
            RpcError: the node fails.
        """
        if now or self._known is None or time.monotonic() - self._known[0] > MARKET_SECONDS:
            self._known = time.monotonic(), self._ask()
        return self._known[1]

    def gas_price(self) -> int:
        """What the node says that gas costs, in wei.

        Raises:
            RpcError: the node fails.
        """
        if self._price is None or time.monotonic() - self._price[0] > MARKET_SECONDS:
            self._price = time.monotonic(), self._rpc.number("eth_gasPrice")
        return self._price[1]

    def _ask(self) -> Fees:
        base_fee = self._rpc.block("latest").base_fee
        if base_fee is None:
            return Fees(self._rpc.number("eth_gasPrice"), None)
        tip = self._tip(base_fee)
        # Twice the base fee stays enough for six full blocks in a row.
        return Fees(2 * base_fee + tip, tip)

    def _tip(self, base_fee: int) -> int:
        """What the node suggests; not every node has each of these methods."""
        if (suggested := self._quantity("eth_maxPriorityFeePerGas")) is not None:
            return suggested
        with suppress(RpcAnswerError, KeyError, TypeError, ValueError):
            history = self._rpc.request("eth_feeHistory", hex(HISTORY_BLOCKS), "latest", [50])
            tips = sorted(number(tip) for [tip] in history["reward"])
            if tips:
                return tips[len(tips) // 2]
        price = self._quantity("eth_gasPrice")
        if price is None:
            raise RpcError(
                f"{self._rpc.name} suggests no price of gas: it answers none of eth_maxPriorityFeePerGas, "
                "eth_feeHistory and eth_gasPrice; name another node with --rpc"
            )
        return max(0, price - base_fee)

    def _quantity(self, method: str) -> int | None:
        """The answer to a request without parameters; None where the node has none."""
        try:
            return number(self._rpc.request(method))
        except (RpcAnswerError, ValueError):
            return None
