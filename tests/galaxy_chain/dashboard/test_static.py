"""What the dashboard's page is made of, read rather than run: where its library comes from, and what it never does."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
STATIC = ROOT / "galaxy_chain" / "dashboard" / "static"
UPLOT = STATIC / "vendor" / "uplot"


def test_the_vendored_library_is_the_pinned_package() -> None:
    """The files are those whose hashes stand beside them, the package the one that the lock file pins."""
    source = (UPLOT / "SOURCE.txt").read_text()
    hashes = dict(reversed(line.split("  ")) for line in re.findall(r"^[0-9a-f]{64}  \S+$", source, re.MULTILINE))
    assert set(hashes) == {path.name for path in UPLOT.iterdir()} - {"SOURCE.txt"}
    for name, wanted in hashes.items():
        assert hashlib.sha256((UPLOT / name).read_bytes()).hexdigest() == wanted, name
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]["node_modules/uplot"]
    assert f"uPlot {locked['version']}," in source
    assert f"package  {locked['integrity']}\n" in source


@pytest.mark.parametrize("name", ["LICENSE", "dist/uPlot.esm.js", "dist/uPlot.min.css"])
def test_the_vendored_library_is_what_npm_installs(name: str) -> None:
    assert (UPLOT / Path(name).name).read_bytes() == (ROOT / "node_modules" / "uplot" / name).read_bytes()


SHOWS_MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc|javascript:"
    r"|\beval\(|new Function|setAttribute\(\"style"
)


@pytest.mark.parametrize("path", sorted(STATIC.rglob("*.js")), ids=lambda path: path.name)
def test_no_script_makes_elements_from_text(path: Path) -> None:
    """Whatever a ledger names is text: there is no way for it to become an element, a script or a style."""
    assert SHOWS_MARKUP.search(path.read_text()) is None


class Elements(HTMLParser):
    """The elements of the page, with their attributes and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] in ("script", "style") and data.strip():
            self.inline.append(data)


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere() -> None:
    page = Elements((STATIC / "index.html").read_text())
    assert page.inline == []
    for tag, attributes in page.found:
        assert tag != "style", "styles are files"
        assert not any(name == "style" or name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "href"):
            address = attributes.get(name)
            if address is None:
                continue
            assert re.match(r"#|/(?!/)", address), (tag, address)
            if address.startswith("/static/"):
                assert (STATIC / address.removeprefix("/static/")).is_file(), address


def test_scripts_and_styles_fetch_nothing_from_elsewhere() -> None:
    for path in STATIC.rglob("*"):
        if path.suffix not in (".js", ".css"):
            continue
        text = path.read_text()
        imported = re.findall(r"^import .*? from \"([^\"]+)\";$", text, re.MULTILINE)
        assert all(name.startswith("./") for name in imported), path.name
        assert len(imported) == len(re.findall(r"^import\b|\bimport\(", text, re.MULTILINE)), path.name
        assert re.search(r"url\(|@import", text) is None, f"{path.name} loads something"
