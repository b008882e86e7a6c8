"""Processes that kill themselves where they are told to."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from galaxy_fl.faults import FAULT_VARIABLE

PROGRAM = """
from galaxy_fl.faults import fault_point
for passing in range(3):
    fault_point("here")
    print(passing, flush=True)
    fault_point("there")
"""


def run(setting: str | None) -> tuple[int, list[str], str]:
    variables = {name: value for name, value in os.environ.items() if name != FAULT_VARIABLE}
    if setting is not None:
        variables[FAULT_VARIABLE] = setting
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=variables, capture_output=True, text=True)
    return done.returncode, done.stdout.split(), done.stderr


@pytest.mark.parametrize(
    ("setting", "code", "said"),
    [
        (None, 0, "0 1 2"),
        ("", 0, "0 1 2"),
        ("elsewhere", 0, "0 1 2"),
        ("here", -9, ""),
        ("here:1", -9, ""),
        ("here:3", -9, "0 1"),
        ("there:2", -9, "0 1"),
        ("there:4", 0, "0 1 2"),
    ],
)
def test_it_ends_at_the_passing_that_is_named(setting, code, said):
    assert run(setting)[:2] == (code, said.split())


@pytest.mark.parametrize("wrong", ["here:0", "here:x", "here:", "here:-1"])
def test_a_setting_that_makes_no_sense(wrong):
    code, said, complaint = run(wrong)
    assert (code, said) == (1, [])
    assert f"GALAXY_FAULT_POINT is '{wrong}', expected a point's name, or name:N" in complaint
