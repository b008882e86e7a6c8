"""Creating a job: initial model and document into the store, terms on the ledger."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from galaxy_chain.exceptions import NoLedgerError
from galaxy_chain.jobs.acceptance import accept_terms
from galaxy_chain.jobs.file import JobFile, SourceFile, TermsSection
from galaxy_chain.jobs.terms import Concern, Limits, Role
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.events import JobRegistered
from galaxy_chain.ledger.structs import Model as LedgerModel
from galaxy_chain.ledger.structs import Terms
from galaxy_chain.seal.owner import begin_sealing
from galaxy_chain.seal.store import OneKey, SealedStore
from galaxy_chain.seal.vault import vault_of
from galaxy_fl.content import ContentId, Source, Store
from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.jobs.base import BaseFile
from galaxy_fl.jobs.document import JobChoices, JobDocument, Model, SourceModel, source_id
from galaxy_fl.jobs.first_model import averaged_by, first_model
from galaxy_fl.jobs.start import Start, begin_with, round_of_job
from galaxy_fl.vectors import Vector, read_vector, tree_root
from galaxy_fl.worker.worker import Worker

__all__ = ["CreatedJob", "create_job", "register_job"]


@dataclass(frozen=True)
class CreatedJob:
    """A job on the ledger."""

    job: int
    owner: str
    parameters: int
    gas: int
    terms: Terms
    """As they were chosen."""
    concerns: tuple[Concern, ...]
    """What is to be said of them."""


def create_job(
    ledger: LedgerContract,
    rules: Mapping[str, str],
    store: Store,
    job_file: JobFile,
    folder: Path = Path(),
    limits: Limits = Limits(),
    start: Start | None = None,
    home: Path | None = None,
) -> CreatedJob:
    """Creates the job that a job file describes.

    Args:
        ledger: With the owner's transactions.
        rules: The addresses of the rule contracts by name.
        store: Takes the document, the initial model and the model's source, pinned.
        job_file: The job.
        folder: Where the job file is, which a model's source is named relative to.
        limits: What participants are taken to be ready to pay.
        start: The model of another job that it begins with, which `start_of` has found; None for what the job file
            says, which names no job.
        home: The owner's folder, where a sealed job's key is kept.

    Raises:
        UnsoundTermsError: the terms would cost money, or leave commits that nobody can challenge.
        JobDocumentError: the model, the optimizer or the loss does not exist, something about the model can't
            travel, or what it ends in can't be told and the job file does not say it.
        NoLedgerError: no contract of the rule is known.
        LedgerRefusedError, TransactionError, ContentError, RpcError: it could not be registered or stored.
    """
    model: Model
    if isinstance(job_file.model, SourceFile):
        source = job_file.model.read(folder)
        model = SourceModel(source=source_id(source), class_name=job_file.model.class_name)
    else:
        source, model = None, job_file.model
    file = None
    if start is None and job_file.start is not None:
        if round_of_job(job_file.start) is not None:
            raise JobDocumentError(f"start is {job_file.start!r}, whose model was not fetched: give create_job start=…")
        file = folder / job_file.start
    base = BaseFile()
    with tempfile.TemporaryDirectory(prefix="galaxy-job-") as scratch:
        vector_file = Path(scratch) / "initial"
        with Worker() as worker:
            # Builtin models give logits, and a job file may say what its model gives.
            tells = source is not None and job_file.output is None
            described = worker.describe(
                model,
                job_file.train,
                vector_file,
                source,
                job_file.fraction_bits,
                job_file.distillation_alpha is not None if tells else None,
                job_file.privacy,
                job_file.parts(),
                base.path,
                file,
            )
        initial = read_vector(vector_file, described.layout.parameters).copy()
    document = JobDocument(
        model=model,
        output=described.ending or job_file.output or "logits",
        train=job_file.train.model_copy(update={"loss": described.loss}),
        averaged=averaged_by(job_file.rule.name, described.buffers),
        **described.fields(base.described if described.has_base else None),
        **{name: getattr(job_file, name) for name in JobChoices.model_fields if name != "train"},
    )
    if start is not None:
        document, initial = begin_with(document, start, job_file.fraction_bits)
    kept = base if described.has_base else None
    return register_job(ledger, rules, store, document, initial, source, job_file.terms, limits, kept, home)


def register_job(
    ledger: LedgerContract,
    rules: Mapping[str, str],
    store: Store,
    document: JobDocument,
    initial: Vector,
    source: bytes | None,
    terms: TermsSection,
    limits: Limits = Limits(),
    base: BaseFile | None = None,
    home: Path | None = None,
) -> CreatedJob:
    """Puts what a job consists of into the store, and registers it on the ledger.

    Args:
        ledger, rules, store: As for `create_job`.
        document: What the participants agree on.
        initial: int32 array of shape (d,), the weights that round 1 starts from.
        source: Of the model, where the document names one.
        terms: How the job runs.
        limits, home: As for `create_job`.
        base: Of the frozen and personal tensors, where the document names one.

    Raises:
        UnsoundTermsError: as `create_job`.
        JobDocumentError: the terms don't suit the model.
        NoLedgerError, LedgerRefusedError, TransactionError, ContentError, RpcError: as `create_job`.
    """
    rule, parameters = document.rule, document.tensors.parameters
    if rule.name not in rules:
        raise NoLedgerError(f"no contract of the rule {rule.name} is known: it is none of {', '.join(rules)}")
    assert ledger.transactions is not None, "a ledger that only reads was asked to write"
    creator, text = ledger.transactions.signer.address, document.to_bytes()
    digest, uniform = ContentId.of(text).digest, document.weighting == "uniform"
    on_ledger = terms.on_ledger(digest, rule, rules[rule.name], parameters, creator, uniform=uniform)
    concerns = accept_terms(ledger, f"“{document.name}”", on_ledger, rule.name, Role.OWNER, limits, pool=terms.reward)
    more: list[Source] = [*([] if source is None else [source]), *([] if base is None else [base.path])]
    for kept in (store.put(text), *map(store.put, more)):
        store.pin(kept)
    key = None if document.seal is None else _new_key(home, terms)
    contents = store if key is None or home is None else SealedStore(store, OneKey(vault_of(home), key))
    begin = first_model(document, initial)
    content = contents.put(begin.data)
    contents.pin(content)
    model = LedgerModel(tree_root(begin, document.lanes * on_ledger.chunk_parameters), content.digest)
    receipt = ledger.register_job(on_ledger, model, value=terms.reward).transact()
    job, gas = ledger.emitted(JobRegistered, receipt)[0].job, receipt.gas_used
    if key is not None and home is not None:
        gas += begin_sealing(ledger, job, vault_of(home), key).gas_used
    size = parameters - document.tensors.padding
    return CreatedJob(job, creator, size, gas, on_ledger, tuple(concerns))


def _new_key(home: Path | None, terms: TermsSection) -> bytes:
    """The key of a sealed job's first epoch.

    Raises:
        JobDocumentError: anybody could join the job, or there is no folder to keep the key in.
    """
    if terms.open:
        raise JobDocumentError(
            "seal is 'members', but terms.open is true: whoever joins would read everything, so it would be sealed for "
            "nobody; set open = false and admit the members, or leave seal out"
        )
    if home is None:
        raise JobDocumentError("seal is 'members': name a folder of the owner's for the key (home)")
    return vault_of(home).make()
