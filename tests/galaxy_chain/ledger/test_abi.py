"""Calls, events and errors to bytes and back; web3 and eth_abi are the oracles."""

from __future__ import annotations

import dataclasses
import re

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st
from web3 import Web3

from galaxy_chain.jobs.file import TermsSection
from galaxy_chain.ledger import structs
from galaxy_chain.ledger.abi import Abi, ledger_abi
from galaxy_chain.ledger.artifacts import artifact
from galaxy_chain.ledger.events import RoundCommitted
from galaxy_chain.ledger.structs import Model, Record, Terms, Update, python_name
from galaxy_fl.jobs.terms import Terms as JobTerms

ENTRIES = artifact("GalaxyLedger").abi
ORACLE = Web3().eth.contract(abi=ENTRIES)

addresses = st.binary(min_size=20, max_size=20).map(lambda raw: Web3.to_checksum_address(raw))
words = st.binary(min_size=32, max_size=32)


def unsigned(bits):
    return st.integers(0, 2**bits - 1)


updates = st.builds(Update, words, words, unsigned(32))
models = st.builds(Model, words, words)
records = st.builds(
    Record, unsigned(32), unsigned(32), unsigned(16), words, words, models, st.binary(max_size=70), words,
    unsigned(128), unsigned(128), unsigned(16), addresses, unsigned(40),
)  # fmt: skip


def snake(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def tuples(entry):
    """Every struct in an ABI entry, with its name."""
    for part in [*entry.get("inputs", []), *entry.get("outputs", []), *entry.get("components", [])]:
        if part["type"].startswith("tuple"):
            yield re.sub(r"\[\d*\]", "", part["internalType"].rpartition(".")[2]), part["components"]
        yield from tuples(part)


FOUND = {name: components for entry in ENTRIES for name, components in tuples(entry)}


@pytest.mark.parametrize("name", sorted(FOUND))
def test_a_struct_has_the_fields_of_the_contract_in_its_order(name):
    fields = [field.name for field in dataclasses.fields(getattr(structs, name))]
    assert fields == [python_name(component["name"]) for component in FOUND[name]]


def test_names_are_those_of_the_contract_in_snake_case_or_those_of_jobs():
    names = {component["name"] for components in FOUND.values() for component in components}
    others = {name: python_name(name) for name in names if python_name(name) != snake(name)}
    assert others == {
        "minUpdates": "min_clients",
        "maxUpdates": "max_clients",
        "collectSeconds": "deadline",
        "ruleParameters": "rule_word",
    }
    shared = {field.name for field in dataclasses.fields(JobTerms)}
    assert shared <= {field.name for field in dataclasses.fields(structs.Terms)}
    assert shared <= TermsSection.model_fields.keys()


def test_every_struct_of_the_package_is_one_of_the_contract():
    ours = {name for name in structs.__all__ if dataclasses.is_dataclass(getattr(structs, name))}
    assert ours == FOUND.keys()


def plain(value):
    if dataclasses.is_dataclass(value):
        return tuple(plain(getattr(value, field.name)) for field in dataclasses.fields(value))
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


@given(unsigned(256), unsigned(32), words, models, st.binary(max_size=40), st.binary(max_size=40), words, words)
def test_calls_are_encoded_as_web3_does(job, attempt, head, model, excluded, nodes, nodes_content, salt):
    ours = ledger_abi().functions["commitRound"].encode(job, attempt, head, model, excluded, nodes, nodes_content, salt)
    arguments = [job, attempt, head, plain(model), excluded, nodes, nodes_content, salt]
    assert "0x" + ours.hex() == ORACLE.encode_abi("commitRound", arguments)


@given(unsigned(256), records, unsigned(256), unsigned(256), words, st.binary(max_size=200))
def test_nested_structs_are_encoded_as_web3_does(job, record, node, index, salt, openings):
    ours = ledger_abi().functions["challenge"].encode(job, record, node, index, salt, openings)
    assert "0x" + ours.hex() == ORACLE.encode_abi("challenge", [job, plain(record), node, index, salt, openings])


TERMS = Terms(
    spec=b"\1" * 32,
    rule_word=b"\2" * 32,
    rule="0x" + "Ab" * 20,
    demand_deposit=3,
    server="0x" + "00" * 20,
    bond=4,
    rounds=5,
    min_clients=1,
    max_clients=7,
    max_excluded=1,
    deadline=9,
    aggregate_seconds=10,
    challenge_seconds=110,
    idle_seconds=60,
    server_share=2000,
    max_unsettled=2,
    answer_seconds=12,
    max_weight=1000,
    chunk_parameters=64,
    fan_in=16,
    open=True,
    parameters=1300,
)


def types(entries):
    def of(part):
        inner = ",".join(map(of, part.get("components", [])))
        return part["type"].replace("tuple", f"({inner})") if inner else part["type"]

    return [of(part) for part in entries]


def test_an_answer_of_several_values_is_decoded_into_structs():
    function = next(entry for entry in ENTRIES if entry.get("name") == "jobOf")
    terms = dataclasses.replace(TERMS, rule=Web3.to_checksum_address(TERMS.rule))
    state = structs.State(1, 2, 3, 4, 5, 6, 1, True, 7, 8, 12, 9, 10, 11, False, True, False, 13)
    owner = Web3.to_checksum_address("0x" + "cd" * 20)
    answer = encode(types(function["outputs"]), [plain(terms), owner, plain(state), b"\5" * 32, b"\6" * 32, 99, 98])
    assert ledger_abi().functions["jobOf"].decode(answer) == (terms, owner, state, b"\5" * 32, b"\6" * 32, 99, 98)


@pytest.mark.parametrize("answer", [b"", b"\0" * 31, b"\xff" * 64, b"\xff" * 700])
def test_an_answer_of_another_form_is_a_value_error(answer):
    with pytest.raises(ValueError, match="jobOf can't have answered"):
        ledger_abi().functions["jobOf"].decode(answer)


def log(name, indexed, data_types, data):
    return {
        "topics": ["0x" + ledger_abi().topics[name].hex(), *("0x" + encode([k], [v]).hex() for k, v in indexed)],
        "data": "0x" + encode(data_types, data).hex(),
        "blockNumber": "0x10",
        "blockHash": "0x" + "ab" * 32,
        "logIndex": "0x2",
        "transactionHash": "0x" + "cd" * 32,
    }


RECORD = "(uint32,uint32,uint16,bytes32,bytes32,(bytes32,bytes32),bytes,bytes32,uint128,uint128,uint16,address,uint40)"
COMMITTED = Record(
    *(4, 3, 9, b"\1" * 32, b"\2" * 32, Model(b"\3" * 32, b"\4" * 32), b"\x81\1", b"\6" * 32, 10**18, 5, 2000),
    *("0x" + "22" * 20, 1234),
)


def committed():
    indexed = [("uint256", 7), ("uint32", 5), ("address", "0x" + "22" * 20)]
    return log("RoundCommitted", indexed, [RECORD, "bytes", "bytes32"], [plain(COMMITTED), b"nodes", b"\7" * 32])


def test_an_event_has_its_arguments_by_name_and_its_place_on_the_chain():
    event = ledger_abi().event(committed())
    assert isinstance(event, RoundCommitted)
    assert event.name == "RoundCommitted"
    assert (event.job, event.attempt) == (7, 5)
    assert event.server == "0x" + "22" * 20
    assert event.record == COMMITTED
    assert (event.nodes, event.nodes_content) == (b"nodes", b"\7" * 32)
    assert (event.block, event.block_hash, event.log_index) == (16, b"\xab" * 32, 2)
    assert event.transaction == b"\xcd" * 32


def test_an_event_is_decoded_as_web3_does():
    entry = committed()
    raw = {key: Web3.to_bytes(hexstr=value) for key, value in entry.items() if key in ("data", "blockHash")}
    oracle = ORACLE.events.RoundCommitted().process_log(
        raw
        | {
            "topics": [Web3.to_bytes(hexstr=topic) for topic in entry["topics"]],
            "transactionHash": Web3.to_bytes(hexstr=entry["transactionHash"]),
            "transactionIndex": 0,
            "logIndex": 2,
            "blockNumber": 16,
            "address": "0x" + "00" * 20,
        }
    )
    ours = ledger_abi().event(entry)
    for name in ("job", "attempt", "server"):
        assert oracle["args"][name] == getattr(ours, name)
    theirs = {snake(name): value for name, value in oracle["args"]["record"].items()}
    theirs["next"] = Model(**theirs["next"])
    assert Record(**theirs) == ours.record
    assert (oracle["args"]["nodes"], oracle["args"]["nodesContent"]) == (ours.nodes, ours.nodes_content)


def test_a_log_of_another_contract_is_no_event():
    assert ledger_abi().event(committed() | {"topics": ["0x" + "00" * 32]}) is None
    assert ledger_abi().event(committed() | {"topics": []}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"topics": committed()["topics"][:-1]},
        {"topics": [*committed()["topics"], "0x" + "00" * 32]},
        {"topics": [*committed()["topics"][:-1], "0x" + "ff" * 32]},
        {"topics": [*committed()["topics"][:-1], "0x12"]},
        {"topics": [*committed()["topics"][:-1], "0xzz"]},
        {"topics": [*committed()["topics"][:-1], 5]},
        {"topics": None},
        {"data": "0x"},
        {"data": committed()["data"][:-64]},
        {"data": "0xz"},
        {"data": None},
        {"data": "0x" + "ff" * 500},
        {"blockNumber": None},
        {"blockNumber": 16},
        {"blockNumber": "0xg"},
        {"blockHash": None},
        {"logIndex": None},
        {"transactionHash": 1},
    ],
)
def test_a_malformed_log_is_a_value_error(change):
    with pytest.raises(ValueError, match=r"."):
        ledger_abi().event(committed() | change)


@pytest.mark.parametrize("log", [None, 5, "log", [], {}])
def test_what_is_no_log_at_all_is_a_value_error(log):
    with pytest.raises(ValueError, match="malformed"):
        ledger_abi().event(log)


@given(st.binary(max_size=400))
def test_any_data_is_an_event_or_a_value_error(data):
    try:
        event = ledger_abi().event(committed() | {"data": "0x" + data.hex()})
    except ValueError:
        return
    assert isinstance(event.record, Record)


def error_data(name, kinds, values):
    return Web3.keccak(text=f"{name}({','.join(kinds)})")[:4] + encode(kinds, values)


def test_errors_have_their_arguments_by_name():
    data = error_data("WrongAttempt", ["uint32", "uint32"], [3, 5])
    assert ledger_abi().error(data) == ("WrongAttempt", {"named": 3, "current": 5})


@pytest.mark.parametrize("data", [b"", b"\1\2\3", bytes(4), error_data("WrongAttempt", ["uint32"], [3])])
def test_other_revert_data_is_no_error_of_the_contract(data):
    assert ledger_abi().error(data) is None


def test_every_error_has_arguments_with_names():
    unnamed = [
        f"{entry['name']}.{part['name']}"
        for entry in ENTRIES
        if entry["type"] == "error"
        for part in entry["inputs"]
        if not part["name"].strip("_")
    ]
    assert unnamed == []


def test_constructors_and_fallbacks_are_left_out():
    abi = Abi([{"type": "constructor", "inputs": []}, {"type": "receive"}, {"type": "fallback"}])
    assert (abi.functions, abi.topics) == ({}, {})
