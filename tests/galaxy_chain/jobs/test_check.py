"""No job is taken part in whose parts do not belong together."""

from __future__ import annotations

import pytest

from galaxy_chain.exceptions import JobMismatchError
from galaxy_chain.jobs.check import check_job
from galaxy_fl.exceptions import ContentAlteredError, ContentMissingError, JobDocumentError
from galaxy_fl.jobs.document import RuleChoice
from tests.galaxy_chain.federation import DOCUMENT, alter


def check(federation, **changed):
    terms = federation.terms(**changed)
    return check_job(federation.ledger(), federation.store, 7, terms)


def test_a_job_whose_parts_belong_together(federation):
    assert check(federation) == DOCUMENT


@pytest.mark.parametrize("address", ["0x" + "12" * 20, "the ledger"])
def test_a_rule_that_nobody_here_knows(federation, address):
    address = federation.deployment.ledger if address == "the ledger" else address
    with pytest.raises(JobMismatchError, match=f"job 7 aggregates by the contract at {address}, whose code") as caught:
        check(federation, rule=address)
    assert caught.value.exit_code == 30


def test_another_rule_than_the_documents(federation):
    with pytest.raises(JobMismatchError, match="its document says weighted_mean, but its contract is relay"):
        check(federation, rule=federation.deployment.rules["relay"])
    with pytest.raises(JobMismatchError, match="its document says relay, but its contract is weighted_mean"):
        check(
            federation,
            document=DOCUMENT.model_copy(update={"rule": RuleChoice(name="relay"), "distillation_alpha": 0.5}),
            rule=federation.deployment.rules["weighted_mean"],
        )


def test_other_parameters_of_the_rule(federation):
    with pytest.raises(JobMismatchError, match="its document gives the rule 0+, its terms say 0+5"):
        check(federation, rule_word=(5).to_bytes(32))


def test_another_size(federation):
    with pytest.raises(JobMismatchError, match="layout has 150 parameters, its terms 151"):
        check(federation, parameters=151)


def test_a_document_that_is_none(federation):
    spec = federation.store.put(b'{"name": "something else"}').digest
    with pytest.raises(JobDocumentError, match="model: Field required"):
        check(federation, spec=spec)


def test_a_document_that_is_missing_or_altered(federation):
    with pytest.raises(ContentMissingError):
        check(federation, spec=bytes(32))
    content = federation.store.put(DOCUMENT.to_bytes())
    alter(federation.store.path(content))
    terms = federation.ledger().job_of(federation.job).terms
    with pytest.raises(ContentAlteredError):
        check_job(federation.ledger(), federation.store, 7, terms)
