"""An account that a `Web3` signs for: by its middleware, or by the node behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_account import Account
from rlp import decode as decode_rlp  # type: ignore[import-untyped]
from rlp.exceptions import DecodingError  # type: ignore[import-untyped]
from web3 import Web3
from web3.exceptions import Web3Exception
from web3.middleware import combine_middleware
from web3.types import RPCEndpoint, RPCResponse

from galaxy_chain.exceptions import AccountError, RpcError
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import NodeSigner, as_fields
from galaxy_fl.keccak import keccak

__all__ = ["Web3Signer"]


_FIELDS = {1: (0, 1, 4, 5, 6), 2: (0, 1, 5, 6, 7)}
"""Where chain id, nonce, recipient, value and data are in a transaction, by its type (EIP-2930, EIP-1559).

Those of later types do more than that: they carry blobs, or authorize code.
"""


def _signed(raw: bytes) -> dict[str, Any]:
    """What a signed transaction says, as `_meant`, and who has signed it.

    Raises:
        AccountError: it is not a transaction of a type that is known.
    """
    try:
        if raw[0] >= 0xC0:  # a list: without a type (EIP-2718); the chain's id is in v (EIP-155)
            nonce, _, _, to, value, data, v = decode_rlp(raw)[:7]
            chain = (int.from_bytes(v) - 35) // 2  # before EIP-155 there is none: -4
        else:
            fields = decode_rlp(raw[1:])
            number, nonce, to, value, data = (fields[index] for index in _FIELDS[raw[0]])
            chain = int.from_bytes(number)
        return {
            "signer": Account.recover_transaction(raw),
            "chain id": chain,
            "nonce": int.from_bytes(nonce),
            "recipient": "0x" + to.hex() if to else None,
            "value": int.from_bytes(value),
            "data": bytes(data),
        }
    except (DecodingError, IndexError, KeyError, TypeError, ValueError) as error:
        raise AccountError(
            f"the Web3's middleware signs what is not a transaction of a known type, 0x{raw[:20].hex()}…"
        ) from error


def _meant(transaction: dict[str, Any]) -> dict[str, Any]:
    """What of a transaction says what it does."""
    to, data = transaction.get("to"), transaction.get("data", b"")
    return {
        "chain id": transaction["chainId"],
        "nonce": transaction["nonce"],
        "recipient": str(to).lower() if to else None,
        "value": transaction["value"],
        "data": bytes.fromhex(data.removeprefix("0x")) if isinstance(data, str) else bytes(data),
    }


def _short(value: object) -> str:
    return f"0x{value[:20].hex()}{'…' if len(value) > 20 else ''}" if isinstance(value, bytes) else str(value)


@dataclass(frozen=True)
class Web3Signer:
    """An account of a `Web3`.

    A transaction is written down in the journal, signed, before any node may have it; only so a crash neither loses it
    nor sends it twice, and its fee can be raised. So the middleware gets an `eth_sendTransaction` with every field, and
    what it makes of it is kept instead of being sent. Where it signs nothing, the node is asked to sign
    (`eth_signTransaction`).
    """

    web3: Web3
    address: str

    def sign(self, rpc: Rpc, transaction: dict[str, Any]) -> bytes:
        """Have the middleware or the node sign.

        Raises:
            AccountError: neither does.
        """
        signed: list[bytes] = []

        def keep(method: RPCEndpoint, params: Any) -> RPCResponse:
            if method == "eth_sendRawTransaction":
                signed.append(bytes.fromhex(params[0].removeprefix("0x")))
                return {"jsonrpc": "2.0", "id": 0, "result": "0x" + keccak(signed[-1]).hex()}
            if method == "eth_sendTransaction":
                return {"jsonrpc": "2.0", "id": 0, "result": "0x" + bytes(32).hex()}
            return {"jsonrpc": "2.0", "id": 0, "result": rpc.request(method, *params)}

        send = combine_middleware(self.web3.middleware_onion.as_tuple_of_middleware(), self.web3, keep)
        try:
            send(RPCEndpoint("eth_sendTransaction"), [{"from": self.address, **as_fields(transaction)}])
        except (Web3Exception, TypeError, ValueError) as error:
            raise AccountError(
                f"the Web3's middleware does not sign a transaction of {self.address}: {error}"
            ) from error
        if signed:
            return self._checked(signed[-1], transaction)
        try:
            return NodeSigner(self.address).sign(rpc, transaction)
        except RpcError as error:
            raise AccountError(
                f"nobody signs for {self.address}: the Web3 has no middleware that does (web3's "
                f"SignAndSendRawMiddlewareBuilder, or give the account itself as account=…), and {error}"
            ) from error

    def _checked(self, raw: bytes, transaction: dict[str, Any]) -> bytes:
        """The bytes, if they are what was to be signed, by this account. Fees and gas may be others.

        Raises:
            AccountError: they are another's, or another transaction.
        """
        found, expected = _signed(raw), _meant(transaction) | {"signer": self.address}
        for field, value in expected.items():
            if found[field] != value:
                raise AccountError(
                    f"the Web3's middleware signs for {found['signer']} with nonce {found['nonce']}, expected "
                    f"{self.address} with nonce {expected['nonce']}: its {field} is {_short(found[field])}, expected "
                    f"{_short(value)}; let it leave the fields of a transaction as they are"
                )
        return raw

    def sign_message(self, rpc: Rpc, text: str) -> bytes:
        """Have the node sign a message (EIP-191): no middleware does.

        Raises:
            AccountError: it does not.
        """
        try:
            return NodeSigner(self.address).sign_message(rpc, text)
        except RpcError as error:
            raise AccountError(
                f"a store that is served wants requests that {self.address} has signed, and middleware signs only "
                f"transactions: give the account itself, as account=…, or a folder as the store ({error})"
            ) from error

    def sign_typed_data(self, rpc: Rpc, data: dict[str, Any], digest: bytes) -> bytes:
        """Have the node sign typed data (EIP-712): no middleware does.

        Raises:
            AccountError: it does not.
        """
        try:
            return NodeSigner(self.address).sign_typed_data(rpc, data, digest)
        except RpcError as error:
            raise AccountError(
                f"{self.address} is to sign what others hand in for it, and middleware signs only transactions: give "
                f'the account itself, as account=…, or hand in directly (lane="direct"; {error})'
            ) from error
