"""The command line: settings, and what a user gets to read for each mistake. Nothing is lost by any of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from eth_account import Account

from galaxy_chain.cli.commands import Deferred
from galaxy_chain.cli.main import application
from galaxy_chain.demo.job import example_job
from galaxy_chain.ledger.deployment import Deployment
from galaxy_chain.settings_file import SETTINGS, read_settings
from galaxy_chain.transactions.accounts import LocalSigner
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.rounds.coordinator import Phase
from galaxy_fl.rounds.server import run_server
from tests.galaxy_chain.federation import DOCUMENT, alter, made_up

JOB = """\
name = "tiny"
[model]
builtin = "mlp"
options = { hidden = 4 }
[train]
learning_rate = 0.1
[terms]
rounds = 1
open = true
server = "anyone"
min_clients = 1
max_clients = 1
"""


# ---- Settings


def test_flags_come_before_variables_before_the_file_before_defaults(terminal, deployment, monkeypatch):
    deployment.write(terminal.folder / ".galaxy" / "ledger.json")

    def asked(*flags):
        terminal.run("job", "list", *flags)
        return re.search(r"answers at (\S+)", terminal.err)[1]

    # Not asked for: another program may be listening there.
    listing = application().commands["job"].commands["list"].load()
    assert {option.name: option.default for option in listing.params}["rpc"] == "http://127.0.0.1:8545"
    Path("galaxy.toml").write_text('rpc = "http://127.0.0.1:1"')
    assert asked() == "http://127.0.0.1:1"
    monkeypatch.setenv("GALAXY_RPC", "http://127.0.0.1:2")
    assert asked() == "http://127.0.0.1:2"
    assert asked("--rpc", "http://127.0.0.1:3") == "http://127.0.0.1:3"


@pytest.mark.parametrize("name", sorted(SETTINGS - {"trust"}))
def test_every_setting_is_an_option_with_a_variable(name):
    def options(command):
        for inner in getattr(command, "commands", {}).values():
            yield from options(inner)
        command = command.load() if isinstance(command, Deferred) else command
        yield from (parameter for parameter in command.params if parameter.name == name)

    variables = {parameter.envvar for parameter in options(application())} - {None}
    assert variables == {f"GALAXY_{name.upper()}"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("colour = 1", "there is no setting colour: there are account, data_root, device,"),
        ("rpc =", "galaxy.toml can't be read"),
        (b"\xff", "galaxy.toml can't be read"),
    ],
)
def test_a_settings_file_that_is_wrong(terminal, content, said):
    Path("galaxy.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    terminal.fails(2, said, "job", "list")


def test_a_setting_of_a_wrong_type_is_a_usage_error(terminal):
    Path("galaxy.toml").write_text('threads = "many"')
    terminal.fails(2, "Invalid value for '--threads'", "client", "--job", 1, "--data", "digits")


def test_no_settings_file_is_no_settings(tmp_path):
    assert read_settings(tmp_path / "galaxy.toml") == {}
    with pytest.raises(ConfigurationError):
        read_settings(tmp_path)


# ---- Wrong usage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["job", "nonsense"], "No such command 'nonsense'"),
        (["job", "show"], "Missing argument 'job'"),
        (["job", "show", "x"], "Invalid value for 'job'"),
        (["job", "show", "0"], "Invalid value for 'job'"),
        (["job", "show", "1" + "0" * 80], "Invalid value for 'job'"),
        (["audit", "--", "-1"], "Invalid value for 'job'"),
        (["client", "--job", "1"], "Missing option '--data'"),
        (["client", "--data", "digits"], "Missing option '--job'"),
        (["client", "--job", "1", "--data", "digits", "--poll", "inf"], "Invalid value for '--poll'"),
        (["server", "--job", "1", "--threads", "0"], "Invalid value for '--threads'"),
        (["server", "--job", "1", "--nonsense"], "No such option"),
        (["demo", "--clients", "0"], "Invalid value for '--clients'"),
        (["demo", "--chain", "mainnet"], "Invalid value for '--chain'"),
        (["node", "--port", "99999"], "Invalid value for '--port'"),
    ],
)
def test_wrong_usage(terminal, arguments, said):
    terminal.fails(2, said, *arguments)


def test_a_demonstration_on_a_chain_that_is_not_installed(terminal, monkeypatch):
    monkeypatch.setenv("PATH", str(terminal.folder))
    missing = r"anvil is not on the PATH: install Foundry .*, or use the embedded chain"
    terminal.fails(2, missing, "demo", "--chain", "anvil", "--json")


def test_a_demonstration_of_a_lie_with_no_round_to_lie_in(terminal):
    missing = "does so in round 2, and there is only 1: give --rounds 2 or more"
    terminal.fails(2, missing, "demo", "--cheat", "--rounds", "1", "--json")


@pytest.mark.parametrize(
    ("change", "arguments", "code", "said"),
    [
        ({}, ["JOB"], 2, "job.toml says nothing of data: name those"),
        ({}, ["--data", "digits"], 2, "--data digits is for a job of your own: name its file"),
        ({}, ["--test-data", "digits"], 2, "--test-data digits is for a job of your own"),
        ({}, ["--partition", "iid"], 2, "--partition iid is for a job of your own"),
        ({}, ["JOB", "--data", "nonsense"], 8, "unknown data set 'nonsense': use one of"),
        ({}, ["JOB", "--data", "digits", "--test-data", "nonsense"], 8, "unknown data set 'nonsense': use one of"),
        ({}, ["JOB", "--data", "digits", "--partition", "some"], 2, "partition 'some': expected 'iid'"),
        ({}, ["JOB", "--data", "digits", "--verify", "some"], 2, "'some' is not a way to verify: expected branch"),
        ({"weighted_mean": "relay"}, ["JOB", "--data", "digits", "--cheat"], 2, "the ledger itself takes no other"),
        (
            {"min_clients = 4": "min_clients = 1001", "max_clients = 4": ""},
            ["JOB", "--data", "digits"],
            2,
            "1000 clients",
        ),
        ({"name": f"name = {'[' * 2000}"}, ["JOB", "--data", "digits"], 3, "job.toml is not valid TOML: "),
        ({}, ["JOB", "--data", "digits", "--cheat", "--rounds", "1"], 2, "there is only 1: give --rounds 2 or more"),
        ({"[rule]": "[rules]"}, ["JOB", "--data", "digits"], 3, "job.toml:[0-9]+: rules: there is no such key"),
        ({"name": 'seal = "members"\nname'}, ["JOB", "--data", "digits"], 2, "nobody in a demonstration has a key"),
        ({"name": 'start = "7:12"\nname'}, ["JOB", "--data", "digits"], 2, "no other job on a demonstration's ledger"),
    ],
)
def test_a_job_that_a_demonstration_can_not_try(terminal, change, arguments, code, said):
    text = example_job()
    for old, new in change.items():
        text = text.replace(old, new, 1)
    path = terminal.folder / "job.toml"
    path.write_text(text)
    words = [str(path) if argument == "JOB" else argument for argument in arguments]
    terminal.fails(code, said, "demo", *words, "--json")


def test_a_demonstration_replaces_no_ledger_that_counts(terminal):
    home = terminal.folder / "prod"
    ledger = Deployment(chain_id=1, ledger="0x" + "11" * 20, rules={}, block=7)
    ledger.write(home / "ledger.json")
    said = "is that of the ledger 0x1{40} on chain 1, and a demonstration would replace it: give it a folder of its own"
    terminal.fails(2, said, "demo", "--home", home, "--json")
    assert Deployment.read(home / "ledger.json") == ledger


def test_a_demonstration_has_a_folder_of_its_own_whatever_the_settings_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("galaxy.toml").write_text('home = "prod"\ndevice = "cuda"\n')
    given = Deferred("demo", "demo:demo", "").make_context("demo", []).params
    assert (given["place"], given["device"]) == (Path(".galaxy/demo"), "cuda")


EVERYTHING = [
    ["job", "list"],
    ["job", "show", 1],
    ["job", "create", "job.toml", "--account", "dev:0"],
    ["job", "admit", 1, "0x" + "12" * 20, "--account", "dev:0"],
    ["job", "cancel", 1, "--account", "dev:0"],
    ["audit", 1],
    ["server", "--job", 1, "--account", "dev:0"],
    ["client", "--job", 1, "--data", "digits", "--account", "dev:0"],
]


@pytest.mark.parametrize("arguments", EVERYTHING, ids=lambda arguments: "-".join(map(str, arguments[:2])))
def test_no_ledger_no_node_another_chain_and_no_code(terminal, federation, arguments, monkeypatch):
    Path("job.toml").write_text(JOB)
    deployment, path = federation.deployment, terminal.folder / ".galaxy" / "ledger.json"
    monkeypatch.setenv("GALAXY_RPC", federation.rpc.url)
    terminal.fails(22, r".galaxy/ledger.json is missing; deploy one with `galaxy-chain deploy`", *arguments)
    deployment.model_copy(update={"chain_id": 5}).write(path)
    terminal.fails(21, "is a node of chain 1337, but the ledger is on chain 5: name a node of that chain", *arguments)
    deployment.model_copy(update={"ledger": "0x" + "11" * 20}).write(path)
    terminal.fails(22, "there is no contract at 0x1111.* on chain 1337: deploy a ledger", *arguments)
    deployment.write(path)
    terminal.fails(
        20,
        "no Ethereum node answers at http://127.0.0.1:1 .*galaxy-chain node",
        *arguments,
        "--rpc",
        "http://127.0.0.1:1",
    )
    path.write_text("{}")
    terminal.fails(2, "ledger.json is not a ledger file: chain_id: Field required", *arguments)


@pytest.mark.parametrize("arguments", [e for e in EVERYTHING if 1 in e], ids=lambda e: "-".join(map(str, e[:2])))
def test_a_job_that_does_not_exist(at_ledger, arguments):
    there_is_none = [999 if argument == 1 else argument for argument in arguments]
    at_ledger.fails(23, "there is no job 999 on this ledger: `galaxy-chain job list` shows", *there_is_none)


def test_no_account_and_unknown_accounts(at_ledger, monkeypatch):
    at_ledger.fails(24, "no account is named: give --account NAME", "server", "--job", 1)
    at_ledger.fails(
        24, "there is no account bob in .*galaxy-chain account new bob", "server", "--job", 1, "--account", "bob"
    )
    at_ledger.fails(24, "unlocked accounts, no dev:99", "server", "--job", 1, "--account", "dev:99")
    at_ledger.fails(2, "'bob' is not an address", "job", "admit", 1, "bob", "--account", "dev:0")
    monkeypatch.setenv("GALAXY_KEY", "nonsense")
    at_ledger.fails(24, "GALAXY_KEY holds no private key", "server", "--job", 1)


def test_a_home_that_is_a_file(terminal, monkeypatch):
    Path("home").write_text("")
    monkeypatch.setenv("GALAXY_PASSWORD", "x")
    terminal.fails(24, "can't be written: Not a directory", "account", "new", "bob", "--home", "home")
    terminal.fails(6, "Not a directory|name a folder", "store", "list", "--home", "home")


def test_a_password_without_a_terminal(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115
    terminal.fails(24, "no terminal to ask for a password: set GALAXY_PASSWORD", "account", "new", "bob")
    sys.stdin.close()


# ---- Jobs


def create(terminal, text=JOB):
    Path("job.toml").write_text(text)
    return terminal.json("job", "create", "job.toml", "--account", "dev:0")["job"]


def client(job, account="dev:5", *more):
    return ["client", "--job", job, "--data", "digits", "--shard", "1/20", "--account", account, "--poll", 0.05,
            "--content-timeout", 0.1, *more]  # fmt: skip


@contextmanager
def serving(federation, job):
    """A real server of the job, in a thread, until it is finished."""
    federation.job = job
    end = []
    server = federation.serve()
    server.leave = True
    thread = threading.Thread(target=lambda: end.append(run_server(server)))
    thread.start()
    yield
    thread.join(300)
    assert [round.phase for round in end] == [Phase.FINISHED]


def finishes(terminal, federation, job, *more):
    """The job can still be finished by this client."""
    with serving(federation, job):
        said = terminal.json(*client(job, *more))
    assert said[-1]["event"] == "finished"
    assert terminal.json("audit", job)[0]["right"] is True


def test_a_job_by_hand(at_ledger, federation):
    job = create(at_ledger)
    listed = at_ledger.json("job", "list")
    assert (listed[-1]["job"], listed[-1]["name"], listed[-1]["status"]) == (job, "tiny", "running")
    with serving(federation, job):
        said = at_ledger.json(*client(job))
    assert [line["event"] for line in said if line["event"] != "waiting"] == [
        "started",
        "training",
        "trained",
        "finished",
    ]
    shown = at_ledger.json("job", "show", job)
    assert (shown["status"], shown["clients"]) == ("finished", {federation.node.accounts[5]: 72})
    assert shown["rounds"][0]["model"] == shown["model"] == said[-1]["model"]
    assert at_ledger.json("audit", job)[0]["model"] == said[-1]["model"]
    for people in (["job", "list"], ["job", "show", job], ["audit", job], ["store", "list"], ["store", "verify"]):
        assert at_ledger.run(*people) == 0
        assert at_ledger.out
    assert at_ledger.run(*client(job)) == 0  # whoever comes late is told the end
    assert json.loads(at_ledger.out)["event"] == "finished"


def test_job_files_that_are_wrong_register_nothing(at_ledger):
    before = at_ledger.json("job", "list")
    for change, said in [
        (("rounds = 1", "rounds = 1\ncolour = 1"), r"job.toml:9: terms.colour: there is no such key"),
        (("rounds = 1", 'rounds = "1"'), r"job.toml:8: terms.rounds: Input should be a valid integer \(found '1'\)"),
        (('"mlp"', '"mpl"'), "unknown builtin model 'mpl'"),
        (("hidden = 4", "hiden = 4"), "hiden"),
        (("learning_rate = 0.1", 'optimizer = "Sdg"'), "train: .*Sdg.*SGD"),
        (("learning_rate = 0.1", 'loss = "Nonsense"'), "train: .*Nonsense"),
        (("learning_rate = 0.1", "optimizer_options = { momentun = 1.0 }"), "train: .*momentun"),
        (("[model]", "[fraction_bits]\n'9.*' = 4\n[model]"), r"'9\.\*', which fits none of the model's 4 tensors"),
        (("[model]", "[fraction_bits]\n'1.*' = 99\n[model]"), r"fraction_bits of '1\.weight' is 99"),
        (("[model]", "[fraction_bits]\n'1.*' = 31.5\n[model]"), r"job.toml:2: fraction_bits\.1\.\*: .*integer"),
    ]:
        Path("job.toml").write_text(JOB.replace(*change))
        at_ledger.fails(3, said, "job", "create", "job.toml", "--account", "dev:0")
    at_ledger.fails(3, "the job file nowhere.toml can't be read", "job", "create", "nowhere.toml", "--account", "dev:0")
    assert at_ledger.json("job", "list") == before


def test_what_was_chosen_for_a_job_is_shown(at_ledger, federation):
    owner = federation.node.accounts[0]
    text = JOB.replace('server = "anyone"\n', "").replace("max_clients = 1\n", "")
    parts = 'seal = "members"\npersonal = ["3.*"]\n'
    Path("job.toml").write_text(parts + text.replace("open = true", "open = false"))
    terms = at_ledger.json("job", "create", "job.toml", "--account", "dev:0")["terms"]
    assert (terms["server"], terms["open"], terms["max_clients"]) == (owner, False, terms["max_excluded"] + 1)
    assert at_ledger.run("job", "create", "job.toml", "--account", "dev:0") == 0
    for said in (f"{owner} (this account)", "only whom its owner admits", "0.02 ether", "members", "3.weight, 3.bias"):
        assert said in at_ledger.out
    assert "open is true" not in at_ledger.err
    Path("job.toml").write_text(JOB + 'answer_seconds = 1\nbond = "3 ether"\n')
    assert at_ledger.run("job", "create", "job.toml", "--account", "dev:0") == 0
    assert "anyone with a bond" in at_ledger.out
    for said in ("open is true", "no server is named", "answer_seconds is 1", "bond is 3 ether"):
        assert f"warning: {said}" in at_ledger.err


def test_a_private_job_shows_what_its_clients_have_published(at_ledger):
    private = '[privacy]\nmode = "update"\nclip = 1.0\nnoise_multiplier = 2.0\ndelta = 1e-5\n\n[terms]'
    Path("job.toml").write_text(JOB.replace("[terms]", private))
    job = at_ledger.json("job", "create", "job.toml", "--account", "dev:0")["job"]
    shown = at_ledger.json("job", "show", job)["privacy"]
    assert (shown["mode"], shown["clip"], shown["delta"], shown["clients"]) == ("update", 1.0, 1e-5, {})
    assert at_ledger.run("job", "show", job) == 0
    assert "trainings published" in at_ledger.out
    for said in ("builtin mlp", "name weighted_mean", "mode update", "noise_multiplier 2.0, delta 1e-05, clip 1.0"):
        assert said in at_ledger.out  # what the document says, beside the terms of the ledger


def test_what_it_costs_is_shown_at_a_price_of_gas(at_ledger):
    Path("job.toml").write_text(JOB + 'reward = "1 ether"\nbond = "8 ether"\n')
    create = ("job", "create", "job.toml", "--account", "dev:0")
    said = at_ledger.json(*create, "--gas-price", 20)
    assert all(cost["wei"] == 20 * 10**9 * cost["gas"] > 0 for cost in said["costs"])
    assert said["lie"] == {"bond": 8 * 10**18, "finder": 2 * 10**18, "rounds": 10**17, "takes": 9 * 10**17}
    assert at_ledger.run(*create, "--gas-price", 20) == 0
    own = "at 20 gwei.*a round: an update, by its own transaction +a client +54000 +0.00108 ether"
    assert re.search(own, at_ledger.out, re.DOTALL)
    assert re.search(r"a round: relaying \d+ signed updates +who relays, mostly the server +\d+ ", at_ledger.out)
    assert "costs its server the bond of 8 ether: 2 ether of it" in at_ledger.out
    assert re.search("up to 0.1 ether, and clients up to 0.9 ether", at_ledger.out)
    on_chain = at_ledger.json(*create)["costs"]
    assert [cost["gas"] for cost in on_chain] == [cost["gas"] for cost in said["costs"]]
    assert 0 < on_chain[0]["wei"] < said["costs"][0]["wei"]
    at_ledger.fails(2, "Invalid value for '--gas-price'", *create, "--gas-price", -1)


def test_terms_that_can_not_work_are_not_registered(at_ledger):
    before = at_ledger.json("job", "list")
    Path("job.toml").write_text(
        JOB.replace("[terms]", '[rule]\nname = "trimmed_mean"\nparameters = 1\n[terms]').replace(
            "updates = 1", "updates = 2"
        )
    )
    at_ledger.fails(34, "min_clients to more than 2", "job", "create", "job.toml", "--account", "dev:0")
    assert at_ledger.json("job", "list") == before


def test_an_audit_tells_of_terms(at_ledger, federation):
    job = federation.register(answer_seconds=1, bond=25 * 10**18, rounds=1, min_clients=1, max_clients=1)
    assert at_ledger.run("audit", job) == 0
    for said in ("answer_seconds is 1", "bond is 25 ether", "no server is named"):
        assert f"warning: {said}" in at_ledger.err
    federation.ledger(federation.owner).fund(job, value=100 * 10**18).transact()
    assert at_ledger.run("audit", job) == 0
    assert "bond is 25 ether: one wrong commit takes back" in at_ledger.err


def test_nobody_pays_more_than_the_limits(at_ledger, federation):
    dear = federation.register(bond=25 * 10**18, max_clients=2, max_excluded=0)
    assert at_ledger.run("server", "--job", dear, "--account", "dev:1") == 34
    assert re.search("25 ether.*--max-bond", at_ledger.err)
    at_ledger.fails(2, "expected an amount", "server", "--job", dear, "--account", "dev:1", "--max-bond", "much")
    assert federation.ledger().account_of(dear, federation.server).bond == 0
    greedy = create(at_ledger, JOB + 'demand_deposit = "50 ether"\n')
    assert at_ledger.run(*client(greedy)) == 34
    assert re.search("50 ether.*--max-deposit", at_ledger.err)
    assert federation.ledger().client_of(greedy, federation.node.accounts[5]).samples == 0
    finishes(at_ledger, federation, greedy, "dev:5", "--max-deposit", "50 ether")


def test_a_key_without_funds_can_go_on_once_it_has_some(at_ledger, federation, monkeypatch):
    job, poor = create(at_ledger), LocalSigner(Account.create())

    def with_key():
        monkeypatch.setenv("GALAXY_KEY", poor.account.key.hex())

    for arguments in (
        ["deploy", "--ledger", "other.json"],
        ["server", "--job", job],
        [*client(job)[:7], "--poll", 0.05, "--lane", "direct"],
    ):
        with_key()
        assert at_ledger.run(*arguments) == 26
        assert re.search(f"{poor.address} can't pay for it .*send it some ether first", at_ledger.err)
    ledger = federation.ledger(federation.owner)
    ledger.transactions.send(poor.address, b"", 10**18)
    with_key()
    with serving(federation, job):
        said = at_ledger.json(*client(job)[:7], "--poll", 0.05)
    assert said[-1]["event"] == "finished"


def test_a_client_that_is_not_admitted_until_it_is(at_ledger, federation):
    job = create(at_ledger, JOB.replace("open = true", "open = false"))
    address = federation.node.accounts[5]
    at_ledger.run(*client(job))
    assert f"ask its owner, {federation.owner}, to run `galaxy-chain job admit {job} {address}`" in at_ledger.err
    assert at_ledger.run(*client(job)) == 28
    at_ledger.fails(27, "is not the job's owner", "job", "admit", job, address, "--account", "dev:1")
    assert at_ledger.run("job", "admit", job, address, "--account", "dev:0") == 0
    finishes(at_ledger, federation, job)


def test_data_that_do_not_fit_the_model_are_noticed_before_joining(at_ledger, federation):
    job = create(at_ledger, JOB.replace("hidden = 4", "hidden = 4, inputs = 65"))
    assert at_ledger.run(*client(job)) == 8
    assert re.search("galaxy-chain: samples of shape .* do not fit the model", at_ledger.err)
    at_ledger.fails(8, "do not fit the model", "server", "--job", job, "--data", "digits", "--account", "dev:6")
    assert federation.ledger().client_of(job, federation.node.accounts[5]).samples == 0
    assert federation.ledger().account_of(job, federation.node.accounts[6]).bond == 0


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("--data", "nonsense", 8), ("--data", "nowhere:function", 8), ("--data", "os:nothing", 8),
        ("--shard", "3/2", 2), ("--shard", "x", 2), ("--partition", "nonsense", 2), ("--partition", "dirichlet:x", 2),
        ("--device", "nonsense", 2),
    ],
)  # fmt: skip
def test_data_that_can_not_be_had(at_ledger, federation, option, value, code):
    job = create(at_ledger)
    at_ledger.fails(code, f"galaxy-chain: .*({value}|device)", *client(job), option, value)
    assert federation.ledger().client_of(job, federation.node.accounts[5]).samples == 0


def test_a_loss_that_diverges_submits_nothing(at_ledger, federation):
    job = create(at_ledger, JOB.replace("learning_rate = 0.1", "learning_rate = 1e30"))
    assert at_ledger.run(*client(job)) == 10
    assert "the loss became nan" in at_ledger.err or "the loss became inf" in at_ledger.err
    assert "lower the learning rate" in at_ledger.err
    assert federation.ledger().job_of(job).state.updates == 0
    assert at_ledger.run("job", "cancel", job, "--account", "dev:0") == 0
    assert at_ledger.run(*client(job)) == 10  # which goes on to its last round
    assert at_ledger.json("job", "list")[-1]["status"] == "cancelled"
    federation.travel(2 * 14_400 + 60)
    assert at_ledger.run(*client(job)) == 32
    assert f"job {job} was cancelled, and ends without its round 1" in at_ledger.err
    assert at_ledger.run("job", "finalize", job, "--account", "dev:9") == 0
    assert at_ledger.json("job", "list")[-1]["status"] == "final"


@pytest.mark.parametrize("how", ["missing", "truncated", "altered"])
@pytest.mark.parametrize("which", ["document", "model"])
def test_content_that_is_damaged_loses_nothing(at_ledger, federation, which, how):
    job = create(at_ledger)
    registered = federation.ledger().job_of(job).terms
    if which == "document":
        path = federation.store.path(federation.store.put(federation.store.block(registered.spec)))
    else:
        (path,) = [
            p for p in federation.store.root.glob("objects/*/*") if p.stat().st_size == 4 * registered.parameters
        ]
    good = path.read_bytes()
    path.chmod(0o644)
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(good[: len(good) // 2])
    else:
        alter(path)
    code = 6 if how == "missing" else 7
    assert at_ledger.run(*client(job)) == code
    said = "is not in the store" if how == "missing" else "is no longer"
    assert re.search(f"galaxy-chain: .*{said}.*(fetch it|put the content again)", at_ledger.err)
    at_ledger.fails(code, said, "audit", job)
    federation.store.put(good)
    finishes(at_ledger, federation, job)


def test_an_update_that_is_lost_is_waited_for_where_nobody_may_be_left_out(at_ledger, federation, caplog):
    federation.job = federation.register(max_excluded=0)
    federation.submit(0, 1, 2)
    server = federation.serve()
    path = federation.content(list(server.history.entries)[1].update.content)
    good = path.read_bytes()
    path.unlink()
    with serving(federation, federation.job):
        while not (said := [message for message in caplog.messages if "tries again" in message]):
            time.sleep(0.02)
        assert "1 of 3 updates can't be used, but the job lets a server leave out 0" in said[0]
        assert path.name in said[0]
        federation.store.put(good)
        while server.round().number == 1:
            time.sleep(0.02)
        federation.submit(0, 1, 2, seed=2)
    assert at_ledger.json("job", "show", federation.job)["status"] == "finished"


def test_a_lie_is_the_audits_exit_code(at_ledger, federation):
    federation.submit(0, 1, 2)
    federation.commit(made_up(5))
    at_ledger.fails(
        31, "round 1: parameter 0 .chunk 0. of the committed model is .* but its updates make", "audit", federation.job
    )


def test_a_job_that_does_not_belong_together_is_not_taken_part_in(at_ledger, federation):
    job = federation.register(rule=federation.deployment.rules["relay"])
    at_ledger.fails(30, "its document says weighted_mean, but its contract is relay", *client(job))
    at_ledger.fails(30, "its document says", "server", "--job", job, "--account", "dev:1")
    at_ledger.fails(30, "its document says", "audit", job)


def test_a_layout_that_is_not_the_models(at_ledger, federation):
    at_ledger.fails(3, "the job's layout is not that of its model", *client(federation.job))


def test_names_are_shown_as_they_are(at_ledger, federation):
    job = federation.register(document=DOCUMENT.model_copy(update={"name": "[/bold] [red]:smile:"}))
    assert at_ledger.run("job", "show", job) == 0
    assert f"job {job}: [/bold] [red]:smile:" in at_ledger.out
    assert at_ledger.run("job", "list") == 0
    assert "[/bold] [red]:smile:" in at_ledger.out


def test_a_job_whose_document_is_elsewhere_is_shown_without_its_name(at_ledger, federation):
    job = federation.register(spec=b"\7" * 32)
    assert at_ledger.json("job", "show", job)["name"] is None
    assert at_ledger.run("job", "show", job) == 0
    assert f"job {job}: (its document is not in the store)  running" in at_ledger.out
    assert at_ledger.json("job", "list")[-1]["name"] is None


def test_metrics_of_a_server_that_was_killed_while_it_wrote(at_ledger, federation):
    federation.submit(0, 1, 2)
    federation.commit()
    model = federation.ledger().job_of(federation.job).root.hex()
    path = at_ledger.folder / ".galaxy" / "metrics" / f"{federation.deployment.ledger}-{federation.job}.jsonl"
    path.parent.mkdir()
    good = {"event": "committed", "attempt": 1, "model": model, "loss": 0.5, "accuracy": 0.9, "gas": 7, "seconds": 1.0}
    good["metrics"] = {"F1Score": 0.875, "AUROC": None}
    of_another_chain = good | {"model": "00" * 32, "loss": 0.1}
    path.write_text("\n".join(['{"event": "comm', "5", "{}", json.dumps(good), json.dumps(of_another_chain), '{"ev']))
    [shown] = at_ledger.json("job", "show", federation.job)["rounds"]
    assert (shown["loss"], shown["metrics"]) == (0.5, good["metrics"])
    assert at_ledger.run("job", "show", federation.job) == 0


def test_deploying_writes_the_file_that_the_others_read(terminal, node, web3, monkeypatch):
    monkeypatch.setenv("GALAXY_RPC", node.url)
    deployed = terminal.json("deploy", "--account", "dev:0", "--ledger", "here/ledger.json")
    assert deployed["chain_id"] == 1337
    assert terminal.json("job", "list", "--ledger", "here/ledger.json") == []
    Path("file").write_text("")
    terminal.fails(2, "can't be written", "deploy", "--account", "dev:0", "--ledger", "file/ledger.json")


def test_deploying_keeps_the_file_of_a_ledger_that_may_be_there(terminal, node, deployment, monkeypatch):
    monkeypatch.setenv("GALAXY_RPC", node.url)
    path = terminal.folder / ".galaxy" / "ledger.json"
    for known in (deployment, deployment.model_copy(update={"chain_id": 5, "ledger": "0x" + "11" * 20})):
        known.write(path)
        refused = f"names the ledger {known.ledger} on chain {known.chain_id}.*--ledger, or replace it with --force"
        terminal.fails(2, refused, "deploy", "--account", "dev:0")
        assert Deployment.read(path) == known
    path.write_text("{")
    terminal.fails(2, "is not a ledger file", "deploy", "--account", "dev:0")
    for content in ("{", path.read_text()):
        path.write_text(content)
        assert terminal.json("deploy", "--account", "dev:0", "--force")["ledger"] == Deployment.read(path).ledger
    deployment.model_copy(update={"ledger": "0x" + "11" * 20}).write(path)  # of a development chain that began again
    assert terminal.json("deploy", "--account", "dev:0")["ledger"] == Deployment.read(path).ledger


def test_keys_are_made_and_listed(terminal, monkeypatch):
    assert terminal.json("account", "list") == []
    monkeypatch.setenv("GALAXY_PASSWORD", "sesame")
    made = terminal.json("account", "new", "alice")
    assert terminal.json("account", "list") == [made]
    assert terminal.run("account", "list") == 0
    assert made["address"] in terminal.out
    monkeypatch.setenv("GALAXY_PASSWORD", "sesame")
    terminal.fails(24, "is there already", "account", "new", "alice")
    monkeypatch.setenv("GALAXY_PASSWORD", "sesame")
    terminal.fails(24, "is not a name for an account", "account", "new", "../alice")


def test_an_example_of_a_job_file_is_valid(at_ledger):
    assert at_ledger.run("job", "example") == 0
    assert create(at_ledger, at_ledger.out) >= 1


INTERRUPTED_IN_A_CALLBACK = """
import signal, sys, weakref
from galaxy_chain.cli import main as cli

class Thing:
    pass

def application():
    thing = Thing()
    kept = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
    del thing
    while True:
        pass

cli.application = application
cli.main()
"""
BUSY = """
import threading, time
start = threading.Thread.start

def slowly(self):
    start(self)
    time.sleep(0.5)

threading.Thread.start = slowly
"""
"""What a machine does that has other things to do while a thread begins."""


@pytest.mark.parametrize("before", ["", BUSY], ids=["free", "busy"])
def test_an_interrupt_in_a_callback_whose_exceptions_python_swallows_is_heard_all_the_same(before):
    command = [sys.executable, "-c", before + INTERRUPTED_IN_A_CALLBACK]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stderr) == (130, "")


HUNG_UP = """
import signal, sys
from galaxy_chain.cli import main as cli

def application():
    signal.raise_signal(signal.SIGHUP)
    sys.exit(7)

cli.application = application
cli.main()
"""


@pytest.mark.parametrize(("before", "code"), [("", 129), ("signal.signal(signal.SIGHUP, signal.SIG_IGN)", 7)])
def test_a_closed_terminal_ends_a_command_unless_it_was_told_to_outlive_it(before, code):
    """As `nohup` tells it."""
    command = [
        sys.executable,
        "-c",
        f"import signal\nsignal.signal(signal.SIGHUP, signal.SIG_DFL)\n{before}\n{HUNG_UP}",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stderr) == (code, "")
