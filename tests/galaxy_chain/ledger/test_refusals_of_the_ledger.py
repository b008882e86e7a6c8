"""What the ledger's refusals become: advice in words, and the exception that its caller acts upon."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from galaxy_chain.exceptions import (
    AlreadySubmittedError,
    ErrorName,
    LedgerRefusedError,
    NotAdmittedError,
    UnknownJobError,
)
from galaxy_chain.ledger.abi import ledger_abi
from galaxy_chain.ledger.artifacts import artifact
from galaxy_chain.ledger.refusals import ADVICE, MOVED_ON, TIMES, refusal
from galaxy_fl.exceptions import RoundMovedOnError
from tests.galaxy_chain.ledger.test_abi import snake

ERRORS = {
    entry["name"]: [part["type"] for part in entry["inputs"]]
    for name in ("GalaxyLedger", "Relay")
    for entry in artifact(name).abi
    if entry["type"] == "error"
}
SPEAK_FOR_THEMSELVES = {
    "CommitIsRight", "CommitIsWrong", "MalformedChunks", "MalformedEntries", "MalformedExcluded", "MalformedNodes",
    "MalformedOpenings", "MalformedSubmissions", "NoSuchChunk", "NoSuchNode", "RuleMisbehaved", "SubmissionsHidden",
    "WrongNodeWeight", "WrongNodes", "WrongOpening", "WrongSubmissions",
}  # fmt: skip
"""Only a program that is wrong, or a liar, meets them."""
ZEROS = {"address": "0x" + "11" * 20, "bytes32": b"\2" * 32, "string": "bond", "bool": True}


def revert(name):
    kinds = ERRORS[name]
    return keccak(text=f"{name}({','.join(kinds)})")[:4] + encode(kinds, [ZEROS.get(kind, 3) for kind in kinds])


def test_every_error_is_advised_upon_or_speaks_for_itself():
    assert ADVICE.keys() | SPEAK_FOR_THEMSELVES == ERRORS.keys()
    assert not ADVICE.keys() & SPEAK_FOR_THEMSELVES


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_every_refusal_is_told_in_words(name):
    error = refusal("answer", revert(name))
    assert str(error).startswith("the ledger refuses answer: ")
    assert not re.search(r"[{}]|\\x", str(error))
    assert (name in str(error)) == (name in SPEAK_FOR_THEMSELVES)


def test_the_names_of_refusals_are_the_contract_s():
    assert get_args(ErrorName) == tuple(sorted(ERRORS))


def test_times_are_arguments_of_the_contract_s_type_for_times():
    times = {
        snake(part["name"])
        for name in ("GalaxyLedger", "Relay")
        for entry in artifact(name).abi
        if entry["type"] == "error"
        for part in entry["inputs"]
        if part["type"] == "uint40" or part["name"] == "deadline"
    }
    assert times - {"announced"} == TIMES  # that one is 0 where there is no announcement


def test_each_call_and_error_of_what_moved_on_is_the_contract_s():
    assert MOVED_ON.keys() <= ERRORS.keys()
    assert set().union(*MOVED_ON.values()) <= ledger_abi().functions.keys()


@pytest.mark.parametrize(
    ("function", "name", "kind"),
    [
        ("submitUpdate", "WrongModel", RoundMovedOnError),
        ("submitUpdate", "RoundClosed", RoundMovedOnError),
        ("submitUpdates", "WrongAttempt", RoundMovedOnError),
        ("submitUpdates", "WrongEntry", LedgerRefusedError),
        ("joinBySignatures", "WrongJoin", LedgerRefusedError),
        ("commitRound", "HeadChanged", RoundMovedOnError),
        ("commitRound", "NotYet", RoundMovedOnError),
        ("commitRound", "TooManyUnsettled", RoundMovedOnError),
        ("commitRound", "Barred", LedgerRefusedError),
        ("commitRound", "BondTooSmall", LedgerRefusedError),
        ("supersede", "NotSupersedable", RoundMovedOnError),
        ("supersede", "UnknownRecord", RoundMovedOnError),
        ("challenge", "UnknownRecord", LedgerRefusedError),
        ("settle", "WrongRound", RoundMovedOnError),
        ("claim", "WrongRound", RoundMovedOnError),
        ("claim", "NothingToPay", LedgerRefusedError),
        ("join", "JobNotRunning", LedgerRefusedError),
        ("submitUpdate", "JobNotRunning", RoundMovedOnError),
        ("join", "NotAdmitted", NotAdmittedError),
        ("submitUpdate", "AlreadySubmitted", AlreadySubmittedError),
        ("join", "UnknownJob", UnknownJobError),
    ],
)
def test_the_caller_knows_whether_to_look_again(function, name, kind):
    error = refusal(function, revert(name))
    assert type(error) is kind
    if isinstance(error, LedgerRefusedError):
        assert error.name == name


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (0, "the client has not joined the job"),
        (1, "its weight is 0, or more than the client declared"),
        (2, "the signature is not the client's"),
        (9, "can't be accepted: 9"),
    ],
)
def test_a_wrong_entry_is_named_with_what_is_wrong_with_it(fault, said):
    selector = keccak(text="WrongEntry(uint256,address,uint8)")[:4]
    error = refusal("submitUpdates", selector + encode(["uint256", "address", "uint8"], [4, ZEROS["address"], fault]))
    assert "the entry at place 4, of 0x1111111111111111111111111111111111111111" in str(error)
    assert said in str(error)


def test_what_is_no_error_of_the_ledger_is_left_to_others():
    assert refusal("join", b"") is None
    assert refusal("join", b"\1\2\3\4") is None
