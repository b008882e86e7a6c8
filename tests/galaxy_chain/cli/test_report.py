"""galaxy-chain job report: anybody gets a file to be filed, without a key."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest


@pytest.fixture
def job(federation, at_ledger):
    """A job with one committed round."""
    federation.submit(0, 1, 2)
    federation.commit()
    return federation.job


def test_it_is_written_and_its_hash_is_said(at_ledger, job):
    assert at_ledger.run("job", "report", job) == 0
    path = Path(f"report-job-{job}.html")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert "round 1, attempt 1: right" in at_ledger.out
    assert f"sha256 {digest}" in at_ledger.out
    assert f"{path} is written" in at_ledger.out
    said = at_ledger.json("job", "report", job, "--to", "again.html", "--round", "1")
    assert said["sha256"] == hashlib.sha256(Path("again.html").read_bytes()).hexdigest()
    assert (said["right"], said["wrong"], said["unchecked"], said["lies"], said["lacking"]) == (1, 0, 0, 0, None)


def test_it_says_what_is_missing_but_not_where_on_this_machine_it_was_looked_for(at_ledger, federation, job):
    (update, *_) = federation.serve().history.commits[1].entries
    federation.content(update.update.content).unlink()
    assert at_ledger.run("job", "report", job, "--to", "r.html") == 0
    assert "1 could not be checked" in at_ledger.out
    assert f"is not in the store {federation.store.root}" in at_ledger.out
    written = Path("r.html").read_text()
    assert "is not in the store STORE" in written
    assert str(federation.store.root) not in written


def test_rounds_of_a_job_whose_content_is_away_are_all_unchecked(at_ledger, federation, job, tmp_path):
    federation.store.root.rename(tmp_path / "away")
    federation.store.root.mkdir()
    assert at_ledger.run("job", "report", job) == 0
    assert "no round could be recomputed: " in at_ledger.out
    assert "of 1 rounds that are committed 0 are right, 0 wrong, 1 could not be checked" in at_ledger.out


REFUSED = [
    (["--to", "report.pdf"], "report.pdf ends in '.pdf', but a report is HTML: let it end in .html"),
    (["--to", "."], "\\. is a folder: name a file that ends in .html"),
    (["--to", "folder.html"], "folder.html is a folder: name a file"),
    (["--to", "nowhere/r.html"], "there is no folder nowhere: make it first"),
    (["--round", "2"], "'2' is not a round of job .* that is committed: its commits are of the rounds 1 to 1"),
    (["--round", "first"], "'first' are not rounds: expected numbers from 1 on, ranges, or last"),
    (["--round", "1-"], "'1-' are not rounds"),
    (["--store", "elsewhere"], "the store .*elsewhere is not there"),
]


def test_what_can_not_be_reported(at_ledger, job):
    Path("folder.html").mkdir()
    for arguments, said in REFUSED:
        at_ledger.fails(2, said, "job", "report", job, *arguments)
    at_ledger.fails(23, "there is no job 999", "job", "report", 999)
    assert [path.name for path in at_ledger.folder.glob("*.html")] == ["folder.html"]
