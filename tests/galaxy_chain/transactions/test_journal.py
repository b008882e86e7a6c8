"""The file of an account's intents: what it holds, and how it is shared."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from galaxy_chain.transactions.fees import Fees
from galaxy_chain.transactions.journal import KEPT, Call, Journal, Signed, State
from galaxy_fl.exceptions import ConfigurationError

CALL = Call("0x70997970C51812dc3A010C7d01b50e0d17dc79C8", b"\1\2", 10**30)
CREATION = Call(None, b"\3", 0)


def signed(nonce: int, price: int = 10**30, tip: int | None = 1) -> Signed:
    return Signed(f"0x{nonce:032x}{price:032x}", nonce, 21_000, Fees(price, tip), bytes([nonce % 256]))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "journal.sqlite"


@pytest.fixture(params=["file", "memory"])
def journal(request: pytest.FixtureRequest, file: Path) -> Iterator[Journal]:
    journal = Journal(file if request.param == "file" else None, "1337", "0xA")
    yield journal
    journal.close()


@pytest.mark.parametrize("call", [CALL, CREATION])
@pytest.mark.parametrize("tip", [None, 7])
def test_what_is_written_is_read(journal, call, tip):
    with journal.lock():
        intent = journal.add("1/2/submitUpdate", call, signed(5, tip=tip))
    assert journal.find("1/2/submitUpdate") == intent == journal.get(intent) == journal.holder(5)
    assert (intent.call, intent.nonce, intent.signed) == (call, 5, (signed(5, tip=tip),))
    assert journal.find("1/3/submitUpdate") is None


def test_what_is_signed_again_is_added(journal):
    with journal.lock():
        intent = journal.sign(journal.add(None, CALL, signed(5)), signed(5, 10**31))
    assert intent.signed == (signed(5), signed(5, 10**31))
    with journal.lock():
        intent = journal.sign(intent, signed(8))
    assert intent.signed == (signed(8),), "with the present nonce only"
    assert (journal.holder(5), journal.holder(8)) == (None, intent)


def test_nonces_are_held_until_the_end(journal):
    with journal.lock():
        first, second = (journal.add(None, CALL, signed(nonce)) for nonce in (5, 6))
    assert [journal.free_nonce(nonce) for nonce in (4, 5, 6, 7)] == [4, 7, 7, 7]
    journal.mark(first, State.FAILED)
    journal.mark(second, State.DONE)
    assert journal.free_nonce(5) == 5


def test_a_nonce_is_its_live_intents_or_that_of_the_last_that_was_done(journal):
    with journal.lock():
        first, second, third = (journal.add(None, CALL, signed(5)) for _ in range(3))
    journal.mark(first, State.DONE)
    journal.mark(second, State.DONE)
    assert journal.holder(5) == third
    journal.mark(third, State.FAILED)
    found = journal.holder(5)
    assert found is not None
    assert (found.number, found.state) == (second.number, State.DONE)


def test_what_has_failed_is_not_found_again(journal):
    with journal.lock():
        intent = journal.add("key", CALL, signed(5))
    journal.mark(intent, State.DONE)
    found = journal.find("key")
    assert found is not None
    assert found.state is State.DONE
    journal.mark(intent, State.FAILED)
    assert journal.find("key") is None


def test_what_is_not_committed_is_not_there(journal):
    def fail() -> None:
        with journal.lock():
            journal.add("key", CALL, signed(5))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert journal.find("key") is None


def test_accounts_and_chains_share_a_file_and_nothing_else(file):
    journals = [Journal(file, chain, account) for chain in ("1", "2") for account in ("0xA", "0xB")]
    with journals[0].lock():
        journals[0].add("key", CALL, signed(0))
    for other in journals[1:]:
        assert (other.find("key"), other.holder(0), other.free_nonce(0)) == (None, None, 0)
    for journal in journals:
        journal.close()


def test_another_process_waits_for_the_lock(file):
    one, two = (Journal(file, "1", "0xA") for _ in range(2))
    has_it, seen = threading.Event(), []

    def wait() -> None:
        has_it.wait()
        with two.lock():
            seen.append(two.free_nonce(0))

    thread = threading.Thread(target=wait)
    thread.start()
    with one.lock():
        has_it.set()
        assert one.free_nonce(0) == 0
        one.add(None, CALL, signed(0))
    thread.join()
    assert seen == [1]
    one.close()
    two.close()


def test_only_so_many_are_kept_after_their_end(journal):
    with journal.lock():
        alive = journal.add("alive", CALL, signed(0))
    for nonce in range(1, KEPT + 2):
        with journal.lock(durable=False):
            intent = journal.add(f"key {nonce}", CALL, signed(nonce))
        if nonce <= 2:
            journal.mark(intent, State.DONE)
    assert journal.find("key 1") is None
    assert journal.find("key 2") is not None
    assert journal.find("alive") == alive


def test_a_file_that_is_none_of_ours(file, tmp_path):
    file.parent.mkdir()
    file.write_bytes(b"not a database at all" * 100)
    with pytest.raises(ConfigurationError, match=f"{file} is damaged .*move the file away") as caught:
        Journal(file, "1", "0xA")
    assert caught.value.exit_code == 2
    with pytest.raises(ConfigurationError, match="can't be made or opened"):
        Journal(file / "below" / "a-file", "1", "0xA")


def test_a_file_of_another_format(file):
    Journal(file, "1", "0xA").close()
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="has format 99, expected 1"):
        Journal(file, "1", "0xA")


@pytest.mark.parametrize("column", ["price = 'much'", "nonce = 77"])
def test_nonsense_in_the_file(file, column):
    journal = Journal(file, "1", "0xA")
    with journal.lock():
        journal.add("key", CALL, signed(5))
        journal._query(f"UPDATE signed SET {column}")
    with pytest.raises(ConfigurationError, match="is damaged"):
        journal.find("key")
    journal.close()
