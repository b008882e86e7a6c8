"""The tree of commands: each explains itself, and none is imported before it is chosen."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from galaxy_chain.cli import main
from galaxy_chain.cli.commands import Deferred, ungrouped
from galaxy_chain.cli.main import application
from galaxy_fl.vectors import kernels as kernels_room
from galaxy_fl.worker import forkserver

SLOW = ("torch", "web3", "matplotlib", "eth_account", "eth", "uvicorn")


def tree(group: TyperGroup, *path: str):
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from tree(command, *path, name)
        else:
            yield (*path, name), command


COMMANDS = dict(tree(application()))
GROUPS = {"galaxy-chain": application()} | {
    name: command for name, command in application().commands.items() if isinstance(command, TyperGroup)
}


def explains(text: str | None) -> bool:
    """Whether it is a sentence or a noun phrase on its own."""
    return text is not None and text[:1].isupper() and text.endswith(".") and not text.startswith(("Of ", "Whose "))


@pytest.mark.parametrize("path", COMMANDS, ids="-".join)
def test_every_command_and_every_option_explains_itself(path):
    deferred = COMMANDS[path]
    assert isinstance(deferred, Deferred)
    assert explains(deferred.help)
    assert len(deferred.help) <= 64  # a line of the list at 80 columns
    command = deferred.load()
    assert command.name == path[-1]
    assert all(explains(paragraph) for paragraph in command.help.split("\n\n"))
    for parameter in command.params:
        assert explains(parameter.help), parameter.name


@pytest.mark.parametrize("name", GROUPS)
def test_every_group_explains_itself(name):
    assert explains(GROUPS[name].help)
    for parameter in GROUPS[name].params:
        assert explains(parameter.help), parameter.name


def test_every_command_prints_its_help(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for path in [(), *((name,) for name in GROUPS if name != "galaxy-chain"), *COMMANDS]:
        assert terminal.run(*path, "--help") == 0
        assert f"Usage: {' '.join(('galaxy-chain', *path))} " in terminal.out
        assert max(map(len, terminal.out.splitlines())) <= 80


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["job", "--help"], ["job", "list"], ["server", "--help"], ["audit", "--help"], ["account", "list"]],
)
def test_what_is_slow_is_not_imported_for_help_or_a_list(tmp_path, arguments):
    program = f"""
import sys
from galaxy_chain.cli.main import main
sys.argv = ["galaxy-chain", *{arguments}]
try:
    main()
finally:
    print([name for name in {SLOW} if name in sys.modules], file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert ended.stderr.splitlines()[-1] == "[]", ended.stderr


def test_a_list_of_commands_imports_none_of_them(tmp_path):
    program = """
import sys
from galaxy_chain.cli.main import application
from galaxy_fl.vectors import kernels as kernels_room
application().main(["--help"], prog_name="galaxy-chain", standalone_mode=False)
print([name for name in sys.modules if name.startswith(("galaxy_chain.ledger", "galaxy_chain.rpc", "pydantic"))])
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert ended.stdout.splitlines()[-1] == "[]"


# ---- Completion


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["jo"], {"job"}),
        (["account", ""], {"new", "list", "import", "export"}),
        (["job", "e"], {"example", "export", "expel"}),
        (["server", "--max"], {"--max-bond"}),
        (["client", "--job", "1", "--sh"], {"--shard", "--shards"}),
        (["account", "export", ""], {"alice", "bob"}),
        (["account", "export", "a"], {"alice"}),
        (["claim", "1", "--account", "b"], {"bob"}),
        (["claim", "1", "--home", "elsewhere", "--account", ""], {"carol"}),
    ],
)
def test_a_shell_completes_commands_options_and_accounts(terminal, monkeypatch, words, found):
    Path("galaxy.toml").write_text("not toml")  # is read when a command runs, not while it is typed
    for name in (".galaxy/keystore/alice.json", ".galaxy/keystore/bob.json", "elsewhere/keystore/carol.json"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    monkeypatch.setenv("_GALAXY_CHAIN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(["galaxy-chain", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    assert terminal.run() == 0
    assert set(terminal.out.split()) == found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_shown(terminal, monkeypatch, shell):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert terminal.run("--show-completion", shell) == 0
    assert "_GALAXY_CHAIN_COMPLETE=complete_" in terminal.out


def test_the_version_is_that_of_the_package(terminal):
    assert terminal.run("--version") == 0
    assert terminal.out.splitlines()[0] == f"galaxy-chain {version('galaxy-fl')}"


@pytest.mark.parametrize(("kernels", "said"), [("python", "Python, because GALAXY_KERNELS says so"), ("rust", None)])
def test_the_version_says_which_kernels_are_in_use(terminal, monkeypatch, kernels, said):
    monkeypatch.setenv("GALAXY_KERNELS", kernels)
    kernels_room.choose_anew()
    try:
        assert (terminal.run("--version") == 0) == (said is not None)
    finally:
        kernels_room.choose_anew()
    assert (
        f"kernels: {said}\n" in terminal.out
        if said
        else "GALAXY_KERNELS is 'rust', expected c or python" in terminal.err
    )


# ---- Groups of options


@dataclass(frozen=True, kw_only=True)
class Size:
    width: Annotated[int, typer.Option(min=1, help="Width.")]
    height: Annotated[int, typer.Option(help="Height.")] = 7


def typed(command):
    app = typer.Typer(add_completion=False)
    app.command()(ungrouped(command))
    return get_command(app)


def test_a_command_gets_its_options_in_groups(capsys):
    def area(size: Size, times: int = 1) -> None:
        """Print an area."""
        print(size, times)

    command = typed(area)
    assert [parameter.name for parameter in command.params] == ["width", "height", "times"]
    assert command.help == "Print an area."
    command.main(["--width", "3"], standalone_mode=False)
    assert capsys.readouterr().out == "Size(width=3, height=7) 1\n"
    with pytest.raises(SystemExit):
        command.main(["--width", "0"])
    assert "Invalid value for '--width'" in capsys.readouterr().err


def test_two_groups_can_not_have_an_option_of_one_name():
    @dataclass(frozen=True)
    class Door:
        width: int = 1

    def area(size: Size, door: Door) -> None:
        """Print an area."""

    area.__annotations__ = {"size": Size, "door": Door, "return": None}
    with pytest.raises(ValueError, match="duplicate parameter name: 'width'"):
        ungrouped(area)


@pytest.mark.parametrize(
    ("arguments", "starts"),
    [
        (["client", "--job", "1"], True),
        (["job", "create", "job.toml"], True),
        (["client", "--help"], False),
        (["job", "create", "job.toml", "--help"], False),
        (["server", "--job", "1"], False),
        (["job", "show", "1"], False),
        (["job"], False),
        ([], False),
    ],
)
def test_torch_is_loaded_from_the_first_moment_by_commands_that_train(arguments, starts, monkeypatch):
    started = []
    monkeypatch.setattr(forkserver, "start", lambda *modules: started.append(modules))
    monkeypatch.setattr(main, "application", lambda: sys.exit(2))
    monkeypatch.setattr(main.gc, "disable", lambda: None)
    monkeypatch.setattr(sys, "argv", ["galaxy-chain", *arguments])
    with pytest.raises(SystemExit):
        main._run()
    assert started == [()] * starts
