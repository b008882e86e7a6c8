"""Announcements and what counts of them, with the ledger on the embedded chain."""

from __future__ import annotations

import pytest

from galaxy_chain.exceptions import LedgerRefusedError
from galaxy_chain.ledger.announcements import commit_digest, finding_digest
from galaxy_chain.ledger.announcing import announce_commit, announce_finding, once_it_counts
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_chain.transactions.manager import Transactions

WORD, ROOT = b"\1" * 32, b"\2" * 32


@pytest.fixture
def ledger(node, deployment, web3):
    rpc = Rpc(node.url)
    transactions = Transactions(rpc, NodeSigner(node.accounts[3]))
    return LedgerContract(rpc, deployment.ledger, transactions, first_block=deployment.block)


def test_a_finding_is_announced_by_its_finder_alone(ledger, node):
    salt = announce_finding(ledger, WORD, 2, 7)
    time = ledger.rpc.block("latest").time
    assert ledger.announced_at(node.accounts[3], finding_digest(node.accounts[3], salt, WORD, 2, 7)) == time
    assert ledger.announced_at(node.accounts[4], finding_digest(node.accounts[3], salt, WORD, 2, 7)) == 0
    assert ledger.announced_at(node.accounts[3], finding_digest(node.accounts[3], salt, WORD, 2, 8)) == 0
    assert ledger.announced_at(node.accounts[3], finding_digest(node.accounts[3], salt, WORD, 0, 7)) == 0
    assert announce_finding(ledger, WORD, 2, 7) != salt


def test_a_commit_is_announced_by_head_and_root(ledger, node):
    salt = announce_commit(ledger, WORD, ROOT)
    assert ledger.announced_at(node.accounts[3], commit_digest(node.accounts[3], salt, WORD, ROOT)) > 0


def refusal(name):
    return LedgerRefusedError(f"refused: {name}", name, {})


def test_what_comes_too_early_is_tried_again(monkeypatch):
    monkeypatch.setattr("galaxy_chain.ledger.announcing._PAUSE", 0)
    refusals = [refusal("NotAnnounced")] * 3

    def act():
        if refusals:
            raise refusals.pop()
        return "done"

    assert once_it_counts(act) == "done"


@pytest.mark.parametrize("name", ["NotAnnounced", "CommitIsRight"])
def test_neither_for_ever_nor_for_another_reason(name):
    tries = []

    def act():
        tries.append(1)
        raise refusal(name)

    with pytest.raises(LedgerRefusedError, match=name):
        once_it_counts(act, patience=0 if name == "NotAnnounced" else 100)
    assert len(tries) == 1
