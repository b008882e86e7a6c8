"""Participants that are killed at every point where it could matter, and started again.

Both updates of each round are wanted, so the final model is foreseeable: it has to be that of a job in which nothing
happens. A participant dies many times in one job.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from galaxy_fl import Client, Server
from tests import soak
from tests.end_to_end.apart import CLIENTS, STUCK, Apart, Described, Participant
from tests.end_to_end.processes import Program, anvil

# One worker, so that the undisturbed job runs once: pytest -n 2 --dist loadgroup.
pytestmark = pytest.mark.xdist_group("crashes")

ROUNDS = 3


def live(*lives: tuple[Participant, Sequence[str]]) -> list[list[dict[str, Any]]]:
    """Has participants live at once and each die at points in turn; gives what each said."""
    with ThreadPoolExecutor(len(lives)) as pool:
        return [each.result() for each in [pool.submit(who.live, *points) for who, points in lives]]


def trainings(said: list[dict[str, Any]]) -> dict[int, int]:
    """How often a client began to train in which round."""
    return Counter(line["round"] for line in said if line["event"] == "training")


@contextmanager
def served(job: Apart) -> Iterator[str]:
    """The job's content store behind HTTP; gives its url."""
    owner = job.address("owner")
    command = "store", "serve", "--port", 0, "--owner", owner, "--json"
    with Program(job.folder, *command, GALAXY_RPC=job.url) as program:
        yield json.loads(program.line("url"))["url"]


@pytest.fixture(scope="module")
def described(anvil_url: str, tmp_path_factory: pytest.TempPathFactory) -> Described:
    return Described.on(anvil_url, tmp_path_factory.mktemp("described"))


@pytest.fixture(scope="module")
def undisturbed(described: Described, anvil_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The final model of a job in which nothing happens. Its participants share a process, which loads torch once."""
    job = Apart(tmp_path_factory.mktemp("undisturbed"), anvil_url, described, ROUNDS)
    plain: dict[str, Any] = {"trust": [job.address("owner")], "jobs": [job.job], "leave": True, "poll": 0.1}
    everybody: list[Server | Client] = [Server(at=job.ledger_of("server"), output=job.folder, **plain)]
    everybody += [
        Client("digits", shard=shard, at=job.ledger_of(name), output=job.folder, **plain)
        for name, shard in CLIENTS.items()
    ]
    running = [threading.Thread(target=each.run, daemon=True) for each in everybody]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(STUCK)
        assert not thread.is_alive()
    return job.model()


SERVER = (
    "after-intent",  # of the bond
    "after-broadcast",
    "before-cursor:2",
    "after-cursor:2",
    "during-aggregation:2",
    "after-aggregation",
    "after-store-put",
    "after-intent",  # of the first commit
    "after-broadcast",
    "before-receipt",  # of the second
)
FIRST = (
    "before-cursor",
    "after-intent",  # of its joining
    "after-training",
    "after-kept",
    "after-store-put",
)
SECOND = (
    "after-cursor",
    "after-broadcast",  # of its joining
    "after-intent",  # of its first update
    "before-receipt",
    "after-broadcast",  # of its second
)
QUICK = (SERVER, ("after-training", "after-kept", "after-store-put"), SECOND[1:4])
"""Without points that a server passes in the same code: around the cursor, at the intent of a first transaction, and
after the broadcast of a later one. A client's life costs more than twice a server's."""


@pytest.mark.parametrize(
    "points",
    [pytest.param(QUICK, id="quick"), pytest.param((SERVER, FIRST, SECOND), id="all", marks=pytest.mark.extended)],
)
def test_whoever_is_killed_at_any_point_neither_trains_nor_pays_twice(
    described: Described, undisturbed: str, anvil_url: str, folder: Path, points: Sequence[Sequence[str]]
) -> None:
    job = Apart(folder, anvil_url, described, ROUNDS)
    server, first, second = zip(map(job.participant, ("server", "first", "second")), points, strict=True)
    _, said, also = live(server, first, second)
    assert trainings(said) == {1: 2, 2: 1, 3: 1}  # what it had trained the first time was not kept yet
    assert trainings(also) == {1: 1, 2: 1, 3: 1}
    assert job.check_transactions() == 0
    assert [commit.attempt for commit in job.history().commits.values()] == [1, 2, 3]
    assert job.model() == undisturbed


@pytest.mark.extended
def test_an_upload_that_is_cut_off_and_a_reveal_that_is_not_noted_are_made_up_for(
    described: Described, undisturbed: str, embedded_url: str, folder: Path
) -> None:
    hidden = replace(described, document=described.document.model_copy(update={"reveal": "after-close"}))
    job = Apart(folder, embedded_url, hidden, ROUNDS)
    with served(job) as url:
        server = job.participant("server", store=url), ("during-upload", "after-store-put")
        first = job.participant("first", store=url), ("during-upload", "after-reveal")
        second = job.participant("second", store=url), ()
        _, said, also = live(server, first, second)
    assert trainings(said) == trainings(also) == {1: 1, 2: 1, 3: 1}
    assert job.check_transactions() == 0
    assert job.model() == undisturbed


@pytest.mark.extended
def test_kills_and_reorganisations_at_random(described: Described, undisturbed: str, folder: Path) -> None:
    with anvil() as url:
        done = soak.disturb(folder, url, described, ROUNDS, undisturbed, longest=12.0, until=time.monotonic() + 12.0)
    assert done.kills
    assert done.depths
