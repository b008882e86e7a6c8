"""The auditor of a demonstration: it audits while others work, and knows at the end what is so then."""

from __future__ import annotations

import time

import pytest

from galaxy_chain.demo.instructions import ALL_IS_OVER, AuditReport, Instructions
from galaxy_chain.verify.challenge import challenge
from galaxy_fl.worker import forkserver
from tests.galaxy_chain.federation import alter


@pytest.fixture
def auditor(federation):
    told = Instructions(
        role="auditor",
        rpc=federation.rpc.url,
        accounts=[],
        first=0,
        deployment=federation.deployment,
        store=str(federation.store.root),
        metrics="",
        output="",
        job=federation.job,
        data="digits",
        test_data=None,
        data_root=None,
        partition="iid",
        trust=[],
        scratch="",
        keeps=False,
        device="cpu",
    )
    with forkserver.fork("galaxy_chain.demo.auditor:run") as child:
        child.connection.send_bytes(told.model_dump_json().encode())
        yield child


def ended(auditor):
    auditor.connection.send_bytes(ALL_IS_OVER)
    report = AuditReport.model_validate_json(auditor.connection.recv_bytes())
    assert auditor.wait() == 0
    return report


def standing(federation):
    return federation.ledger().job_of(federation.job).root.hex()


def commit(federation, auditor, round, vector=None):
    federation.submit(0, 1, 2, seed=round)
    federation.commit(vector)
    auditor.connection.send_bytes(b"")
    return standing(federation)


def test_all_rounds_are_audited_whenever_it_is_told(federation, auditor):
    models = [commit(federation, auditor, round) for round in (1, 2)]
    report = ended(auditor)
    assert (report.models, report.error) == (models, None)
    assert report.seconds > 0


def test_a_round_of_which_it_was_not_told_is_audited_at_the_end(federation, auditor):
    federation.submit(0, 1, 2)
    federation.commit()
    assert ended(auditor).models == [standing(federation)]


def test_a_lie_is_said_at_the_end(federation, auditor):
    federation.submit(0, 1, 2)
    server = federation.serve()
    wrong = federation.aggregate(server, {})
    right = int(wrong[77])
    wrong[77] += 1
    federation.commit(wrong)
    auditor.connection.send_bytes(b"")
    report = ended(auditor)
    assert report.models == []
    assert f"parameter 77 (chunk 1) of the committed model is {right + 1}, but its updates make {right}" in report.error


def test_a_lie_that_was_taken_back_is_none(federation, auditor):
    federation.submit(0, 1, 2)
    server = federation.serve()
    wrong = federation.aggregate(server, {})
    wrong[77] += 1
    federation.commit(wrong)
    auditor.connection.send_bytes(b"")
    finder = federation.client(0)
    ledger, history = finder.ledger, finder.history
    assert challenge(ledger, finder.verifier, federation.job, history, history.commits[1], 0, 1) is not None
    federation.commit(account=federation.clients[1])  # the liar is barred
    report = ended(auditor)
    assert (report.models, report.error) == ([standing(federation)], None)


def test_content_that_was_altered_is_said(federation, auditor):
    federation.submit(0, 1, 2)
    federation.commit()
    alter(federation.content(federation.client(0).history.model.content))
    assert "is no longer" in ended(auditor).error


def test_an_initial_model_that_is_wrong_is_said_although_it_was_looked_at_before(federation, auditor):
    alter(federation.content(federation.client(0).history.initial.content))
    auditor.connection.send_bytes(b"")
    time.sleep(0.5)  # or it would be looked at once
    assert "is no longer" in ended(auditor).error


def test_it_ends_with_the_demonstration(federation, auditor):
    commit(federation, auditor, 1)
    auditor.connection.close()
    assert auditor.wait() == 0
