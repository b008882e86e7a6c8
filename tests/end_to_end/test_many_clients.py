"""One job with many clients in one process: all sign and hold no ether, all verify their branches, and it is audited."""

from __future__ import annotations

import pytest

from galaxy_chain.node import Node
from galaxy_fl.aggregation.sum_tree import levels, node_count
from scripts.bench.clients import ManyClients, check


@pytest.mark.parametrize(("clients", "fan_in"), [(20, 4), pytest.param(1_000, 16, marks=pytest.mark.extended)])
def test_every_client_verifies_its_branch(clients, fan_in, tmp_path):
    with Node(port=0, accounts=1) as node:
        job = ManyClients(node, tmp_path, clients, rounds=2, fan_in=fan_in)
        job.run()
        check(job)
    # In a round two branches, of which each level has the children of one node; the models, the list, the document.
    d, nodes = job.document.tensors.parameters, node_count(clients, fan_in)
    branch = 4 * d * fan_in + 8 * d * (fan_in * (len(levels(clients, fan_in)) - 1) + 1)
    most = 2 * (2 * branch + 2 * 4 * d + 32 * nodes) + len(job.document.to_bytes())
    assert all(sum(store.read.values()) <= most for store in job.stores)
    assert all(store.asked == 2 * clients for store in job.stores)
