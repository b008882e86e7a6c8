"""Jobs as users run them by hand: a process each for node, server and clients, and an audit at the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from eth_utils.address import to_checksum_address
from safetensors.torch import load_file

from galaxy_chain.following.follower import JobFollower
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.deployment import Deployment
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_chain.transactions.manager import Transactions
from galaxy_fl.content import ContentId, LocalStore
from tests.end_to_end.forked import Forked
from tests.end_to_end.processes import Program, children_of, run, wait_until_alone

# One worker, so that the undisturbed job runs once: pytest -n 2 --dist loadgroup.
pytestmark = pytest.mark.xdist_group("jobs")

JOB = """\
name = "by hand"
[model]
builtin = "mlp"
options = { hidden = 8 }
[train]
learning_rate = 0.1
[terms]
rounds = 2
open = true
server = "anyone"
min_clients = 2
max_clients = 2
"""


class Party:
    """A ledger of its own, one job on it, and those who take part, with the node's first accounts.

    Registering the job of another party again spares the seconds that describing its model takes.
    """

    def __init__(self, folder: Path, url: str, job_of: Party | None = None) -> None:
        self.folder, self.url = folder, url
        self.run("deploy", "--account", "dev:0")
        if job_of is None:
            (folder / "job.toml").write_text(JOB)
            self.job = self.run("job", "create", "job.toml", "--account", "dev:0")["job"]
        else:
            self.job = self._register(job_of)

    def ledger(self) -> LedgerContract:
        rpc = Rpc(self.url)
        where = Deployment.read(self.folder / ".galaxy" / "ledger.json")
        owner = NodeSigner(to_checksum_address(rpc.request("eth_accounts")[0]))
        return LedgerContract(rpc, where.ledger, Transactions(rpc, owner), first_block=where.block)

    def _register(self, other: Party) -> int:
        known = JobFollower(other.ledger(), other.job).history
        theirs, ours = (LocalStore(party.folder / ".galaxy" / "store") for party in (other, self))
        ours.put(theirs.block(known.terms.spec))
        ours.put(theirs.path(ContentId(known.initial.content, 4 * known.terms.parameters)))
        rule = Deployment.read(self.folder / ".galaxy" / "ledger.json").rules["weighted_mean"]
        ledger = self.ledger()
        ledger.register_job(replace(known.terms, rule=rule), known.initial).transact()
        return ledger.jobs()

    def run(self, *arguments, **variables):
        return run(self.folder, *arguments, GALAXY_RPC=self.url, **variables)

    def start(self, *arguments, program=Forked, **variables):
        more = ["--job", self.job, "--poll", 0.1, "--json"]
        return program(self.folder, *arguments, *more, GALAXY_RPC=self.url, **variables)

    def server(self, *more, program=Forked):
        return self.start("server", "--account", "dev:1", *more, program=program)

    def client(self, number, *more, program=Forked):
        """One of two clients, who share a tenth of the digits."""
        account, shard = f"dev:{1 + number}", f"{number}/20"
        return self.start("client", "--account", account, "--data", "digits", "--shard", shard, *more, program=program)

    def finish(self):
        """Audits, and gives the final model as the ledger has it."""
        audited = [line for line in self.run("audit", self.job) if "right" in line]
        shown = self.run("job", "show", self.job)
        assert [line["round"] for line in audited] == [1, 2]
        assert shown["status"] == "finished"
        assert shown["rounds"][-1]["model"] == shown["model"] == audited[-1]["model"]
        return shown["model"]


def end(program):
    """What a program says when its job is over; a server may stay on."""
    return json.loads(program.line('"finished"'))


@pytest.fixture(scope="session")
def undisturbed(embedded_url, tmp_path_factory):
    """A job in which nothing happens, finished."""
    party = Party(tmp_path_factory.mktemp("undisturbed"), embedded_url)
    with party.server("--data", "digits") as server, party.client(1) as first, party.client(2) as second:
        finished = [end(program) for program in (server, first, second)]
    party.model = party.finish()
    assert {(said["event"], said["rounds"], said["model"]) for said in finished} == {("finished", 2, party.model)}
    rounds = party.run("job", "show", party.job)["rounds"]
    assert all(0 <= row["accuracy"] <= 1 and row["gas"] > 21_000 for row in rounds)
    (listed,) = party.run("job", "list")
    assert (listed["job"], listed["name"], listed["status"]) == (party.job, "by hand", "finished")
    return party


def test_everybody_leaves_the_final_model_and_a_report_of_its_own(undisturbed):
    """A server and two clients, in terminals of one folder."""
    folder, job = undisturbed.folder, undisturbed.job
    final = torch.load(folder / f"final_model_pars_{job}", weights_only=True)
    modes = {path.stat().st_mode for path in folder.glob(f"final_model_pars_{job}*")}
    assert len(modes) == 1, "both files are readable by the same people"
    for name, tensor in load_file(folder / f"final_model_pars_{job}.safetensors").items():
        assert torch.equal(tensor, final[name])
    undisturbed.run("job", "export", job, "--to", "exported.pt")
    exported = torch.load(folder / "exported.pt", weights_only=True)
    assert exported.keys() == final.keys()
    assert all(torch.equal(exported[name], final[name]) for name in final)
    accounts = Rpc(undisturbed.url).request("eth_accounts")
    reports = {}
    for who, number in (("server", 1), ("client", 2), ("client", 3)):
        name = f"report_{job}_{who}_{to_checksum_address(accounts[number])}"
        assert (folder / f"{name}.svg").read_text().startswith("<svg ")
        reports[number] = json.loads((folder / f"{name}.json").read_text())
    assert len({report["final_model"] for report in reports.values()}) == 1
    assert [line["updates"] for line in reports[1]["rounds"]] == [2, 2]
    assert all(line["test"]["samples"] == 360 for line in reports[1]["rounds"])
    for number in (2, 3):
        assert [line["train"]["samples"] for line in reports[number]["rounds"]] == [72, 72]
    assert not list(folder.glob(".galaxy-*"))


def test_whoever_is_interrupted_or_killed_goes_on_where_it_was(embedded_url, folder, undisturbed):
    party = Party(folder, embedded_url, undisturbed)
    with ExitStack() as stack:
        server = stack.enter_context(party.server(program=Program))
        client = stack.enter_context(party.client(1, program=Program))
        client.line('"trained"')
        server.line('"collecting"')
        for program in (server, client):
            code, _, errors = program.interrupt()
            assert code == 130
            assert errors == "stopped; the same command continues where it was\n"
            wait_until_alone(program.process.pid)
        # Started again, the server last; the first client trains nothing that is in already.
        client, killed = stack.enter_context(party.client(1)), stack.enter_context(party.client(2, program=Program))
        killed.line('"started"')
        os.kill(killed.process.pid, signal.SIGKILL)
        wait_until_alone(killed.process.pid)
        late = stack.enter_context(party.client(2))
        server = stack.enter_context(party.server())
        assert json.loads(client.line('"trained"'))["round"] == 2
        assert {end(program)["model"] for program in (server, client, late)} == {undisturbed.model}
    assert party.finish() == undisturbed.model


def test_an_altered_bit_in_any_stored_vector_is_found(undisturbed):
    folder = undisturbed.folder
    vectors = [path for path in (folder / ".galaxy" / "store" / "objects").glob("*/*") if path.stat().st_size > 2_000]
    assert len(vectors) == 7  # three models and two updates a round
    for number, path in enumerate(vectors):
        good = path.read_bytes()
        altered = bytearray(good)
        altered[(number * 977) % len(good)] ^= 1 << number
        path.chmod(0o644)
        path.write_bytes(altered)
        with Forked(folder, "audit", undisturbed.job, GALAXY_RPC=undisturbed.url) as audit:
            code, _, errors = audit.finish(check=False)
        assert code == 7
        assert path.name in errors
        path.write_bytes(good)
    assert undisturbed.finish() == undisturbed.model


def everybody_twice(party, *first, **variables):
    """Two servers, and the first of the clients, who starts with these arguments, twice."""
    elsewhere = ["--home", "elsewhere", "--ledger", ".galaxy/ledger.json", "--store", ".galaxy/store"]
    data = ["--data", "digits", "--shard", "1/20"]
    with ExitStack() as stack:
        servers = [stack.enter_context(party.server(*more)) for more in ((), elsewhere)]
        twice = [
            stack.enter_context(party.start("client", *first, *data, *more, program=program, **variables))
            for program, more in ((Program, ()), (Forked, elsewhere))
        ]
        twice[0].line('"started"')
        for pid in children_of(twice[0].process.pid):
            if pid != twice[0].process.pid:
                for secret in variables.values():
                    assert secret.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        other = stack.enter_context(party.client(2))  # last: without it no round ends before all are there
        return {end(program)["model"] for program in (*servers, *twice, other)}


@pytest.mark.extended
def test_two_servers_and_twice_the_same_client_at_once(embedded_url, folder, undisturbed):
    party = Party(folder, embedded_url, undisturbed)
    assert everybody_twice(party, "--account", "dev:2") == {undisturbed.model}
    assert party.finish() == undisturbed.model


def test_on_anvil_with_two_servers_and_a_keystores_account_twice_at_once_the_final_model_is_the_same(
    anvil_url, folder, undisturbed
):
    sesame = {"GALAXY_PASSWORD": "sesame"}
    party = Party(folder, anvil_url, undisturbed)
    address = party.run("account", "new", "alice", **sesame)["address"]
    with party.start("server", "--account", "alice", **sesame) as poor:
        code, _, errors = poor.finish(check=False)
    assert code == 26
    assert f"{address} can't pay" in errors
    party.ledger().transactions.send(address, b"", 10**18)
    shutil.copytree(folder / ".galaxy" / "keystore", folder / "elsewhere" / "keystore")
    assert everybody_twice(party, "--account", "alice", **sesame) == {undisturbed.model}
    assert party.finish() == undisturbed.model
    assert address in party.run("job", "show", party.job)["clients"]
