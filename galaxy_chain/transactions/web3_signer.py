"""An account that a `Web3` signs for: by its middleware, or by the node behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_utils.crypto import keccak
from rlp import decode as decode_rlp  # type: ignore[import-untyped]
from web3 import Web3
from web3.exceptions import Web3Exception
from web3.middleware import combine_middleware
from web3.types import RPCEndpoint, RPCResponse

from galaxy_chain.exceptions import AccountError, RpcError
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import NodeSigner, as_fields

__all__ = ["Web3Signer"]


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
        """The bytes, if they are this account's and have the nonce that is kept for them.

        Raises:
            AccountError: they are another's, or have another nonce.
        """
        # A typed transaction has its type in front, and begins with the chain's id and the nonce (EIP-2718, -1559).
        typed = raw[0] <= 0x7F
        nonce = int.from_bytes(decode_rlp(raw[1:])[1] if typed else decode_rlp(raw)[0])
        signer = Account.recover_transaction(raw)
        if (signer, nonce) != (self.address, transaction["nonce"]):
            raise AccountError(
                f"the Web3's middleware signs for {signer} with nonce {nonce}, expected {self.address} with nonce "
                f"{transaction['nonce']}: let it leave the fields of a transaction as they are"
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

    def sign_typed_data(self, rpc: Rpc, data: dict[str, Any]) -> bytes:
        """Have the node sign typed data (EIP-712): no middleware does.

        Raises:
            AccountError: it does not.
        """
        try:
            return NodeSigner(self.address).sign_typed_data(rpc, data)
        except RpcError as error:
            raise AccountError(
                f"{self.address} is to sign what others hand in for it, and middleware signs only transactions: give "
                f'the account itself, as account=…, or hand in directly (lane="direct"; {error})'
            ) from error
