"""The measurements that the documentation's figures come from still run, on their smallest sizes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from scripts.compile import ROOT


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("plain_loop", "--clients 2 --rounds 1"),
        pytest.param(
            "clients", "--clients 4 --fan-in 2", marks=pytest.mark.extended
        ),  # test_many_clients.py runs its job
        ("aggregation", "--parameters 1000 --clients 3 70 --fan-in 4"),
        ("scale", "--parameters 1000 2000 --clients 4 20 40 --limit 30000"),
        ("vectors", "--parameters 100000 --clients 4 --repeat 1"),
        pytest.param("rounds", "--runs 1 --only 0", marks=pytest.mark.extended),
        pytest.param("distillation", "--seeds 1 --clients 2 --rounds 1", marks=pytest.mark.extended),
    ],
)
def test_it_runs(script, arguments, tmp_path):
    command = [sys.executable, ROOT / "scripts" / "bench" / f"{script}.py", *arguments.split()]
    # Torch's threads wait for one another, and on a busy machine each of them for its turn.
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout
