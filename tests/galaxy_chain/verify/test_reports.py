"""Clients without ether report single nodes to watchtowers, which believe nothing of it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from eth_account import Account

from galaxy_chain.coordinators import LedgerClientCoordinator
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.transactions.accounts import LocalSigner
from galaxy_chain.transactions.manager import Transactions
from galaxy_chain.verify import reports as reports_module
from galaxy_chain.verify.report_server import ReportServer
from galaxy_chain.verify.reports import Report, Reporter, ReportRefusedError, Reports
from galaxy_chain.verify.watchtower import Watchtower
from galaxy_fl.exceptions import ConfigurationError
from tests.galaxy_chain.federation import PATIENCE, Federation, said
from tests.galaxy_chain.verify.test_trees import off
from tests.galaxy_chain.verify.trees import commit_tree, large, without

WORD = b"\7" * 32


def penniless(federation: Federation, *urls: str) -> LedgerClientCoordinator:
    """A client whose account has no ether, and never had any."""
    where = federation.deployment
    transactions = Transactions(federation.rpc, LocalSigner(Account.create()))
    ledger = LedgerContract(
        federation.rpc, where.ledger, transactions, first_block=where.block, chain_id=where.chain_id
    )
    return LedgerClientCoordinator(ledger, federation.store, federation.job, PATIENCE, report=urls)


def tower(federation: Federation, reports: Reports) -> Watchtower:
    ledger = federation.ledger(federation.node.accounts[6])
    return Watchtower(ledger, federation.store, federation.job, grace=0, reports=reports)


def test_what_a_client_without_ether_finds_a_watchtower_brings_to_the_ledger(federation, caplog):
    many = large(federation)
    commit_tree(many, off(3))
    reports = Reports(many.job)
    watching = tower(many, reports)
    commit = watching.history.commits[1]
    reports.expect({commit.word: len(commit.nodes)})
    with ReportServer(reports, "0") as server:
        client = penniless(many, server.url)
        round = client.round()
        client._inspection._drawn[commit.word] = [3]
        client.model(round)
    assert "is wrong in chunk 1 of node 3, which is reported" in caplog.text
    looked = []
    watching.checks.everything = lambda *arguments: looked.append(arguments)  # not needed for one node
    assert [(finding.verdict, finding.node) for finding in watching.look()] == [("challenged", 3)]
    assert looked == []
    assert many.ledger().account_of(many.job, many.server).barred


def test_what_is_withheld_is_reported_too(federation):
    many = large(federation)
    server = commit_tree(many)
    commit = server.history.commits[1]
    without(many, server, commit, 3)
    for entry in commit.entries[4:]:
        many.content(entry.update.content).unlink()
    reports = Reports(many.job)
    watching = tower(many, reports)
    reports.expect({commit.word: len(commit.nodes)})
    with ReportServer(reports, "0") as listening:
        client = penniless(many, listening.url)
        round = client.round()
        client._inspection._drawn[commit.word] = [3]
        client.model(round)
    assert [(finding.verdict, finding.node) for finding in watching.look()] == [("demanded", 3)]


def test_a_report_of_what_is_right_changes_nothing(federation):
    many = large(federation)
    server = commit_tree(many)
    commit = server.history.commits[1]
    reports = Reports(many.job)
    watching = tower(many, reports)
    reports.expect({commit.word: len(commit.nodes)})
    for node in (0, 1, 6):
        reports.add(Report(job=many.job, record="0x" + commit.word.hex(), node=node))
    assert [finding.verdict for finding in watching.look()] == ["right"]
    assert watching.purse.spent == 0


def test_who_can_not_pay_and_tells_nobody_says_so(federation, caplog):
    many = large(federation)
    commit_tree(many, off(3))
    client = penniless(many)
    round = client.round()
    client._inspection._drawn[client.history.commits[1].word] = [3]
    assert client.model(round).exists()
    assert [line for line in said(caplog) if "nobody was told: use --report" in line]


@pytest.fixture
def listening():
    reports = Reports(4)
    reports.expect({WORD: 6})
    with ReportServer(reports, "0") as server:
        yield reports, f"{server.url}/reports"


def report(**changed):
    return {"job": 4, "record": "0x" + WORD.hex(), "node": 3} | changed


def test_a_report_is_taken_once(listening):
    reports, url = listening
    assert [httpx.post(url, json=report()).status_code for _ in range(2)] == [202, 202]
    assert list(reports.take()) == [(WORD, 3)]
    assert httpx.post(url, json=report()).status_code == 202
    assert list(reports.take()) == []


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (report(job=5), 404, "job 5 is not watched here, but job 4"),
        (report(record="0x" + "08" * 32), 404, "can't be challenged"),
        (report(node=7), 422, "expected 0 to 6"),
        (report(node=-1), 422, "node"),
        (report(node="3"), 422, "node"),
        (report(record="07"), 422, "record"),
        (report(more=1), 422, "more"),
        ({}, 422, "job"),
        ({"job": "x" * 2_000}, 413, "at most 1000 bytes"),
    ],
)
def test_what_is_no_report_is_refused_with_what_was_expected(listening, body, status, expected):
    reports, url = listening
    answer = httpx.post(url, json=body)
    assert answer.status_code == status
    assert expected in answer.json()["detail"]
    assert list(reports.take()) == []


def test_too_many_are_refused_until_some_were_looked_at(monkeypatch):
    monkeypatch.setattr(reports_module, "MOST_WAITING", 2)
    reports = Reports(4)
    reports.expect({WORD: 6})
    for node in (1, 2):
        reports.add(Report.model_validate(report(node=node)))
    with pytest.raises(ReportRefusedError, match="report it again later"):
        reports.add(Report.model_validate(report(node=3)))
    assert [node for _, node in reports.take()] == [1, 2]
    reports.add(Report.model_validate(report(node=3)))
    reports.expect({})
    assert list(reports.take()) == []


@pytest.mark.parametrize("address", ["", "here", "127.0.0.1:", "127.0.0.1:port", "-1"])
def test_what_is_no_address_to_listen_on_is_refused(address):
    with pytest.raises(ConfigurationError, match="expected PORT or HOST:PORT"):
        ReportServer(Reports(1), address)


def test_a_watchtower_that_is_not_there_is_named(monkeypatch, caplog):
    monkeypatch.setattr(reports_module, "_PAUSE", 0.0)
    with ReportServer(Reports(1), "0") as server:
        url = server.url
    assert not Reporter([url], 1).report(WORD, 2)
    assert f"the watchtower {url} does not take a report of node 2" in caplog.text
    with pytest.raises(ConfigurationError, match="a watchtower"):
        Reporter(["ftp://somewhere"], 1)


def test_watch_listens_where_it_is_told(at_ledger, federation: Federation, tmp_path: Path):
    federation.ledger(federation.owner).cancel_job(federation.job).transact()
    federation.travel(3 * 7_200)
    assert at_ledger.run("watch", federation.job, "--account", federation.node.accounts[6], "--report", "0") == 0
    assert '"event": "listening", "url": "http://127.0.0.1:' in at_ledger.out
