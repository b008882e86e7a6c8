"""Pages of the documentation that are made from the code whenever the site is built, so that they are never stale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from galaxy_chain.cli.main import application

__all__ = ["command_line", "on_files"]

INTRODUCTION = """# The command line

`galaxy-chain` is installed with the package. Settings come from flags, then from `GALAXY_…` variables, then from
`galaxy.toml` in the working directory ([operations](../operations.md#settings)). A command that fails ends with one of
the [exit codes](exit-codes.md).
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here; mkdocs calls it."""
    files.append(File.generated(config, "reference/command-line.md", content=command_line()))
    return files


def command_line() -> str:
    """The reference of all commands, from the options that they declare."""
    root = application()
    parts = [INTRODUCTION, "\n".join(_options(root))]
    for path, command in _commands(root, ("galaxy-chain",)):
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        usage = " ".join([*path, *(_metavar(each) for each in arguments), "[OPTIONS]"])
        parts += [f"## {' '.join(path[1:])}", command.help or "", f"```text\n{usage}\n```"]
        parts += [f"- `{_metavar(each)}`: {each.help}" for each in arguments if each.help]
        parts.append("\n".join(_options(command)))
    return "\n\n".join(parts) + "\n"


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from _commands(below, (*path, name))
    else:
        yield path, command.load()


def _options(command: Any) -> Iterator[str]:
    options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
    if not options:
        return
    yield "| option | variable | default | |\n|---|---|---|---|"
    for option in sorted(options, key=lambda each: not each.required):
        flags = ", ".join(f"`{flag}`" for flag in [*option.opts, *option.secondary_opts])
        if option.metavar:
            flags += f" `{option.metavar}`"
        variable = f"`{option.envvar}`" if option.envvar else ""
        silent = option.default is None or option.default is False or callable(option.default)
        default = "required" if option.required else "" if silent else f"`{option.default}`"
        yield f"| {flags} | {variable} | {default} | {_cell(option.help or '')} |"


def _metavar(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return name if argument.required else f"[{name}]"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
