"""Content by its id on the command line: into a store, out of it, kept and let go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from galaxy_chain.store.server import StoreServer
from galaxy_fl.content import ContentId
from galaxy_fl.exceptions import ConfigurationError
from tests.galaxy_chain.federation import alter

SMALL = b"hello\n"
LARGE = bytes(range(256)) * 2048
"""More than a block."""


@pytest.fixture(params=[SMALL, LARGE], ids=["block", "tree"])
def content(request):
    Path("file").write_bytes(request.param)
    return request.param


def test_what_is_put_is_pinned_and_can_be_had_again(terminal, content):
    cid = ContentId.of(content).cid
    assert terminal.run("store", "put", "file") == 0
    assert terminal.out == f"{cid}\n"
    assert terminal.json("store", "put", "file") == {"cid": cid, "bytes": len(content)}
    assert terminal.json("store", "list") == [{"cid": cid, "bytes": len(content), "pinned": True}]
    assert terminal.run("store", "get", cid, "copy") == 0
    assert (Path("copy").read_bytes(), terminal.out) == (content, "")


def test_content_goes_to_standard_output(terminal, content):
    cid = terminal.json("store", "put", "file")["cid"]
    got = subprocess.run([sys.executable, "-m", "galaxy_chain", "store", "get", cid], capture_output=True)
    assert (got.returncode, got.stdout, got.stderr) == (0, content, b"")


def test_content_is_not_shown_on_a_terminal(terminal, monkeypatch):
    Path("file").write_bytes(SMALL)
    cid = terminal.json("store", "put", "file")["cid"]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    terminal.fails(2, "content is bytes, not text: name a file, or redirect", "store", "get", cid)


def test_collecting_says_what_it_leaves_for_its_age(terminal):
    assert terminal.run("store", "gc") == 0
    assert "removed 0 files, 0 bytes; what was put within the last 3600 s is kept" in " ".join(terminal.out.split())


def test_what_is_unpinned_is_collected_and_what_is_pinned_stays(terminal, content):
    cid = terminal.json("store", "put", "file")["cid"]
    assert terminal.run("store", "unpin", cid) == 0
    terminal.fails(6, f"{cid} is not pinned here: `galaxy-chain store list`", "store", "unpin", cid)
    assert terminal.run("store", "pin", cid) == 0
    assert terminal.json("store", "gc", "--grace", 0)["removed"] == 0
    assert terminal.run("store", "unpin", cid) == 0
    assert terminal.json("store", "gc", "--grace", 0)["removed"] == 1
    for command in ("get", "pin", "unpin"):
        terminal.fails(6, f"{cid}.* is not in the store", "store", command, cid)


def test_altered_content_is_not_given(terminal, content):
    cid = terminal.json("store", "put", "file")["cid"]
    alter(next(Path(".galaxy/store/objects").glob(f"*/{cid}")))
    terminal.fails(7, f"{cid}.*is no longer|{cid}.* its bytes are", "store", "get", cid, "copy")
    assert not Path("copy").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["get", "nonsense"], 6, "'nonsense' is not a content id: expected CIDv1"),
        (["pin", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG"], 6, "is not a content id.*ipfs cid base32"),
        (["unpin", "nonsense"], 6, "is not a content id"),
        (["put", "nowhere"], 2, "Invalid value for 'file': .*nowhere.* does not exist"),
        (["put", "folder"], 2, "Invalid value for 'file': .*folder.* is a directory"),
        (["put"], 2, "Missing argument 'file'"),
        (["get"], 2, "Missing argument 'cid'"),
        (["put", "file", "--store", "http://127.0.0.1:1", "--account", "dev:0"], 22, ".galaxy/ledger.json is missing"),
    ],
)
def test_what_can_not_be_done(terminal, arguments, code, said):
    Path("folder").mkdir()
    Path("file").write_bytes(SMALL)
    terminal.fails(code, said, "store", *arguments)


def test_a_served_store_is_written_to_by_those_who_may(at_ledger, federation, monkeypatch, content):
    client = federation.client(0)
    with StoreServer(at_ledger.folder / "served", federation.ledger(), [federation.owner], 2**30) as server:
        monkeypatch.setenv("GALAXY_STORE", server.url)
        at_ledger.fails(24, "no account is named: give --account NAME", "store", "put", "file")
        other = ["--account", f"dev:{federation.node.accounts.index(client.address)}", "--job", federation.job]
        at_ledger.fails(
            6, "does not belong to job 1: it takes vectors of 600 or 1200 bytes", "store", "put", "file", *other
        )
        cid = at_ledger.json("store", "put", "file", "--account", "dev:0")["cid"]
        [served] = (at_ledger.folder / "served" / "objects").glob(f"*/{cid}")
        pinned = at_ledger.folder / "served" / "pins" / cid
        assert (served.read_bytes(), pinned.exists()) == (content, True)
        assert at_ledger.run("store", "get", cid, "copy", "--home", "elsewhere") == 0
        assert Path("copy").read_bytes() == content
        assert at_ledger.run("store", "unpin", cid, "--account", "dev:0") == 0
        assert not pinned.exists()


@pytest.mark.parametrize(
    "command",
    [
        ("job", "export", "1", "--to", "model.pt"),
        ("job", "show", "1"),
        ("job", "list"),
        ("audit", "1"),
        ("store", "verify"),
        ("store", "get", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "file"),
        ("store", "gc"),
        ("store", "list"),
    ],
    ids=" ".join,
)
def test_a_store_that_is_only_read_is_not_made(federation, at_ledger, command):
    said = "typo is not there, and would only be read: name one that is"
    at_ledger.fails(ConfigurationError.exit_code, said, *command, "--store", "typo")
    assert not (at_ledger.folder / "typo").exists()
