"""The report in a real browser: nothing breaks its policy, it fits a phone, and whoever does not see it can read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from galaxy_chain.report.page import render
from tests.browser import chromium
from tests.galaxy_chain.report.test_report import NOW, facts_of, two_rounds

AXE = Path(__file__).parents[3] / "node_modules" / "axe-core" / "axe.min.js"


@pytest.mark.parametrize("scheme", ["dark", pytest.param("light", marks=pytest.mark.extended)])
def test_the_report_in_a_browser(federation, tmp_path, scheme):
    two_rounds(federation)
    path = tmp_path / "job.html"
    path.write_bytes(render(facts_of(federation, tmp_path), NOW))
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)
        told: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: told.append(message.text))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        assert page.title() == f"Report of job {federation.job}: made up"
        assert page.locator("h1").evaluate("heading => getComputedStyle(heading).overflowWrap") == "anywhere"  # styled
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert (told, asked) == ([], [path.as_uri()])
        with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
            page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"http://127.0.0.1:9/x\">')")
        page.evaluate("document.querySelector('img[src]').remove()")
        page.evaluate(AXE.read_text())
        found = page.evaluate("axe.run().then(result => result.violations)")
        assert [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found] == []
        pages = page.pdf(format="A4", prefer_css_page_size=True)
        assert pages.startswith(b"%PDF")
