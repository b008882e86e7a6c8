"""A real browser for tests of pages: Chromium, as the system has it, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["chromium", "find"]

NAMES = ("chromium", "chromium-browser", "google-chrome")
REMEDY = (
    f"there is no browser: none of {', '.join(NAMES)} is on PATH, and GALAXY_BROWSER names none. Install one "
    "(`scripts/setup --development` does so as root with apt-get), or set GALAXY_BROWSER to the path of a Chromium"
)


def find() -> str | None:
    """The path of a browser: what GALAXY_BROWSER names, else the first of `NAMES` on PATH."""
    named = os.environ.get("GALAXY_BROWSER")
    if named:
        return shutil.which(named) or named  # a path that is wrong is to be seen, not passed over
    return next((path for path in map(shutil.which, NAMES) if path is not None), None)


def _missing() -> bool:
    """Whether there is none. Then whoever calls this is skipped, or fails in CI, where nobody reads why."""
    if find() is not None:
        return False
    if os.environ.get("CI") or os.environ.get("GALAXY_BROWSER_REQUIRED"):
        pytest.fail(f"NOT TESTED: {REMEDY}", pytrace=False)
    pytest.skip(f"NOT TESTED: {REMEDY}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser without a window. Its loop occupies the thread until it ends: no asyncio meanwhile."""
    _missing()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=["--disable-dev-shm-usage"])
        try:
            yield browser
        finally:
            browser.close()
