"""The example notebook runs from its first cell to its last, and what it shows are tables and pictures."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.end_to_end.processes import LONG
from tests.examples.stage import EXAMPLES

pytestmark = pytest.mark.xdist_group("examples")


def test_the_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))  # nobody's own settings
    monkeypatch.delenv("JUPYTER_PATH", raising=False)
    notebook = nbformat.read(EXAMPLES / "notebook" / "digits.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # they are not kept
    client = NotebookClient(notebook, timeout=LONG, resources={"metadata": {"path": str(tmp_path)}})
    with tempfile.TemporaryDirectory() as sockets:  # whose paths are short enough for one
        kernel = client.create_kernel_manager()
        kernel.transport, kernel.ip = "ipc", f"{sockets}/kernel"
        client.execute()
    shown = [cell.outputs[0].data for cell in notebook.cells if cell.cell_type == "code"]
    job, _, outcomes, curves, accuracies = shown
    assert "<bdi>mlp</bdi>" in job["text/html"]
    assert outcomes["text/html"].count("<td><bdi>over</bdi></td>") == 2
    assert curves["image/svg+xml"].startswith("<svg")
    assert curves["text/plain"].startswith("Report(job=")
    assert accuracies["text/plain"].startswith("{1: 0.")
