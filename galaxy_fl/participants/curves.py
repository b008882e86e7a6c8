"""A report's curves as a picture in SVG: loss and accuracy, round by round.

Drawn by hand. A library that draws takes a second of a processor to load, in each participant of every job, for two
axes with two curves each.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from html import escape
from itertools import pairwise

__all__ = ["Curve", "Panel", "draw"]

WIDTH, HEIGHT = 990, 396
TOP, BOTTOM = 52, 52
LEFT, RIGHT = 72, 24
"""Pixels around the axes of each panel, of which one is half as wide as the picture."""
TICKS = 6
"""At most so many on an axis."""
SMALLEST = 1e-9
"""What an axis has beyond its values, at least."""
MARKED = 30
"""Curves of more points than these have no markers."""

Curve = tuple[str, str, Sequence[tuple[int, float]]]
"""A label, a colour, and what was measured, by round."""

Panel = tuple[str, Sequence[Curve], float | None, float | None]
"""What is measured, the curves, and where its axis begins and ends; None for where the curves do."""


def draw(title: str, rounds: int, panels: Sequence[Panel]) -> str:
    """Return a picture with panels side by side.

    Args:
        title: Above all.
        rounds: The last round of the axes.
        panels: Two of them. Values are finite.
    """
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="13" fill="#222222">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(WIDTH / 2, 24, _printable(title), size=15),
    ]
    for number, panel in enumerate(panels):
        parts += _panel(number * WIDTH / len(panels), WIDTH / len(panels), rounds, panel)
    return "\n".join([*parts, "</svg>", ""])


def _panel(begin: float, width: float, rounds: int, panel: Panel) -> list[str]:
    what, curves, least, most = panel
    left, right, top, bottom = begin + LEFT, begin + width - RIGHT, TOP, HEIGHT - BOTTOM
    values = [value for _, _, points in curves for _, value in points]
    low, high = _range(values, least, most)

    def across(round: float) -> float:
        return left + (round - 0.5) / rounds * (right - left)

    def up(value: float) -> float:
        # Halves, because the difference of two numbers may be beyond all floats.
        return bottom - (value / 2 - low / 2) / (high / 2 - low / 2) * (bottom - top)

    parts = []
    for round in _whole(rounds):
        parts.append(_line([(across(round), top), (across(round), bottom)], "#dddddd", 0.7))
        parts.append(_text(across(round), bottom + 18, str(round)))
    for value in _ticks(low, high) if values else ():
        parts.append(_line([(left, up(value)), (right, up(value))], "#dddddd", 0.7))
        parts.append(_text(left - 8, up(value) + 4.5, f"{value:.6g}", "end"))
    parts.append(_line([(left, top), (left, bottom), (right, bottom)], "#222222", 1))
    parts.append(_text((left + right) / 2, HEIGHT - 14, "round"))
    middle = (top + bottom) / 2
    turned = f' transform="rotate(-90 {begin + 18:.1f} {middle:.1f})"'
    parts.append(_text(begin + 18, middle, what, more=turned))
    if not values:
        parts.append(_text((left + right) / 2, middle, "not measured", colour="#888888"))
    place = right - 62.0
    for label, colour, points in curves:
        at = [(across(round), up(value)) for round, value in points]
        if not at:
            continue
        parts.append(_line(at, colour, 1.8))
        if len(at) <= MARKED:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in at]
        parts.append(_line([(place, top - 12), (place + 24, top - 12)], colour, 1.8))
        parts.append(_text(place + 30, top - 7.5, label, "start"))
        place -= 80
    return parts


def _range(values: Sequence[float], least: float | None, most: float | None) -> tuple[float, float]:
    """Where an axis begins and ends, so that no value is at its edge."""
    if not values:
        return 0.0, 1.0
    low = min(values) if least is None else least
    high = max(values) if most is None else most
    room = high / 20 - low / 20
    if room < SMALLEST:
        room = max(abs(high) / 20, SMALLEST)
    low, high = low if least is not None else low - room, high if most is not None else high + room
    return max(low, -sys.float_info.max), min(high, sys.float_info.max)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers in between."""
    rough = (high / 2 - low / 2) / (TICKS / 2)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    found = [number * step for number in range(first, last + 1)]
    # Between numbers whose difference drowns in their size there are none.
    return found if all(before < after for before, after in pairwise(found)) else [low]


def _whole(rounds: int) -> list[int]:
    """Some of the rounds."""
    step = next(
        factor * 10**power
        for power in range(len(str(rounds)))
        for factor in (1, 2, 5, 10)
        if rounds <= factor * 10**power * 2 * TICKS
    )
    return list(range(step, rounds + 1, step))


def _line(points: Sequence[tuple[float, float]], colour: str, width: float) -> str:
    at = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _text(
    x: float, y: float, text: str, anchor: str = "middle", size: int = 13, colour: str = "#222222", more: str = ""
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"{more}>'
        f"{escape(text)}</text>"
    )


def _printable(text: str) -> str:
    """Without the characters that XML has no way to write."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
