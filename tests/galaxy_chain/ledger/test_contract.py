"""The typed methods and the event classes are those of the contract's ABI: every one, none too many, argument by
argument. Those of the structs are compared in `test_abi.py`."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from typing import get_args, get_type_hints

import pytest
from web3 import Web3

from galaxy_chain.exceptions import UnknownJobError
from galaxy_chain.ledger import events, structs
from galaxy_chain.ledger.contract import ContractCall, JobOnLedger, LedgerContract
from galaxy_chain.ledger.structs import ZERO_ADDRESS, JoinBySignature, Model, Update
from tests.galaxy_chain.ledger.test_abi import COMMITTED, ENTRIES, ORACLE, TERMS, plain, snake

FUNCTIONS = {snake(entry["name"]): entry for entry in ENTRIES if entry["type"] == "function"}
EVENTS = {entry["name"]: entry for entry in ENTRIES if entry["type"] == "event"}
OF_GALAXY = {"by", "emitted", "events", "function"}
"""Methods that are not functions of the contract."""

VALUES = {
    "job": 7,
    "attempt": 3,
    "round": 2,
    "node": 9,
    "index": 5,
    "samples": 11,
    "wraps": b"wraps",
    "head": b"\1" * 32,
    "root": b"\2" * 32,
    "salt": b"\3" * 32,
    "digest": b"\4" * 32,
    "key": b"\5" * 32,
    "openings": b"opened",
    "excluded": b"\6",
    "nodes": b"summed",
    "nodes_content": b"\x08" * 32,
    "entries": b"handed in",
    "signatures": b"signed",
    "joins": [JoinBySignature(Web3.to_checksum_address("0x" + "ab" * 20), 11, b"\5" * 32, 12, b"signed")],
    "accounts": [Web3.to_checksum_address("0x" + "ef" * 20)],
    "submissions": b"shown",
    "client": Web3.to_checksum_address("0x" + "ab" * 20),
    "record": COMMITTED,
    "clients": [Web3.to_checksum_address("0x" + "cd" * 20)],
    "terms": dataclasses.replace(TERMS, rule=Web3.to_checksum_address(TERMS.rule)),
    "model": b"\7" * 32,
    "initial": Model(b"\1" * 32, b"\2" * 32),
    "next": Model(b"\3" * 32, b"\4" * 32),
    "update": Update(b"\1" * 32, b"\2" * 32, 3),
    "account": Web3.to_checksum_address("0x" + "ef" * 20),
    "sender": Web3.to_checksum_address("0x" + "12" * 20),
    "word": b"\7" * 32,
}
"""Of each argument."""


def python_type(entry):
    """The type that an argument, a result or a field of this entry has to be annotated with."""
    kind = entry["type"]
    if kind.endswith("[]"):
        one = {**entry, "type": kind[:-2], "internalType": entry["internalType"].removesuffix("[]")}
        return Sequence[python_type(one)]
    if kind == "tuple":
        return getattr(structs, entry["internalType"].rpartition(".")[2])
    if kind.startswith("uint"):
        return int
    return {"address": str, "bool": bool}.get(kind, bytes)


def names_and_types(entries):
    return {snake(entry["name"]): python_type(entry) for entry in entries}


@pytest.fixture
def contract(federation):
    return federation.ledger(federation.owner)


def test_every_function_has_a_method_and_every_method_a_function():
    public = {name for name, _ in inspect.getmembers(LedgerContract, inspect.isfunction) if not name.startswith("_")}
    assert public == FUNCTIONS.keys() | OF_GALAXY


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_method_has_the_arguments_of_its_function(name):
    entry, method = FUNCTIONS[name], getattr(LedgerContract, name)
    hints = get_type_hints(method)
    returns = hints.pop("return")
    expected = names_and_types(entry["inputs"])
    if entry["stateMutability"] == "payable":
        expected["value"] = int
    assert list(hints.items()) == list(expected.items())
    parameters = inspect.signature(method).parameters
    assert [name for name in parameters if parameters[name].kind is inspect.Parameter.KEYWORD_ONLY] == [
        name for name in expected if name == "value"
    ]
    if entry["stateMutability"] != "view":
        assert returns is ContractCall
    elif len(entry["outputs"]) > 1:
        assert get_type_hints(returns) == names_and_types(entry["outputs"])
        assert list(returns._fields) == [snake(part["name"]) for part in entry["outputs"]]
    else:
        assert returns is python_type(entry["outputs"][0])


@pytest.mark.parametrize("name", sorted(name for name in FUNCTIONS if FUNCTIONS[name]["stateMutability"] != "view"))
def test_a_method_calls_its_function(contract, name):
    entry = FUNCTIONS[name]
    arguments = {snake(part["name"]): VALUES[snake(part["name"])] for part in entry["inputs"]}
    value = {"value": 13} if entry["stateMutability"] == "payable" else {}
    call = getattr(contract, name)(**arguments, **value)
    assert "0x" + call.data.hex() == ORACLE.encode_abi(entry["name"], [plain(v) for v in arguments.values()])
    assert (call.name, call.value) == (entry["name"], 13 if value else 0)


def test_views_return_what_web3_reads(federation):
    federation.submit(0, 1, 2)
    federation.commit()
    ledger, job, client = federation.ledger(), federation.job, federation.clients[0]
    functions = Web3(Web3.HTTPProvider(federation.node.url)).eth.contract(ledger.address, abi=ENTRIES).functions

    def oracle(name, *arguments):
        return functions[name](*arguments).call()

    def as_tuple(value):
        return tuple(as_tuple(each) for each in value) if isinstance(value, list | tuple) else value

    assert ledger.jobs() == oracle("jobs") == job
    assert ledger.verifier() == oracle("verifier")
    assert ledger.intake() == oracle("intake")
    stored = ledger.job_of(job)
    assert isinstance(stored, JobOnLedger)
    assert tuple(plain(value) for value in stored) == as_tuple(oracle("jobOf", job))
    assert stored.state.round == 2
    assert ledger.client_of(job, client).samples > 0
    assert plain(ledger.client_of(job, client)) == as_tuple(oracle("clientOf", job, client))
    assert plain(ledger.account_of(job, federation.server)) == as_tuple(oracle("accountOf", job, federation.server))
    word = ledger.record_of(job, 1)
    assert word == oracle("recordOf", job, 1) != bytes(32)
    assert plain(ledger.mark_of(job, word)) == as_tuple(oracle("markOf", job, word))
    assert ledger.demand_of(job, word, 0, 0).demander == ZERO_ADDRESS
    assert plain(ledger.demand_of(job, word, 0, 0)) == as_tuple(oracle("demandOf", job, word, 0, 0))
    assert ledger.claimed_of(job, 1, 0) == oracle("claimedOf", job, 1, 0) == 0
    assert ledger.announced_at(client, word) == oracle("announcedAt", client, word) == 0
    with pytest.raises(UnknownJobError, match="there is no job 99"):
        ledger.job_of(99)


def test_every_event_has_a_class_and_every_class_an_event():
    assert {kind.__name__ for kind in get_args(events.LedgerEvent)} == EVENTS.keys()
    assert {*events.__all__} == {*EVENTS, "Event", "LedgerEvent"}


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_an_event_class_has_the_arguments_of_its_event(name):
    kind = getattr(events, name)
    place = [field.name for field in dataclasses.fields(events.Event)][:-1]
    hints = get_type_hints(kind)
    own = {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.name not in place}
    assert list(own.items()) == list(names_and_types(EVENTS[name]["inputs"]).items())


def test_a_transaction_s_own_events_are_told_from_others(federation, contract):
    receipt = contract.fund(federation.job, value=5).transact()
    [funded] = contract.emitted(events.JobFunded, receipt)
    assert (funded.job, funded.funder, funded.amount) == (federation.job, federation.owner, 5)
    assert contract.emitted(events.BondSlashed, receipt) == []
    everything = contract.events(events.Event, 0, receipt.block, job=federation.job)
    assert everything[-1] == funded
    assert {type(event) for event in everything} >= {events.JobRegistered, events.JobFunded}
