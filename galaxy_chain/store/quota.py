"""How much a job may keep, and what is pinned for whom.

Content counts once in every job that has put or pinned it, from the announcement of its upload on, at its full size.
"""

from __future__ import annotations

from collections.abc import Callable

from galaxy_chain.store.grants import Grant
from galaxy_fl.content import ContentId, LocalStore
from galaxy_fl.content.problems import Refused
from galaxy_fl.exceptions import ContentMissingError
from galaxy_fl.sqlite_file import SqliteFile

__all__ = ["Quota"]

_OPERATOR = ""
"""Stands in for a job and an address in the pins that are not from here."""


class Quota:
    """The quota of every job.

    Args:
        store: Where content is.
        limit: Bytes of a job. A client has its share of them, 1/max_clients (two vectors at least), so that none uses
            up what the others need; what the job's server pins is the job's, and counts for no client any more.
        arriving: Whether an upload of this content for this space has begun.
    """

    def __init__(
        self, database: SqliteFile, store: LocalStore, limit: int, arriving: Callable[[str, str], bool]
    ) -> None:
        self._database = database
        self._query = database.query
        self._store = store
        self._limit = limit
        self._arriving = arriving

    def charge(self, grant: Grant, content: ContentId) -> None:
        """Counts content, which is to come or is there.

        Raises:
            Refused: it is too much.
        """
        with self._database.transaction():
            known = self._query("SELECT 1 FROM charges WHERE space = ? AND cid = ?", (grant.space, content.cid))
            if not known and self._excess(grant, content):
                self._forget(grant.space)
                if excess := self._excess(grant, content):
                    raise Refused(507, "quota", excess)
            if not known or grant.sharers == 1:
                row = grant.space, content.cid, content.size, grant.address
                self._query("INSERT OR REPLACE INTO charges VALUES (?, ?, ?, ?)", row)

    def _excess(self, grant: Grant, content: ContentId) -> str | None:
        whole = "SELECT COALESCE(SUM(size), 0) FROM charges WHERE space = ?"
        ((used,),) = self._query(whole, (grant.space,))
        if used + content.size > self._limit:
            return (
                f"{content.size} bytes more are too many: {used} of the {self._limit} bytes of {grant.space} are used;"
                " unpin what is not needed and have the operator run `galaxy-chain store gc`, or raise `--quota`"
            )
        ((used,),) = self._query(whole + " AND address = ?", (grant.space, grant.address))
        share = max(self._limit // grant.sharers, 2 * content.size)
        if grant.sharers > 1 and used + content.size > share:
            return (
                f"{content.size} bytes more are too many: {used} of the {share} bytes that are a client's in job"
                f" {grant.space} are used by what nobody has aggregated; wait until it is collected"
            )
        return None

    def _forget(self, space: str) -> None:
        """Counts what is gone no longer."""
        for cid, size in self._query("SELECT cid, size FROM charges WHERE space = ?", (space,)):
            if not self._arriving(space, cid) and not self._store.has(ContentId.from_cid(cid, size)):
                self._query("DELETE FROM charges WHERE space = ? AND cid = ?", (space, cid))

    def pin(self, grant: Grant, content: ContentId) -> None:
        """Keeps content from being collected until everybody who pinned it has unpinned it.

        Raises:
            ContentMissingError: it is not there.
            Refused: it is too much.
        """
        with self._database.transaction():
            if not self._store.has(content):
                raise ContentMissingError(f"{content.cid} ({content.size} bytes) can't be pinned: it is not here")
            self.charge(grant, content)
            if not self._pinned(content) and content.cid in self._store.pins():
                self._query("INSERT INTO pins VALUES (?, ?, ?)", (content.cid, _OPERATOR, _OPERATOR))
            row = (content.cid, grant.space, grant.address)
            self._query("INSERT OR IGNORE INTO pins VALUES (?, ?, ?)", row)
            self._store.pin(content)

    def unpin(self, grant: Grant, content: ContentId) -> None:
        """Takes this account's pin back. Nothing happens if there is none."""
        with self._database.transaction():
            deleted = self._query(
                "DELETE FROM pins WHERE cid = ? AND space = ? AND address = ? RETURNING 1",
                (content.cid, grant.space, grant.address),
            )
            if deleted and not self._pinned(content):
                self._store.unpin(content)

    def _pinned(self, content: ContentId) -> bool:
        return bool(self._query("SELECT 1 FROM pins WHERE cid = ?", (content.cid,)))
