"""What all participants of a program share."""

from __future__ import annotations

import gc

from galaxy_fl.participants.work import Work


def test_what_no_client_keeps_is_in_one_folder_until_the_program_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    work = Work()
    (work.scratch() / "1").write_bytes(b"update")
    assert [(path, list(path.iterdir())) for path in tmp_path.iterdir()] == [(work.scratch(), [work.scratch() / "1"])]
    work.stop()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_work_that_nobody_stops(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    work = Work()
    work.scratch()
    del work
    gc.collect()
    assert list(tmp_path.iterdir()) == []
