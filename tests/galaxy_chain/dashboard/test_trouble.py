"""Content that is missing, chains that go away, come back and change their minds: the page says so, and goes on."""

from __future__ import annotations

import socket
import threading

import numpy as np
import pytest

from galaxy_chain.dashboard import ledger, verdicts
from galaxy_chain.ledger.structs import Update
from galaxy_chain.ledger.words import address_bytes
from galaxy_chain.verify.audit import Auditor
from galaxy_fl.content import LocalStore
from galaxy_fl.content.http_store import http_store
from galaxy_fl.content.remote import Timeouts
from galaxy_fl.jobs.document import RuleChoice
from galaxy_fl.vectors import commitment, tree_root
from tests.end_to_end.processes import LONG
from tests.galaxy_chain.dashboard.served import served
from tests.galaxy_chain.federation import CHUNK, DOCUMENT, SAMPLES, alter, made_up
from tests.tcp_proxy import TcpProxy, stall


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    """What could not be checked is tried again at once."""
    monkeypatch.setattr(verdicts, "FIRST_RETRY", 0.05)
    monkeypatch.setattr(verdicts, "LAST_RETRY", 0.05)


def history(federation):
    return Auditor(federation.ledger(), federation.store, federation.job).history


def right(asked, round):
    return asked.until(lambda: asked.verdict(round)["judgement"] == "right")


def test_a_round_whose_content_is_missing_is_not_called_right_and_is_checked_once_it_is_there(federation):
    federation.submit(0, 1, 2)
    federation.commit()
    entry = history(federation).commits[1].entries[1]
    path = federation.content(entry.update.content)
    content = path.read_bytes()
    path.unlink()
    with served(federation) as asked:
        verdict = asked.verdict(1)
        assert verdict["judgement"] == "unchecked"
        assert entry.client in verdict["missing"]
        assert verdict["lie"] is None
        assert asked.job("/rounds/1/nodes")["nodes"][0]["state"] == "unchecked"
        assert [each["here"] for each in asked.job("/rounds/1/entries")["entries"]] == [True, False, True]
        federation.store.put(content)
        right(asked, 1)


def test_content_that_was_altered_in_the_store_is_missing_and_no_lie(federation):
    federation.submit(0, 1, 2)
    federation.commit()
    alter(federation.content(history(federation).commits[1].entries[0].update.content))
    with served(federation) as asked:
        assert asked.verdict(1)["judgement"] == "unchecked"


def test_an_update_that_counts_and_is_not_what_its_client_committed_to_is_a_lie(federation):
    promised = commitment(tree_root(made_up(1), CHUNK), address_bytes(federation.clients[0]))
    content = federation.store.put(made_up(2).data)
    client = federation.client(0)
    update = Update(promised, content.digest, SAMPLES)
    client.ledger.submit_update(federation.job, 1, tree_root(federation.initial, CHUNK), update).transact()
    federation.submit(1, 2)
    federation.commit(made_up(5))
    with served(federation) as asked:
        verdict = asked.verdict(1)
        assert (verdict["judgement"], verdict["lie"]["provable"]) == ("wrong", False)
        assert "not what its client committed to" in verdict["lie"]["reason"]


def test_a_job_whose_document_is_missing_is_not_checked_until_it_is_there(federation):
    federation.submit(0, 1, 2)
    federation.commit()
    path = federation.store._object(federation.store.identify(_cid(federation)))
    document = path.read_bytes()
    path.unlink()
    with served(federation) as asked:
        verdict = asked.verdict(1)
        assert (verdict["judgement"], asked.job()["name"]) == ("unchecked", None)
        assert asked.job()["document_problem"]
        federation.store.put(document)
        right(asked, 1)


def _cid(federation):
    from galaxy_fl.content import ContentId

    return ContentId(history(federation).terms.spec, 0).cid


def test_a_store_that_never_answers_keeps_no_browser_waiting(federation, tmp_path):
    for _ in range(3):
        federation.register()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = http_store(url, tmp_path / "copies", timeouts=Timeouts(search=LONG))
        with served(federation, store=store, content=f"{url}/content/", local=None) as asked:
            assert [row["name"] for row in asked.get("/jobs")["jobs"]] == [None] * 4
            assert asked.job()["document_problem"] == "it is being looked for"
            assert asked.job("/rounds/1")["content"] == f"{url}/content/"
            assert (
                asked.http.get("/api/content/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy").status_code
                == 404
            )


def test_a_commit_that_the_chain_takes_back_is_gone_and_the_one_in_its_place_is_judged_anew(federation):
    federation.submit(0, 1, 2)
    snapshot = federation.rpc.request("evm_snapshot")
    wrong = federation.aggregate(federation.serve(), {})
    wrong[3] += 1
    federation.commit(wrong)
    with served(federation) as asked:
        assert asked.verdict(1)["judgement"] == "wrong"
        assert asked.job()["wrong"] == [1]
        assert federation.rpc.request("evm_revert", snapshot) is True
        federation.travel(7)  # another block of the same number
        federation.commit()
        federation.travel(1)
        asked.until(lambda: asked.verdict(1)["judgement"] == "right")
        assert asked.job()["wrong"] == []
        assert asked.job("/rounds/1")["attempts"] == [1]
        (row, *_) = asked.job("/rounds")["rounds"]
        assert [each["phase"] for each in row["attempts"]] == ["committed"]


def test_a_job_that_the_chain_takes_back_is_said_to_be_gone(federation):
    snapshot = federation.rpc.request("evm_snapshot")
    job = federation.register()
    with served(federation) as asked:
        assert asked.get(f"/jobs/{job}")["problem"] is None
        assert federation.rpc.request("evm_revert", snapshot) is True
        for _ in range(3):
            federation.travel(1)
        asked.until(lambda: asked.get("/ledger")["jobs"] == job - 1)
        assert asked.refused(f"/jobs/{job}")[:2] == (404, "unknown_job")


def test_another_job_that_takes_the_number_of_one_that_is_gone_is_judged_by_its_own_document(federation):
    federation.submit(0, 1, 2)
    federation.commit()
    snapshot = federation.rpc.request("evm_snapshot")
    federation.job = federation.register()
    federation.submit(0, 1, 2)
    federation.commit()
    with served(federation) as asked:
        assert (asked.verdict(1)["judgement"], asked.job()["name"]) == ("right", "made up")
        assert federation.rpc.request("evm_revert", snapshot) is True
        federation.travel(7)
        named = DOCUMENT.model_copy(update={"name": "another", "rule": RuleChoice(name="coordinate_median")})
        assert federation.register(named) == federation.job
        federation.submit(0, 1, 2)
        server = federation.serve()
        round_ = server.round()
        updates = [np.fromfile(server.update(round_, each), "<i4") for each in server.updates(round_)]
        model = np.fromfile(server.model(round_), "<i4") + np.median(updates, axis=0).astype(np.int32)
        federation.commit(model)
        asked.until(lambda: asked.job()["name"] == "another")
        asked.until(lambda: asked.verdict(1)["judgement"] == "right")


def test_a_chain_that_goes_away_is_reported_and_followed_again_when_it_is_back(federation):
    federation.submit(0, 1, 2)
    with TcpProxy(federation.node.url) as proxy, served(federation, proxy.url) as asked:
        assert asked.job()["collected"] == 3
        proxy.down()
        away = asked.until(lambda: (found := asked.get("/ledger"))["health"] == "away" and found)
        assert proxy.url.removeprefix("http://") in away["problem"]
        assert away["since"] >= 0
        # What is known is still shown, at once.
        assert asked.job()["collected"] == 3
        assert asked.job("/rounds")["total"] == 1
        assert asked.refused("/jobs/77")[:2] == (503, "ledger")
        federation.commit()
        proxy.up()
        back = asked.until(lambda: (found := asked.get("/ledger"))["health"] == "ok" and found)
        assert (back["problem"], back["since"]) == (None, None)
        right(asked, 1)


def test_many_who_ask_at_once_share_one_follower(federation):
    federation.submit(0, 1)
    with served(federation) as asked:
        asked.job()
        found = []
        threads = [threading.Thread(target=lambda: found.append(asked.job()["collected"])) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [2] * 20
        names = [thread.name for thread in threading.enumerate()]
        assert names.count(f"follows job {federation.job}") == 1
    assert not [
        thread.name for thread in threading.enumerate() if thread.name.startswith(("follows", "judges", "watches"))
    ]


def test_a_job_whose_events_are_still_being_read_is_asked_for_again(federation, monkeypatch):
    monkeypatch.setattr(ledger, "LOADING_SECONDS", 0.01)
    monkeypatch.setattr(ledger, "NEWEST", 0)
    with TcpProxy(federation.node.url) as proxy, served(federation, proxy.url) as asked:
        proxy.trouble(stall, only="eth_getLogs")  # for as long as the dashboard is ready to wait for an answer
        response = asked.http.get(f"/api/jobs/{federation.job}")
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert response.json()["type"].endswith(":loading")
        asked.until(lambda: asked.http.get(f"/api/jobs/{federation.job}").status_code == 200)


def test_the_job_that_nobody_has_asked_for_longest_is_let_go_and_comes_back(federation, monkeypatch):
    monkeypatch.setattr(ledger, "MOST_JOBS", 2)
    others = [federation.register() for _ in range(3)]
    with served(federation) as asked:
        for job in (federation.job, *others, federation.job):
            assert asked.get(f"/jobs/{job}")["job"] == job
        names = {f"follows job {job}" for job in (federation.job, others[-1])}
        asked.until(lambda: {t.name for t in threading.enumerate() if t.name.startswith("follows job")} == names)


def test_large_documents_of_many_jobs_are_not_all_remembered(tmp_path, monkeypatch):
    store = LocalStore(tmp_path / "store")
    documents = [DOCUMENT.model_copy(update={"name": f"job {number}"}).to_bytes() for number in range(6)]
    specs = [store.put(each).digest for each in documents]
    monkeypatch.setattr(ledger, "MOST_DOCUMENT_BYTES", 3 * len(documents[0]))
    found = ledger.Documents(store, lambda: None)
    try:
        for number, spec in enumerate([*specs, *specs]):
            document, problem = found.get(spec, LONG)
            assert (problem, document.name) == (None, f"job {number % 6}")
            assert len(found._known) == len(found._sizes) <= 3
    finally:
        found.close()
