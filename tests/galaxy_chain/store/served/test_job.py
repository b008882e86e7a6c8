"""A job whose participants have nothing in common but the ledger and the server of content."""

from __future__ import annotations

import numpy as np

from galaxy_chain.coordinators import LedgerClientCoordinator, LedgerServerCoordinator
from galaxy_chain.store.signed_request import NO_JOB
from galaxy_chain.verify.audit import Auditor
from galaxy_fl.content import LocalStore
from galaxy_fl.content.http_store import HttpStore, http_store
from tests.galaxy_chain.federation import PATIENCE, SAMPLES, made_up
from tests.galaxy_chain.store.served.serving import writer


def test_a_round_is_trained_committed_and_audited(federation, node, server, served, tmp_path):
    def store(address: str, job: int) -> HttpStore:
        return http_store(server.url, tmp_path / f"{address}-{job}", writer(node, address, job))

    federation.store = store(federation.owner, NO_JOB)
    job = federation.job = federation.register()
    federation.store.pin(federation.store.put(federation.initial.data))

    for index, address in enumerate(federation.clients):
        client = LedgerClientCoordinator(federation.ledger(address), store(address, job), job, PATIENCE)
        client.enter(SAMPLES)
        assert np.array_equal(np.fromfile(client.model(client.round()), "<i4"), federation.initial)
        client.submit(client.round(), made_up(100 + index), SAMPLES - index)

    serving = LedgerServerCoordinator(
        federation.ledger(federation.server), store(federation.server, job), job, PATIENCE
    )
    serving.enter()
    (tmp_path / "next").write_bytes(federation.aggregate(serving, {}).tobytes())
    serving.commit(serving.round(), tmp_path / "next", {})

    reader = http_store(server.url, tmp_path / "reader")
    [audited] = list(Auditor(federation.ledger(), reader, job).rounds())
    assert (audited.round, audited.updates) == (1, 3)
    assert served.gc(0).removed == 0  # document, both models and the updates are pinned: audits don't depend on caches
    assert {cid for cid, _ in LocalStore(tmp_path / "reader").contents()} <= served.pins()
