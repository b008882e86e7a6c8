"""The digest of a round's model, which all clients of a process ask for."""

from __future__ import annotations

import hashlib
import os
import time

from galaxy_fl.rounds import kept
from galaxy_fl.rounds.kept import digest_of


def settle(path):
    while time.time_ns() < path.stat().st_ctime_ns + kept._TICKED_NS:
        time.sleep(0.02)


def test_a_file_is_hashed_once_until_it_is_another(tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.write_bytes(b"one")
    settle(path)
    assert digest_of(path) == hashlib.sha256(b"one").hexdigest()
    with monkeypatch.context() as patch:
        patch.setattr(kept.hashlib, "file_digest", None)
        assert digest_of(path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"two")
    assert digest_of(path) == hashlib.sha256(b"two").hexdigest()
    settle(path)
    assert digest_of(path) == hashlib.sha256(b"two").hexdigest()
    (tmp_path / "new").write_bytes(b"six")
    os.utime(tmp_path / "new", ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    os.replace(tmp_path / "new", path)
    assert digest_of(path) == hashlib.sha256(b"six").hexdigest()


def test_a_file_that_changes_within_a_tick_of_the_clock_is_hashed_again(tmp_path):
    path = tmp_path / "model"
    for number in range(50):
        content = f"{number:>2}".encode()
        path.write_bytes(content)
        assert digest_of(path) == hashlib.sha256(content).hexdigest()
