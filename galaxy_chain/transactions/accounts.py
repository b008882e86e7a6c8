"""Accounts: encrypted keystore files, a key in the environment, or accounts that a development node has unlocked."""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eth_utils.address import is_address, to_checksum_address

from galaxy_chain.exceptions import AccountError, RpcError
from galaxy_chain.ledger.words import address_bytes
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.manager import Signer
from galaxy_fl.files import is_name, make_folder, write_durably

if TYPE_CHECKING:  # half a second, which only those who hold a key have to pay
    from coincurve import PrivateKey
    from eth_account.signers.local import LocalAccount

__all__ = [
    "KEY_VARIABLE",
    "PASSWORD_VARIABLE",
    "Keystore",
    "LocalSigner",
    "NodeSigner",
    "find_signer",
    "named_key",
    "signer_of_key",
    "unlocked",
]

KEY_VARIABLE = "GALAXY_KEY"
PASSWORD_VARIABLE = "GALAXY_PASSWORD"
PR_SET_DUMPABLE = 4

LARGEST_FILE = 2**16
"""Bytes of a keystore file: a hundred times what one has."""
LARGEST_SCRYPT_BYTES = 2**30
"""What opening a key may take, and twice the time of that: geth's own take a quarter."""
MOST_ITERATIONS = 10_000_000
"""Iterations of PBKDF2, which take some seconds: ten times eth_account's own."""


def as_fields(transaction: dict[str, Any]) -> dict[str, Any]:
    """A transaction as JSON-RPC has it: bytes and numbers in hexadecimal."""
    return {
        key: "0x" + value.hex() if isinstance(value, bytes) else hex(value) if isinstance(value, int) else value
        for key, value in transaction.items()
    }


@dataclass(frozen=True)
class LocalSigner:
    """An account whose key this process holds."""

    account: LocalAccount

    @property
    def address(self) -> str:
        return str(self.account.address)

    def sign(self, rpc: Rpc, transaction: dict[str, Any]) -> bytes:
        """Signs here; the node is not asked."""
        return bytes(self.account.sign_transaction(transaction).raw_transaction)

    def sign_message(self, rpc: Rpc, text: str) -> bytes:
        """Signs here; the node is not asked."""
        from eth_account.messages import encode_defunct

        return bytes(self.account.sign_message(encode_defunct(text=text)).signature)

    def sign_typed_data(self, rpc: Rpc, data: dict[str, Any], digest: bytes) -> bytes:
        """Signs here; the node is not asked."""
        from coincurve import PrivateKey

        return _sign_digest(PrivateKey(self.account.key), digest)


@dataclass(frozen=True)
class NodeSigner:
    """An account that the node itself signs for: on development chains only.

    Attributes:
        address: With checksum.
        number: Which of the node's accounts it is, from 0; None where that is not known.
    """

    address: str
    number: int | None = None

    def sign(self, rpc: Rpc, transaction: dict[str, Any]) -> bytes:
        """Has the node sign, and only that: what is signed is to be known before it is sent."""
        fields = as_fields({key: value for key, value in transaction.items() if key not in ("chainId", "type")})
        signed = rpc.request("eth_signTransaction", {"from": self.address, **fields})
        raw = signed.get("raw") if isinstance(signed, dict) else signed  # geth's answer, and anvil's
        try:
            return bytes.fromhex(str(raw).removeprefix("0x"))
        except ValueError as error:
            raise RpcError(f"{rpc.name} signs no transaction: it answers {signed!r:.200}") from error

    def sign_message(self, rpc: Rpc, text: str) -> bytes:
        """Has the node sign."""
        return rpc.data("eth_sign", self.address, "0x" + text.encode().hex())

    def sign_typed_data(self, rpc: Rpc, data: dict[str, Any], digest: bytes) -> bytes:
        """Has the node sign, unless everybody knows the key: a thousand clients sign in each round."""
        if self._development_key is None:
            return rpc.data("eth_signTypedData_v4", self.address, data)
        return _sign_digest(self._development_key, digest)

    @cached_property
    def _development_key(self) -> PrivateKey | None:
        """The key, where the account is the one of that number of the development mnemonic."""
        if self.number is None:
            return None
        from galaxy_chain.node.accounts import address_of, development_key

        key = development_key(self.number)
        return key if address_of(key) == address_bytes(self.address) else None


def _sign_digest(key: PrivateKey, digest: bytes) -> bytes:
    """Signs 32 bytes (RFC 6979, the lower s): r, s and v, which is 27 or 28."""
    signature = key.sign_recoverable(digest, hasher=None)
    return bytes(signature[:64] + bytes((signature[64] + 27,)))


class Keystore:
    """A folder of encrypted keys, one file a name (the Web3 Secret Storage format, as geth's).

    Args:
        folder: Is made, for its owner alone, when the first key is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self, name: str, password: str) -> str:
        """Make a new key and return its address.

        Raises:
            AccountError: the name is taken or not a file name, or the password is empty.
        """
        from eth_account import Account

        return self.add(name, LocalSigner(Account.create()), password)

    def add(self, name: str, signer: LocalSigner, password: str) -> str:
        """Keep a key, encrypted with a password, and return its address.

        Raises:
            AccountError: as `create`.
        """
        self.check_free(name)
        if not password:
            raise AccountError(f"an account needs a password: type one, or set {PASSWORD_VARIABLE}")
        from eth_account import Account

        self._write(name, Account.encrypt(signer.account.key, password))
        return signer.address

    def take_in(self, name: str, path: Path, password: str) -> str:
        """Keep a copy of a keystore file, which the password has to open, and return its address.

        Raises:
            AccountError: the name is taken or not a file name, the file is not a keystore file, or the password is not
                its own.
        """
        self.check_free(name)
        signer = self._open(path, password)
        self._write(name, self._read(path) | {"address": signer.address.removeprefix("0x").lower()})
        return signer.address

    def check_file(self, path: Path) -> None:
        """Make sure that a file, here or elsewhere, is a keystore file.

        Raises:
            AccountError: it is not.
        """
        self._read(path)

    def file(self, name: str) -> Path:
        """The keystore file of a key.

        Raises:
            AccountError: there is no such key.
        """
        path = self._path(name)
        if not path.is_file():
            raise AccountError(
                f"there is no account {name} in {self.folder}: `galaxy-chain account list` shows those that are there"
            )
        self.check_file(path)
        return path

    def check_free(self, name: str) -> None:
        """Make sure that a key can be called so.

        Raises:
            AccountError: it cannot, or one is.
        """
        if not is_name(name):
            raise AccountError(f"{name!r} is not a name for an account: up to 64 letters, digits, '.', '_' and '-'")
        if (path := self.folder / f"{name}.json").exists():
            raise AccountError(f"{path} is there already: choose another name")

    def _write(self, name: str, key: dict[str, Any]) -> None:
        path = self.folder / f"{name}.json"
        try:
            make_folder(self.folder, 0o700)
            write_durably(path, json.dumps(key), mode=0o600, exclusive=True)
        except FileExistsError as error:
            raise AccountError(f"{path} is there already: choose another name") from error
        except OSError as error:
            raise AccountError(f"{path} can't be written: {error.strerror}") from error

    def list(self) -> dict[str, str | None]:
        """The address of each key by its name, or None for a key whose file does not say it.

        A name is what a file here is called without `.json`; geth's own files have none and are called by all of it.
        Files that are no keys, hidden ones and folders are passed over: the folder may have others.
        """
        found: dict[str, str | None] = {}
        for path in sorted(self._files()):
            try:
                found[path.stem if path.suffix == ".json" else path.name] = _address_of(self._read(path))
            except AccountError:
                continue
        return found

    def _files(self) -> tuple[Path, ...]:
        try:
            paths = self.folder.iterdir()
            return tuple(path for path in paths if not path.name.startswith(".") and path.is_file())
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            raise AccountError(f"the keystore {self.folder} can't be read: {error.strerror}") from error

    def _path(self, name: str) -> Path:
        """The file of a key by its name."""
        named = self.folder / f"{name}.json"
        return named if named.is_file() or not (self.folder / name).is_file() else self.folder / name

    def explain(self, name: str) -> None:
        """Says why a file of this name is not a key, where there is one.

        Raises:
            AccountError: it is none.
        """
        if (path := self._path(name)).is_file():
            self._read(path)

    def open(self, name: str, password: str) -> LocalSigner:
        """The account of a key.

        Raises:
            AccountError: there is no such key, or the password is wrong.
        """
        return self._open(self._path(name), password)

    def _open(self, path: Path, password: str) -> LocalSigner:
        from eth_account import Account

        hide_memory()
        try:
            key = self._read(path)
            _check_cost(key)
            return LocalSigner(Account.from_key(Account.decrypt(key, password)))
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            AssertionError,
            ArithmeticError,
            NotImplementedError,
        ) as error:
            raise AccountError(f"{path} can't be opened with this password ({error})") from error

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise ValueError(f"it has more than {LARGEST_FILE} bytes")
            content = _lower(json.loads(path.read_bytes()))
            if not isinstance(content, dict) or "crypto" not in content:
                raise ValueError("it has no encrypted key")
            _address_of(content)
        except (OSError, ValueError, RecursionError) as error:
            raise AccountError(f"{path} is not a keystore file: {error}") from error
        return content


def _address_of(key: dict[str, Any]) -> str | None:
    """The address that a keystore file says, which it need not.

    Raises:
        ValueError: what it says is none.
    """
    if (said := key.get("address")) is None or said == "":
        return None
    address = "0x" + str(said).removeprefix("0x")
    if not is_address(address):
        raise ValueError(f"its address is {said!r:.60}")
    return to_checksum_address(address)


def _lower(value: Any) -> Any:
    """With the names of all fields in lower case, in which eth_keyfile reads them."""
    if not isinstance(value, dict):
        return value
    lower = {name.lower(): _lower(inner) for name, inner in value.items()}
    if len(lower) < len(value):
        raise ValueError("a field is there twice")
    return lower


def _check_cost(key: dict[str, Any]) -> None:
    """Makes sure that opening a key takes seconds and no more memory than there is: its file says how much.

    Raises:
        ValueError, TypeError, KeyError: it takes more, or it is not a keystore file of version 3.
    """
    if key["version"] != 3:
        raise ValueError(f"it has version {key['version']!r:.20}, expected 3")
    how = key["crypto"]["kdfparams"]
    if how["dklen"] != 32:
        raise ValueError(f"dklen is {how['dklen']!r:.20}, expected 32")
    if key["crypto"]["kdf"] == "scrypt":
        n, r, p = how["n"], how["r"], how["p"]
        if not 128 * n * r <= LARGEST_SCRYPT_BYTES or not n * r * p <= LARGEST_SCRYPT_BYTES // 64 or not r * p <= 1024:
            raise ValueError(f"scrypt with n = {n!r:.20}, r = {r!r:.20}, p = {p!r:.20} takes too much memory or time")
    elif not how["c"] <= MOST_ITERATIONS:
        raise ValueError(f"{how['c']!r:.20} iterations take too much time")


def hide_memory() -> None:
    """Keeps other processes of this user, workers among them, from this one's memory and from the environment that it
    was started with (Linux: `prctl(PR_SET_DUMPABLE, 0)`). Root can read both all the same."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def take_secret(variable: str) -> str | None:
    """A secret from the environment, taken out of it, so that no process started later inherits it.

    Without the line break that a file or a command leaves at its end.
    """
    secret = os.environ.pop(variable, None)
    if secret is None:
        return None
    hide_memory()
    return secret.removesuffix("\n").removesuffix("\r")


def unlocked(rpc: Rpc) -> list[str]:
    """The accounts that a node signs for, with checksum."""
    accounts = rpc.request("eth_accounts")
    if not isinstance(accounts, list) or not all(map(is_address, accounts)):
        raise RpcError(f"{rpc.name} answers eth_accounts with {accounts!r:.200}, which is not a list of addresses")
    return [to_checksum_address(account) for account in accounts]


def signer_of_key(key: str) -> LocalSigner:
    """The account of a private key in hexadecimal, as GALAXY_KEY holds it.

    Raises:
        AccountError: it is not a private key.
    """
    from eth_account import Account

    try:
        return LocalSigner(Account.from_key(key.strip()))
    except (ValueError, TypeError) as error:
        raise AccountError(f"{KEY_VARIABLE} holds no private key of 32 bytes in hexadecimal") from error


def find_signer(
    name: str | None, keystore: Keystore, rpc: Rpc, ask_password: Callable[[str], str] | None = None
) -> Signer:
    """The account that is meant.

    Args:
        name: A keystore's name or address, `dev:N` for the node's N-th unlocked account or the address of one; None
            for the key in GALAXY_KEY.
        keystore: Where to look for names and addresses.
        rpc: The node whose unlocked accounts count.
        ask_password: Asks on a terminal for the password of the account named, where GALAXY_PASSWORD is not set.

    Raises:
        AccountError: there is no such account, or its key can't be opened.
        RpcError: the node fails.
    """
    key = take_secret(KEY_VARIABLE)
    if name is None:
        if key is None:
            raise AccountError(
                f"no account is named: give --account NAME (see `galaxy-chain account list`), "
                f"or a key in {KEY_VARIABLE}"
            )
        return signer_of_key(key)
    if match := re.fullmatch(r"dev:(\d{1,9})", name):
        accounts = unlocked(rpc)
        if int(match[1]) >= len(accounts):
            raise AccountError(f"{rpc.name} has {len(accounts)} unlocked accounts, no {name}: count from dev:0")
        return NodeSigner(accounts[int(match[1])], int(match[1]))
    known = keystore.list()
    wanted: str | None = None
    if is_address(name):
        wanted = to_checksum_address(name)
        if (found := named_key(wanted, known, keystore, rpc)) is None:
            return NodeSigner(wanted)
        name = found
    if name not in known:
        keystore.explain(name)
        raise AccountError(
            f"there is no account {name} in {keystore.folder}: make one with `galaxy-chain account new {name}`"
        )
    password = take_secret(PASSWORD_VARIABLE)
    if password is None:
        if ask_password is None:
            raise AccountError(f"the password of {name} is not known: set {PASSWORD_VARIABLE}")
        password = ask_password(name)
    signer = keystore.open(name, password)
    if wanted is not None and signer.address != wanted:
        raise AccountError(f"the key {name} in {keystore.folder} is that of {signer.address}, not of {wanted}")
    return signer


def named_key(
    address: str, known: dict[str, str | None], keystore: Keystore, rpc: Rpc, here: list[str] | None = None
) -> str | None:
    """The name of the key of an address; None where the node signs for it.

    Args:
        address: With checksum.
        known: What the keystore lists.
        keystore, rpc: Where keys are, and the node.
        here: The accounts that the node signs for, where they are known.

    Raises:
        AccountError: it is nowhere.
    """
    silent = [name for name, said in known.items() if said is None]
    # The names of geth's own files end in the address, whatever the file itself says.
    named = (name for name in silent if name.lower().removesuffix(".json").endswith(address[2:].lower()))
    found = next((name for name, said in known.items() if said == address), next(named, None))
    if found is not None or address in (unlocked(rpc) if here is None else here):
        return found
    if len(silent) == 1:  # which it is turns out when it is opened
        return silent[0]
    more = f"; {', '.join(silent)} do not say their address: name the one that it is" if silent else ""
    raise AccountError(f"the key of {address} is neither in {keystore.folder} nor unlocked in {rpc.name}{more}")
