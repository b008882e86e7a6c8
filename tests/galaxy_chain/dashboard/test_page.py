"""The dashboard's page in a real browser, of a real dashboard, ledger, store and chain.

Nothing here waits for a time, but for what is shown, as long as that may take on a busy machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from galaxy_chain.dashboard.server import Dashboard
from galaxy_chain.following.follower import JobFollower
from galaxy_chain.ledger.deployment import Deployment
from galaxy_chain.ledger.events import RoundReverted
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.verify.watchtower import Watchtower
from tests.browser import chromium
from tests.galaxy_chain.dashboard.served import served
from tests.galaxy_chain.dashboard.window import DESK, PHONE, Window, opened
from tests.galaxy_chain.federation import DOCUMENT, Federation, made_up
from tests.galaxy_chain.foundry import Chain
from tests.galaxy_chain.verify.trees import WRONG, commit_tree, large, off
from tests.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    from playwright.sync_api import Browser

AXE = Path(__file__).parents[3] / "node_modules" / "axe-core" / "axe.min.js"
IMAGE = "<img src=x onerror=\"document.title='taken'\">"


@dataclass
class Shown:
    """A dashboard of a federation, and a browser that looks at it; the proxy stands between dashboard and chain."""

    federation: Federation
    proxy: TcpProxy
    dashboard: Dashboard
    browser: Browser
    home: Path

    @property
    def url(self) -> str:
        """Where the dashboard is."""
        return self.dashboard.url

    def follower(self) -> JobFollower:
        """The federation's job as its ledger has it."""
        return JobFollower(self.federation.ledger(), self.federation.job)


@pytest.fixture(scope="module")
def shown(node: Chain, deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    rpc = Rpc(node.url)
    snapshot = rpc.request("evm_snapshot")
    folder = tmp_path_factory.mktemp("dashboard")
    with chromium() as browser, TcpProxy(node.url) as proxy:
        federation = Federation(node, deployment, folder)
        with served(federation, proxy.url, home=folder / "home", poll=0.1) as asked:
            yield Shown(federation, proxy, asked.dashboard, browser, folder / "home")
    rpc.request("evm_revert", snapshot)


@pytest.fixture
def window(shown: Shown) -> Iterator[Window]:
    with opened(shown.browser, shown.url) as window:
        yield window


def test_a_job_is_followed_as_it_happens(shown: Shown, window: Window) -> None:
    """From the first update to the last commit and its settlement, without a reload."""
    federation = shown.federation
    federation.job = federation.register(pool=10**18)
    window.open(f"/jobs/{federation.job}")
    window.page.evaluate("() => { window.neverReloaded = true; }")
    window.sees("h1", "made up")
    window.sees("#rounds tr", "collecting")
    federation.submit(0, 1, 2)
    window.sees("#state", "3 of at least 2")
    window.sees("#clients tbody tr", "update is in")
    federation.commit()
    window.sees("#rounds tr:nth-of-type(2)", re.compile("committed.*right"))
    window.sees("#rounds tr:nth-of-type(1)", "collecting")
    window.sees("#state .pill", "1 right")
    window.heard("Round 1: committed.")
    federation.submit(0, 1, 2, seed=2)
    federation.commit()
    window.sees("#state .pill", "2 right")
    with window.page.expect_download() as download:  # the job's document, whose content id is linked
        window.page.locator("#terms a").last.click()
    assert json.loads(download.value.path().read_text())["name"] == "made up"
    window.sees("#state", "all 2 committed")
    assert window.states() == ["0 rounds settled", "2 committed, open to challenge"]
    window.sees("#plots figure", "Gas a round")
    federation.travel(87_000)
    record = shown.follower().history.commits[1].record
    federation.ledger(federation.server).settle(federation.job, record).transact()
    window.sees("#rounds tr", "settled")
    window.sees("#state", "1 round settled")
    assert window.states() == ["1 round settled", "1 committed, open to challenge"]
    assert window.page.evaluate("() => window.neverReloaded") is True


def test_a_job_that_ends_before_its_last_round(shown: Shown, window: Window) -> None:
    """The rounds that are done are counted as such, whether the job runs, is cancelled, or its books are closed."""
    federation = shown.federation
    federation.job = federation.register(rounds=5, pool=10**18)
    federation.submit(0, 1, 2)
    federation.commit()
    window.open(f"/jobs/{federation.job}")
    window.sees("#state", "1 committed, open to challenge")
    assert window.states() == ["0 rounds settled", "1 committed, open to challenge", "4 to come"]
    federation.ledger(federation.owner).cancel_job(federation.job).transact()
    window.sees(".head .pill", "cancelled")
    window.sees("#state", "given up")  # it ends with the round that runs
    assert window.states() == ["0 rounds settled", "1 committed, open to challenge", "1 to come", "3 given up"]
    federation.travel(200_000)
    ledger = federation.ledger(federation.owner)
    ledger.settle(federation.job, shown.follower().history.commits[1].record).transact()
    federation.travel(200_000)
    ledger.finalize_job(federation.job).transact()
    window.sees(".head .pill", "books closed")
    window.sees("#state", "ended after 1")
    assert window.states() == ["1 round settled", "0 committed, open to challenge", "4 given up"]
    window.sees("#money", "Back to the owner")


def test_a_lie_is_shown_with_both_values_and_its_punishment(shown: Shown, window: Window) -> None:
    federation = shown.federation
    federation.job = federation.register()
    federation.submit(0, 1, 2)
    right = federation.aggregate(federation.serve(), {})
    wrong = made_up(99)
    federation.commit(wrong)
    window.open(f"/jobs/{federation.job}")
    card = window.sees(".lie", "Round 1 was committed wrong")
    (parameter,) = re.findall(r"parameter (\d+)", card.inner_text())[:1]
    assert card.locator(".said dd").first.inner_text() == str(wrong[int(parameter)])
    assert card.locator(".made dd").first.inner_text() == str(right[int(parameter)])
    window.sees(".lie", "Nobody has challenged it yet")
    window.sees(".lie code", f"galaxy-chain audit {federation.job}")

    finder = federation.node.accounts[6]
    [finding] = Watchtower(federation.ledger(finder), federation.store, federation.job, 0).look()
    assert finding.verdict == "challenged"
    window.sees(".lie", "Punished by a challenge")
    head = int(federation.rpc.request("eth_blockNumber"), 16)
    [reverted] = federation.ledger().events(RoundReverted, 0, head, job=federation.job)
    told = [each.get_attribute("title") for each in window.page.locator(".lie code").all()]
    assert told[:3] == ["0x" + reverted.transaction.hex(), federation.server, finder]
    window.sees("#rounds tr.lied", "reverted")
    window.page.get_by_role("link", name="attempt 1 at round 1").click()
    window.sees("h1", "Round 1")
    window.sees(".lie", "Punished by a challenge")
    assert "attempt=1" in window.page.url


def test_a_lie_in_a_partial_sum_is_marked_in_the_tree(shown: Shown, window: Window) -> None:
    federation = large(shown.federation)
    commit_tree(federation, off(4))
    window.open(f"/jobs/{federation.job}/rounds/1")
    window.sees(".lie", "partial sum 4")
    window.sees(".lie .values", "mean")
    window.sees("#tree svg.map rect.wrong")
    assert f"parameter {WRONG}" in window.sees(".lie", "parameter").inner_text()
    tree = window.page.locator("#tree .tree")
    wrong = tree.locator("li", has_text="Partial sum 4").last  # which is in view, its branch being opened
    assert "wrong" in wrong.inner_text()
    assert "recomputed: right" in tree.locator("li", has_text="Partial sum 5").last.inner_text()
    tree.get_by_text("Partial sum 1").click()
    tree.get_by_role("link", name="updates 0 to 1").wait_for()
    assert window.page.locator("#entries tbody tr").count() == 6
    # The content itself is a link away.
    with window.page.expect_download() as download:
        window.page.locator("#entries tbody td a").first.click()
    assert download.value.path().stat().st_size == 4 * 150


def test_what_is_missing_is_named_and_found_later(shown: Shown, window: Window) -> None:
    federation = shown.federation
    federation.clients = federation.node.accounts[2:5]
    federation.job = federation.register()
    federation.submit(0, 1, 2)
    shown.proxy.down()  # it is to see the commit when the content is gone
    try:
        federation.commit()
        content = shown.follower().history.commits[1].included[0].update.content
        path = federation.content(content)
        kept = path.read_bytes()
        path.unlink()
    finally:
        shown.proxy.up()
    window.open(f"/jobs/{federation.job}/rounds/1")
    window.sees("#verdict", "Not to be checked")
    window.sees("#entries", "not in the store here")
    federation.store.put(kept)
    window.sees("#verdict", "Right")


def test_hostile_names_and_notes_are_text(shown: Shown, window: Window) -> None:
    """Markup, and marks that turn the direction of writing, from the ledger and from a server's measurements."""
    federation = shown.federation
    notes = f"{IMAGE}\u202egnp.exe\u2066\n<script>document.title='taken'</script>"
    document = DOCUMENT.model_copy(update={"name": IMAGE + "\u05d0\u05d1", "notes": notes})
    federation.job = federation.register(document)
    federation.submit(0, 1, 2)
    federation.commit()
    commit = shown.follower().history.commits[1]
    root = commit.record.next.root.hex()
    line = {"attempt": 1, "model": root, "loss": 0.5, "metrics": {IMAGE: 0.25, "<b>bold</b>": 1e300}}
    metrics = shown.home / "metrics" / f"{federation.deployment.ledger}-{federation.job}.jsonl"
    metrics.parent.mkdir(parents=True, exist_ok=True)
    metrics.write_text(json.dumps(line) + "\n")

    for place, heading in (
        ("/", "Jobs"),
        (f"/jobs/{federation.job}", IMAGE),
        (f"/jobs/{federation.job}/rounds/1", "Round 1"),
    ):
        window.open(place)
        window.sees("h1", heading)
        window.sees("main", IMAGE)
        if "rounds" not in place and place != "/":
            assert window.sees(".notes").text_content() == notes
            window.sees("#plots figcaption", IMAGE)
            window.sees("#rounds", "0.5")
            assert (
                window.page.evaluate("() => getComputedStyle(document.querySelector('h1 bdi')).unicodeBidi")
                == "isolate"
            )
        assert window.page.locator("main img, main script, main b").count() == 0
        assert window.page.title().endswith("Galaxy")


def test_a_reload_keeps_the_place_and_the_colours(shown: Shown, window: Window) -> None:
    federation = shown.federation
    federation.job = federation.register()
    federation.submit(0, 1, 2)
    federation.commit()
    window.open(f"/jobs/{federation.job}")
    window.sees("#rounds tr", "committed")
    window.page.get_by_role("button", name="Switch to dark colours").click()
    window.page.locator("#rounds").get_by_role("link", name="1", exact=True).click()
    window.sees("#entries tbody tr:nth-of-type(3)")
    window.page.evaluate("() => window.scrollTo(0, 200)")
    window.page.reload()
    window.sees("h1", "Round 1")
    window.sees("#entries tbody tr:nth-of-type(3)")
    window.page.wait_for_function("() => window.scrollY === 200")
    assert window.page.url.endswith(f"#/jobs/{federation.job}/rounds/1")
    assert window.page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    assert window.page.evaluate("() => getComputedStyle(document.documentElement).backgroundColor") == "rgb(16, 17, 23)"
    window.page.go_back()
    window.sees("#rounds tr", "committed")


def test_the_chain_is_away_and_comes_back(shown: Shown, window: Window) -> None:
    federation = shown.federation
    federation.job = federation.register()
    window.open(f"/jobs/{federation.job}")
    window.sees("#rounds tr", "collecting")
    shown.proxy.down()
    try:
        window.sees("#banner", "The chain does not answer")
        window.sees(
            "#banner", re.compile(r"Not since [\d :-]+\. What is shown is as of block [\d,]+\. It is asked again")
        )
        federation.submit(0, 1, 2)
        federation.commit()
        window.page.reload()
        window.sees("#banner", "The chain does not answer")
        window.sees("#rounds tr", "collecting")
    finally:
        shown.proxy.up()
    window.sees_no("#banner .notice")
    window.sees("#rounds tr:nth-of-type(2)", re.compile("committed.*right"))


def test_the_dashboard_ends_and_comes_back(shown: Shown) -> None:
    """With what has happened meanwhile, and with verdicts of its own."""
    federation = shown.federation
    federation.job = federation.register()
    source = shown.dashboard.watched.source
    with shown.browser.new_context() as context:
        with Dashboard(source) as first:
            window = Window(context.new_page(), first.url)
            window.open(f"/jobs/{federation.job}")
            window.sees("#rounds tr", "collecting")
        window.sees("#banner", "The dashboard does not answer")
        federation.submit(0, 1, 2)
        federation.commit()
        assert window.page.locator("#rounds tbody tr").count() == 1
        with Dashboard(source, port=urlsplit(first.url).port or 0):
            window.sees("#rounds tr:nth-of-type(2)", re.compile("committed.*right"))
            window.sees_no("#banner .notice")


def test_it_is_used_by_the_keyboard_alone(shown: Shown, window: Window) -> None:
    federation = shown.federation
    federation.job = federation.register(DOCUMENT.model_copy(update={"name": "by keyboard"}))
    federation.submit(0, 1, 2)
    federation.commit()
    window.open()
    window.sees("tbody th", "by keyboard")
    window.page.keyboard.press("Tab")
    assert window.focused() == "Skip to the content"
    window.page.keyboard.press("Enter")
    assert window.page.evaluate("() => document.activeElement.id") == "main"
    window.tab_to("by keyboard")
    assert window.page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    window.page.keyboard.press("Enter")
    window.sees("#rounds tr", "right")
    assert window.focused() == "by keyboard"  # the heading of what has come
    window.tab_to("1")
    window.page.keyboard.press("Enter")
    window.sees("h1", "Round 1")
    window.sees("#tree summary")
    assert window.focused() == "Round 1"
    window.tab_to(re.compile("Next model.*"))
    window.page.keyboard.press("Enter")
    window.sees_no("#tree .tree a")
    window.tab_to("Copy the model's root")
    window.page.keyboard.press("Enter")
    window.heard("the model's root")


@pytest.mark.parametrize(("size", "colours"), [(DESK, "light"), (PHONE, "dark")], ids=["desk", "phone"])
def test_nothing_hinders_anybody(shown: Shown, size: dict[str, int], colours: str) -> None:
    """Neither a small screen, which nothing is wider than, nor what axe-core finds wrong for those who can't see it."""
    federation = shown.federation
    long = "a" * 90  # a word without a place to break it
    federation.job = federation.register(DOCUMENT.model_copy(update={"name": long, "notes": long * 20}), pool=10**18)
    federation.submit(0, 1, 2)
    federation.commit(made_up(99))
    with opened(shown.browser, shown.url, size, colours) as window:
        for place, there in (
            ("/", "tbody th"),
            (f"/jobs/{federation.job}", ".lie .values"),
            (f"/jobs/{federation.job}/rounds/1", "#entries tbody tr"),
        ):
            window.open(place)
            window.sees(there)
            wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert window.page.evaluate(wide) == 0, place
            window.page.evaluate(AXE.read_text())
            found = window.page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
            assert len(found["passes"]) > 10, "axe-core has looked at nothing"
            assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in found["violations"]] == []


def test_a_place_that_is_none_is_said_to_be_none(shown: Shown) -> None:
    with opened(shown.browser, shown.url) as window:
        window.open("/jobs/999999")
        window.sees("main", "999999")
        window.sees("main a", "All jobs")
        window.open("/jobs/x")
        window.sees("h1", "There is nothing here")
        # A browser says of its own that something was not found, which it was not.
        assert window.complaints
        assert all("status of 404" in complaint for complaint in window.complaints)
        window.complaints.clear()
