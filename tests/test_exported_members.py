"""What is public: sorted, all there, with examples, and nothing else."""

from __future__ import annotations

import ast
import doctest
import inspect
import subprocess
import sys
import textwrap
from types import ModuleType

import pytest

import galaxy_chain
import galaxy_fl

PACKAGES = [galaxy_fl, galaxy_chain]


def public(package: ModuleType) -> dict[str, object]:
    return {name: getattr(package, name) for name in package.__all__ if not name.startswith("_")}


MEMBERS = [
    pytest.param(member, id=f"{package.__name__}.{name}")
    for package in PACKAGES
    for name, member in public(package).items()
]


@pytest.mark.parametrize("package", PACKAGES)
def test_they_are_sorted_and_all_there(package):
    assert package.__all__ == sorted(set(package.__all__))
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_else_is_public(package):
    public(package)  # all that is imported lazily is there now
    # Modules become attributes of their package when they are imported, by their own name.
    found = {name for name, value in vars(package).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert found == {name for name, value in public(package).items() if not inspect.ismodule(value)}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_lists_of_a_package_agree(package):
    """What a type checker sees is what there is at run time, from the same modules."""
    tree = ast.parse(inspect.getsource(package))
    imported = {
        alias.asname or alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if not (alias.asname or alias.name).startswith("_")
    }
    assert set(imported) == set(public(package))
    for name, home in package._HOMES.items():
        assert imported[name] == home
        assert getattr(package, name) is getattr(sys.modules[home], name)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_that_there_is_not(package):
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'Jbo'"):
        _ = package.Jbo
    assert package.__version__ == galaxy_fl.__version__
    assert package.__version__[0].isdigit()


@pytest.mark.parametrize("member", MEMBERS)
def test_each_has_a_docstring_and_what_is_not_an_error_an_example(member):
    if not (inspect.isclass(member) or inspect.isfunction(member)):
        return  # a module of classes, and aliases of types
    text = inspect.getdoc(member)
    assert text
    if inspect.isclass(member) and issubclass(member, BaseException):
        return
    examples = doctest.DocTestParser().get_examples(text)
    assert examples, f"{member} has no example"
    for example in examples:
        compile(example.source, str(member), "exec")


def methods(member: object) -> list[tuple[str, object]]:
    if not inspect.isclass(member) or issubclass(member, BaseException):
        return []
    return [(name, value) for name, value in vars(member).items() if not name.startswith("_") and callable(value)]


@pytest.mark.parametrize("member", MEMBERS)
def test_their_methods_have_docstrings(member):
    for name, method in methods(member):
        assert inspect.getdoc(method), f"{member}.{name}"


def test_the_examples_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner()
    for name, member in public(galaxy_fl).items():
        for found in finder.find(member, name, globs={"galaxy": galaxy_fl}):
            runner.run(found)
    assert runner.tries > 20
    assert runner.failures == 0


@pytest.mark.parametrize("package", ["galaxy_fl", "galaxy_chain"])
def test_nothing_slow_is_imported_with_a_package(package):
    program = f"""
        import sys
        import {package}
        print(*(set(sys.modules) & {{"torch", "numpy", "pydantic", "web3", "matplotlib", "eth_account", "httpx"}}))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", ["galaxy_fl.exceptions", "galaxy_chain.exceptions"])
def test_the_tree_that_an_exceptions_module_draws_is_that_of_its_classes(name):
    module = sys.modules[name]
    drawn = dict(branches(module.__doc__ or ""))
    others = {"GalaxyError", "ContentError", "ContentAlteredError"} if name == "galaxy_chain.exceptions" else set()
    defined = {name: getattr(module, name) for name in module.__all__}
    if name == "galaxy_fl.exceptions":
        from galaxy_fl.exceptions.fl_expection import PFLException

        defined["PFLException"] = PFLException
    assert set(drawn) == set(defined) | others
    for child, (parent, code) in drawn.items():
        kind = defined.get(child) or getattr(galaxy_fl.exceptions, child)
        if code is not None:
            assert kind.exit_code == code, child
        if parent is not None and child in defined:
            assert kind.__bases__ == (defined.get(parent) or getattr(galaxy_fl.exceptions, parent),), child


def branches(text: str) -> list[tuple[str, tuple[str | None, int | None]]]:
    """The names of a drawn tree, each with its parent and its number."""
    found: list[tuple[str, tuple[str | None, int | None]]] = []
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        drawing = line.rstrip()
        start = next((index for index, sign in enumerate(drawing) if sign.isalpha()), None)
        if start is None or not drawing.startswith("    ") or set(drawing[:start]) - set(" │├└─"):
            continue
        if start > 4 and "─ " not in drawing[:start]:
            continue
        name, *rest = drawing[start:].split()
        while above and above[-1][0] >= start:
            above.pop()
        code = int(rest[0]) if rest and rest[0].isdecimal() else None
        found.append((name, (above[-1][1] if above else None, code)))
        above.append((start, name))
    return found
