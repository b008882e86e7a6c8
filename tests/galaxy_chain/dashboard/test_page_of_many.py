"""The dashboard's page of a job with a thousand clients, and of one with a thousand rounds, as a chain has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from galaxy_chain.ledger.deployment import deploy
from galaxy_chain.ledger.structs import Update
from galaxy_chain.ledger.words import address_bytes
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import NodeSigner
from galaxy_chain.transactions.manager import Transactions
from galaxy_fl.vectors import commitment, tree_root
from tests.browser import chromium
from tests.galaxy_chain.dashboard.served import served
from tests.galaxy_chain.dashboard.window import PHONE, Window, opened
from tests.galaxy_chain.federation import CHUNK, SAMPLES, Federation, made_up
from tests.galaxy_chain.foundry import foundry
from tests.galaxy_chain.verify.trees import commit_tree

pytestmark = pytest.mark.extended

MANY = 1_000
MOST_ELEMENTS = 6_000
"""Elements of a page, whatever the job's size: those of what is in view, and a map of so many updates."""


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with foundry(accounts=MANY + 3) as node:
        rpc = Rpc(node.url)
        deployment = deploy(rpc, Transactions(rpc, NodeSigner(node.accounts[0])))[0]
        made = Federation(node, deployment, tmp_path_factory.mktemp("many"))
        made.clients = node.accounts[2:]
        yield made


def small(window: Window) -> None:
    """Checks that the page has not grown with the job, and is as wide as its window."""
    assert window.page.evaluate("() => document.querySelectorAll('*').length") < MOST_ELEMENTS
    wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert window.page.evaluate(wide) == 0


def everybody_submits(federation: Federation) -> None:
    """As a client does it, without looking at all others each time."""
    owner = federation.ledger(federation.owner)
    state = owner.job_of(federation.job).state
    vectors = [made_up(seed) for seed in range(8)]
    contents = [federation.store.put(vector.data).digest for vector in vectors]
    roots = [tree_root(vector, CHUNK) for vector in vectors]
    first = tree_root(federation.initial, CHUNK)
    for index, client in enumerate(federation.clients[:MANY]):
        ledger, kind = federation.ledger(client), index % len(vectors)
        ledger.join(federation.job, SAMPLES).transact()
        update = Update(commitment(roots[kind], address_bytes(client)), contents[kind], SAMPLES)
        ledger.submit_update(federation.job, state.attempt, first, update).transact()


def test_a_thousand_rounds(federation: Federation) -> None:
    """All right but the last one, which is seen although it is one of a thousand."""
    federation.job = federation.register(rounds=MANY, max_unsettled=MANY, min_clients=1, max_clients=1)
    client, server = federation.client(0), federation.serve()
    path = Path(federation.store.root.parent / "next")
    for number in range(1, MANY + 1):
        client.submit(client.round(), made_up(number), SAMPLES)
        round = server.round()
        path.unlink(missing_ok=True)
        (federation.aggregate(server, {}) if number < MANY else made_up(0)).tofile(path)
        server.commit(round, path, {})
    with chromium() as browser, served(federation) as asked, opened(browser, asked.dashboard.url) as window:
        window.open(f"/jobs/{federation.job}")
        window.sees(".lie", f"Round {MANY:,} was committed wrong")
        window.sees("#state .pill", f"{MANY - 1:,} right")
        window.sees("#rounds .pager", f"{MANY - 11:,} to {MANY:,} of {MANY:,}")
        window.page.get_by_role("link", name="Older").click()
        window.sees("#rounds .pager", f"{MANY - 23} to {MANY - 12} of {MANY:,}")
        window.page.get_by_label("Round", exact=True).fill("500")
        window.page.keyboard.press("Enter")
        window.sees("#rounds th a", "500")
        window.page.reload()
        window.sees("#rounds th a", "500")
        window.sees("#plots canvas")
        small(window)
        window.page.locator("#plots summary").first.click()
        assert window.page.locator("#plots .twin tbody tr").count() == MANY


def test_a_thousand_clients(federation: Federation) -> None:
    federation.job = federation.register(fan_in=16, min_clients=MANY, max_clients=MANY)
    everybody_submits(federation)
    commit_tree(federation)
    with chromium() as browser, served(federation) as asked:
        with opened(browser, asked.dashboard.url) as window:
            window.open(f"/jobs/{federation.job}")
            window.sees("#state .pill", "1 right")
            window.sees("#clients .pager", f"1 to 20 of {MANY:,}")
            window.page.locator("#clients").get_by_role("link", name="Later").click()
            window.sees("#clients .pager", f"21 to 40 of {MANY:,}")
            small(window)
        with opened(browser, asked.dashboard.url, PHONE, "dark") as window:
            window.open(f"/jobs/{federation.job}/rounds/1?entries=975")
            window.sees("#verdict", "Right")
            window.sees("#entries .pager", f"976 to {MANY:,} of {MANY:,}")
            assert window.page.locator("#tree svg.map rect").count() == MANY + 63 + 4 + 1 + 1
            assert window.page.locator("#tree svg.map rect.right").count() == 63 + 4 + 1 + 1
            small(window)
