"""What an account wants to be on the chain, and what it has signed for it, in one SQLite file.

An intent is on the disk before any node hears of it. Several processes of one account share the file: whoever holds its
lock chooses nonces and signs. Nothing here is secret: what is signed is meant for the public.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from galaxy_chain.transactions.fees import Fees
from galaxy_fl.sqlite_file import Format, SqliteFile

__all__ = ["Call", "Intent", "Journal", "Signed", "State"]

LOCK_SECONDS = 150.0
"""How long another process may hold the lock: longer than it waits for a node in trouble."""
KEPT = 1000
"""So many of the newest intents are kept after their end."""

FORMAT = Format(
    name="the memory for transactions",
    version=1,
    schema="""
CREATE TABLE intent (
    number INTEGER PRIMARY KEY AUTOINCREMENT, chain TEXT NOT NULL, account TEXT NOT NULL, key TEXT,
    recipient TEXT, data BLOB NOT NULL, value TEXT NOT NULL,
    nonce INTEGER NOT NULL, state TEXT NOT NULL, began REAL NOT NULL
);
CREATE INDEX intent_key ON intent (chain, account, key) WHERE key IS NOT NULL;
CREATE INDEX intent_live ON intent (chain, account, nonce) WHERE state = 'live';
CREATE TABLE signed (
    intent INTEGER NOT NULL REFERENCES intent ON DELETE CASCADE, place INTEGER NOT NULL, nonce INTEGER NOT NULL,
    hash TEXT NOT NULL, gas INTEGER NOT NULL, price TEXT NOT NULL, tip TEXT, raw BLOB NOT NULL,
    PRIMARY KEY (intent, place)
) WITHOUT ROWID;
""",
    remedy="wait until the account has no transaction under way, then move the file away",
    busy="another process of the account holds it for too long, and may hang: end that one",
)


class State(StrEnum):
    """Where an intent stands. A live one holds its nonce."""

    LIVE = "live"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Call:
    """What a transaction does: `to` with checksum, None to deploy `data`; `value` in wei."""

    to: str | None
    data: bytes
    value: int


@dataclass(frozen=True)
class Signed:
    """A signed transaction: its hash (0x and 64 digits), what it offers, and its bytes, ready to be broadcast."""

    hash: str
    nonce: int
    gas: int
    fees: Fees
    raw: bytes


@dataclass(frozen=True)
class Intent:
    """What is wanted, and all that was signed for it with its present nonce, the newest last."""

    number: int
    key: str | None
    call: Call
    state: State
    signed: tuple[Signed, ...]

    @property
    def nonce(self) -> int:
        """At most one transaction with it gets in."""
        return self.signed[-1].nonce


class Journal:
    """One account's intents on one chain. Safe in threads, and with other processes that have the same file open.

    Args:
        file: Is made if it is not there; None for one in memory, which ends with the process.
        chain: Tells chains apart, a development chain that began anew included.
        account: The address.

    Raises:
        ConfigurationError: it can't be used, or is damaged.
    """

    def __init__(self, file: Path | None, chain: str, account: str) -> None:
        self._path = file
        self._whose = chain, account
        self._file = SqliteFile.open(file, FORMAT, lock_seconds=LOCK_SECONDS)
        self._query = self._file.query

    def of(self, account: str) -> Journal:
        """The journal of another account in the same file, which is open once; or in a memory of its own, where nobody
        waits for another account's lock."""
        if self._path is None:
            return Journal(None, self._whose[0], account)
        other = copy(self)
        other._whose = self._whose[0], account
        return other

    def lock(self, *, durable: bool = True) -> AbstractContextManager[None]:
        """For one thread of one process at a time; all that is written within is written, or none of it.

        Args:
            durable: It is on the disk at the end. Otherwise the machine may lose it, though this process can't.
        """
        return self._file.transaction(durable=durable)

    def find(self, key: str) -> Intent | None:
        """The newest intent with that key that has not failed."""
        return self._one("key = ? AND state != 'failed' ORDER BY number DESC", key)

    def holder(self, nonce: int) -> Intent | None:
        """The live intent with the nonce; or else the last one that was done with it, which a reorganisation undoes."""
        return self._one("nonce = ? AND state != 'failed' ORDER BY state = 'live' DESC, number DESC", nonce)

    def get(self, intent: Intent) -> Intent:
        """As it is by now, whoever changed it."""
        found = self._one("number = ?", intent.number)
        assert found is not None, "an intent that is followed was deleted"
        return found

    def free_nonce(self, first: int) -> int:
        """The first nonce from that one on which no live intent holds. To be asked for under the lock."""
        rows = self._query(
            "SELECT nonce FROM intent WHERE chain = ? AND account = ? AND state = 'live' AND nonce >= ?",
            (*self._whose, first),
        )
        held = {nonce for (nonce,) in rows}
        while first in held:
            first += 1
        return first

    def add(self, key: str | None, call: Call, signed: Signed) -> Intent:
        """Writes a new intent down. Under the lock."""
        ((number,),) = self._query(
            "INSERT INTO intent (chain, account, key, recipient, data, value, nonce, state, began) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 'live', ?) RETURNING number",
            (*self._whose, key, call.to, call.data, str(call.value), signed.nonce, time.time()),
        )
        self._insert(number, 0, signed)
        self._query("DELETE FROM intent WHERE number <= ? AND state != 'live'", (number - KEPT,))
        return Intent(number, key, call, State.LIVE, (signed,))

    def sign(self, intent: Intent, signed: Signed) -> Intent:
        """Writes down what is signed for an intent in addition, and its nonce if that is another. Under the lock."""
        ((place,),) = self._query("SELECT count(*) FROM signed WHERE intent = ?", (intent.number,))
        self._insert(intent.number, place, signed)
        self._query("UPDATE intent SET nonce = ?, state = 'live' WHERE number = ?", (signed.nonce, intent.number))
        return self.get(intent)

    def mark(self, intent: Intent, state: State) -> None:
        """Writes down what has become of it. It is found out again where the machine loses that."""
        with self.lock(durable=False):
            self._query("UPDATE intent SET state = ? WHERE number = ?", (str(state), intent.number))

    def close(self) -> None:
        """Lets the file go."""
        self._file.close()

    def _insert(self, number: int, place: int, signed: Signed) -> None:
        fees = signed.fees
        tip = None if fees.tip is None else str(fees.tip)
        self._query(
            "INSERT INTO signed VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (number, place, signed.nonce, signed.hash, signed.gas, str(fees.price), tip, signed.raw),
        )

    def _one(self, condition: str, argument: Any) -> Intent | None:
        with self._file.threads:
            rows = self._query(
                "SELECT number, key, recipient, data, value, state FROM intent "
                f"WHERE chain = ? AND account = ? AND {condition} LIMIT 1",
                (*self._whose, argument),
            )
            if not rows:
                return None
            number, key, to, data, value, state = rows[0]
            signed = self._query(
                "SELECT signed.hash, signed.nonce, gas, price, tip, raw FROM signed JOIN intent ON intent = number "
                "WHERE number = ? AND signed.nonce = intent.nonce ORDER BY place",
                (number,),
            )
        try:
            if not signed:
                raise ValueError(f"nothing is signed for intent {number}")
            return Intent(
                number,
                key,
                Call(to, data, int(value)),
                State(state),
                tuple(
                    Signed(hash, nonce, gas, Fees(int(price), None if tip is None else int(tip)), raw)
                    for hash, nonce, gas, price, tip, raw in signed
                ),
            )
        except (TypeError, ValueError) as error:
            raise self._file.damaged(error) from error
