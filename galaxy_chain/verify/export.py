"""A job's model as a file for PyTorch: found by the ledger, verified, and written without running the model's code."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from galaxy_chain.following.history import JobHistory
from galaxy_chain.jobs.check import check_job
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.seal.store import contents_of
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.content import Store
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import replacing
from galaxy_fl.worker.worker import Worker

__all__ = ["check_destination", "export_model"]

STATE_DICTS = (".pt", ".pth", ".bin")
"""Endings of files for `torch.load(…, weights_only=True)`."""
SAFETENSORS = ".safetensors"


def check_destination(path: Path) -> None:
    """Make sure, before anything is fetched, that a model can be written to a file of that name.

    Raises:
        ConfigurationError: the ending is not that of a known form, or the folder is missing.
    """
    if path.suffix not in (*STATE_DICTS, SAFETENSORS):
        raise ConfigurationError(
            f"{path} ends in {path.suffix!r}, which is not a form that a model can be written in: let it end in "
            f"{', '.join(STATE_DICTS)} (a state_dict for torch.load) or {SAFETENSORS}"
        )
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder: name a file")
    if not path.parent.is_dir():
        raise ConfigurationError(f"there is no folder {path.parent}: make it first, or name another file")


def export_model(
    ledger: LedgerContract,
    store: Store,
    history: JobHistory,
    number: int,
    path: Path,
    own: Path | None = None,
    home: Path | None = None,
) -> None:
    """Write the model after round `number` of a job (0: the initial one) to a file, whole or not at all.

    The content and the root of its chunk tree are those on the ledger. A model that is missing is recomputed from the
    updates.

    Args:
        history: The job's.
        path: Its ending says whether it becomes a state_dict or safetensors. A file that is there is replaced.
        own: What a client has kept of its own tensors, whose personal ones are written; None for the job's own values.
        home: As of `Auditor`.

    Raises:
        ConfigurationError: as `check_destination`.
        ContentMissingError, ContentAlteredError: the model is unavailable, and cannot be recomputed.
        JobMismatchError, JobDocumentError, ContentError: the job is not what the ledger says.
        OSError, TrainingError: the file cannot be written.
    """
    check_destination(path)
    document = check_job(ledger, store, history.job, history.terms)
    base = None if document.base is None else store.path(document.base.id)
    contents = contents_of(store, document, history.job, home, lambda: history)
    vector = Verifier(contents, history.terms, document).model_after(history, number)
    with tempfile.TemporaryDirectory(prefix=".galaxy-", dir=path.parent) as folder:
        written = Path(folder) / "model"
        with Worker() as worker:
            worker.export(document, vector, written, base, own)
        with replacing(path) as new:
            shutil.copyfile(f"{written}{SAFETENSORS}" if path.suffix == SAFETENSORS else written, new)
