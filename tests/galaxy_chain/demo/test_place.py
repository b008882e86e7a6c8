"""The folder of a demonstration."""

from __future__ import annotations

import shutil
from pathlib import Path

from galaxy_chain.demo.place import scratch


def test_what_is_left_is_removed_although_somebody_still_writes_there(tmp_path, monkeypatch):
    """A process that is being killed may come after the folder was listed."""
    remove, late = shutil.rmtree, ["one", "two"]

    def removing(folder, **options):
        remove(folder, **options)
        if late:
            (Path(folder) / late.pop()).mkdir(parents=True)

    monkeypatch.setattr(shutil, "rmtree", removing)
    with scratch(tmp_path) as folder:
        (folder / "verified").mkdir()
    assert list(tmp_path.iterdir()) == []
