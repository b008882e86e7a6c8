"""`galaxy_chain.Ledger`: what it reads, what it takes in place of URLs, and who signs."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from eth_account import Account
from web3 import AsyncWeb3, EthereumTesterProvider, HTTPProvider, IPCProvider, Web3
from web3.exceptions import ContractCustomError, ExtraDataLengthError
from web3.middleware import ExtraDataToPOAMiddleware, SignAndSendRawMiddlewareBuilder
from web3.middleware.base import Web3Middleware
from web3.providers import AsyncHTTPProvider, WebSocketProvider

import galaxy_chain
import galaxy_fl
from galaxy_chain import AccountError, NoLedgerError
from galaxy_chain import place as place_module
from galaxy_chain.coordinators import LedgerClientCoordinator
from galaxy_chain.ledger.artifacts import artifact
from galaxy_chain.ledger.deployment import deploy
from galaxy_chain.transactions.manager import Transactions
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.modes.mode import Mode, meeting
from tests.end_to_end.processes import anvil
from tests.galaxy_chain.federation import PATIENCE, SAMPLES, Federation, made_up
from tests.galaxy_chain.rpc.test_other_chains import lacking

ETHER = 10**18
DEAD = "http://127.0.0.1:9"


@pytest.fixture
def at(federation, tmp_path):
    """A ledger's file, and what else `Ledger` is to be told."""
    federation.deployment.write(tmp_path / "ledger.json")
    return {"deployment": tmp_path / "ledger.json", "home": tmp_path / "home", "store": federation.store.root}


def funded(node, account=None):
    """A Web3 whose middleware signs for an account that has ether."""
    web3, account = Web3(HTTPProvider(node.url)), account or Account.create()
    sent = web3.eth.send_transaction({"from": node.accounts[0], "to": account.address, "value": 10 * ETHER})
    web3.eth.wait_for_transaction_receipt(sent)
    web3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(account), layer=0)
    web3.eth.default_account = account.address
    return web3, account


def test_nothing_is_asked_before_it_is_used(tmp_path):
    ledger = galaxy_chain.Ledger(DEAD, tmp_path / "none.json")
    assert isinstance(ledger, Mode)
    assert meeting(ledger) is ledger
    with pytest.raises(NoLedgerError, match="none.json"):
        ledger.jobs()


@pytest.mark.parametrize("nodes", [lambda url: url, lambda url: [DEAD, url], lambda url: Web3(HTTPProvider(url))])
def test_jobs_are_read_and_audited(federation, at, nodes):
    federation.submit(0, 1, 2)
    federation.commit()
    with galaxy_chain.Ledger(nodes(federation.node.url), **at) as ledger:
        assert ledger.jobs()[federation.job].owner == federation.owner
        assert list(ledger.job(federation.job).commits) == [1]
        assert [audited.round for audited in ledger.audit(federation.job).rounds()] == [1]


def test_a_web3_that_it_makes_fails_over_and_tells_reverts_as_any(federation, at):
    ledger = galaxy_chain.Ledger([DEAD, federation.node.url], **at)
    web3 = ledger.web3()
    assert web3.is_connected()
    assert web3.eth.chain_id == 1337
    contract = web3.eth.contract(federation.deployment.ledger, abi=artifact("GalaxyLedger").abi)
    assert contract.functions.jobs().call() == federation.job
    with pytest.raises(ContractCustomError):
        contract.functions.jobOf(99).call()
    assert not galaxy_chain.Ledger(DEAD, **at).web3().is_connected()
    own = Web3(HTTPProvider(federation.node.url))
    assert galaxy_chain.Ledger(own, **at).web3() is own


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (AsyncWeb3(AsyncHTTPProvider(DEAD)), "inside its own event loop"),
        (AsyncHTTPProvider(DEAD), "inside its own event loop"),
        (AsyncWeb3(WebSocketProvider("ws://127.0.0.1:1")), "give the node's URL in its place .*ws: or wss:"),
        (HTTPProvider(DEAD), r"give Web3\(HTTPProvider\(…\)\)"),
        (5, "nodes is 5, expected the URLs of nodes, or a web3.Web3"),
        ("", "expected the URLs of nodes"),
        ([], "expected the URLs of nodes"),
        (galaxy_chain.Ledger(DEAD).web3(), "give the nodes of that ledger"),
    ],
)
def test_what_can_not_be_used_is_refused_at_once(nodes, said):
    with pytest.raises(ConfigurationError, match=said):
        galaxy_chain.Ledger(nodes)


def test_middleware_signs_and_the_journal_has_it_before_it_is_sent(federation, at, node):
    web3, account = funded(node)
    ledger = galaxy_chain.Ledger(web3, **at)
    assert ledger.signer.address == account.address
    contract = ledger.contract(ledger.signer)
    receipt = contract.join(federation.job, 10).transact("once")
    assert contract.client_of(federation.job, account.address).samples == 10
    before = web3.eth.get_transaction_count(account.address)
    # As after a crash: the journal knows the very transaction, so that it is not sent again.
    again = ledger.contract(ledger.signer).join(federation.job, 10).transact("once")
    assert again.transaction == receipt.transaction
    assert web3.eth.get_transaction_count(account.address) == before == 1


@pytest.mark.parametrize("own", [lambda account: account, lambda account: account.address])
def test_an_account_of_eth_account_and_one_that_the_node_has_unlocked(federation, at, node, own):
    _, account = funded(node)
    named = own(account)
    if isinstance(named, str):  # one that no middleware knows: the node signs
        named = node.accounts[9]
    ledger = galaxy_chain.Ledger(Web3(HTTPProvider(node.url)), account=named, **at)
    ledger.contract(ledger.signer).join(federation.job, 10).transact()
    assert ledger.contract().client_of(federation.job, ledger.signer.address).samples == 10


def test_an_account_that_nobody_signs_for(federation, at, node):
    ledger = galaxy_chain.Ledger(Web3(HTTPProvider(node.url)), account=Account.create().address, **at)
    with pytest.raises(AccountError, match="nobody signs for 0x"):
        ledger.signer.sign(ledger.rpc(), {"nonce": 0, "gas": 21_000, "gasPrice": 1, "value": 0, "chainId": 1337})


def test_middleware_that_takes_another_nonce_is_refused(federation, at, node):
    class Another(Web3Middleware):
        def request_processor(self, method, params):
            if method == "eth_sendTransaction":
                params = [{**params[0], "nonce": "0x7"}]
            return method, params

    web3, account = funded(node)
    web3.middleware_onion.add(Another)
    ledger = galaxy_chain.Ledger(web3, **at)
    with pytest.raises(AccountError, match="with nonce 7, expected 0x.* with nonce 0"):
        ledger.contract(ledger.signer).join(federation.job, 10).transact()
    assert web3.eth.get_transaction_count(account.address) == 0


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("to", "0x" + "11" * 20),
        ("value", "0x1"),
        ("data", "0x1234"),
    ],
)
@pytest.mark.parametrize("typed", [True, False])
def test_middleware_that_signs_another_transaction_is_refused(federation, at, node, field, other, typed):
    class Another(Web3Middleware):
        def request_processor(self, method, params):
            if method == "eth_sendTransaction":
                changed = {**params[0], field: other}
                if not typed:
                    price = changed.pop("maxFeePerGas")
                    changed.pop("maxPriorityFeePerGas")
                    changed |= {"gasPrice": price}
                    changed.pop("type", None)
                params = [changed]
            return method, params

    web3, account = funded(node)
    web3.middleware_onion.add(Another)
    ledger = galaxy_chain.Ledger(web3, **at)
    name = {"to": "recipient"}.get(field, field)
    with pytest.raises(AccountError, match=f"its {name} is .*, expected .*leave the fields of a transaction"):
        ledger.contract(ledger.signer).join(federation.job, 10).transact()
    assert web3.eth.get_transaction_count(account.address) == 0


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            lambda account, fields: account.sign_transaction(fields | {"chainId": 5}).raw_transaction,
            "chain id is 5, exp",
        ),
        (lambda account, fields: b"\x04" + b"\xc0", "not a transaction of a known type, 0x04c0"),
        (lambda account, fields: b"\x02garbage", "not a transaction of a known type"),
        (lambda account, fields: b"\xc3\x01\x02\x03", "not a transaction of a known type"),
        (lambda account, fields: b"", "not a transaction of a known type"),
    ],
)
def test_middleware_that_signs_for_another_chain_or_nonsense_is_refused(federation, at, node, raw, said):
    account = Account.create()

    class Own(Web3Middleware):
        def request_processor(self, method, params):
            if method == "eth_sendTransaction":
                fields = {name: value for name, value in params[0].items() if name != "from"}
                return "eth_sendRawTransaction", ["0x" + raw(account, fields).hex()]
            return method, params

    web3, _ = funded(node, account)
    web3.middleware_onion.clear()
    web3.middleware_onion.add(Own)
    ledger = galaxy_chain.Ledger(web3, **at)
    with pytest.raises(AccountError, match=said):
        ledger.contract(ledger.signer).join(federation.job, 10).transact()
    assert web3.eth.get_transaction_count(account.address) == 0


@pytest.mark.parametrize("renamed", [False, True])
def test_the_long_extra_data_of_proof_of_authority(federation, at, renamed):
    def long(method, result):
        if method in ("eth_getBlockByNumber", "eth_getBlockByHash") and result:
            result["extraData"] = "0x" + "ab" * 97
        return result

    with lacking(federation.node.url, change=long) as url:
        web3 = Web3(HTTPProvider(url))
        if renamed:
            web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
        else:
            with pytest.raises(ExtraDataLengthError):
                web3.eth.get_block("latest")
        assert galaxy_chain.Ledger(web3, **at).job(federation.job).owner == federation.owner


@pytest.mark.parametrize("by", ["http", "ipc"])
def test_deploying_joining_and_submitting_through_a_web3_of_anvil(federation, tmp_path, by):
    """From nothing to an update on the ledger: the middleware signs all of it."""
    pipe = tmp_path / "anvil.ipc"
    with anvil("--ipc", pipe) as url:
        web3 = Web3(HTTPProvider(url) if by == "http" else IPCProvider(pipe))
        account = Account.create()
        web3.provider.make_request("anvil_setBalance", [account.address, hex(100 * ETHER)])
        web3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(account), layer=0)
        web3.eth.default_account = account.address
        ledger = galaxy_chain.Ledger(web3, home=tmp_path / "home", store=federation.store.root)
        deployment, _ = deploy(ledger.rpc(), Transactions(ledger.rpc(), ledger.signer, ledger.journal))
        deployment.write(ledger.deployment_file)
        contract = ledger.contract(ledger.signer)
        there = Federation.__new__(Federation)
        there.__dict__ |= federation.__dict__
        there.deployment, there.rpc = deployment, ledger.rpc()
        there.ledger = lambda account=None: contract
        job = there.register()
        coordinator = LedgerClientCoordinator(contract, ledger.store(), job, PATIENCE, limits=federation.limits)
        with closing(coordinator) as client:
            client.enter(SAMPLES)
            client.submit(client.round(), made_up(1), SAMPLES)
        history = ledger.job(job)
        assert [entry.client for entry in history.entries] == [account.address]
        if by == "ipc":
            web3.provider._socket.sock.close()  # which web3 leaves to the garbage collector


def test_a_chain_of_eth_tester_can_be_read_and_written_to(tmp_path):
    web3, account = Web3(EthereumTesterProvider()), Account.create()
    web3.eth.send_transaction({"from": web3.eth.accounts[0], "to": account.address, "value": 100 * ETHER})
    web3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(account), layer=0)
    web3.eth.default_account = account.address
    ledger = galaxy_chain.Ledger(web3, home=tmp_path)
    receipt = Transactions(ledger.rpc(), ledger.signer).send(web3.eth.accounts[1], b"", 5)
    assert ledger.rpc().block(receipt.block).number == receipt.block


def test_web3_is_imported_only_where_one_is_used(federation, at):
    program = f"""
import sys
import galaxy_chain
import galaxy_fl
ledger = galaxy_chain.Ledger({federation.node.url!r}, {str(at["deployment"])!r})
assert ledger.jobs()
print("web3" in sys.modules)
ledger.web3()
print("web3" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_it_is_where_jobs_are_submitted_and_participants_meet(federation, at, node):
    """The user's own signer registers the job; the places find it, because its owner is who looks."""
    web3, account = funded(node)
    ledger = galaxy_chain.Ledger(web3, **at)
    terms = {"bond": "1 ether", "demand_deposit": "0.01 ether"}
    job = galaxy_fl.Job("mlp", fan_in=4, rounds=2, train=galaxy_fl.Train(loss="nll", learning_rate=0.1))
    number = galaxy_fl.submit(job, clients=2, at=ledger, terms=terms)
    assert ledger.jobs()[int(number)].owner == account.address
    assert ledger.jobs()[int(number)].terms.fan_in == 4
    (place,) = meeting(ledger).client_places("any")
    assert list(place.jobs()) == [number] == list(meeting(ledger).server_place().jobs())
    assert place.name.startswith(f"ledger {federation.deployment.ledger} at ")
    with pytest.raises(ConfigurationError, match="settings of a ledger: colour"):
        meeting(ledger).client_places("any", colour="red")


def test_a_job_that_is_passed_over_is_named_once(federation, at, node, caplog):
    """Its owner is not trusted here; without a word a client would wait for ever."""
    web3, _ = funded(node)
    (place,) = meeting(galaxy_chain.Ledger(web3, **at)).client_places("any")
    assert [list(place.jobs()), list(place.jobs())] == [[], []]
    said = [record.getMessage() for record in caplog.records if "passed over" in record.getMessage()]
    assert len(said) == len(set(said)) >= 1
    assert f"job {federation.job} is passed over, because its owner {federation.owner} is not trusted" in said[0]
    (chosen,) = meeting(galaxy_chain.Ledger(web3, **at)).client_places("any", jobs=[federation.job])
    assert list(chosen.jobs()) == [str(federation.job)]


def test_a_client_gets_the_job_that_it_names_also_when_it_is_over(federation, at, node):
    """What it has earned there may still have to be paid out; `galaxy-chain client --job` does the same."""
    state = federation.ledger().job_of(federation.job).state
    for _ in range(state.round, state.last_round + 1):
        federation.submit(0, 1, 2)
        federation.commit()
    web3, _ = funded(node)
    (place,) = meeting(galaxy_chain.Ledger(web3, **at)).client_places("any", jobs=[federation.job])
    assert list(place.jobs()) == [str(federation.job)]
    trusting = {"trust": [federation.owner]}
    (place,) = meeting(galaxy_chain.Ledger(web3, **at)).client_places("any", **trusting)
    assert str(federation.job) not in place.jobs()


def test_a_place_is_closed_once_no_thread_opens_a_job_there(federation, at, node, monkeypatch):
    """A program that ends leaves its threads behind, which must not be in the midst of SQLite then."""
    monkeypatch.setattr(place_module, "CLOSING_SECONDS", 600.0)
    began, go, found = threading.Event(), threading.Event(), []

    class Slow(galaxy_chain.Ledger):
        def store(self, *arguments):
            began.set()
            assert go.wait(600)
            return super().store(*arguments)

    web3, _ = funded(node)
    (place,) = meeting(Slow(web3, **at)).client_places("any", jobs=[federation.job])

    def close():
        place.close()
        found.append(len(place._open))  # those that it has closed

    opening = threading.Thread(target=place.open, args=(str(federation.job),))
    threads = [opening, threading.Thread(target=close)]
    threads[0].start()
    assert began.wait(600)
    threads[1].start()
    while not place._closed:  # until it is closing
        time.sleep(0.01)
    assert found == []
    go.set()
    for each in threads:
        each.join(600)
    assert found == [1]
    with pytest.raises(ConfigurationError, match=f"is closed: job {federation.job} is not taken part in"):
        place.open(str(federation.job))


def test_it_shows_itself_without_secrets():
    account = Account.create()
    shown = repr(galaxy_chain.Ledger("https://node.example/KEY", "ledger.json", account=account))
    assert shown == f"Ledger(deployment='ledger.json', account={account.address!r})"
    assert repr(galaxy_chain.Ledger(account="alice")) == "Ledger(deployment='.galaxy/ledger.json', account='alice')"
    assert "77" not in repr(galaxy_chain.Ledger(account="0x" + "77" * 32))
