"""What commands may import: whoever only looks something up does not wait for what trains, draws or serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable

import pytest

from galaxy_chain.cli.commands import Deferred
from galaxy_chain.cli.main import application

RUN = """
    import json, os, sys

    from galaxy_chain.cli.main import application

    out = os.fdopen(os.dup(1), "w")
    for arguments in json.loads(sys.argv[1]):
        try:
            application().main(args=arguments, prog_name="galaxy-chain")
        except SystemExit as ended:
            assert not ended.code, (arguments, ended.code)
        sys.stdout.flush()
        out.write("\\n" + json.dumps(sorted(sys.modules)) + "\\n")
        out.flush()
"""

TRAINING = {"torch", "torchvision", "sympy", "PIL"}
DRAWING = {"matplotlib"}
SERVING = {"fastapi", "starlette", "uvicorn", "h11", "httptools"}
CHAIN = {"eth", "py_ecc", "eth_tester", "trie"}
SIGNING = {"eth_account", "eth_keyfile"}
FETCHING = {"httpx", "httpcore", "requests", "ipfshttpclient", "websockets", "aiohttp"}
ALWAYS = {"web3", *TRAINING, *DRAWING}
"""What no command imports before it knows that it needs it."""
ALL = {*ALWAYS, *SERVING, *CHAIN, *SIGNING, *FETCHING}
NUMBERS = {"numpy", "eth_abi", "eth_utils", "urllib3", "safetensors"}


def loaded(*commands: list[str]) -> list[set[str]]:
    """The packages and modules that are there after each of the commands, run one after the other in a process."""
    program = [sys.executable, "-c", textwrap.dedent(RUN), json.dumps(commands)]
    done = subprocess.run(program, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return [set(json.loads(line)) for line in done.stdout.splitlines() if line.startswith('["')]


def leaves(command: object = None, path: tuple[str, ...] = ()) -> Iterable[tuple[str, ...]]:
    """The commands that do something."""
    command = application() if command is None else command
    if isinstance(command, Deferred):
        yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, (*path, name))


def check(commands: list[list[str]], not_needed: list[set[str]]) -> None:
    """Nothing is there after a command that it does not need, nor those before it: the first that imports it is shown."""
    found = loaded(*commands)
    for command, modules, without in zip(commands, found, not_needed, strict=True):
        assert not modules & without, command


def test_lists_of_commands_import_next_to_nothing():
    asked = [["--help"], ["job", "--help"], ["store", "--help"]]
    check(asked, [ALL | NUMBERS | {"galaxy_chain.place", "galaxy_chain.rpc"}] * 3)


def test_help_imports_nothing_that_only_the_command_needs():
    commands = [[*path, "--help"] for path in leaves()]
    assert len(commands) > 40
    check(commands, [ALL] * len(commands))


@pytest.mark.parametrize(
    "commands",
    [
        # Of several in one process each needs what those before it have imported.
        [
            (["job", "example"], ALL | NUMBERS),
            (["store", "list"], ALL | NUMBERS),
            (["store", "put", "FILE"], ALL | NUMBERS),
            (["store", "gc"], ALL | NUMBERS),
            (["store", "verify"], ALL | NUMBERS),
            (["--version"], ALL),  # with numpy, which the kernels that it tells of work for
        ],
        [
            (["key", "show"], ALL | {"galaxy_chain.following", "galaxy_chain.verify"}),
            (["job", "list"], ALL | {"galaxy_chain.following.history", "galaxy_chain.verify"}),
            (["job", "show", "JOB"], ALL | {"galaxy_chain.verify"}),
            (["key", "list", "JOB"], ALL | {"galaxy_chain.verify"}),
            (["bond", "show", "JOB", "ACCOUNT"], ALL),
            (["bond", "deposit", "JOB", "1", "--account", "dev:1"], ALL),
            (["job", "admit", "JOB", "ACCOUNT", "--account", "dev:0"], ALL),
            (["audit", "JOB"], ALL),
            (["job", "report", "JOB", "--to", "FILE.html"], ALL),
            (["account", "list"], ALL),
            (["job", "cancel", "JOB", "--account", "dev:0"], ALL),
        ],
    ],
    ids=["without a chain", "at a ledger"],
)
def test_commands_import_what_they_need(at_ledger, federation, commands):
    file = at_ledger.folder / "file"
    file.write_text("something to put")
    names = {
        "JOB": str(federation.job),
        "ACCOUNT": federation.owner,
        "FILE": str(file),
        "FILE.html": str(file.with_suffix(".html")),
    }
    check(
        [[names.get(part, part) for part in command] for command, _ in commands],
        [not_needed for _, not_needed in commands],
    )


@pytest.mark.parametrize(("set_to", "threads"), [(None, "1"), ("3", "3")])
def test_numpy_begins_with_one_thread_unless_the_environment_says_otherwise(set_to: str | None, threads: str) -> None:
    program = (
        "import os, sys; from galaxy_chain.cli.main import main; sys.argv[1:] = ['--help']\n"
        "try: main()\nfinally: print(os.environ['OPENBLAS_NUM_THREADS'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    if set_to is not None:
        environment["OPENBLAS_NUM_THREADS"] = set_to
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=600)
    assert done.stdout.split()[-1] == threads, done.stderr
