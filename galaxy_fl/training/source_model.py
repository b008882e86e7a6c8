"""A model that a job brings along as source: a class in a Python file, run here, in the worker, and nowhere else.

Whether it may run is decided before: see `galaxy_fl.trust`. It runs as a module of its own name, not as `__main__`.
Modules beside it are found where the program that started the fork server finds its own.
"""

from __future__ import annotations

import inspect
import linecache
import sys
import traceback
from types import ModuleType
from typing import Any

import torch
from torch import nn

from galaxy_fl.exceptions import JobDocumentError, TrainingError
from galaxy_fl.jobs.document import SourceModel, source_id
from galaxy_fl.training.names import unknown_name

__all__ = ["build_source_model", "raised"]

MODULE = "galaxy_source_model"
FILE = "<the model's source>"


def build_source_model(model: SourceModel, seed: int, source: str | None) -> nn.Module:
    """Build a model that a job brings along, with initial weights that follow from `seed`.

    `source` is the file, at most 262,144 bytes of UTF-8, whose id is the document's. The class is made without
    arguments; the caller's random state on the CPU is left alone.

    Raises:
        JobDocumentError: document and source do not belong together, or the source has no such class of
            torch.nn.Module that is made without arguments.
        TrainingError: running it fails; names the line.
    """
    if source is None:
        raise JobDocumentError(f"the source of the model's class {model.class_name} is missing, {model.source}")
    content = source.encode()
    if (found := source_id(content)) != model.source:
        raise JobDocumentError(f"the model's source is {found}, the job document says {model.source}: it was altered")
    with torch.random.fork_rng(devices=[]):
        made = _class(_run(content, source), model.class_name)
        torch.manual_seed(seed)
        try:
            built: nn.Module = made()
        except (Exception, SystemExit) as error:
            raise TrainingError(f"making the model {model.class_name} {raised(error)}") from error
    return built


def _run(content: bytes, source: str) -> ModuleType:
    """The source's module. Tracebacks, and whoever reads the code of a model as torch does, find its lines."""
    try:
        code = compile(content, FILE, "exec")
    except (SyntaxError, ValueError) as error:  # ValueError: it has null bytes
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise JobDocumentError(f"the model's source is not valid Python{line}: {error}") from error
    linecache.cache[FILE] = (len(content), None, source.splitlines(keepends=True), FILE)
    module = sys.modules[MODULE] = ModuleType(MODULE)
    try:
        exec(code, module.__dict__)
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"the model's source imports {error.name!r}, which is not here{_line(error)}: a job brings one file; put "
            "what it imports beside your own program, or install it"
        ) from error
    except (Exception, SystemExit) as error:
        raise TrainingError(f"running the model's source {raised(error)}") from error
    return module


def _class(module: ModuleType, name: str) -> Any:
    found = getattr(module, name, None)
    if found is None:
        classes = [key for key, value in vars(module).items() if _is_model(value) and value.__module__ == MODULE]
        raise JobDocumentError(
            unknown_name("class of the model's source", name, classes)
            if classes
            else f"the model's source defines no torch.nn.Module, and so no {name}"
        )
    if not _is_model(found):
        raise JobDocumentError(f"{name} in the model's source is not a class of torch.nn.Module: {found!r:.100}")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise JobDocumentError(
            f"the model's class {name} is made without arguments, but {error}: give its parameters defaults"
        ) from error
    return found


def _is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, nn.Module)


def raised(error: BaseException) -> str:
    """Return a clause on what a model's code raised, with its line of the source."""
    if isinstance(error, SystemExit):
        return f"ended the program with exit({error.code!r}){_line(error)}: take that out of the file"
    return f"raised {type(error).__name__}: {error}{_line(error)}"


def _line(error: BaseException) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == FILE]
    return f" (line {lines[-1]} of the source)" if lines else ""
