"""A window of a real browser that looks at a dashboard, and what is asked and heard of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["DESK", "PHONE", "Window", "opened"]

LONG = 120_000
"""Milliseconds after which what is awaited will not come."""
DESK = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
LISTEN = """
window.told = [];
document.addEventListener("DOMContentLoaded", () => {
  const announcer = document.getElementById("announcer");
  new MutationObserver(() => window.told.push(announcer.textContent)).observe(announcer, { childList: true });
});
"""
"""Remembers what a screen reader would have said."""


@dataclass
class Window:
    """A page of the browser, and all that it has asked for and complained of."""

    page: Page
    base: str
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        page = self.page
        page.set_default_timeout(LONG)
        page.add_init_script(LISTEN)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self._heard(message.type, message.text))

    def _heard(self, kind: str, text: str) -> None:
        # A job whose events are being read for the first time is answered so, and asked for again.
        if kind in ("error", "warning") and "status of 503" not in text:
            self.complaints.append(text)

    def open(self, place: str = "/") -> None:
        """Goes to a place by its address."""
        self.page.goto(f"{self.base}/#{place}")

    def sees(self, selector: str, text: str | re.Pattern[str] | None = None) -> Any:
        """Waits until something with a text is seen, and gives it."""
        found = self.page.locator(selector)
        if text is not None:
            found = found.filter(has_text=text)
        found.first.wait_for(state="visible")
        return found.first

    def states(self) -> list[str]:
        """What is said of all rounds of a job."""
        return [str(each) for each in self.page.locator("#state .key span").all_inner_texts()]

    def sees_no(self, selector: str) -> None:
        """Waits until something is seen no more."""
        self.page.locator(selector).first.wait_for(state="hidden")

    def heard(self, text: str) -> None:
        """Waits until those who listen have been told something."""
        self.page.wait_for_function("text => window.told.some((told) => told.includes(text))", arg=text)

    def focused(self) -> str:
        """The text of what has the focus."""
        return str(self.page.evaluate("() => document.activeElement.textContent.trim()"))

    def tab_to(self, text: str | re.Pattern[str]) -> None:
        """Presses the tabulator until something with a text, or a label, has the focus."""
        label = "() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()"
        seen = []
        for _ in range(150):
            self.page.keyboard.press("Tab")
            seen.append(str(self.page.evaluate(label)))
            if re.fullmatch(text, seen[-1]):
                return
        raise AssertionError(f"{text!r} can't be reached by the keyboard: {seen}")


@contextmanager
def opened(browser: Browser, url: str, size: dict[str, int] = DESK, colours: str = "light") -> Iterator[Window]:
    """A window, of which everything stays on this machine, and nothing goes wrong."""
    with browser.new_context(viewport=size, color_scheme=colours, reduced_motion="reduce") as context:  # type: ignore[arg-type]
        window = Window(context.new_page(), url)
        yield window
        assert window.complaints == []
        there = {urlsplit(url)._replace(path="", query="", fragment="").geturl() for url in window.asked}
        assert there == {url}
