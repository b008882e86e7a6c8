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
    ("keystore", "worker_answer", "node_http", "gateway", "store_folder", "cluster_server"), 15
)
"""Of the targets that do more than parse; the others have 100."""


@pytest.fixture(autouse=True)
def _stack() -> Iterator[None]:
    """A participant's process has Python's own recursion limit, which py-evm raises in that of the tests."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.parametrize("name", INPUTS)
def test_the_corpus(name: str) -> None:
    target, _, kind = name.partition("/")
    taken = load(target)((CORPUS / name).read_bytes())
    if kind.startswith("right"):
        assert taken


@pytest.mark.parametrize("target", TARGETS)
def test_any_bytes_and_the_corpus_altered(target: str) -> None:
    fuzz = load(target)
    corpus = [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]

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
