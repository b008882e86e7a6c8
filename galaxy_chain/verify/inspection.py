"""A client's verification of a job's commits: each one that can be challenged, once, oldest first.

What is remembered is the record of a commit, not its model: a server that commits the same model again, or the right
model after the wrong round, is looked at again.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from galaxy_chain.exceptions import LedgerRefusedError
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.verify.challenge import challenge
from galaxy_chain.verify.verifier import Verifier, Verify
from galaxy_fl.exceptions import (
    AggregationError,
    ConfigurationError,
    ContentAlteredError,
    ContentMissingError,
    RoundMovedOnError,
    VectorError,
)

__all__ = ["Inspection", "Verified", "Withheld"]

log = logging.getLogger(__name__)

LACKING = (ContentMissingError, ContentAlteredError)


class Withheld(StrEnum):
    """What a client does where a commit can't be verified because content is missing."""

    GO_ON = "go-on"
    """Trains on the model all the same, and tries again in every later attempt until the commit's window is over."""
    WAIT = "wait"
    """Trains on nothing that is unverified: waits until the content is there, the commit is gone, or its window is
    over. What bounds it is `challengeSeconds`, by the chain's time or by this machine's stopwatch."""

    @classmethod
    def parse(cls, text: str) -> Withheld:
        """From `go-on` or `wait`.

        Raises:
            ConfigurationError: it is neither.
        """
        try:
            return cls(text)
        except ValueError:
            raise ConfigurationError(
                f"{text!r} is nothing to do where content is withheld: expected {' or '.join(cls)}"
            ) from None


class Verified:
    """The commits that were verified, and how thoroughly.

    Args:
        file: Keeps them for the next start, a line each; None for this process alone.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[bytes, Verify] = {}
        if file is None:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            lines = file.read_text("ascii", "replace").splitlines()
        except FileNotFoundError:
            return
        for line in lines:  # a line that a crash has cut costs one verification
            if match := re.fullmatch(r"([0-9a-f]{64}) (full|[1-9][0-9]{0,5})", line):
                self._note(bytes.fromhex(match[1]), Verify(None if match[2] == "full" else int(match[2])))

    def has(self, word: bytes, how: Verify) -> bool:
        """Whether the commit with that word was verified, by as many chunks at least."""
        known = self._known.get(word)
        return known is not None and known.covers(how)

    def add(self, word: bytes, how: Verify) -> None:
        """Remembers the commit with that word, which was found right.

        Raises:
            OSError: the file can't be written.
        """
        self._note(word, how)
        if self._file is not None:
            with self._file.open("a", encoding="ascii") as file:
                file.write(f"{word.hex()} {'full' if how.chunks is None else how.chunks}\n")
                file.flush()
                os.fsync(file.fileno())

    def _note(self, word: bytes, how: Verify) -> None:
        known = self._known.get(word)
        if known is None or how.covers(known):
            self._known[word] = how


class Inspection:
    """Verifies a job's commits for one client, and challenges those that are wrong.

    Args:
        ledger: With the transactions of the account that challenges.
        verifier: Of the job.
        follower: Of the job.
        look: Has the follower look at the chain; called while content is waited for.
        how: How much of each commit to recompute.
        withheld: What to do where that can't be done.
        poll: Seconds between two looks.
        content: Seconds that content may take to arrive, for each commit.
        file: What was verified before.
        challenged: Called after a challenge of a commit by a chunk.
    """

    def __init__(
        self,
        ledger: LedgerContract,
        verifier: Verifier,
        follower: JobFollower,
        look: Callable[[], object],
        how: Verify,
        withheld: Withheld,
        poll: float,
        content: float,
        file: Path | None,
        challenged: Callable[[Commit, int], None],
    ) -> None:
        self._ledger = ledger
        self._verifier = verifier
        self._follower = follower
        self._look = look
        self._how = how
        self._withheld = withheld
        self._poll = poll
        self._content = content
        self._challenged = challenged
        self._verified = Verified(file)
        self._given_up: dict[bytes, int] = {}
        """The commits that could not be verified, and the attempt in which that was tried last; 0: never again."""

    def look(self) -> None:
        """Verifies what stands, can be challenged and is not verified yet, and the last commit even if it can't be
        challenged any more: it is what comes next that begins there.

        Raises:
            RoundMovedOnError: a commit was wrong, and is challenged or gone: look where the job stands.
            InsufficientFundsError, TransactionError, RpcError: a challenge could not be sent.
        """
        if self._how.chunks == 0:
            return
        history = self._follower.history
        newest = history.commits.get(history.round - 1)
        due = sorted((commit for commit in history.challengeable() if self._in_window(commit)), key=_age)
        if newest is not None and newest not in due:
            due.append(newest)
        for commit in due:
            if not self._verified.has(commit.word, self._how):
                tried = self._given_up.get(commit.word)
                if tried is None or 0 < tried < history.attempt:
                    self._verify(history, commit, again=tried is not None)

    def _in_window(self, commit: Commit) -> bool:
        # By the chain's time: a clock of this machine's that is ahead must not pass a lie over.
        return self._follower.time < commit.record.time + self._verifier.terms.challenge_seconds

    def _verify(self, history: JobHistory, commit: Commit, again: bool) -> None:
        try:
            chunk = self._wrong_chunk(history, commit, again)
        except LACKING as error:
            self._give_up(commit, history.attempt, f"can't be verified: {error}")
            return
        except (AggregationError, VectorError) as error:
            self._give_up(commit, 0, f"can't be verified, now or ever: {error}")
            return
        if chunk is None:
            self._verified.add(commit.word, self._how)
        elif self._in_window(commit):
            self._challenge(history, commit, chunk)
        else:
            self._give_up(commit, 0, f"is wrong in chunk {chunk}, and its window is over: it stands for ever")

    def _wrong_chunk(self, history: JobHistory, commit: Commit, again: bool) -> int | None:
        begun, said = time.monotonic(), False
        while True:
            try:
                return self._verifier.wrong_chunk(history, commit, self._how)
            except LACKING as error:
                waited = time.monotonic() - begun
                longest = self._verifier.terms.challenge_seconds
                if self._withheld is Withheld.WAIT and self._in_window(commit) and waited < longest:
                    if not said and waited > self._content:
                        said = True
                        log.warning("round %d is not verified yet, and is waited for: %s", commit.record.round, error)
                elif again or waited > self._content:
                    raise
                time.sleep(min(self._poll, 1.0))
                self._look()
                now = self._follower.history
                if commit.word not in now.superseded and now.commits.get(commit.record.round) != commit:
                    raise RoundMovedOnError(f"the commit of round {commit.record.round} is gone") from error

    def _give_up(self, commit: Commit, attempt: int, what: str) -> None:
        if commit.word not in self._given_up:
            log.warning("round %d, committed by %s, %s", commit.record.round, commit.record.server, what)
        self._given_up[commit.word] = attempt

    def _challenge(self, history: JobHistory, commit: Commit, chunk: int) -> None:
        number = commit.record.round
        try:
            done = challenge(self._ledger, self._verifier, self._follower.job, history, commit, chunk)
        except LACKING as error:
            self._give_up(commit, history.attempt, f"is wrong in chunk {chunk}, but can't be challenged yet: {error}")
            return
        except LedgerRefusedError as error:
            self._give_up(commit, 0, f"seems wrong in chunk {chunk}, but {error}")
            return
        if done is not None:
            self._challenged(commit, chunk)
        if commit.word in history.superseded:
            return  # the round continues as it is
        raise RoundMovedOnError(f"round {number} was committed wrongly, and has been challenged")


def _age(commit: Commit) -> int:
    return commit.record.time
