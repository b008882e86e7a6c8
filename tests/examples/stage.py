"""Example programs, each forked from a process in which torch is loaded already."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.end_to_end.forked import ForkedProcess
from tests.end_to_end.processes import LONG, ROOT, environment

__all__ = ["EXAMPLES", "Stage", "accuracies", "final_models"]

EXAMPLES = ROOT / "examples"


class Stage(ExitStack):
    """Starts programs, and ends those that are left when it is closed."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._processes: dict[Path, ForkedProcess] = {}

    def start(self, program: str, *arguments: str, folder: str = ".", **variables: str) -> Path:
        """Start an example, `hello/client.py`, in a folder; return the file of what it prints.

        Args:
            variables: Put into its environment.
        """
        directory = self._folder / folder
        directory.mkdir(exist_ok=True)
        said = self._folder / f"said-{len(self._processes)}"
        process = ForkedProcess(directory, [str(EXAMPLES / program), *arguments], environment(**variables), said)
        self.callback(process.close)
        self._processes[said] = process
        return said

    def run(self, program: str, *arguments: str, folder: str = ".", **variables: str) -> str:
        """Run an example to its end; return what it printed."""
        return self.finish(self.start(program, *arguments, folder=folder, **variables))

    def finish(self, said: Path) -> str:
        """Wait for the end of a program that was started; return what it printed."""
        code = self._processes[said].wait(LONG)
        assert code == 0, (code, said.read_text())
        return said.read_text()


def final_models(folder: Path) -> list[dict[str, torch.Tensor]]:
    """The final models in a folder, each of which is there twice."""
    models = [path for path in sorted(folder.glob("final_model_pars_*")) if path.suffix != ".safetensors"]
    for path in models:
        twin = load_file(path.with_name(path.name + ".safetensors"))
        assert {name: tensor.tolist() for name, tensor in twin.items()} == {
            name: tensor.tolist() for name, tensor in torch.load(path, weights_only=True).items()
        }
    return [torch.load(path, weights_only=True) for path in models]


def accuracies(folder: Path) -> list[float]:
    """The last accuracy on test data in each report of a folder that has one."""
    found = []
    for path in sorted(folder.glob("report_*.json")):
        tests = [round_["test"]["accuracy"] for round_ in json.loads(path.read_text())["rounds"] if round_["test"]]
        found += tests[-1:]
    return found
