"""What is asked on a terminal, on a real one: passwords, keys, and whether a ledger's file may be replaced."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time

import pytest
from eth_account import Account

from galaxy_chain.ledger.deployment import Deployment
from galaxy_chain.transactions.accounts import Keystore

KEY = "0x" + "11" * 32
ADDRESS = Account.from_key(KEY).address

# A process without a terminal of its own gets the first that it opens.
PROGRAM = """
import os
os.open(os.ttyname(0), os.O_RDWR)
from galaxy_chain.cli.main import main
main()
"""


def at_terminal(folder, arguments, *answers, **environment):
    """Runs a command at a terminal, answers what it asks, and returns its exit code and all that was to be seen."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("GALAXY_")} | environment,
        start_new_session=True,
    )
    os.close(theirs)
    seen, after = "", 0
    expected = list(answers)
    deadline = time.monotonic() + 120
    try:
        while time.monotonic() < deadline:
            if expected and (found := re.search(expected[0][0], seen[after:])):
                after += found.end()
                os.write(ours, expected.pop(0)[1].encode())
            if select.select([ours], [], [], 0.05)[0]:
                try:
                    seen += os.read(ours, 4096).decode()
                except OSError:  # the other side has closed it
                    break
        return process.wait(60), seen.replace("\r\n", "\n")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_a_new_password_is_asked_for_until_it_is_twice_the_same(tmp_path):
    code, seen = at_terminal(
        tmp_path,
        ["account", "new", "alice"],
        ("A password: ", "sesame\n"),
        ("The same again: ", "sesam\n"),
        ("A password: ", "sesame\n"),
        ("The same again: ", "sesame\n"),
    )
    assert code == 0, seen
    assert "the two are not the same; try again" in seen
    assert "sesam" not in seen
    keystore = Keystore(tmp_path / ".galaxy" / "keystore")
    assert keystore.open("alice", "sesame").address == keystore.list()["alice"]


def test_a_private_key_is_asked_for_and_never_shown(tmp_path):
    code, seen = at_terminal(
        tmp_path,
        ["account", "import", "alice"],
        ("The private key: ", f"{KEY}\n"),
        ("A password: ", "sesame\n"),
        ("The same again: ", "sesame\n"),
    )
    assert code == 0, seen
    assert ADDRESS in seen
    assert KEY[2:] not in seen


def test_ctrl_c_at_a_question_makes_nothing(tmp_path):
    code, seen = at_terminal(tmp_path, ["account", "new", "alice"], ("A password: ", "\x03"))
    assert code == 130, seen
    assert "Traceback" not in seen
    assert Keystore(tmp_path / ".galaxy" / "keystore").list() == {}


@pytest.mark.parametrize("answer", ["y", "n", ""])
def test_deploying_asks_before_it_replaces_the_file_of_another_ledger(tmp_path, node, web3, deployment, answer):
    path = tmp_path / ".galaxy" / "ledger.json"
    deployment.write(path)
    code, seen = at_terminal(
        tmp_path, ["deploy", "--account", "dev:0", "--rpc", node.url], (r"Replace it\? \[y/N\] ", f"{answer}\n")
    )
    known = Deployment.read(path)
    if answer == "y":
        assert (code, known == deployment) == (0, False), seen
    else:
        assert (code, known == deployment) == (2, True), seen
        assert "or replace it with --force" in seen
