#!/usr/bin/env python
"""Makes the pictures of the dashboard that the documentation shows: docs/images/dashboard-*.png.

A demonstration with a server that lies runs on Foundry's node, a dashboard looks at it, and a browser at that. All of
it is real, so that no two runs give the same pictures: times, addresses and figures are those of the run.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
ANVIL = ROOT / "node_modules" / "@foundry-rs" / "anvil-linux-amd64" / "bin"
LONG = 300_000
"""Milliseconds after which what is awaited will not come."""
COMPLETE = "() => [...document.querySelectorAll('.readout')].every((each) => each.textContent.startsWith('round 12'))"
COLOURS = 256
LARGEST = 200_000
"""Bytes of a picture."""


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[IO[str]]:
    """The output of a galaxy-chain command, which is interrupted at the end."""
    path = f"{ANVIL}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PATH": path}
    command = [sys.executable, "-m", "galaxy_chain", *arguments]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout
    finally:
        process.terminate()
        process.communicate(timeout=60)


def line_with(output: IO[str], **wanted: Any) -> dict[str, Any]:
    """Waits for a line of JSON with these fields."""
    for line in output:
        said: dict[str, Any] = json.loads(line)
        if wanted.items() <= said.items():
            return said
    raise SystemExit(f"the command ended without {wanted}")


def keep(picture: bytes, name: str) -> None:
    """Writes a picture with few colours, which is all that a page like this has."""
    from PIL import Image

    path = IMAGES / f"dashboard-{name}.png"
    path.parent.mkdir(exist_ok=True)
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {size:,} bytes")
    if size > LARGEST:
        raise SystemExit(f"{path} has {size} bytes: at most {LARGEST} go into the repository")


def main() -> None:
    """Run all of it."""
    sys.path.insert(0, str(ROOT))
    from playwright.sync_api import sync_playwright

    from tests.browser import REMEDY, find

    browser_path = find()
    if browser_path is None:
        raise SystemExit(REMEDY)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        browser = playwright.chromium.launch(executable_path=browser_path)
        demo = ("demo", "--clients", "6", "--rounds", "12", "--cheat", "--keep", "--json", "--chain", "anvil")
        with running(folder, *demo) as said:
            rpc = line_with(said, event="chain")["rpc"]
            job = line_with(said, event="created")["job"]
            place = ("--rpc", rpc, "--home", ".galaxy/demo")
            with running(folder, "dashboard", *place, "--port", "0", "--json") as serving:
                url = json.loads(serving.readline())["url"]

                def shot(
                    name: str,
                    path: str,
                    there: str,
                    size: tuple[int, int],
                    colours: str = "light",
                    of: str | None = None,
                ) -> None:
                    viewport = {"width": size[0], "height": size[1]}
                    with browser.new_context(viewport=viewport, color_scheme=colours) as context:  # type: ignore[arg-type]
                        page = context.new_page()
                        page.set_default_timeout(LONG)
                        page.goto(f"{url}#/jobs/{job}{path}")
                        page.locator(there).first.wait_for()
                        if of == "#curves":  # which has all rounds, once receipts are looked up for the gas
                            page.wait_for_function(COMPLETE)
                        page.evaluate("() => document.fonts.ready")
                        keep(page.screenshot() if of is None else page.locator(of).screenshot(), name)

                line_with(said, event="committed", round=7)
                shot("job", "", "#rounds tr:nth-of-type(6)", (1200, 1080))
                line_with(said, event="kept")
                shot("round", "/rounds/2?attempt=2", "#tree rect.wrong", (1200, 1060), "dark")
                shot("curves", "", "#curves canvas", (1200, 900), of="#curves")
                shot("phone", "", ".lie .values", (360, 740))
        browser.close()


if __name__ == "__main__":
    main()
