"""The content keys of one job, as far as one operator has them."""

from __future__ import annotations

import logging
from collections.abc import Callable

from galaxy_chain.exceptions import KeyMissingError
from galaxy_chain.following.history import JobHistory
from galaxy_chain.seal.vault import Vault
from galaxy_chain.seal.wraps import Wrapping, WrongWrap

__all__ = ["JobKeys"]

LOG = logging.getLogger(__name__)


class JobKeys:
    """The content keys of a job: those that are kept here, and those that are wrapped for this operator.

    An epoch begins where the ledger names a key for the first time. Threads may share it.

    Args:
        vault: The operator's.
        history: Says what the job's events say by now.
    """

    def __init__(self, vault: Vault, history: Callable[[], JobHistory]) -> None:
        self.vault = vault
        self._history = history
        self._open: dict[bytes, bytes] = {}
        """The keys by their digests."""
        self._tried: dict[bytes, tuple[bytes, ...]] = {}
        """What was wrapped of each that is not open, when that was looked at last: a reorganisation may put as many
        other wraps in the place of some."""
        self._said: set[bytes] = set()

    def current(self) -> bytes:
        """The key of the running epoch, which content is sealed with.

        Raises:
            KeyMissingError: this operator does not have it.
        """
        history = self._history()
        key = self._find(history, list(history.epochs)[-1]) if history.epochs else None
        if key is None:
            raise self.missing()
        return key

    def known(self) -> list[bytes]:
        """The keys that this operator has, the newest first; last those of epochs that a reorganisation has taken away:
        what was sealed with them may be in again before they are."""
        history = self._history()
        found = (self._find(history, digest) for digest in reversed(list(history.epochs)))
        gone = [key for digest, key in list(self._open.items()) if digest not in history.epochs]
        return [key for key in found if key is not None] + gone

    def lacking(self) -> list[int]:
        """The epochs whose key this operator does not have, from 1 on."""
        history = self._history()
        digests = list(history.epochs)
        return [number for number, digest in enumerate(digests, 1) if self._find(history, digest) is None]

    def missing(self) -> KeyMissingError:
        """What to say of those that are lacking."""
        if not (history := self._history()).epochs:
            return KeyMissingError(
                f"job {history.job} is not sealed, or its owner, {history.owner}, has shared no key yet: it has to run "
                f"`galaxy-chain key serve {history.job}`"
            )
        lacking = ", ".join(map(str, self.lacking()))
        return KeyMissingError(
            f"the contents of job {history.job} are sealed, and the keys of its epochs {lacking} are not here: ask its "
            f"owner, {history.owner}, to run `galaxy-chain key share {history.job} ADDRESS` for the account that has "
            f"registered the key {self.vault.public.hex()}, or name a member's file of them (--keys)"
        )

    def _find(self, history: JobHistory, digest: bytes) -> bytes | None:
        if (key := self._open.get(digest)) is not None:
            return key
        wraps = history.epochs[digest]
        key = self.vault.find(digest)  # which another program may have put there
        if key is None and self._tried.get(digest) != wraps:
            key = self._unwrapped(history, digest, wraps)
        if key is None:
            self._tried[digest] = wraps
        else:
            self._open[digest] = key
        return key

    def _unwrapped(self, history: JobHistory, digest: bytes, wraps: tuple[bytes, ...]) -> bytes | None:
        wrapping = Wrapping(history.chain_id, history.ledger, history.job)
        for each in wraps:
            try:
                if (key := wrapping.unwrap(each, digest, self.vault.secret)) is not None:
                    return key
            except WrongWrap as error:
                if digest not in self._said:
                    self._said.add(digest)
                    LOG.warning(
                        "job %d: its owner %s has shared a wrong key with this operator: %s. Ask it to share it again; "
                        "nothing is put at stake without it",
                        *(history.job, history.owner, error),
                    )
        return None
