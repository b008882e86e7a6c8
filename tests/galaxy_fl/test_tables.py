"""Tables for notebooks and documents: whatever a stranger wrote is text, and nothing in it is hidden."""

from __future__ import annotations

import html5lib
import pytest

from galaxy_fl.tables import Html, listing, table, visible


def texts(shown: str) -> list[str]:
    """The texts of the cells of valid HTML."""
    page = f'<!DOCTYPE html><html lang="en"><head><title>-</title></head><body>{shown}</body></html>'
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)
    return ["".join(cell.itertext()) for cell in tree.iter() if cell.tag in ("th", "td")]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain", "plain"),
        ("é שלום 模型 👍", "é שלום 模型 👍"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("\u2066\u200b\ufeff\u00ad", "⟨U+2066⟩⟨U+200B⟩⟨U+FEFF⟩⟨U+00AD⟩"),
        ("bell\x07\x1b[31m", "bell⟨U+0007⟩⟨U+001B⟩[31m"),
        ("two\nlines\tand\rmore", "two lines and more"),
        ("\ud800\U000e0041\ue000\u2028", "⟨U+D800⟩⟨U+E0041⟩⟨U+E000⟩⟨U+2028⟩"),
        (7, "7"),
    ],
)
def test_what_has_no_shape_is_spelled_out(text, seen):
    assert visible(text) == seen


def test_cells_are_texts_numbers_or_html_that_is_ready():
    rows = [("<b>&\"'", 5, Html("<em>ready</em>"), None, "0x" + "ab" * 20, True)]
    shown = table(("<i>", "n", "h", "", "a", "t"), rows)
    assert texts(shown) == ["<i>", "n", "h", "", "a", "t", "<b>&\"'", "5", "ready", "", "0x" + "ab" * 20, "True"]
    assert '<td class="number">5</td>' in shown
    assert '<td class="hash">' in shown
    assert isinstance(shown, Html)


def test_a_table_without_heads_names_its_rows():
    shown = table((), [("<name>", 1)])
    assert texts(shown) == ["<name>", "1"]
    assert '<th scope="row">' in shown


def test_long_ones_are_cut_or_become_lines():
    rows = [(number, "<x>") for number in range(300)]
    shown = table(("n", "x"), rows)
    assert "and 100 more rows" in shown
    assert len(texts(shown)) == 2 + 400
    assert len(texts(table(("n", "x"), rows, most=None))) == 602
    assert len(texts(listing(("n", "x"), rows[:100]))) == 202
    lines = listing(("n", "x"), rows)
    assert texts(lines) == []
    assert lines.startswith('<pre class="lines" tabindex="0">n    x\n0    &lt;x&gt;\n')
    assert lines.count("\n") == 300
