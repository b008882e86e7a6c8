"""Creating a job: initial model and document into the store, terms on the ledger."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from galaxy_chain.exceptions import NoLedgerError
from galaxy_chain.job_file import JobFile
from galaxy_chain.ledger.ledger import Ledger
from galaxy_chain.ledger.structs import ZERO_ADDRESS, Model, Terms
from galaxy_chain.store import Store
from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.job_document import JobDocument
from galaxy_fl.training.worker import Worker
from galaxy_fl.vectors import read_vector, tree_root

__all__ = ["CreatedJob", "create_job"]


@dataclass(frozen=True)
class CreatedJob:
    """A job on the ledger."""

    job: int
    parameters: int
    gas: int


def create_job(ledger: Ledger, rules: Mapping[str, str], store: Store, job_file: JobFile) -> CreatedJob:
    """Creates the job that a job file describes.

    Args:
        ledger: With the owner's transactions.
        rules: The addresses of the rule contracts by name.
        store: Takes the document and the initial model, pinned.
        job_file: The job.

    Raises:
        JobDocumentError: the model, the optimizer or the loss does not exist, or the model is smaller than a chunk.
        NoLedgerError: no contract of the rule is known.
        LedgerRefusedError, TransactionError, ContentError, RpcError: it could not be registered or stored.
    """
    terms = job_file.terms
    if job_file.rule.name not in rules:
        raise NoLedgerError(f"no contract of the rule {job_file.rule.name} is known: it is none of {', '.join(rules)}")
    model = job_file.model.model_dump(mode="json")
    with tempfile.TemporaryDirectory(prefix="galaxy-job-") as folder:
        vector_file = Path(folder) / "initial"
        with Worker() as worker:
            layout = worker.describe(model, job_file.train, vector_file)
        initial = read_vector(vector_file, layout.parameters).copy()
    if layout.parameters <= terms.chunk_parameters:
        raise JobDocumentError(
            f"the model has {layout.parameters} parameters, not more than a chunk of {terms.chunk_parameters}: "
            "lower terms.chunk_parameters"
        )
    document = JobDocument(
        name=job_file.name,
        notes=job_file.notes,
        model=job_file.model,
        layout=layout.to_json(),
        train=job_file.train,
        rule=job_file.rule,
        reveal=job_file.reveal,
    )
    spec = store.put(document.to_bytes())
    content = store.put(initial.data)
    store.pin(spec)
    store.pin(content)
    on_ledger = Terms(
        spec=spec.digest,
        rule_parameters=job_file.rule.word,
        rule=rules[job_file.rule.name],
        demand_deposit=terms.demand_deposit,
        server=terms.server or ZERO_ADDRESS,
        bond=terms.bond,
        rounds=terms.rounds,
        min_updates=terms.min_updates,
        max_updates=terms.max_updates,
        max_excluded=terms.max_excluded,
        collect_seconds=terms.collect_seconds,
        aggregate_seconds=terms.aggregate_seconds,
        challenge_seconds=terms.challenge_seconds,
        answer_seconds=terms.answer_seconds,
        chunk_parameters=terms.chunk_parameters,
        open=terms.open,
        parameters=layout.parameters,
    )
    receipt = ledger.transact(
        "registerJob",
        on_ledger,
        Model(tree_root(initial, terms.chunk_parameters), content.digest),
        value=terms.reward,
    )
    registered = [
        event
        for event in ledger.events(receipt.block, receipt.block, names=["JobRegistered"])
        if "0x" + event.transaction.hex() == receipt.transaction
    ]
    return CreatedJob(registered[0].job, layout.parameters, receipt.gas_used)
