"""galaxy-chain client --shards: the clients of one operator in one process."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

from galaxy_chain.coordinators import shared_job
from tests.end_to_end.processes import Program
from tests.galaxy_chain.cli.test_cli import JOB, create, serving

THREE = JOB.replace("rounds = 1", "rounds = 2").replace("_clients = 1", "_clients = 3")
OUTPUT = ("--output", "out")


def hosting(job, accounts="dev:5-7", shards="1-3/20", *more):
    return ["client", "--job", job, "--data", "digits", "--shards", shards, "--accounts", accounts, "--poll", 0.05,
            "--content-timeout", 0.1, "--lane", "direct", *OUTPUT, *more]  # fmt: skip


def test_many_clients_take_part_in_one_process(at_ledger, federation):
    job = create(at_ledger, THREE)
    with serving(federation, job):
        said = at_ledger.json(*hosting(job))
    accounts = {line["client"]: line["account"] for line in said if line["event"] == "started"}
    assert accounts == {str(number): federation.node.accounts[4 + number] for number in (1, 2, 3)}
    trained = [(line["client"], line["round"]) for line in said if line["event"] == "trained"]
    assert sorted(trained) == [(client, round) for client in "123" for round in (1, 2)]
    assert sorted(line["client"] for line in said if line["event"] == "finished") == ["1", "2", "3"]
    left = {path.name for path in Path("out").iterdir()}
    assert left == {f"final_model_pars_{job}", f"final_model_pars_{job}.safetensors"} | {
        f"report_{job}_client_{client}.json" for client in "123"
    }
    report = json.loads(Path("out", f"report_{job}_client_2.json").read_text())
    assert [line["round"] for line in report["rounds"]] == [1, 2]


def test_accounts_are_in_a_file_and_one_that_fails_leaves_the_others_alone(at_ledger, federation):
    job = create(at_ledger, THREE.replace("open = true", "open = false").replace("_clients = 3", "_clients = 2"))
    admitted = [federation.node.accounts[number] for number in (5, 7)]
    assert at_ledger.run("job", "admit", job, *admitted, "--account", "dev:0") == 0
    Path("accounts").write_text("dev:5\ndev:6  # not admitted\ndev:7\n")
    with serving(federation, job):
        assert at_ledger.run(*hosting(job, "accounts"), "--json") == 28
    said = [json.loads(line) for line in at_ledger.out.splitlines()]
    assert sorted(line["client"] for line in said if line["event"] == "finished") == ["1", "3"]
    assert [line["client"] for line in said if line["event"] == "failed"] == ["2"]
    assert re.search(r"^1 of 3 clients failed:\n +2  0x\w+ is not admitted to job", at_ledger.err, re.MULTILINE)


def test_clients_that_were_killed_go_on_where_they_were(at_ledger, federation):
    job = create(at_ledger, THREE)
    variables = {"GALAXY_RPC": federation.rpc.urls[0], "GALAXY_STORE": str(federation.store.root)}
    with serving(federation, job):
        with Program(at_ledger.folder, *hosting(job), "--json", **variables) as program:
            program.line('"trained"')
            program.kill()
        with Program(at_ledger.folder, *hosting(job), "--json", **variables) as program:
            program.line('"started"')
            code, _, errors = program.interrupt()
            assert (code, "Traceback" in errors) == (128 + signal.SIGINT, False), errors
        said = at_ledger.json(*hosting(job))
    assert sorted(line["client"] for line in said if line["event"] == "finished") == ["1", "2", "3"]


def test_a_reason_that_all_have_in_common_is_given_once(at_ledger):
    job = create(at_ledger, THREE)
    Path("taken").write_text("a file")
    assert at_ledger.run(*hosting(job), "--output", "taken", "--json") == 2
    table = at_ledger.err.partition("clients failed:\n")
    assert table[0].endswith("3 of 3 "), at_ledger.err
    assert re.fullmatch(r" +1, 2, 3  \S+taken can't be used .*\n", table[2]), at_ledger.err


def test_what_does_not_fit_is_refused_before_anything_begins(at_ledger):
    job = create(at_ledger, THREE)
    at_ledger.fails(24, "there are 2 accounts in 'dev:5-6' for 3 clients", *hosting(job, "dev:5-6"))
    at_ledger.fails(24, "expected a file with a name or an address a line", *hosting(job, "nowhere"))
    at_ledger.fails(2, "shards", *hosting(job, shards="3-1/20"))
    alone = ["client", "--job", job, "--data", "digits"]
    at_ledger.fails(2, "need both --shards and --accounts", *alone, "--shards", "1-3/20", "--account", "dev:5")
    at_ledger.fails(2, "need both --shards and --accounts", *alone, "--accounts", "dev:5-7")


def test_the_same_by_the_public_client(at_ledger, federation, monkeypatch):
    import galaxy_chain
    import galaxy_fl as galaxy

    job = create(at_ledger, THREE)
    told = []
    ledger = galaxy_chain.Ledger(
        federation.rpc.urls[0], accounts="dev:5-7", home=".galaxy", store=str(federation.store.root)
    )
    hosts = galaxy.Client(
        data="digits", shards="1-3/20", at=ledger, jobs=[job], output="out", poll=0.05, lane="direct",
        listeners=[lambda event, job: told.append(event)],
    )  # fmt: skip
    with serving(federation, job):
        outcomes = hosts.run()
    assert sorted((outcome.client, outcome.error) for outcome in outcomes) == [("1", None), ("2", None), ("3", None)]
    assert len([event for event in told if event.event == "trained"]) == 3 * 2
    assert not shared_job._lent


def test_clients_of_one_process_share_a_follower_though_each_names_the_ledger(at_ledger, federation):
    import galaxy_chain

    job = create(at_ledger, THREE)
    ledgers = [
        galaxy_chain.Ledger(
            federation.rpc.urls[0], account=f"dev:{number}", home=".galaxy", store=str(federation.store.root)
        )
        for number in (5, 6)
    ]
    one, other = (ledger.client_places("0", jobs=(job,))[0].open(str(job)) for ledger in ledgers)
    try:
        assert one._shared is other._shared
    finally:
        one.close()
        assert shared_job._lent
        other.close()
        other.close()  # twice does nothing
    assert not shared_job._lent
