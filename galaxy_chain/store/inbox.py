"""The inbox of a store that is served: what clients have signed, for whoever relays it.

The signature is the authentication, and is checked before anything is kept or anybody is asked. Whether its signer has
joined, and which attempt the job is at, the store asks its ledger, as it does for uploads: that is the one list of
members that nobody can forge, and it needs no trust in a relay or a server that would tell. Each client has one place
an attempt, and there are only so many places a job, so nobody can fill the disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from galaxy_chain.lane.folder_inbox import ALIVE_SECONDS, KEPT_ATTEMPTS
from galaxy_chain.lane.messages import SignedJoin, SignedUpdate
from galaxy_chain.ledger.contract import JobOnLedger
from galaxy_chain.ledger.signing import Domain, SignatureError
from galaxy_chain.ledger.structs import Client, Status
from galaxy_chain.store.grants import Grants
from galaxy_fl.content.problems import Refused
from galaxy_fl.exceptions import ContentError
from galaxy_fl.sqlite_file import Format, SqliteFile

__all__ = ["Page", "ServedInbox", "open_inbox_file"]

FORMAT = Format(
    name="the inbox of the store",
    version=1,
    schema="""
CREATE TABLE updates (
    number INTEGER PRIMARY KEY AUTOINCREMENT, job INTEGER NOT NULL, attempt INTEGER NOT NULL, client TEXT NOT NULL,
    model TEXT NOT NULL, body TEXT NOT NULL, UNIQUE (job, attempt, client)
);
CREATE TABLE joins (
    number INTEGER PRIMARY KEY AUTOINCREMENT, job INTEGER NOT NULL, client TEXT NOT NULL, deadline INTEGER NOT NULL,
    arrived REAL NOT NULL, body TEXT NOT NULL, UNIQUE (job, client)
);
INSERT INTO sqlite_sequence
    SELECT name, 1000 * CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
    FROM (SELECT 'updates' AS name UNION SELECT 'joins');
""",
    remedy="move it away: clients that are not in hand in again",
    busy="another process holds it: stop that one",
    error=ContentError,
)

# Numbers begin with the time at which the file was made: in a new one, in the place of one that was lost, they are
# higher than any that a relay has seen.

PAGE = 500
"""Messages of one answer."""
_CLIENTS = 4
"""So many times as many clients as a round takes have a place in the inbox of a job, and some more."""
_MORE = 64
_JOIN_SECONDS = 86_400.0
"""How long a client that wants to join has a place."""
_FRESH_SECONDS = 2.0
"""How long what the ledger said of a job holds. What does not fit is asked every time."""


def open_inbox_file(path: Path) -> SqliteFile:
    """Opens the inbox's file, or makes it.

    Raises:
        ContentError: it can't be used, is damaged, or has another format.
    """
    return SqliteFile.open(path, FORMAT, lock_seconds=5.0)


class Page(NamedTuple):
    """Messages as JSON, the number of the newest that the inbox has, and after which number to go on."""

    found: list[str]
    last: int
    next: int


class ServedInbox:
    """The inbox.

    Args:
        database: Of `open_inbox_file`.
        grants: Whose ledger is asked, and whose owners' jobs are kept.
        clock: Seconds since 1970.
    """

    def __init__(self, database: SqliteFile, grants: Grants, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._query = database.query
        self._grants = grants
        self._clock = clock
        with grants.asking() as ledger:
            self._domain = Domain(ledger.chain_id, ledger.address)
        self._jobs: dict[int, tuple[float, JobOnLedger]] = {}
        self._relays: dict[int, float] = {}

    def hand_in(self, job: int, attempt: int, update: SignedUpdate) -> None:
        """Keeps an update, durably. The very same again changes nothing.

        Raises:
            Refused: it is not kept, and why.
            UnknownJobError: there is no such job.
            RpcError: the ledger can't be asked.
        """
        self._check(lambda: update.check(self._domain, job, attempt))
        if self._query(
            "SELECT 1 FROM updates WHERE job = ? AND attempt = ? AND client = ? AND body = ?",
            (job, attempt, update.client, update.model_dump_json()),
        ):
            return
        on_ledger = self._job(job, lambda found: _is_at(found, attempt, update.model))
        if not _is_at(on_ledger, attempt, update.model):
            raise Refused(
                409,
                "round_moved_on",
                f"job {job} is at attempt {on_ledger.state.attempt}, on the model {on_ledger.root.hex()}: this is for "
                f"attempt {attempt} on {update.model}",
            )
        client = self._client(job, update.client)
        if client.samples == 0 or client.expelled:
            said = "is expelled from" if client.expelled else "has not joined"
            raise Refused(403, "forbidden", f"{update.client} {said} job {job}")
        if update.weight > client.samples:
            raise Refused(422, "invalid", f"the update weighs {update.weight}, but {client.samples} were declared")
        if client.attempt == attempt:
            raise Refused(409, "already_in", f"an update of {update.client} is in attempt {attempt} already")
        with self._database.transaction():
            self._query("DELETE FROM updates WHERE job = ? AND attempt <= ?", (job, attempt - KEPT_ATTEMPTS))
            # Of another model: a reorganisation has brought the attempt's number again.
            self._query(
                "DELETE FROM updates WHERE job = ? AND attempt = ? AND model != ?", (job, attempt, update.model)
            )
            if self._query(
                "SELECT 1 FROM updates WHERE job = ? AND attempt = ? AND client = ?", (job, attempt, update.client)
            ):
                raise Refused(
                    409,
                    "another_entry",
                    f"{update.client} has signed another entry for attempt {attempt}, which stays: a client signs one "
                    "an attempt",
                )
            self._check_room("updates", "job = ? AND attempt = ?", (job, attempt), on_ledger.terms.max_clients)
            self._query(
                "INSERT INTO updates (job, attempt, client, model, body) VALUES (?, ?, ?, ?, ?)",
                (job, attempt, update.client, update.model, update.model_dump_json()),
            )

    def ask_to_join(self, job: int, join: SignedJoin) -> None:
        """Keeps that a client joins, in the place of what it has signed before.

        Raises:
            Refused, UnknownJobError, RpcError: as `hand_in`.
        """
        self._check(lambda: join.check(self._domain, job))
        now = self._clock()
        if join.deadline <= now:
            raise Refused(422, "invalid", f"the signature was valid until {join.deadline}, and it is {int(now)} here")
        on_ledger = self._job(job)
        terms = on_ledger.terms
        if on_ledger.state.status != Status.RUNNING or on_ledger.state.round > on_ledger.state.last_round:
            raise Refused(409, "job_over", f"job {job} takes no more clients: it is over")
        if join.samples > terms.max_weight:
            raise Refused(422, "invalid", f"{join.samples} samples are more than the {terms.max_weight} of the terms")
        client = self._client(job, join.client)
        if client.samples:
            raise Refused(409, "already_in", f"{join.client} has joined job {job} already")
        if client.expelled or not (terms.open or client.admitted):
            said = "is expelled from" if client.expelled else "is not admitted to"
            raise Refused(403, "forbidden", f"{join.client} {said} job {job}: ask its owner, {on_ledger.owner}")
        body = join.model_dump_json()
        with self._database.transaction():
            if self._query("SELECT 1 FROM joins WHERE job = ? AND client = ? AND body = ?", (job, join.client, body)):
                return
            self._query("DELETE FROM joins WHERE job = ? AND client = ?", (job, join.client))
            self._query("DELETE FROM joins WHERE deadline <= ? OR arrived <= ?", (int(now), now - _JOIN_SECONDS))
            self._check_room("joins", "job = ?", (job,), terms.max_clients)
            self._query(
                "INSERT INTO joins (job, client, deadline, arrived, body) VALUES (?, ?, ?, ?, ?)",
                (job, join.client, join.deadline, now, body),
            )

    def updates(self, job: int, attempt: int, after: int, relay: bool) -> Page:
        """The updates to an attempt that came after the one of that number; `relay`: a relay asks."""
        return self._page("updates", "job = ? AND attempt = ?", (job, attempt), after, job if relay else None)

    def joins(self, job: int, after: int, relay: bool) -> Page:
        """Who wants to join, as `updates`."""
        return self._page("joins", "job = ?", (job,), after, job if relay else None)

    def relayed(self, job: int) -> bool:
        """Whether a relay has asked lately."""
        return time.monotonic() - self._relays.get(job, float("-inf")) < ALIVE_SECONDS

    def _page(self, table: str, condition: str, values: tuple[Any, ...], after: int, relayed: int | None) -> Page:
        if relayed is not None:
            if len(self._relays) > 1000:
                self._relays.clear()
            self._relays[relayed] = time.monotonic()
        with self._database.threads:
            rows = self._query(
                f"SELECT number, body FROM {table} WHERE {condition} AND number > ? ORDER BY number LIMIT ?",
                (*values, after, PAGE),
            )
            ((last,),) = self._query(
                f"SELECT COALESCE(MAX(number), 0) FROM {table} WHERE {condition}",
                values,
            )
        return Page([body for _, body in rows], last, rows[-1][0] if rows else min(after, last))

    def _check_room(self, table: str, condition: str, values: tuple[Any, ...], clients: int) -> None:
        places = _CLIENTS * clients + _MORE
        ((count,),) = self._query(f"SELECT COUNT(*) FROM {table} WHERE {condition}", values)
        if count >= places:
            raise Refused(
                507,
                "inbox_full",
                f"the inbox is full: {places} clients of this job have a place in it, for a round takes {clients}; "
                "send a transaction of your own, or try again in the next round",
            )

    def _check(self, check: Callable[[], None]) -> None:
        try:
            check()
        except SignatureError as error:
            raise Refused(422, "signature", str(error)) from error

    def _job(self, job: int, fits: Callable[[JobOnLedger], bool] = lambda found: True) -> JobOnLedger:
        """What the ledger says of a job; what it said a moment ago, where that fits."""
        now = time.monotonic()
        until, found = self._jobs.get(job, (0.0, None))
        if found is None or now > until or not fits(found):
            with self._grants.asking() as ledger:
                found = ledger.job_of(job)
            if len(self._jobs) > 1000:
                self._jobs.clear()
            self._jobs[job] = now + _FRESH_SECONDS, found
        self._grants.check_kept(job, found.owner)
        return found

    def _client(self, job: int, client: str) -> Client:
        with self._grants.asking() as ledger:
            return ledger.client_of(job, client)


def _is_at(job: JobOnLedger, attempt: int, model: str) -> bool:
    return (job.state.attempt, job.root.hex()) == (attempt, model)
