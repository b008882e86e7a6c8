"""What commands may import: whoever only looks something up does not wait for what trains, draws or serves."""

from __future__ import annotations

import json
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
    json.dump(sorted(sys.modules), out)
    out.write("\\n")
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


def loaded(*commands: list[str]) -> set[str]:
    """The packages and modules that are there once the commands have run, one after the other, in a process."""
    program = [sys.executable, "-c", textwrap.dedent(RUN), json.dumps(commands)]
    done = subprocess.run(program, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def leaves(command: object = None, path: tuple[str, ...] = ()) -> Iterable[tuple[str, ...]]:
    """The commands that do something."""
    command = application() if command is None else command
    if isinstance(command, Deferred):
        yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, (*path, name))


@pytest.mark.parametrize("asked", [["--help"], ["job", "--help"], ["store", "--help"]])
def test_a_list_of_commands_imports_next_to_nothing(asked):
    assert not loaded(asked) & (ALL | NUMBERS | {"galaxy_chain.place", "galaxy_chain.rpc"})


@pytest.mark.parametrize(
    "command", [path[0] for path in leaves() if len(path) == 1] + ["account", "bond", "job", "key", "store"]
)
def test_help_imports_nothing_that_only_the_command_needs(command):
    assert not loaded(*([*path, "--help"] for path in leaves() if path[0] == command)) & ALL


@pytest.mark.parametrize(
    ("command", "not_needed"),
    [
        (["--version"], ALL),  # with numpy, which the kernels that it tells of work for
        (["job", "example"], ALL | NUMBERS),
        (["job", "list"], ALL | {"galaxy_chain.following.history", "galaxy_chain.verify"}),
        (["job", "show", "JOB"], ALL | {"galaxy_chain.verify"}),
        (["bond", "show", "JOB", "ACCOUNT"], ALL),
        (["bond", "deposit", "JOB", "1", "--account", "dev:1"], ALL),
        (["job", "admit", "JOB", "ACCOUNT", "--account", "dev:0"], ALL),
        (["job", "cancel", "JOB", "--account", "dev:0"], ALL),
        (["audit", "JOB"], ALL),
        (["account", "list"], ALL),
        (["key", "show"], ALL | {"galaxy_chain.following"}),
        (["key", "list", "JOB"], ALL | {"galaxy_chain.verify"}),
        (["store", "list"], ALL | NUMBERS),
        (["store", "put", "FILE"], ALL | NUMBERS),
        (["store", "gc"], ALL | NUMBERS),
        (["store", "verify"], ALL | NUMBERS),
    ],
)
def test_a_command_imports_what_it_needs(at_ledger, federation, command, not_needed):
    file = at_ledger.folder / "file"
    file.write_text("something to put")
    names = {"JOB": str(federation.job), "ACCOUNT": federation.owner, "FILE": str(file)}
    assert not loaded([names.get(part, part) for part in command]) & not_needed
