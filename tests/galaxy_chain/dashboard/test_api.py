"""What the API says of a real job on a real chain, and what it refuses."""

from __future__ import annotations

import json

import pytest

from galaxy_chain.dashboard import schema
from galaxy_chain.ledger.structs import Model
from galaxy_chain.verify.audit import Auditor
from galaxy_chain.verify.challenge import challenge
from galaxy_fl.content import ContentId, LocalStore
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.participants.report import Report
from galaxy_fl.vectors import tree_root
from tests.galaxy_chain.dashboard.served import served
from tests.galaxy_chain.federation import CHUNK, DOCUMENT, PARAMETERS
from tests.galaxy_chain.verify.trees import WRONG, commit_tree, large, off

ETHER = 10**18
HOSTILE = "<img src=x onerror=alert(1)> {{7*7}} ${x}"


@pytest.fixture
def paid(federation):
    federation.job = federation.register(pool=ETHER)
    return federation


def two_rounds(federation):
    federation.submit(0, 1, 2)
    federation.commit()
    federation.submit(0, 1, 2, seed=2)
    federation.commit(excluded=(2,))


def test_a_job_from_its_registration_to_the_end_of_its_money(paid):
    with served(paid) as asked:
        assert [row["job"] for row in asked.get("/jobs")["jobs"]] == [2, 1]
        begun = asked.job()
        assert (begun["name"], begun["status"], begun["round"], begun["clients"]) == ("made up", "running", 1, 0)
        assert begun["pool"]["rest"] == {"wei": str(ETHER), "ether": "1 ether"}
        assert asked.job("/rounds")["rounds"][0]["phase"] == "collecting"
        two_rounds(paid)
        asked.seen()
        first, second = asked.job("/rounds")["rounds"]
        assert [row["phase"] for row in (first, second)] == ["committed", "committed"]
        assert asked.verdict(1)["judgement"] == "right"
        # The third was excluded, though its update is there and right: an audit says so, too.
        verdict = asked.verdict(2)
        (objection,) = verdict["objections"]
        assert (verdict["judgement"], objection.split()[0]) == ("right", paid.clients[2])
        settles = first["attempts"][0]["settles_from"]
        assert settles == first["attempts"][0]["committed_at"] + 86_400
        paid.travel(90_000)
        auditor = Auditor(paid.ledger(), paid.store, paid.job)
        for number in (1, 2):
            paid.ledger(paid.owner).settle(paid.job, auditor.history.commits[number].record).transact()
        asked.seen()
        detail, rows = asked.job(), asked.job("/rounds")["rounds"]
        assert [row["phase"] for row in rows] == ["settled", "settled"]
        assert all(row["attempts"][0]["ended_by"].startswith("0x") for row in rows)
        assert (detail["status"], detail["settled"]) == ("finished", 2)
        one, _, three = asked.job("/participants")["participants"]
        # Half an ether a round, a fifth of it the server's: to three clients, then to two.
        assert int(one["earned"]["wei"]) == int(one["claimable"]["wei"]) == 4 * ETHER // 10 // 3 + 4 * ETHER // 10 // 2
        assert (one["rounds"], three["rounds"], three["excluded"]) == (2, 1, 1)
        (server,) = [each for each in detail["servers"] if each["rounds"]]
        assert (server["address"], int(server["earned"]["wei"])) == (paid.server, ETHER // 5)
        money = detail["pool"]
        assert int(money["pool"]["wei"]) == sum(
            int(money[part]["wei"]) for part in money if part not in ("pool", "final")
        )
        assert any("The pool has 1 ether" in sentence for sentence in detail["terms"]["words"])


def test_a_round_opened_names_all_that_another_needs_to_check_it(paid):
    two_rounds(paid)
    with served(paid) as asked:
        opened, entries = asked.job("/rounds/2"), asked.job("/rounds/2/entries")
        commit = Auditor(paid.ledger(), paid.store, paid.job).history.commits[2]
        assert opened["attempt"]["transaction"] == "0x" + commit.transaction.hex()
        assert opened["attempt"]["record"] == "0x" + commit.word.hex()
        assert (opened["head"], opened["model"]) == (commit.record.head.hex(), commit.record.next.root.hex())
        assert opened["check"] == f"galaxy-chain audit {paid.job}"
        [step] = asked.job("/rounds/2/nodes")["nodes"]  # no partial sums: the next model is made of all updates at once
        assert (step["node"], step["first_child"], step["last_child"], step["weight"]) == (0, 0, 2, 79)
        for entry, known in zip(entries["entries"], commit.entries, strict=True):
            assert (entry["client"], entry["commitment"]) == (known.client, known.update.commitment.hex())
            assert entry["included"] == (known.client != paid.clients[2])
            assert entry["here"]
            got = asked.http.get(opened["content"] + entry["content_id"])
            assert ContentId.of(got.content).cid == entry["content_id"]
        model = asked.http.get(opened["content"] + opened["model_id"]).content
        assert ContentId.of(model) == ContentId(commit.record.next.content, 4 * PARAMETERS)
        # Who handed them in, and what all of it cost, is asked of the node once somebody looks.
        asked.until(lambda: asked.job("/rounds/2/entries")["entries"][0]["lane"])
        (lane,) = {(e["lane"], e["by"] == e["client"]) for e in asked.job("/rounds/2/entries")["entries"]}
        assert lane == ("direct", True)
        gas = asked.until(lambda: asked.job("/rounds/2")["attempt"]["gas"]["total"])
        receipts = [paid.rpc.request("eth_getTransactionReceipt", e["transaction"]) for e in entries["entries"]]
        receipts.append(paid.rpc.request("eth_getTransactionReceipt", opened["attempt"]["transaction"]))
        assert gas == sum(int(receipt["gasUsed"], 16) for receipt in receipts)
        curve = {each["name"]: each["values"] for each in asked.job("/curves")["curves"]}
        assert (curve["updates"], curve["samples"]) == ([3, 2], [117, 79])


def test_a_lie_is_shown_with_both_values_and_with_the_transaction_that_punished_it(paid):
    with served(paid) as asked:
        paid.submit(0, 1, 2)
        wrong = paid.aggregate(paid.serve(), {})
        right = int(wrong[77])
        wrong[77] += 1
        paid.commit(wrong)
        lie = asked.verdict(1)["lie"]
        assert (lie["node"], lie["chunk"], lie["parameter"], lie["tensor"]) == (0, 77 // CHUNK, 77, "weight[5, 2]")
        assert (lie["committed"], lie["right"]) == (str(right + 1), str(right))
        assert lie["right_number"] == pytest.approx(right / 2**24)
        assert asked.verdict(1)["punishment"] is None
        auditor = Auditor(paid.ledger(), paid.store, paid.job)
        finder = paid.ledger(paid.clients[0])
        challenge(finder, auditor.verifier, paid.job, auditor.history, auditor.history.commits[1], 0, 77 // CHUNK)
        asked.seen()
        row, void = asked.job("/rounds")["rounds"]
        assert (void["phase"], void["attempts"][0]["ended_round"]) == ("reverted", 1)
        assert [each["phase"] for each in row["attempts"]] == ["reverted", "closed"]
        verdict = asked.verdict(1, attempt=1)
        punished = verdict["punishment"]
        assert verdict["lie"] == lie
        assert (punished["how"], punished["finder"], punished["server"]) == (
            "challenged", paid.clients[0], paid.server
        )  # fmt: skip
        assert int(punished["reward"]["wei"]) * 4 == int(punished["lost"]["wei"]) == ETHER
        receipt = paid.rpc.request("eth_getTransactionReceipt", punished["transaction"])
        assert receipt["status"] == "0x1"
        assert int(receipt["blockNumber"], 16) == punished["block"]
        assert asked.job()["wrong"] == [1]
        assert [each["barred"] for each in asked.job()["servers"]] == [True]
        # What is committed in its place is right, of the same updates.
        paid.commit(account=paid.owner)
        asked.seen()
        (row,) = [row for row in asked.job("/rounds")["rounds"] if row["round"] == 1]
        assert [(each["phase"], each["origin"]) for each in row["attempts"]] == [("reverted", 1), ("committed", 1)]
        assert asked.verdict(1)["judgement"] == "right"
        assert asked.job("/rounds/1")["entries"] == 3


@pytest.mark.parametrize("number", [1, 4])
def test_a_lie_in_a_tree_of_sums_is_found_in_its_node(federation, number):
    many = large(federation)
    commit_tree(many, off(number))
    with served(many) as asked:
        verdict = asked.verdict(1)
        lie = verdict["lie"]
        assert (lie["node"], lie["parameter"], lie["of_sum"]) == (number, WRONG, True)
        assert int(lie["committed"]) == int(lie["right"]) + 1
        nodes = asked.job("/rounds/1/nodes")
        assert (nodes["levels"], nodes["total"]) == ([3, 2, 1], 7)
        state = {each["node"]: each["state"] for each in nodes["nodes"]}
        assert state[number] == "wrong"
        # Whatever follows from it is right, and shown so.
        assert {each for each, found in state.items() if found != "right"} == {number}
        assert [each["node"] for each in asked.job("/rounds/1/nodes", from_=2, count=3)["nodes"]] == [3, 4, 5]


def test_a_right_tree_is_right_in_every_node(federation):
    many = large(federation)
    commit_tree(many, lambda vectors, weights: 0)
    with served(many) as asked:
        assert asked.verdict(1)["judgement"] == "right"
        nodes = asked.job("/rounds/1/nodes")["nodes"]
        assert [(each["node"], each["state"]) for each in nodes] == [(n, "right") for n in (1, 2, 3, 4, 5, 6, 0)]
        assert all(len(each["content_id"]) == 59 for each in nodes[:-1])
        entries = asked.job("/rounds/1/entries")["entries"]
        assert [entry["node"] for entry in entries] == [1, 1, 2, 2, 3, 3]


def test_hostile_names_and_notes_are_text_and_no_document_is_believed(federation):
    document = DOCUMENT.model_copy(update={"name": HOSTILE, "notes": HOSTILE * 100})
    hostile = federation.register(document)
    spec = federation.store.put(b"[" * 100_000).digest
    terms = federation.terms(spec=spec)
    content = federation.store.put(federation.initial.data)
    model = Model(tree_root(federation.initial, CHUNK), content.digest)
    federation.ledger(federation.owner).register_job(terms, model).transact()
    missing = federation.register()
    federation.store._object(ContentId(federation.ledger().job_of(missing).terms.spec, 100)).unlink()
    with served(federation) as asked:
        names = {row["job"]: row["name"] for row in asked.get("/jobs")["jobs"]}
        assert names[hostile] == HOSTILE
        assert asked.get(f"/jobs/{hostile}")["notes"] == HOSTILE * 100
        malformed = asked.get(f"/jobs/{hostile + 1}")
        assert (malformed["name"], malformed["document"]) == (None, None)
        assert "not a job document" in malformed["document_problem"]
        response = asked.http.get(f"/api/jobs/{hostile}")
        assert response.headers["content-type"] == "application/json"


def test_what_a_server_and_participants_measured_is_there_for_their_own_commits(paid, tmp_path):
    two_rounds(paid)
    history = Auditor(paid.ledger(), paid.store, paid.job).history
    reports = tmp_path / "reports"
    reports.mkdir()
    lines = [
        {"attempt": commit.attempt, "model": commit.record.next.root.hex(), "loss": 0.5, "accuracy": 0.25,
         "metrics": {HOSTILE: float(number)}, "gas": 1, "seconds": 2.0}
        for number, commit in history.commits.items()
    ]  # fmt: skip
    lines.append({"attempt": 1, "model": "00" * 32, "loss": 99.0})
    metrics = reports / f"{paid.deployment.ledger}-{paid.job}.jsonl"
    metrics.write_text("\n".join(map(json.dumps, lines)) + '\n{"half')
    digest = Auditor(paid.ledger(), paid.store, paid.job).document.digest
    for document, name in ((digest, "client mine"), ("00" * 32, "client of another job")):
        report = Report(job=str(paid.job), document=document, name="x", participant=name)
        report = report.model_copy(update={"rounds": [{"round": 2, "epsilon": 1.5}]})
        (reports / f"{name}.json").write_text(report.model_dump_json(warnings=False))
    (reports / "other.json").write_text("[1]")
    with served(paid, reports=reports) as asked:
        curves = {(each["source"], each["name"]): each["values"] for each in asked.job("/curves")["curves"]}
        assert curves["server", "loss"] == [0.5, 0.5]
        assert curves["server", HOSTILE] == [1, 2]
        assert curves["client mine", "epsilon"] == [None, 1.5]
        assert not any("another" in source for source, _ in curves)
        assert asked.job("/rounds/1")["attempt"]["measured"]["accuracy"] == 0.25


def test_a_page_of_a_long_list_says_where_the_next_begins(federation):
    for _ in range(4):
        federation.register()
    with served(federation) as asked:
        page = asked.get("/jobs", count=3)
        assert ([row["job"] for row in page["jobs"]], page["next"], page["total"]) == ([5, 4, 3], 2, 5)
        page = asked.get("/jobs", count=3, from_=page["next"])
        assert ([row["job"] for row in page["jobs"]], page["next"]) == ([2, 1], None)


def test_what_is_not_there_or_out_of_range_is_refused_by_name(paid):
    with served(paid) as asked:
        job = f"/jobs/{paid.job}"
        assert asked.refused("/jobs/99") == (404, "unknown_job", "there is no job 99: the ledger has 2")
        status, kind, detail = asked.refused(f"{job}/rounds/2")
        assert (status, kind) == (404, "not_found")
        assert "round 2 of job 2 has not begun: the newest is round 1" in detail
        assert asked.refused(f"{job}/rounds/1", attempt=2)[:2] == (404, "not_found")
        for path, query in [
            ("/jobs/0", {}), (f"/jobs/{2**63}", {}), ("/jobs/x", {}), (f"{job}/rounds/0", {}), ("/jobs", {"count": 51}),
            (f"{job}/rounds", {"count": 0}), (f"{job}/participants", {"from": -1}), (f"{job}/curves", {"points": 1}),
        ]:  # fmt: skip
            assert asked.refused(path, **query)[:2] == (422, "invalid"), path
        assert asked.http.get("/docs").status_code == asked.http.get("/api/nothing").status_code == 404
        assert asked.http.get("/static/../server.py").status_code == 404
        assert (
            asked.http.get("/api/content/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy").status_code
            == 404
        )


def test_the_api_describes_itself_and_answers_as_it_says(paid):
    with served(paid) as asked:
        described = asked.get("/openapi.json")
        assert described["info"]["title"] == "Galaxy dashboard"
        assert {method for path in described["paths"].values() for method in path} <= {"get", "head"}
        for path, model in [
            ("/ledger", schema.Ledger), ("/jobs", schema.Jobs), ("/jobs/2", schema.JobDetail),
            ("/jobs/2/rounds", schema.Rounds), ("/jobs/2/rounds/1", schema.RoundDetail),
            ("/jobs/2/participants", schema.Participants), ("/jobs/2/curves", schema.Curves),
        ]:  # fmt: skip
            model.model_validate_json(asked.http.get(f"/api{path}").content)
        assert set(described["components"]["schemas"]) >= {"JobDetail", "RoundDetail", "Verdict", "Lie"}


def test_it_listens_to_this_machine_alone_unless_told(federation):
    from galaxy_chain.dashboard.ledger import Source
    from galaxy_chain.dashboard.server import Dashboard

    source = Source(
        ledger=federation.ledger(), store=LocalStore(federation.store.root), store_name="x", home=federation.store.root
    )
    for name in ("http://board.example", "board.example/jobs", "bücher.example", "*", ""):
        with pytest.raises(ConfigurationError, match="is not a name by which browsers ask for a host"):
            Dashboard(source, names=[name])
    for host in ("0.0.0.0", "::", ""):
        with pytest.raises(ConfigurationError, match="add --public if they may see"):
            Dashboard(source, host)
