"""A user's program is type-checked: what is right passes mypy in strict mode, and what is wrong is found, by its line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("program.py")

CACHE = PROGRAM.parents[2] / ".mypy_cache" / "users_program"

pytestmark = pytest.mark.extended  # mypy reads all that a program imports, torch included


def test_strict_mypy_finds_each_wrong_line_and_no_other():
    expected = {
        number: line.split("# E: ")[1]
        for number, line in enumerate(PROGRAM.read_text().splitlines(), 1)
        if "# E: " in line
    }
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file=",
            "--cache-dir",
            CACHE,
            "--show-absolute-path",
            PROGRAM,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROGRAM.parents[2],
    )
    found: dict[int, str] = {}
    for line in done.stdout.splitlines():
        if match := re.fullmatch(rf"{re.escape(str(PROGRAM))}:(\d+): error: (.*)", line):
            found.setdefault(int(match[1]), match[2])
        else:
            assert ": error: " not in line, line  # in Galaxy itself
    assert set(found) == set(expected), done.stdout + done.stderr
    for number, text in expected.items():
        assert text in found[number]
