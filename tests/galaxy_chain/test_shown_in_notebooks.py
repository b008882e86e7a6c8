"""A ledger's jobs, rounds and audits show themselves in a notebook as tables; their `repr` is one line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import html5lib
import pytest

from galaxy_chain.place import Ledger
from galaxy_fl.exceptions import ConfigurationError


@pytest.fixture
def ledger(federation, tmp_path):
    federation.submit(0, 1, 2)
    federation.commit(excluded=(1,))
    federation.deployment.write(tmp_path / "home" / "ledger.json")
    return Ledger(federation.rpc.url, home=tmp_path / "home", store=federation.store.root)


def cells(shown):
    """The texts in a table of valid HTML."""
    page = f'<!DOCTYPE html><html lang="en"><head><title>-</title></head><body>{shown}</body></html>'
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)
    return ["".join(cell.itertext()) for cell in tree.iter() if cell.tag in ("th", "td")]


def test_jobs_rounds_and_audits_are_tables(federation, ledger):
    jobs = ledger.jobs()
    assert set(jobs) == {federation.job}
    assert repr(jobs) == f"Jobs({federation.job}: running)"
    assert {federation.owner, "running", jobs[federation.job].root.hex()} <= set(cells(jobs._repr_html_()))
    assert federation.owner in cells(jobs[federation.job]._repr_html_())
    terms = cells(jobs[federation.job].terms._repr_html_())
    assert "2 rounds, each of at least 2 updates and at most 3 updates" in terms
    history = ledger.job(federation.job)
    commit = history.commits[1]
    assert repr(history) == f"JobHistory(job={federation.job}, round=2, rounds=1, settled=0)"
    assert {"1", "open", federation.server, commit.record.next.root.hex()} <= set(cells(history._repr_html_()))
    assert repr(commit) == f"Commit(round=1, attempt=1, word={commit.word.hex()})"
    assert {*federation.clients, "left out", commit.entries[0].update.commitment.hex()} <= set(
        cells(commit._repr_html_())
    )
    auditor = ledger.audit(federation.job)
    assert repr(auditor) == f"Auditor(job={federation.job}, rounds=1)"
    assert repr(auditor.verdicts()) == "Verdicts(1 right, 0 wrong, 0 not to be checked)"
    assert "right" in cells(auditor.verdicts()._repr_html_())
    assert "pool" in cells(auditor.money()._repr_html_())


def test_a_report_is_written_from_python(federation, ledger, tmp_path):
    digest = ledger.report(federation.job, tmp_path / "job.html")
    assert digest == hashlib.sha256((tmp_path / "job.html").read_bytes()).hexdigest()
    with pytest.raises(ConfigurationError, match=r"job\.txt ends in '\.txt'"):
        ledger.report(federation.job, Path("job.txt"))
