"""What needs Flower, in its own environment (docs/decisions/0020)."""

from __future__ import annotations

import subprocess

import pytest

from tests.end_to_end.processes import ROOT, environment


@pytest.mark.extended
def test_whole_apps_stand_on_a_ledger() -> None:
    done = subprocess.run([ROOT / "scripts" / "flower", "-q"], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
