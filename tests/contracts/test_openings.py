"""Openings and submissions that are not what they have to be, and how a head is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from tests.contracts.ledger import SALT, ZERO, Chain, Commit, Job, pack_openings

LENGTH = 32 + 2 * 32
"""Of an opening: a chunk of 8 parameters and two siblings."""
ENTRY = 88


@pytest.fixture
def commit(job: Job) -> Commit:
    """A commit whose first chunk is wrong, of three updates."""
    job.collect()
    return job.commit_wrong()


def _refusal(job: Job, commit: Commit, openings: bytes) -> tuple[str, dict[str, Any]]:
    return job.challenge_refusal(job.chain.accounts[8], commit, 0, openings)


def _proofs(commit: Commit, index: int = 0) -> list[bytes]:
    """The five openings of three included updates: of the next model, of the model, of the updates."""
    return commit.opened(index)[2]


# ---------------------------------------------------------------------------------------------------------- openings


def _node_as_leaf(proof: bytes) -> bytes:
    """The children of the leaf's parent as a chunk of 64 bytes, which a tree of no fixed shape would believe."""
    return sha256(proof[:32]).digest() + proof[32:]


FORGERIES: dict[str, Callable[[bytes], bytes]] = {
    "another chunk": lambda proof: bytes([proof[0] ^ 1]) + proof[1:],
    "another leaf": lambda proof: proof[:32] + bytes([proof[32] ^ 1]) + proof[33:],
    "another node": lambda proof: proof[:-1] + bytes([proof[-1] ^ 1]),
    "a node as a leaf": _node_as_leaf,
    "the siblings exchanged": lambda proof: proof[:32] + proof[64:] + proof[32:64],
}


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("number", range(5))
def test_an_opening_that_leads_elsewhere_is_refused(job: Job, commit: Commit, forgery: str, number: int) -> None:
    proofs = _proofs(commit)
    proofs[number] = FORGERIES[forgery](proofs[number])
    refusal = _refusal(job, commit, pack_openings(b"", commit.submissions(), b"".join(proofs)))
    assert refusal == ("WrongOpening", {"number": number})


@pytest.mark.parametrize("number", range(5))
def test_an_opening_of_another_chunk_is_refused(job: Job, commit: Commit, number: int) -> None:
    proofs = _proofs(commit)
    proofs[number] = _proofs(commit, 1)[number]
    refusal = _refusal(job, commit, pack_openings(b"", commit.submissions(), b"".join(proofs)))
    assert refusal == ("WrongOpening", {"number": number})


def test_openings_that_are_cut_off_are_refused(job: Job, commit: Commit) -> None:
    openings = commit.openings(0)
    submissions = commit.submissions()
    for length, required in [(0, 8), (7, 8), (8, 8 + len(submissions)), (7 + len(submissions), 8 + len(submissions))]:
        refusal = _refusal(job, commit, openings[:length])
        assert refusal == ("MalformedOpenings", {"length": length, "required": required})
    for length in (0, LENGTH, 5 * LENGTH - 1):
        refusal = _refusal(job, commit, openings[: 8 + len(submissions) + length])
        assert refusal == ("MalformedOpenings", {"length": length, "required": 5 * LENGTH})


@pytest.mark.parametrize(("nodes", "submissions"), [(2**32 - 1, 0), (0, 2**32 - 1), (2**32 - 1, 2**32 - 1)])
def test_lengths_beyond_the_openings_are_refused(job: Job, commit: Commit, nodes: int, submissions: int) -> None:
    openings = nodes.to_bytes(4, "big") + submissions.to_bytes(4, "big") + commit.openings(0)[8:]
    refusal = _refusal(job, commit, openings)
    expected = {"length": len(openings), "required": 8 + nodes + submissions}
    assert refusal == ("MalformedOpenings", expected)


@pytest.mark.parametrize("change", [lambda p: p[:4], lambda p: [*p, p[4]]], ids=["one less", "one more"])
def test_another_number_of_openings_than_of_included_updates_is_refused(
    job: Job, commit: Commit, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    shown = change(_proofs(commit))
    refusal = _refusal(job, commit, pack_openings(b"", commit.submissions(), b"".join(shown)))
    assert refusal == ("MalformedOpenings", {"length": len(shown) * LENGTH, "required": 5 * LENGTH})


@pytest.mark.parametrize("index", [3, 2**40, 2**256 - 1])
def test_a_chunk_that_is_not_there_can_not_be_opened(chain: Chain, job: Job, commit: Commit, index: int) -> None:
    finder = chain.accounts[8]
    job.announce(finder, commit, index)
    chain.travel(chain.now + 1)
    refusal = job.refusal(finder, "challenge", commit.record, 0, index, SALT, commit.openings(0))
    assert refusal == ("NoSuchChunk", {"index": index, "chunks": 3})


def test_a_copycats_update_does_not_open(chain: Chain, job: Job) -> None:
    """It submits another client's commitment under its own address: no opening fits, so it has to be excluded."""
    victim, copycat, third = job.clients
    job.submit(victim)
    stolen = job.attempt.uploads[0]
    job.submit_upload(replace(stolen, client=copycat, forged=stolen.update))
    job.collect([third])
    wrong = job.commit_wrong()
    assert _refusal(job, wrong, wrong.openings(0)) == ("WrongOpening", {"number": 3})


@pytest.mark.parametrize("field", range(13))
def test_a_record_that_differs_in_any_field_is_unknown(chain: Chain, job: Job, commit: Commit, field: int) -> None:
    other: list[Any] = [7, 2, 2, ZERO, ZERO, (ZERO, ZERO), b"\1", b"\1" * 32, 1, 1, 1, job.owner, 1]
    record = list(commit.record)
    record[field] = other[field]
    refusal = job.refusal(chain.accounts[8], "challenge", tuple(record), 0, 0, SALT, commit.openings(0))
    assert refusal == ("UnknownRecord", {"job": job.id, "round": record[1]})


def test_a_record_of_another_job_is_unknown(chain: Chain, job: Job, commit: Commit) -> None:
    refusal = Job(chain).refusal(chain.accounts[8], "challenge", commit.record, 0, 0, SALT, commit.openings(0))
    assert refusal == ("UnknownRecord", {"job": job.id + 1, "round": 1})


# -------------------------------------------------------------------------------------------------------- submissions


def _shown(job: Job, commit: Commit, submissions: bytes) -> str:
    return _refusal(job, commit, pack_openings(b"", submissions, b"".join(_proofs(commit))))[0]


def _blocks(commit: Commit) -> list[bytes]:
    return [b"\1" + upload.entry for upload in commit.attempt.uploads]


def test_missing_swapped_and_repeated_submissions_are_refused(job: Job, commit: Commit) -> None:
    a, b, c = _blocks(commit)
    for blocks in ([a, b], [b, c], [c, b, a], [a, b, c, a], [a, a, c], []):
        assert _shown(job, commit, bytes([len(blocks)] * bool(blocks)) + b"".join(blocks)) == "WrongSubmissions"


@pytest.mark.parametrize("place", [0, 19, 20, 23, 24, 55, 56, 87])
def test_a_submission_that_differs_in_one_byte_is_refused(job: Job, commit: Commit, place: int) -> None:
    """In the client, the weight, the commitment or the content, at the beginning and the end of each."""
    first, *others = _blocks(commit)
    first = first[: 1 + place] + bytes([first[1 + place] ^ 1]) + first[2 + place :]
    assert _shown(job, commit, b"\3" + first + b"".join(others)) == "WrongSubmissions"


def test_entries_in_other_blocks_are_refused(job: Job, commit: Commit) -> None:
    a, b, c = (block[1:] for block in _blocks(commit))
    assert _shown(job, commit, b"\1\3" + a + b + c) == "WrongSubmissions"
    assert _shown(job, commit, b"\2\2" + a + b + b"\1" + c) == "WrongSubmissions"


def test_openings_have_to_show_every_entry(job: Job, commit: Commit) -> None:
    refusal = _refusal(job, commit, pack_openings(b"", commit.submissions({0, 2}), b"".join(_proofs(commit))))
    assert refusal == ("SubmissionsHidden", {"shown": 2, "required": 3})
    refusal = _refusal(job, commit, pack_openings(b"", commit.submissions(()), b"".join(_proofs(commit))))
    assert refusal == ("SubmissionsHidden", {"shown": 0, "required": 3})


@pytest.mark.parametrize(
    ("change", "position"),
    [
        (lambda s: s[:1], 1),
        (lambda s: s[:50], 2),
        (lambda s: s[:-1], 3 * (1 + ENTRY) - ENTRY + 1),
        (lambda s: s + b"\0", 1 + 3 * (1 + ENTRY)),
        (lambda s: b"\x41" + s[1:], 0),
        (lambda s: b"\xfe" + s[1:], 0),
        (lambda s: b"\x03\x00" + s[2:], 1),
        (lambda s: b"\x03\x80" + s[2:], 1),
        (lambda s: b"\x03\x81" + bytes(31), 2),
        (lambda s: b"\xff" + bytes(31), 1),
        (lambda s: b"\xff" + bytes(33), 33),
        (lambda s: b"\x00" + bytes(33), 33),
        (lambda s: b"\x00" + bytes(31), 33),
    ],
)
def test_submissions_that_are_not_well_formed_are_refused_at_their_byte(
    job: Job, commit: Commit, change: Callable[[bytes], bytes], position: int
) -> None:
    refusal = _refusal(job, commit, pack_openings(b"", change(commit.submissions()), b"".join(_proofs(commit))))
    assert refusal == ("MalformedSubmissions", {"position": position})
