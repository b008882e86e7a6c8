"""A client's verification of a job's commits: each one that can be challenged, once, oldest first.

What is remembered is the record of a commit, not its model: a server that commits the same model again, or the right
model after the wrong round, is looked at again.

Of a round with a tree of sums a client can verify a branch: the node that stands for its own entry, all above it, the
step to the next model, and the same from another node of the lowest level, which is drawn in secret. So no server knows
which node nobody will look at, and a client's part does not grow with the number of clients. What is missing there is
demanded; and a client builds on nothing until it has its own branch, because otherwise a server could pass its update
over by withholding what shows it.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path

from galaxy_chain.exceptions import InsufficientFundsError, LedgerRefusedError
from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.following.view import JobView
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.verify.acting import Acting, UnaffordableError
from galaxy_chain.verify.challenge import challenge
from galaxy_chain.verify.checks import Checks
from galaxy_chain.verify.faults import Fault, Kind
from galaxy_chain.verify.how import Verify
from galaxy_chain.verify.purse import Purse
from galaxy_chain.verify.tree_check import TreeCheck
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.exceptions import (
    AggregationError,
    ConfigurationError,
    ContentAlteredError,
    ContentMissingError,
    RoundMovedOnError,
    VectorError,
)
from galaxy_fl.floor import FLOOR

__all__ = ["Inspection", "Verified", "Withheld"]

log = logging.getLogger(__name__)

LACKING = (ContentMissingError, ContentAlteredError)
MAX_DEMANDS = 10**18 // 4
"""Wei that a client spends on demands in one job: deposits that answers take, and gas."""
CROWD = 4
"""Open demands on one server, beside which a client adds none for what may be right."""
ABSENT = 4
"""Nodes with missing updates that are looked at besides a client's own, of those that are seen at a time."""


class Withheld(StrEnum):
    """What a client does where a commit can't be verified because content is missing."""

    GO_ON = "go-on"
    """Trains on the model all the same, and tries again in every later attempt until the commit's window is over; but
    for a client's own branch, which is waited for."""
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
            if match := re.fullmatch(r"([0-9a-f]{64}) (full|branch|sample:[1-9][0-9]{0,5})", line):
                self._note(bytes.fromhex(match[1]), Verify.parse(match[2]))

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
            with self._file.open("a", encoding="ascii") as file:  # what a loss of power takes is verified again
                file.write(f"{word.hex()} {how}\n")

    def _note(self, word: bytes, how: Verify) -> None:
        known = self._known.get(word)
        if known is None or how.covers(known):
            self._known[word] = how


@dataclass(frozen=True)
class _Found:
    """What is wrong in a commit.

    Attributes:
        own: Whether it keeps the client from verifying its own branch, so that it builds on nothing meanwhile.
    """

    faults: list[Fault]
    own: bool = False

    @property
    def proved(self) -> Fault | None:
        """One that can be challenged."""
        return next((fault for fault in self.faults if fault.kind is Kind.PROVED), None)

    @property
    def reason(self) -> str:
        """What was found."""
        return self.faults[0].reason


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
        own: A folder for what was verified, demanded and spent, and for what others on this machine have verified, too;
            None to forget it at the end.
        name: Tells this account and job from others in the folder.
        challenged: Called after a challenge of a commit by a chunk of a node.
        reported: Called with what this account can't pay to bring to the ledger; returns whether somebody else does.
        checks: Of the job, with all that other clients of this process have verified; None: none has.
    """

    def __init__(
        self,
        ledger: LedgerContract,
        verifier: Verifier,
        follower: JobView,
        look: Callable[[], object],
        how: Verify,
        withheld: Withheld,
        poll: float,
        content: float,
        own: Path | None,
        name: str,
        challenged: Callable[[Commit, int, int], None],
        reported: Callable[[Commit, Fault], bool] = lambda commit, fault: False,
        checks: Checks | None = None,
    ) -> None:
        assert ledger.transactions is not None
        self._ledger = ledger
        self._verifier = verifier
        self._follower = follower
        self._look = look
        self._how = how
        self._withheld = withheld
        self._poll = poll
        self._content = content
        self._challenged = challenged
        self._tell = reported
        self._told: set[tuple[bytes, int]] = set()
        """The words and nodes that somebody was told of."""
        self._address = ledger.transactions.signer.address
        self.checks = Checks(verifier, None if own is None else own / "nodes") if checks is None else checks
        self._verified = Verified(None if own is None else own / "verified" / name)
        purse = Purse(MAX_DEMANDS, None if own is None else own / "demanded" / f"{name}.json")
        self._acting = Acting(ledger, verifier, follower, purse, "this is the most for a client's demands in a job")
        self.wrong: dict[bytes, str] = {}
        """Where commits were found wrong, by their words: those that stand could not be challenged."""
        self._given_up: dict[bytes, int] = {}
        """The commits that could not be verified, and the attempt in which that was tried last; 0: never again."""
        self._drawn: dict[bytes, list[int]] = {}
        """The nodes of level 1 that are looked at besides one's own, by the record's word."""
        self._said: set[str] = set()
        """What was said of demands that were not made or ended."""

    def look(self) -> None:
        """Verifies what stands, can be challenged and is not verified yet, and the last commit even if it can't be
        challenged any more: it is what comes next that begins there. Ends demands of its own that nobody has answered.

        Raises:
            RoundMovedOnError: a commit was wrong, and is challenged or gone: look where the job stands.
            TransactionError, RpcError: a challenge could not be sent.
        """
        if self._how.chunks == 0:
            return
        self._end_demands()
        history = self._follower.history
        newest = history.commits.get(history.round - 1)
        due = sorted((commit for commit in history.challengeable() if self._in_window(commit)), key=_age)
        if newest is not None and newest not in due:
            due.append(newest)
        for commit in due:
            if not self._verified.has(commit.word, self._how):
                tried = self._given_up.get(commit.word)
                if tried is None or 0 < tried < history.attempt:
                    self._verify(commit, again=tried is not None)

    def _in_window(self, commit: Commit) -> bool:
        # By the chain's time: a clock of this machine's that is ahead must not pass a lie over.
        return self._follower.time < commit.record.time + self._verifier.terms.challenge_seconds

    def _verify(self, commit: Commit, again: bool) -> None:
        begun, said = time.monotonic(), False
        while True:
            history = self._follower.history
            try:
                found = self._look_at(history, commit)
            except (AggregationError, VectorError) as error:
                self._give_up(commit, 0, f"can't be verified, now or ever: {error}")
                return
            if not found.faults:
                self._verified.add(commit.word, self._how if commit.nodes or not self._how.branch else Verify())
                return
            if (fault := found.proved) is not None:
                self._act(history, commit, fault)
                return
            waited = time.monotonic() - begun
            late, in_window = again or waited > self._content, self._in_window(commit)
            if late and in_window:
                self._demand(commit, found)
            # On one that was superseded nobody builds.
            stands = history.commits.get(commit.record.round) == commit
            waits = stands and (found.own or self._withheld is Withheld.WAIT)
            if waits and in_window and waited < self._verifier.terms.challenge_seconds:
                if not said and waited > self._content:
                    said = True
                    log.warning(
                        "round %d is not verified yet, and is waited for: %s", commit.record.round, found.reason
                    )
            elif late:
                self._give_up(commit, history.attempt, f"can't be verified: {found.reason}")
                return
            FLOOR.leave()
            time.sleep(min(self._poll, 1.0))
            self._look()
            self._end_demands()
            now = self._follower.history
            gone = now.commits.get(commit.record.round) != commit
            if gone and (stands or commit.word not in now.superseded):
                raise RoundMovedOnError(f"the commit of round {commit.record.round} is gone")

    # What is wrong

    def _look_at(self, history: JobHistory, commit: Commit) -> _Found:
        if commit.nodes and self._how.branch:
            return self._branch(self.checks.tree(history, commit), commit)
        if self._how.chunks is not None:
            return _Found(self._in_part(history, commit))
        return _Found(self.checks.whole(history, commit, lambda: self._in_whole(history, commit)))

    def _in_whole(self, history: JobHistory, commit: Commit) -> list[Fault]:
        if commit.nodes:
            return _up_to_proof(self.checks.tree(history, commit).everything())
        return self._wrong_chunk(history, commit)

    def _in_part(self, history: JobHistory, commit: Commit) -> list[Fault]:
        faults = self._wrong_chunk(history, commit)
        if not commit.nodes or (faults and faults[0].kind is Kind.MISSING):
            return faults
        tree = self.checks.tree(history, commit)
        return _up_to_proof(tree.everything() if faults else tree.weights())

    def _wrong_chunk(self, history: JobHistory, commit: Commit) -> list[Fault]:
        try:
            chunk = self.checks.wrong_chunk(history, commit, self._how)
        except LACKING as error:
            return [Fault(0, 0, Kind.MISSING, str(error))]
        return [] if chunk is None else [Fault(0, chunk, Kind.PROVED, f"chunk {chunk} is wrong")]

    def _branch(self, tree: TreeCheck, commit: Commit) -> _Found:
        """What is wrong in a client's own branch, in others that are drawn, and where updates are missing."""
        own = tree.own(self._address)
        line = [] if own is None else tree.branch(own)
        # From the top: what is missing may be what the others leave of the node above.
        faults = _up_to_proof(chain(tree.weights(), tree.of(reversed(line)), tree.last_step()))
        mine = any(_holds_up(tree, line, fault) for fault in faults)
        if any(fault.kind is Kind.PROVED for fault in faults):
            return _Found(faults)
        others = self._others(tree, commit, own)
        missing = [node for node in tree.absent() if node != own and node not in others]
        others += _secret.sample(missing, min(ABSENT, len(missing)))
        above = dict.fromkeys(node for other in others for node in tree.branch(other) if node not in line)
        faults += _up_to_proof(tree.of(above))
        return _Found(faults, mine)

    def _others(self, tree: TreeCheck, commit: Commit, own: int | None) -> list[int]:
        """The nodes of level 1 that are looked at besides one's own: always the same of a commit."""
        if commit.word not in self._drawn:
            rest = [node for node in tree.lowest() if node != own]
            self._drawn[commit.word] = _secret.sample(rest, min(len(rest), 2 if own is None else 1))
        return list(self._drawn[commit.word])

    # What is done about it

    def _give_up(self, commit: Commit, attempt: int, what: str) -> None:
        if commit.word not in self._given_up:
            log.warning("round %d, committed by %s, %s", commit.record.round, commit.record.server, what)
        self._given_up[commit.word] = attempt

    def _act(self, history: JobHistory, commit: Commit, fault: Fault) -> None:
        number, chunk = commit.record.round, fault.chunk
        where = f"chunk {chunk} of node {fault.node}" if fault.node else f"chunk {chunk}"
        self.wrong[commit.word] = where
        if not self._in_window(commit):
            self._give_up(commit, 0, f"is wrong in {where}, and its window is over: it stands for ever")
            return
        try:
            with self.checks.acting:
                self._look()
                if not self._can_be_challenged(commit):  # another client of this process was faster
                    raise RoundMovedOnError(f"round {number} was committed wrongly, and is taken back")
                done = challenge(
                    self._ledger, self._verifier, self._follower.job, history, commit, fault.node, chunk
                )  # fmt: skip
                self._look()
        except LACKING as error:
            self._give_up(commit, history.attempt, f"is wrong in {where}, but can't be challenged yet: {error}")
            return
        except LedgerRefusedError as error:
            self._give_up(commit, 0, f"seems wrong in {where}, but {error}")
            return
        except InsufficientFundsError as error:
            said = "which is reported" if self._report(commit, fault) else "and nobody was told: use --report"
            self._give_up(commit, history.attempt, f"is wrong in {where}, {said}, because {error}")
            return
        if done is not None:
            self._challenged(commit, fault.node, chunk)
        if commit.word in history.superseded:
            return  # the round continues as it is
        raise RoundMovedOnError(f"round {number} was committed wrongly, and has been challenged")

    def _can_be_challenged(self, commit: Commit) -> bool:
        history = self._follower.history
        return history.commits.get(commit.record.round) == commit or commit.word in history.superseded

    def _demand(self, commit: Commit, found: _Found) -> None:
        """Demands what is missing of a commit with nodes: one chunk of a node at a time, and where it may be right only
        once."""
        if not commit.nodes:
            return  # whoever verifies all of it may wait for a watchtower
        history, purse = self._follower.history, self._acting.purse
        # Demands of others may be those that suit the server.
        waiting = {
            demand.node for demand in history.open_demands(commit.word)
            if demand.demander == self._address or purse.wants(commit.record, demand.node, demand.index)
        }  # fmt: skip
        answered = {
            node for node, index in history.answers.get(commit.word, ()) if purse.wants(commit.record, node, index)
        }
        for fault in found.faults:
            if fault.node in waiting or (
                fault.kind is Kind.MISSING and (fault.node in answered or self._crowded(commit))
            ):
                continue
            try:
                if self._acting.demand(commit, fault.node, fault.chunk) is not None:
                    log.warning(
                        "round %d: chunk %d of node %d is demanded: %s",
                        commit.record.round, fault.chunk, fault.node, fault.reason,
                    )  # fmt: skip
                    waiting.add(fault.node)
            except (InsufficientFundsError, UnaffordableError, LedgerRefusedError) as error:
                if not self._report(commit, fault):
                    self._say(f"round {commit.record.round}: what is withheld is not demanded", error)
            self._look()

    def _report(self, commit: Commit, fault: Fault) -> bool:
        """Whether somebody else was told of a fault."""
        key = commit.word, fault.node
        if key not in self._told and self._tell(commit, fault):
            self._told.add(key)
        return key in self._told

    def _say(self, what: str, why: Exception) -> None:
        """Logs, once, what was not done, and why: a price is another at each look."""
        if what not in self._said:
            self._said.add(what)
            log.warning("%s: %s", what, why)

    def _crowded(self, commit: Commit) -> bool:
        """Whether enough others demand of that server what it may well answer: each makes it dearer for all."""
        return self._follower.history.account(commit.record.server).demands >= CROWD

    def _end_demands(self) -> None:
        """Ends what this client has demanded and nobody has answered, or what is void, for its deposit."""
        history, now = self._follower.history, self._follower.chain_time
        for word in list(history.demands):
            for demand in history.open_demands(word):
                if demand.demander != self._address:
                    continue
                commit = next(c for c in (*history.commits.values(), *history.void.values()) if c.word == word)
                stands = history.commits.get(commit.record.round) == commit
                if now < demand.answer_by and (stands or word in history.superseded):
                    continue
                try:
                    ended = self._acting.expire(commit, demand)
                except (InsufficientFundsError, UnaffordableError) as error:
                    self._say(f"round {commit.record.round}: a demand that nobody has answered is not ended", error)
                    continue
                if ended:
                    self._acting.purse.take_back(commit.record, demand.node, demand.index)
                    if stands:
                        self._challenged(commit, demand.node, demand.index)
                        raise RoundMovedOnError(f"round {commit.record.round} was withheld, and is taken back")


def _holds_up(tree: TreeCheck, line: list[int], fault: Fault) -> bool:
    """Whether a client builds on nothing because of a fault on its line of nodes: it is wrong, or does not show what
    became of its own update. What is missing beside the line, or below it, is within what its weight explains."""
    if fault.node == 0:
        return True
    return bool(line) and (fault.kind is not Kind.MISSING or (fault.node in line and not tree.has(fault.node)))


def _age(commit: Commit) -> int:
    return commit.record.time


def _up_to_proof(faults: Iterable[Fault]) -> list[Fault]:
    """Faults up to the first that is proved, which is all that is needed."""
    found: list[Fault] = []
    for fault in faults:
        found.append(fault)
        if fault.kind is Kind.PROVED:
            break
    return found


_secret = random.SystemRandom()
