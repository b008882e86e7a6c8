"""What a participant makes sure of before it takes part in a job: that all that the ledger names belongs together."""

from __future__ import annotations

from galaxy_chain.exceptions import JobMismatchError
from galaxy_chain.ledger.artifacts import rule_of_code
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.ledger.structs import Terms
from galaxy_fl.content import Store
from galaxy_fl.jobs.document import JobDocument

__all__ = ["check_job", "rule_of"]


def rule_of(ledger: LedgerContract, job: int, terms: Terms) -> str:
    """The name of the job's rule, by the code of its contract.

    Raises:
        JobMismatchError: it is none that is known here.
        RpcError: the node fails.
    """
    rule = rule_of_code(ledger.rpc.data("eth_getCode", terms.rule, "latest"))
    if rule is None:
        raise JobMismatchError(
            f"job {job} aggregates by the contract at {terms.rule}, whose code is none of the rules known here: "
            "take part only with a version of Galaxy that has its twin"
        )
    return rule


def check_job(ledger: LedgerContract, store: Store, job: int, terms: Terms) -> JobDocument:
    """The job's document, once it, the terms and the rule's code are seen to belong together.

    Whether the initial model belongs to its root is seen where it is read: no model is used without that.

    Raises:
        JobMismatchError: they do not.
        JobDocumentError: the document itself is not valid.
        ContentError: it is unavailable.
        RpcError: the node fails.
    """
    document = JobDocument.from_bytes(store.block(terms.spec))
    rule = rule_of(ledger, job, terms)
    if rule != document.rule.name:
        raise JobMismatchError(f"job {job}: its document says {document.rule.name}, but its contract is {rule}")
    if terms.rule_word != document.rule.rule_word:
        raise JobMismatchError(
            f"job {job}: its document gives the rule {document.rule.rule_word.hex()}, its terms say "
            f"{terms.rule_word.hex()}"
        )
    if document.weighting == "uniform" and terms.max_weight != 1:
        raise JobMismatchError(
            f"job {job}: its document says that all updates weigh the same, but its terms let one weigh up to "
            f"{terms.max_weight}, expected max_weight 1: take part in it only if its owner may decide who weighs what"
        )
    if terms.parameters != document.tensors.parameters:
        raise JobMismatchError(
            f"job {job}: its document's layout has {document.tensors.parameters} parameters, "
            f"its terms {terms.parameters}"
        )
    return document
