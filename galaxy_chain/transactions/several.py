"""The accounts of many clients: named in a file or as a range, and opened while the first of them are at work."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from eth_utils.address import is_address, to_checksum_address

from galaxy_chain.exceptions import AccountError
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import (
    PASSWORD_VARIABLE,
    Keystore,
    NodeSigner,
    named_key,
    take_secret,
    unlocked,
)
from galaxy_chain.transactions.manager import Signer

__all__ = ["open_accounts", "parse_accounts"]

LARGEST_FILE = 2**24
"""Bytes of a file of accounts."""
SAY_SECONDS = 5.0
"""Between two reports of how many keys are open."""
_DEV = re.compile(r"dev:(\d{1,9})(?:-(\d{1,9}))?")


def parse_accounts(text: str | Sequence[str], count: int) -> list[str]:
    """Return the names of so many accounts, as `--account` takes each of them.

    Args:
        text: `dev:3-102` for those of the node's unlocked accounts, or the path of a file with a line each: a name or
            an address of a keystore file, or `dev:N`; what follows a `#` is a comment. Or a list of such names.
        count: How many clients there are.

    Raises:
        AccountError: it is neither, an account is named twice, or there are not as many as clients.
    """
    where = ""
    if not isinstance(text, str):
        names = list(text)
    elif (match := _DEV.fullmatch(text)) is not None:
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise AccountError(f"the accounts {text!r} end before they begin: expected dev:FIRST-LAST")
        names = [f"dev:{number}" for number in range(first, min(last, first + 10**6) + 1)]
    else:
        where = f" in {text}"
        names = _read(Path(text))
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str) or name.lower() in seen:
            raise AccountError(f"the account {name!r} is there twice{where}: each client has one of its own")
        seen.add(name.lower())
    if len(names) != count:
        raise AccountError(
            f"there are {len(names)} accounts{where or f' in {text!r:.80}'} for {count} clients: name as many as shards"
        )
    return names


def _read(path: Path) -> list[str]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"it has more than {LARGEST_FILE} bytes")
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise AccountError(
            f"the accounts {str(path)!r} can't be read ({why}): expected a file with a name or an address a line, or "
            "dev:FIRST-LAST for the node's unlocked accounts"
        ) from error
    return [name for line in lines if (name := line.partition("#")[0].strip())]


def open_accounts(
    names: Sequence[str],
    keystore: Keystore,
    rpc: Rpc,
    ask_password: Callable[[str], str],
    say: Callable[[str], None] = lambda message: None,
) -> list[Future[Signer]]:
    """Return what will be the account of each name. Keys are opened in this order, as many at a time as there are
    processors: each takes a second and a quarter of a gigabyte, by the design of its file.

    Args:
        names: As `find_signer` takes each.
        keystore: Where names and addresses are; one password opens all of its keys.
        rpc: The node whose unlocked accounts count.
        ask_password: Asks for the password where GALAXY_PASSWORD is not set.
        say: Takes how far it is, now and then.

    Raises:
        AccountError: an account is not there, or two names are the same account.
        RpcError: the node fails.
    """
    here = unlocked(rpc) if any(_DEV.fullmatch(name) or is_address(name) for name in names) else []
    known = keystore.list()
    keys: dict[str, str | None] = {}
    signers: dict[str, NodeSigner] = {}
    addresses: dict[str, str] = {}
    for name in names:
        address = None
        if match := _DEV.fullmatch(name):
            number = int(match[1])
            if number >= len(here):
                raise AccountError(f"{rpc.name} has {len(here)} unlocked accounts, no {name}: count from dev:0")
            address = here[number]
            signers[name] = NodeSigner(address, number)
        elif is_address(name):
            address = to_checksum_address(name)
            key = named_key(address, known, keystore, rpc, here)
            if key is None:
                signers[name] = NodeSigner(address)
            else:
                keys[name] = key
        elif name in known:
            keys[name], address = name, known[name]
        else:
            keystore.explain(name)
            raise AccountError(
                f"there is no account {name} in {keystore.folder}: make one with `galaxy-chain account new {name}`"
            )
        if address is not None and addresses.setdefault(address, name) != name:
            raise AccountError(
                f"{addresses[address]} and {name} are the same account, {address}: each client has one of its own"
            )
    password = ""
    if keys:
        password = take_secret(PASSWORD_VARIABLE) or ask_password(f"the {len(keys)} accounts in {keystore.folder}")
    found: list[Future[Signer]] = []
    opened = _Opened(len(keys), say)
    threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="keys")
    for name in names:
        if name in signers:
            ready: Future[Signer] = Future()
            ready.set_result(signers[name])
            found.append(ready)
        else:
            key = keys[name]
            assert key is not None
            wanted = to_checksum_address(name) if is_address(name) else None
            future = threads.submit(_open, keystore, key, password, wanted)
            future.add_done_callback(opened)
            found.append(future)
    threads.shutdown(wait=False)
    return found


def _open(keystore: Keystore, name: str, password: str, wanted: str | None) -> Signer:
    signer = keystore.open(name, password)
    if wanted is not None and signer.address != wanted:
        raise AccountError(f"the key {name} in {keystore.folder} is that of {signer.address}, not of {wanted}")
    return signer


class _Opened:
    """Says how many keys are open."""

    def __init__(self, keys: int, say: Callable[[str], None]) -> None:
        self._keys = keys
        self._say = say
        self._done = 0
        self._failed = 0
        self._said = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, future: Future[Signer]) -> None:
        with self._lock:
            self._count(failed=future.exception() is not None)

    def _count(self, *, failed: bool) -> None:
        self._done += 1
        self._failed += failed
        now = time.monotonic()
        if now - self._said >= SAY_SECONDS or (self._done == self._keys and self._keys > 1):
            self._said = now
            rest = f", and {self._failed} can't be" if self._failed else ""
            self._say(f"{self._done - self._failed} of {self._keys} accounts are unlocked{rest}")
