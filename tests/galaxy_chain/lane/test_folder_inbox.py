"""The inbox beside a folder's content: whoever may write there may write anything, and only what is signed comes out."""

from __future__ import annotations

import os

import pytest

from galaxy_chain.lane.folder_inbox import ALIVE_SECONDS, FolderInbox
from galaxy_chain.lane.messages import LARGEST_MESSAGE
from galaxy_chain.ledger.signing import SignatureError
from tests.galaxy_chain.lane.poor import Poor


@pytest.fixture
def poor(federation, tmp_path):
    return Poor(federation, tmp_path)


def files(poor, kind="1"):
    where = poor.domain
    folder = poor.federation.store.root / "inbox" / f"{where.chain_id}-{where.ledger.lower()}"
    return sorted((folder / str(poor.federation.job) / kind).glob("*"))


def again(poor):
    """As another process sees it."""
    return FolderInbox(poor.federation.store.root, poor.domain)


def test_what_is_handed_in_comes_out(poor):
    job, updates = poor.federation.job, [poor.signed(index) for index in range(3)]
    for update in (*updates, updates[0]):
        poor.inbox.hand_in(job, 1, update)
    found = again(poor).updates(job, 1)
    assert sorted(found, key=str) == sorted(updates, key=str)
    assert again(poor).updates(job, 2) == []
    for update in found:
        update.check(poor.domain, job, 1)
    poor.inbox.ask_to_join(job, poor.joining(0))
    poor.inbox.ask_to_join(job, newer := poor.joining(0, deadline=2**40))
    assert again(poor).joins(job) == [newer]
    assert poor.federation.store.gc(0).removed > 0
    assert len(again(poor).updates(job, 1)) == 3, "gc is about content"


def test_what_its_client_has_not_signed_is_not_kept(poor):
    for attempt, update in [
        (2, poor.signed(0)),
        (1, poor.signed(0).model_copy(update={"weight": 7})),
        (1, poor.signed(0).model_copy(update={"client": poor.signers[1].address})),
    ]:
        with pytest.raises(SignatureError, match="is not one of"):
            poor.inbox.hand_in(poor.federation.job, attempt, update)
    assert files(poor) == files(poor, "2") == []


def test_files_that_others_put_there_are_bounded_and_checked(poor):
    job = poor.federation.job
    for index in range(3):
        poor.inbox.hand_in(job, 1, poor.signed(index))
    mine, *others = files(poor)
    text = mine.read_text()
    client = mine.name.split("-")[0]
    for number, content in enumerate(
        ["", "{", "[]", "x" * (LARGEST_MESSAGE + 1), others[0].read_text(), text.replace('"weight":40', '"weight":39')]
    ):
        (mine.parent / f"{client}-{number:016x}.json").write_text(content)
    (mine.parent / "readme").write_text(text)
    (mine.parent / f"0x{'1' * 40}-{'0' * 16}.json").write_text(text)
    os.symlink(mine, mine.parent / f"0x{'2' * 40}-{'0' * 16}.json")
    assert len(again(poor).updates(job, 1)) == 3
    for number in range(10, 100):
        (mine.parent / f"{client}-{number:016x}.json").write_text("{}")
    inbox = again(poor)
    looks = [len(inbox.updates(job, 1)) for _ in range(13)]
    assert looks[0] == 2, "all others are seen at once"
    assert looks[-1] == 3, "who is flooded by those who share the folder a few looks later"


def test_what_was_lost_or_damaged_is_there_again_when_it_is_handed_in_again(poor):
    job, update = poor.federation.job, poor.signed(0)
    poor.inbox.hand_in(job, 1, update)
    (path,) = files(poor)
    reader = again(poor)
    path.write_text("{")
    assert reader.updates(job, 1) == []
    poor.inbox.hand_in(job, 1, update)
    assert reader.updates(job, 1) == [update]
    path.unlink()
    assert reader.updates(job, 1) == []
    poor.inbox.hand_in(job, 1, update)
    assert reader.updates(job, 1) == [update]


def test_attempts_long_gone_are_removed(poor):
    job = poor.federation.job
    for attempt in range(1, 6):
        poor.inbox.hand_in(job, attempt, poor.signed(0, attempt))
    assert [len(again(poor).updates(job, attempt)) for attempt in range(1, 6)] == [0, 0, 1, 1, 1]


def test_whether_a_relay_looks(poor):
    job = poor.federation.job
    assert not poor.inbox.relayed(job)
    again(poor).tend(job)
    assert poor.inbox.relayed(job)
    assert not poor.inbox.relayed(job + 1)
    (path,) = [path for path in files(poor, ".") if path.name == "relay"]
    os.utime(path, (0, path.stat().st_mtime - ALIVE_SECONDS - 1))
    assert not poor.inbox.relayed(job)
