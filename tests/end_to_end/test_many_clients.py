"""One job with many clients in one process: all sign and hold no ether, all verify their branches, and it is audited."""

from __future__ import annotations

import pytest

from galaxy_chain.node import Node
from galaxy_fl.aggregation.sum_tree import node_count
from scripts.bench.clients import ManyClients, check


@pytest.mark.parametrize(("clients", "fan_in"), [(20, 4), pytest.param(1_000, 16, marks=pytest.mark.extended)])
def test_every_client_verifies_its_branch(clients, fan_in, tmp_path):
    with Node(port=0, accounts=1) as node:
        job = ManyClients(node, tmp_path, clients, rounds=2, fan_in=fan_in)
        job.run()
        check(job)
    # What is in the store, once for all of them: in a round updates, nodes and their list, and models and the document.
    d, nodes = job.document.tensors.parameters, node_count(clients, fan_in)
    most = 2 * (4 * d * clients + 8 * d * nodes + 32 * nodes) + 3 * 4 * d + len(job.document.to_bytes())
    assert sum(job.store.read.values()) <= most
    # Once a minute and commit, not once a client.
    assert 2 * clients <= job.store.asked < clients * clients
