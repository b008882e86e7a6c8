"""Models that a job brings along as source."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from galaxy_fl.exceptions import JobDocumentError, TrainingError
from galaxy_fl.jobs.document import MAX_BYTES, SourceModel, source_id
from galaxy_fl.training.models import build_model

GOOD = """
from __future__ import annotations
import inspect
from dataclasses import dataclass
import torch
from torch import nn

torch.manual_seed(1)  # as scripts do

@dataclass
class Sizes:  # looks its module up in sys.modules
    hidden: int = 4

class Net(nn.Module):
    def __init__(self, sizes: Sizes | None = None):
        super().__init__()
        self.layer = nn.Linear(3, (sizes or Sizes()).hidden)
        self.register_buffer("steps", torch.zeros(1, dtype=torch.int64))

    def forward(self, samples):
        return self.layer(samples)

class Needs(nn.Module):
    def __init__(self, width):
        super().__init__()

class Fails(nn.Module):
    def __init__(self):
        super().__init__()
        raise OSError("no weights here")

class Leaves(nn.Module):
    def __init__(self):
        raise SystemExit(3)

def helper():
    return Net()

if __name__ == "__main__":
    raise AssertionError("it is not the program")
"""


def build(source, name="Net", seed=0):
    return build_model(SourceModel(source=source_id(source.encode()), class_name=name), seed, source)


def test_the_class_is_made_from_the_seed_and_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    first, same, other = (build(GOOD, seed=seed).layer.weight for seed in (5, 5, 6))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_what_reads_a_models_code_as_torch_fx_does_finds_its_lines():
    assert inspect.getsource(build(GOOD).forward).strip().startswith("def forward(self, samples):")


@pytest.mark.parametrize(
    ("source", "name", "error", "said"),
    [
        ("class Net(:\n", "Net", JobDocumentError, "not valid Python in line 1"),
        ("x = 1\0", "Net", JobDocumentError, "not valid Python"),
        (
            "import layers_of_mine\n",
            "Net",
            TrainingError,
            r"imports 'layers_of_mine', .*\(line 1 of the source\): .*beside",
        ),
        ("\nfrom torch import absent\n", "Net", TrainingError, r"raised ImportError: .*absent.*\(line 2 of"),
        ("def f():\n    return 1 / 0\nf()\n", "Net", TrainingError, r"ZeroDivisionError: .*\(line 2 of the source\)"),
        ("import sys\nsys.exit(4)\n", "Net", TrainingError, r"exit\(4\) \(line 2 of the source\)"),
        ("x = 1\n", "Net", JobDocumentError, "defines no torch.nn.Module, and so no Net"),
        (GOOD, "net", JobDocumentError, "did you mean Net"),
        (GOOD, "helper", JobDocumentError, "helper in the model's source is not a class"),
        (GOOD, "Sizes", JobDocumentError, "Sizes in the model's source is not a class of torch.nn.Module"),
        (GOOD, "Needs", JobDocumentError, "made without arguments, but missing a required argument: 'width'"),
        (GOOD, "Fails", TrainingError, r"making the model Fails raised OSError: no weights here \(line 30"),
        (GOOD, "Leaves", TrainingError, r"making the model Leaves ended the program with exit\(3\)"),
    ],
)
def test_what_is_wrong_with_a_source_is_said_with_its_line(source, name, error, said):
    with pytest.raises(error, match=said) as caught:
        build(source, name)
    assert type(caught.value) is error


NET = SourceModel(source=source_id(b"x = 1"), class_name="Net")


def test_another_source_than_the_documents_does_not_run():
    with pytest.raises(JobDocumentError, match="it was altered"):
        build_model(NET, 0, "raise AssertionError")
    with pytest.raises(JobDocumentError, match="is missing"):
        build_model(NET, 0)


def test_a_source_longer_than_a_block_does_not_run():
    with pytest.raises(JobDocumentError, match="has 262150 bytes, at most 262144"):
        build_model(NET, 0, "#" * (MAX_BYTES + 6))


SCRIPT = """
import sys
from pathlib import Path
from galaxy_fl.jobs.document import SourceModel, source_id
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.worker.worker import Worker
source = Path(sys.path[0], "net.py").read_bytes()
with Worker() as worker:
    model = SourceModel(source=source_id(source), class_name="Net")
    print(worker.describe(model, TrainSpecification(), Path("vector"), source).layout.parameters)
    try:
        worker.describe(model, TrainSpecification(), Path("vector"), b"\\xff")
    except Exception as error:
        print(error)
"""


def test_a_worker_finds_modules_beside_the_users_script(tmp_path):
    folder, elsewhere = tmp_path / "program", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "script.py").write_text(SCRIPT)
    (folder / "layers.py").write_text("from torch import nn\nLAYER = nn.Linear(2, 3)\n")
    (folder / "net.py").write_text(
        "from torch import nn\nfrom layers import LAYER\n"
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.layer = LAYER\n"
        "if __name__ == '__main__':\n    raise AssertionError\n"
    )
    done = subprocess.run(
        [sys.executable, folder / "script.py"],
        cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    described, refused = done.stdout.splitlines()
    assert described == "9"
    assert "not UTF-8" in refused
