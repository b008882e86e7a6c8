"""Tables in HTML, for notebooks and documents: all that is in them may be a stranger's text."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence

__all__ = ["Html", "listing", "table", "visible"]

MOST_ROWS = 200
"""Rows that a notebook is given: a job may have a hundred thousand updates."""
LONG = 100
"""Rows beyond which a list is lines of text: a browser has room for a hundred thousand of these, not of cells."""
_UNSEEN = frozenset(("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"))
"""Unicode's categories of what has no shape of its own, or turns around what others look like."""

_HASH = re.compile(r"(0x)?[0-9a-fA-F]{40,64}|baf[a-z2-7]{56}")
"""An address, a hash, or a content id."""


class Html(str):
    """HTML that is ready to be shown: whatever is not, is escaped first."""

    __slots__ = ()

    def __html__(self) -> str:
        """Itself; templates that escape ask for it."""
        return str(self)


def visible(value: object) -> str:
    """Return a value's text with all that has no shape of its own spelled out, such as `⟨U+202E⟩`.

    Control characters, overrides of the direction of writing and characters without width could make a text look like
    another one. Line breaks and tabs become spaces.
    """
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        " " if letter in "\n\r\t" else f"⟨U+{ord(letter):04X}⟩" if unicodedata.category(letter) in _UNSEEN else letter
        for letter in text
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], most: int | None = MOST_ROWS) -> Html:
    """Return a table: numbers to the right, texts escaped, and each a direction of its own.

    Args:
        columns: The heads of the columns; none for a table without a head, whose first column names the rows.
        rows: Cells; None is empty, and `Html` stays as it is.
        most: How many rows to show; None for all.
    """
    rows = list(rows)
    shown = rows if most is None else rows[:most]
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in columns)
    body = "\n".join("<tr>" + "".join(_cells(row, headed=bool(columns))) + "</tr>" for row in shown)
    more = f"<p>and {len(rows) - len(shown)} more rows</p>" if len(rows) > len(shown) else ""
    top = f"<thead><tr>{head}</tr></thead>\n" if columns else ""
    return Html(f"<table>\n{top}<tbody>\n{body}\n</tbody></table>{more}")


def listing(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """Return a table of all rows or, where there are many, lines of text."""
    rows = list(rows)
    if len(rows) <= LONG:
        return table(columns, rows, None)
    texts = [list(columns), *([visible("" if cell is None else cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in texts)
    return Html(f'<pre class="lines" tabindex="0">{html.escape(lines)}</pre>')


def _cells(row: Sequence[object], headed: bool) -> Iterable[str]:
    for place, cell in enumerate(row):
        if not headed and place == 0:
            yield f'<th scope="row">{html.escape(visible(cell))}</th>'
        elif isinstance(cell, int | float) and not isinstance(cell, bool):
            yield f'<td class="number">{cell}</td>'
        elif isinstance(cell, Html):
            yield f"<td>{cell}</td>"
        else:
            yield _text("" if cell is None else visible(cell))


def _text(cell: str) -> str:
    if _HASH.fullmatch(cell):
        return f'<td class="hash">{cell}</td>'
    return f"<td><bdi>{html.escape(cell)}</bdi></td>" if cell else "<td></td>"
