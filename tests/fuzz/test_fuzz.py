"""Every target on the inputs of its corpus, on those altered, and on any bytes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.alterations import altered
from tests.fuzz.targets import TARGETS, load

CORPUS = Path(__file__).with_name("corpus")
INPUTS = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/*"))
EXAMPLES = dict.fromkeys(("rpc_http", "rpc_results", "cursor"), 40) | dict.fromkeys(
    ("keystore", "worker_answer", "node_http", "gateway", "store_folder"), 15
)
"""Of the targets that do more than parse; the others have 100."""

OPEN = {
    "cursor/entry_nested": "ledger/cursor.py: RecursionError of json.loads",
    "cursor/error_is_not_utf8": "ledger/cursor.py: UnicodeDecodeError of sqlite3, whose message quotes the file",
    "gateway/redirect_idna": "store/remote.py: idna's UnicodeError from httpx.URL.host",
    "job_file/long_hexadecimal": "job_document.py: repr of an integer of thousands of digits",
    "keystore/nested": "accounts.py: RecursionError of json.loads",
    "keystore/pbkdf2_c": "accounts.py: OverflowError",
    "keystore/pbkdf2_c_dklen": "accounts.py: runs for minutes",
    "keystore/pbkdf2_prf": "accounts.py: AssertionError of eth_keyfile",
    "keystore/pbkdf2_prf_number": "accounts.py: AttributeError of eth_keyfile",
    "keystore/scrypt_dklen": "accounts.py: runs for hours",
    "keystore/scrypt_n_and_r": "accounts.py: runs for minutes",
    "keystore/scrypt_p": "accounts.py: runs for hours",
    "metrics_file/long_integer": "commands/job.py: OverflowError",
    "metrics_file/loss_is_list": "commands/job.py: TypeError",
    "metrics_file/loss_is_text": "commands/job.py: ValueError",
    "metrics_file/nested": "commands/job.py: RecursionError",
    "metrics_file/not_utf8": "commands/job.py: UnicodeDecodeError",
    "node_http/raw_nested": "node/transactions.py: RecursionError of rlp",
    "rpc_http/head_redirect": "ledger/rpc.py: idna's UnicodeError from httpx, which looks at a redirect it does not follow",
    "rpc_results/block_long_wrong": "ledger/rpc.py: a quantity of thousands of digits",
    "rpc_results/follow_place_long": "ledger/job_logs.py: a place beyond SQLite's integers",
    "rpc_results/follow_time_long": "ledger/rpc.py: a time beyond SQLite's integers",
    "rpc_results/logs_block_long": "ledger/job_logs.py: a quantity of thousands of digits",
    "rpc_results/number_long_chain": "ledger/rpc.py: a quantity of thousands of digits",
    "rpc_results/unlocked_mapping": "accounts.py: KeyError",
    "rpc_results/unlocked_not_an_address": "accounts.py: ValueError",
    "rpc_results/unlocked_null": "accounts.py: TypeError",
    "rpc_results/unlocked_numbers": "accounts.py: ValueError",
    "rpc_results/unlocked_text": "accounts.py: ValueError",
    "settings_file/long_integer": "settings_file.py: ValueError of tomllib",
    "settings_file/nested": "settings_file.py: RecursionError of tomllib",
}
"""Inputs that still break a parser, and which; a line goes with its bug."""
ENDLESS = {"keystore/pbkdf2_c_dklen", "keystore/scrypt_dklen", "keystore/scrypt_n_and_r", "keystore/scrypt_p"}


@pytest.fixture(autouse=True)
def _stack() -> Iterator[None]:
    """A participant's process has Python's own recursion limit, which py-evm raises in that of the tests."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(reason=OPEN[name], run=name not in ENDLESS) if name in OPEN else ())
        for name in INPUTS
    ],
)
def test_the_corpus(name: str) -> None:
    target, _, kind = name.partition("/")
    taken = load(target)((CORPUS / name).read_bytes())
    if kind.startswith("right"):
        assert taken


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(
            name,
            marks=pytest.mark.xfail(reason="has open findings", strict=False)
            if any(each.startswith(f"{name}/") for each in OPEN)
            else (),
        )
        for name in TARGETS
    ],
)
def test_any_bytes_and_the_corpus_altered(target: str) -> None:
    fuzz = load(target)
    corpus = [path.read_bytes() for path in sorted((CORPUS / target).iterdir()) if f"{target}/{path.name}" not in OPEN]

    # Without chance: what is found anew is for scripts/fuzz, and a test fails for a change of the code only.
    @settings(
        max_examples=EXAMPLES.get(target, 100),
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.binary(max_size=300) | altered(corpus) | altered(corpus))
    def run(data: bytes) -> None:
        fuzz(data)

    run()


def test_every_target_has_something_that_is_right() -> None:
    assert {name.partition("/")[0] for name in INPUTS if "/right" in name} == set(TARGETS)
