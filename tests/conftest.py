"""What all tests have in common."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A shell that runs the tests in the background, or nohup, has them ignore signals, and so would every program that they
# start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long drawing values takes says how busy the machine is, and the first draw reads all modules for their constants.
settings.register_profile("galaxy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("galaxy")


@pytest.fixture(autouse=True)
def _interrupts_are_heard() -> Iterator[None]:
    """No test leaves interrupts ignored: those after it would wait for ever for what they interrupt."""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "a fixture has left interrupts ignored"
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Where a test trains: on the CPU, and once more on a card where there is one."""
    if request.param == "cuda":
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device here: run on the CPU")
    return str(request.param)


HERE = Path(__file__).parent
LONGEST = (
    "end_to_end/test_jobs.py",
    "end_to_end/test_three_modes.py",
    "end_to_end/test_crashes.py",
    "end_to_end/test_pfl_programs.py",
    "end_to_end/test_demo.py",
    "end_to_end/test_ipfs_job.py",
    "end_to_end/test_many_jobs.py",
    "end_to_end/test_terminal.py",
    "examples/test_examples.py",
    "examples/test_extras.py",
    "galaxy_chain/coordinators/test_coordinator.py",
    "galaxy_chain/dashboard/test_page.py",
    "galaxy_chain/following/test_follower.py",
    "galaxy_chain/following/test_history_on_contract.py",
    "galaxy_chain/verify/test_watchtower.py",
    "galaxy_chain/cli/test_cli.py",
    "galaxy_chain/cli/test_export.py",
    "contracts/test_gas.py",
    "contracts/test_liveness.py",
)
"""The files that take longest, begun first: a file is one process's, and none should be left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first, which matters where several processes share the tests."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.relative_to(HERE).as_posix(), len(place)))
