"""Recomputing commits from content: for audits, watchtowers, clients before they train, and servers under demand."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galaxy_chain.exceptions import ContentMismatchError
from galaxy_chain.following.history import Commit, JobHistory
from galaxy_chain.ledger.structs import Model, Terms
from galaxy_chain.ledger.submissions import Entry
from galaxy_chain.ledger.words import address_bytes
from galaxy_chain.seal.store import put_as
from galaxy_chain.verify.how import Verify
from galaxy_chain.verify.memory import Memory
from galaxy_chain.verify.node_vectors import NodeVectors
from galaxy_fl.aggregation import RULES, aggregate_files, has_moments
from galaxy_fl.aggregation.block_files import wide
from galaxy_fl.aggregation.rule import is_sum
from galaxy_fl.aggregation.summing import Summand, finish_file, write_sum
from galaxy_fl.content import ContentId, Store
from galaxy_fl.exceptions import ContentAlteredError, ContentError, ContentMissingError
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.jobs.first_model import check_first_model
from galaxy_fl.vectors import (
    INT32_MAX,
    INT32_MIN,
    VECTOR_DTYPE,
    Vector,
    blocks,
    chunk_count,
    commitment,
    read_sums,
    read_vector,
    tree_root,
)

__all__ = ["Unexplained", "Verifier"]

AT_ONCE = 4
"""Updates that are fetched and hashed at a time."""
MOST_ROOTS = 100_000
"""Roots of contents that are remembered, some 200 bytes each."""


def _nor(lacking: ContentMissingError | ContentAlteredError, why: object) -> ContentMissingError | ContentAlteredError:
    return type(lacking)(f"{lacking}; nor can it be recomputed, because {why}")


@dataclass(frozen=True)
class Unexplained:
    """What is wrong in a commit of which updates are missing, whatever is in them.

    Attributes:
        missing: The clients of the updates that are missing.
        chunks: The chunks that no content of theirs explains, ascending.
    """

    missing: tuple[str, ...]
    chunks: tuple[int, ...]


class Verifier:
    """Checks what a job's ledger says about its content. Threads may share it.

    The root of a content that was found right is not computed again: whether a file still is what its content id says,
    the store makes sure of every time.

    Args:
        store: Where the content is.
        terms: Of the job.
        document: Of the job.
    """

    def __init__(self, store: Store, terms: Terms, document: JobDocument) -> None:
        self.store = store
        self.terms = terms
        self.document = document
        self.rule = RULES[document.rule.name]
        self.model_parameters = document.model_parameters
        self.model_chunk = self.rule.lanes * terms.chunk_parameters
        """Of the int32 of a model: chunk i of a model has all lanes of the parameters of chunk i of an update."""
        self.nodes = NodeVectors(self)
        self._roots: Memory[ContentId, bytes] = Memory(MOST_ROOTS)
        self._begun = False
        """Whether the initial model was seen to have no moments."""
        self._had: set[bytes] = set()
        """The words of records of which nothing was found to be withheld."""

    def content_id(self, digest: bytes) -> ContentId:
        """The content id of an update of the job by its digest, 32 bytes."""
        return ContentId(digest, 4 * self.terms.parameters)

    def model_id(self, digest: bytes) -> ContentId:
        """The content id of a model of the job by its digest, 32 bytes."""
        return ContentId(digest, 4 * self.model_parameters)

    def model(self, model: Model, what: str) -> Path:
        """The vector file of a model, content and root verified.

        Raises:
            ContentMissingError: it is unavailable.
            ContentAlteredError: it is not what the id says, or has another root than the ledger's.
        """
        path, root = self._vector(self.model_id(model.content), what, self.model_root, lambda root: root == model.root)
        if root != model.root:
            raise ContentMismatchError(
                f"{what}: the content is what its id says, but the root of its chunk tree, {root.hex()}, "
                f"is not the one on the ledger, {model.root.hex()}"
            )
        return path

    def update(self, entry: Entry, what: str) -> Path:
        """The vector file of an update, content and commitment verified.

        Raises:
            ContentMissingError: it is unavailable.
            ContentAlteredError: it is not what the id says, or not what its client committed to.
        """
        client, promised = address_bytes(entry.client), entry.update.commitment

        def is_right(root: bytes) -> bool:
            return commitment(root, client) == promised

        path, root = self._vector(self.content_id(entry.update.content), what, self._update_root, is_right)
        if not is_right(root):
            raise ContentMismatchError(f"{what}: the content is what its id says, but not what its client committed to")
        return path

    def has_verified(self, entry: Entry) -> bool:
        """Whether an update's content was verified, or made, here before; it may be gone since."""
        root = self._roots.known(self.content_id(entry.update.content))
        return root is not None and commitment(root, address_bytes(entry.client)) == entry.update.commitment

    def _vector(
        self, content: ContentId, what: str, root_of: Callable[[Path], bytes], is_right: Callable[[bytes], bool]
    ) -> tuple[Path, bytes]:
        try:
            path = self.store.path(content)
        except (ContentAlteredError, ContentMissingError) as error:
            raise type(error)(f"{what}: {error}") from error
        return path, self.root_of(content, lambda: root_of(path), is_right)

    def root_of(self, content: ContentId, compute: Callable[[], bytes], is_right: Callable[[bytes], bool]) -> bytes:
        """The root of the chunk tree of a content that the store has just verified; computed unless it is known.

        Only a root that is right is remembered: one of a file that was changed while it was read is not the content's.
        """
        return self._roots.get(content, compute, is_right)

    def know(self, content: ContentId, root: bytes) -> None:
        """Remembers the root of a content that was made here."""
        self.root_of(content, lambda: root, lambda root: True)

    def put_again(self, path: Path, content: ContentId) -> ContentId:
        """Puts content again that was made again; where it is sealed, so that it has its id again."""
        return put_as(self.store, path, content)

    def read(self, path: Path) -> Vector:
        """The file of an update of the job, memory-mapped."""
        return read_vector(path, self.terms.parameters)

    def read_model(self, path: Path) -> Vector:
        """The file of a model of the job, memory-mapped: all lanes."""
        return read_vector(path, self.model_parameters)

    def model_root(self, path: Path) -> bytes:
        """The root of the chunk tree of a model's file."""
        return tree_root(self.read_model(path), self.model_chunk)

    def _update_root(self, path: Path) -> bytes:
        return tree_root(self.read(path), self.terms.chunk_parameters)

    def model_after(self, history: JobHistory, number: int) -> Path:
        """The vector file of the model after round `number` (0: the initial one).

        Content that is missing, or that has another root than the ledger's, is recomputed from the updates, and put
        into the store for whoever comes next.

        Raises:
            ContentMissingError, ContentAlteredError: it is unavailable, and can't be recomputed.
            JobDocumentError: the job begins with moments that are not zero.
        """
        return self._end_of(history, [history.commits[each] for each in range(1, number + 1)])

    def model_before(self, history: JobHistory, commit: Commit) -> Path:
        """The vector file of the model that a commit began with, standing or void; as `model_after`."""
        return self._end_of(history, history.lineage(commit))

    def model_made_by(self, history: JobHistory, commit: Commit) -> Path:
        """The vector file of the model that was committed, by a commit that stands or is void; as `model_after`."""
        return self._end_of(history, [*history.lineage(commit), commit])

    def withheld(self, history: JobHistory, commit: Commit) -> ContentError | None:
        """Why the model that was committed, or a node of it, can't be had: somebody withholds it.

        Without the nodes on their lines clients build on nothing, as without the model. None where all is available or
        can be recomputed; and where the store does not even have the job's document,
        because then it may be the store's fault.
        """
        if commit.word in self._had:
            return None
        try:
            self.store.probe(self.terms.spec)
        except ContentError:
            return None
        try:
            self.model_made_by(history, commit)
            for node in range(1, len(commit.nodes) + 1):
                self.nodes.vector(commit, node)
        except (ContentMissingError, ContentAlteredError) as error:
            return error
        except ContentError:
            return None
        self._had.add(commit.word)
        return None

    def _end_of(self, history: JobHistory, line: Sequence[Commit]) -> Path:
        """The vector file of the model to which commits of the rounds from the first on lead."""
        number = len(line)
        begin, lacking = number, None
        while True:  # down to the newest model that is available, and from there up again, however far that is
            try:
                path = self._committed(history, line, begin)
                break
            except (ContentMissingError, ContentAlteredError) as error:
                lacking = lacking or error
                if begin == 0:
                    raise (lacking if number == 0 else _nor(lacking, error)) from error
                begin -= 1
        for commit in line[begin:]:
            assert lacking is not None
            try:
                with self._aggregated(path, commit) as ours:
                    if self.model_root(ours) == commit.record.next.root:
                        path = self.store.path(self.put_again(ours, self.model_id(commit.record.next.content)))
                        continue
            except (ContentMissingError, ContentAlteredError) as cause:
                raise _nor(lacking, cause) from cause
            if commit.record.round == number:
                raise lacking
            raise _nor(lacking, f"what was committed in round {commit.record.round} is not what its updates make")
        return path

    def _committed(self, history: JobHistory, line: Sequence[Commit], number: int) -> Path:
        if number == 0:
            path = self.model(history.initial, "the initial model")
            if not self._begun:
                check_first_model(self.document, path)
                self._begun = True
            return path
        return self.model(line[number - 1].record.next, f"the model after round {number}")

    @contextmanager
    def recomputed(self, history: JobHistory, commit: Commit) -> Iterator[Path]:
        """The model that the commit should have made, by its root sum where it has one; in a temporary file.

        Raises:
            ContentMissingError, ContentAlteredError: the model before or an update is unavailable.
        """
        with self._aggregated(self._end_of(history, history.lineage(commit)), commit) as path:
            yield path

    @contextmanager
    def _aggregated(self, previous: Path, commit: Commit) -> Iterator[Path]:
        if commit.nodes:
            try:
                root = self.nodes.vector(commit, len(commit.nodes))
            except (ContentMissingError, ContentAlteredError):
                pass  # then of the updates, however many
            else:
                with self.finished(previous, commit, root) as path:
                    yield path
                return
        number = commit.record.round
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="verifying") as threads:
            updates = list(
                threads.map(lambda e: self.update(e, f"round {number}: the update of {e.client}"), commit.included)
            )
        with tempfile.TemporaryDirectory(prefix="galaxy-recompute-") as folder:
            destination = Path(folder) / "model"
            self._aggregate(previous, updates, commit, destination)
            yield destination

    @contextmanager
    def finished(self, previous: Path, commit: Commit, root: Path) -> Iterator[Path]:
        """The model that the sum in a file makes, which stands for all updates of a commit; in a temporary file."""
        assert is_sum(self.rule)
        with tempfile.TemporaryDirectory(prefix="galaxy-recompute-") as folder:
            destination = Path(folder) / "model"
            word, weight = self.document.rule.rule_word, commit.nodes[-1].weight
            finish_file(self.rule, word, previous, root, weight, destination, self.terms.parameters)
            yield destination

    def _aggregate(self, previous: Path, updates: Sequence[Path], commit: Commit, destination: Path) -> None:
        aggregate_files(
            self.rule,
            self.document.rule.rule_word,
            previous,
            updates,
            [entry.update.weight for entry in commit.included],
            destination,
            self.terms.parameters,
        )

    def first_difference(self, ours: Path, theirs: Path) -> int | None:
        """The index of the first int32 in which two models differ, None where they are equal."""
        left, right = self.read_model(ours), self.read_model(theirs)
        for block in blocks(self.model_parameters):
            if not np.array_equal(left[block], right[block]):
                return int(block.start) + int(np.flatnonzero(left[block] != right[block])[0])
        return None

    def wrong_parameter(self, history: JobHistory, commit: Commit) -> tuple[int, int, int] | None:
        """The first int32 of a model that a commit has wrong, what it is and what it should be; None if all are right.

        Raises:
            ContentMissingError, ContentAlteredError: something that is needed is unavailable.
        """
        with self.recomputed(history, commit) as ours:
            try:
                theirs = self.model(commit.record.next, f"the model after round {commit.record.round}")
            except (ContentMissingError, ContentAlteredError):
                if self.model_root(ours) == commit.record.next.root:
                    return None
                raise
            index = self.first_difference(ours, theirs)
            return (
                None
                if index is None
                else (index, int(self.read_model(theirs)[index]), int(self.read_model(ours)[index]))
            )

    def wrong_chunk(self, history: JobHistory, commit: Commit, how: Verify) -> int | None:
        """The index of a chunk that a commit has wrong, None where none was found.

        Raises:
            ContentMissingError, ContentAlteredError: something that is needed is unavailable.
        """
        if how.chunks == 0:
            return None
        if how.chunks is None:
            wrong = self.wrong_parameter(history, commit)
            return None if wrong is None else wrong[0] // self.model_chunk
        line = history.lineage(commit)
        previous = self.read_model(self._end_of(history, line))
        theirs = self.read_model(self._end_of(history, [*line, commit]))
        size = self.terms.chunk_parameters
        for index in random.SystemRandom().sample(range(self.chunks()), min(how.chunks, self.chunks())):
            part = slice(index * size, min((index + 1) * size, self.terms.parameters))
            models = wide(part, self.rule.lanes)
            ours = self.rule.aggregate(
                self.document.rule.rule_word,
                previous[models],
                [self._part(entry.update.content, part) for entry in commit.included],
                [entry.update.weight for entry in commit.included],
            )
            if not np.array_equal(ours, theirs[models]):
                return index
        return None

    def _part(self, digest: bytes, part: slice) -> Vector:
        content = self.store.get(self.content_id(digest), 4 * part.start, 4 * part.stop)
        return np.frombuffer(content, VECTOR_DTYPE)

    def unexplained(self, history: JobHistory, commit: Commit) -> Unexplained:
        """The chunks of a commit that are wrong whatever is in the updates that are missing.

        In every rule without moments the greater an update's parameter is, the greater is the next model's, and all
        that is in between is reached. So what lies below the aggregate with INT32_MIN in the place of what is missing,
        or above that with INT32_MAX, can't come of any content, and nobody can open it. A rule with moments tells by
        the sums that are possible.

        Raises:
            ContentMissingError, ContentAlteredError: the model before, or the committed one, is unavailable.
        """
        number = commit.record.round
        previous = self._end_of(history, history.lineage(commit))
        theirs = self.read_model(self.model(commit.record.next, f"the model after round {number}"))
        paths: list[Path | None] = []
        for entry in commit.included:
            try:
                paths.append(self.update(entry, f"round {number}: the update of {entry.client}"))
            except (ContentMissingError, ContentAlteredError):
                paths.append(None)
        with tempfile.TemporaryDirectory(prefix="galaxy-recompute-") as folder:
            bounds: list[Path] = []
            for value in (INT32_MIN, INT32_MAX):
                filler, bound = Path(folder, f"all {value}"), Path(folder, f"bound {value}")
                np.full(self.terms.parameters, value, VECTOR_DTYPE).tofile(filler)
                updates = [path or filler for path in paths]
                if has_moments(self.rule):
                    weights = [entry.update.weight for entry in commit.included]
                    write_sum(list(map(Summand, updates, weights)), bound, self.terms.parameters, of_nodes=False)
                else:
                    self._aggregate(previous, updates, commit, bound)
                bounds.append(bound)
            chunks: list[int] = []
            for block in blocks(self.terms.parameters):
                wrong = np.flatnonzero(self._beyond(previous, theirs, bounds, commit, block))
                chunks += ((wrong + block.start) // self.terms.chunk_parameters).tolist()
        missing = tuple(entry.client for entry, path in zip(commit.included, paths, strict=True) if path is None)
        return Unexplained(missing, tuple(sorted(set(chunks))))

    def _beyond(
        self, previous: Path, theirs: Vector, bounds: Sequence[Path], commit: Commit, block: slice
    ) -> npt.NDArray[np.bool_]:
        """Which parameters of a block are what nothing between two aggregates, or two sums, makes."""
        d, rule = self.terms.parameters, self.rule
        if has_moments(rule):
            models = wide(block, rule.lanes)
            low, high = (read_sums(bound, d)[block] for bound in bounds)
            weight = sum(entry.update.weight for entry in commit.included)
            before = self.read_model(previous)[models]
            return rule.unexplained(self.document.rule.rule_word, before, theirs[models], low, high, weight)
        lowest, highest = (self.read(bound)[block] for bound in bounds)
        beyond: npt.NDArray[np.bool_] = (theirs[block] < lowest) | (theirs[block] > highest)
        return beyond

    def chunks(self) -> int:
        """How many chunks a model of the job has."""
        return chunk_count(self.terms.parameters, self.terms.chunk_parameters)
