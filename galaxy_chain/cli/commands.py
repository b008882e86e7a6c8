"""How commands are declared: a group of options is one parameter, and a module is imported when it is needed."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from importlib import import_module
from typing import Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from galaxy_chain.settings_file import SETTINGS_FILE, read_settings

__all__ = ["Deferred", "group", "ungrouped"]


class Deferred(TyperCommand):
    """A command that is imported when it is chosen: a list of commands shows its name and summary alone.

    Its options take their defaults from galaxy.toml.

    Args:
        name: What it is called.
        target: Where it is, `module:function` in `galaxy_chain.cli`.
        summary: What the list of commands says of it; its own help is the function's docstring.
    """

    def __init__(self, name: str, target: str, summary: str) -> None:
        super().__init__(name, help=summary)
        self._target = target

    def load(self) -> Any:
        """The command itself."""
        module, function = self._target.split(":")
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(self.name)(ungrouped(getattr(import_module(f"{__package__}.{module}"), function)))
        return get_command(app)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parses the arguments, by the command itself, which then is what runs."""
        if not extra.get("resilient_parsing"):  # a shell that completes asks for no defaults
            extra["default_map"] = read_settings(SETTINGS_FILE)
        command = self.load()
        gc.freeze()  # what was imported stays, and is not gone through again and again
        gc.enable()
        return command.make_context(info_name, args, parent, **extra)


def group(name: str, summary: str, **commands: tuple[str, str]) -> TyperGroup:
    """A command of commands: each is given by its name, its target and its summary."""
    deferred = {each: Deferred(each, *given) for each, given in commands.items()}
    return TyperGroup(name=name, help=summary, no_args_is_help=True, commands=dict(deferred))


def ungrouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer reads it: in place of each parameter that is a dataclass stand the dataclass's fields.

    The fields are annotated as parameters of commands are. `command` itself gets one object a group.

    Raises:
        ValueError: two groups have a field of the same name.
    """
    parameters = inspect.signature(command, eval_str=True).parameters
    groups: dict[str, Any] = {
        name: each.annotation for name, each in parameters.items() if is_dataclass(each.annotation)
    }
    expanded = []
    for name, parameter in parameters.items():
        if name in groups:
            hints = get_type_hints(groups[name], include_extras=True)
            expanded += [_parameter(field, hints[field.name]) for field in fields(groups[name])]
        else:
            expanded.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    def call(**given: Any) -> None:
        made = {
            name: cls(**{field.name: given.pop(field.name) for field in fields(cls)}) for name, cls in groups.items()
        }
        command(**given, **made)

    # A paragraph is a line, which is wrapped to the terminal's width.
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    call.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    call.__annotations__ = {each.name: each.annotation for each in expanded}
    call.__signature__ = inspect.Signature(expanded)  # type: ignore[attr-defined]
    return call


def _parameter(field: Field[Any], annotation: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
