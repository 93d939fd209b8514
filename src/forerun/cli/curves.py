"""Draws what can be had for how much: cold starts against idle memory, as characters and as a picture (SVG). Pure."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

COLORS = ("#c2410c", "#475569", "#0f766e", "#7c3aed")
MARKS = "o+x*"
_LEFT, _TOP, _WIDTH, _HEIGHT = 70, 50, 640, 380


class Dot(NamedTuple):
    """One policy's result: ``wasted`` GB-minutes and ``cold`` starts; ``label`` is its dial."""

    series: str
    label: str
    wasted: float
    cold: float


class _Scale(NamedTuple):
    """From a value to a share from 0 to 1, by its logarithm."""

    low: float
    high: float

    def share(self, value: float) -> float:
        return (math.log10(max(value, self.low)) - math.log10(self.low)) / (
            math.log10(self.high) - math.log10(self.low)
        )

    def ticks(self) -> list[float]:
        low, high = math.log10(self.low), math.log10(self.high)
        found = [10.0**power for power in range(math.ceil(low), math.floor(high) + 1)]
        if len(found) < 3:
            found += [
                digit * 10.0**power
                for power in range(math.floor(low), math.ceil(high))
                for digit in (2, 5)
                if self.low <= digit * 10.0**power <= self.high
            ]
        return sorted(found)


def _scale(values: Sequence[float]) -> _Scale:
    seen = [value for value in values if value > 0] or [1.0]
    low, high = min(seen), max(seen)
    return _Scale(low / 1.15, max(high, low * 2) * 1.15)


def drawn(dots: Sequence[Dot], *, width: int = 64, height: int = 16) -> list[str]:
    """Lines of characters; both axes are logarithmic, nothing is drawn as the least."""
    across, up = _scale([dot.wasted for dot in dots]), _scale([dot.cold for dot in dots])
    rows = [[" "] * width for _ in range(height)]
    series = list(dict.fromkeys(dot.series for dot in dots))
    for dot in reversed(dots):
        row = round((1 - up.share(dot.cold)) * (height - 1))
        rows[row][round(across.share(dot.wasted) * (width - 1))] = MARKS[
            series.index(dot.series) % len(MARKS)
        ]
    sides = {round((1 - up.share(tick)) * (height - 1)): short(tick) for tick in up.ticks()}
    lines = ["cold starts"]
    lines += [f"{sides.get(row, ''):>8} |{''.join(cells)}" for row, cells in enumerate(rows)]
    below = [" "] * (width + 8)
    for tick in across.ticks():
        at = round(across.share(tick) * (width - 1))
        if not "".join(below[max(0, at - 1) : at + 8]).strip():
            below[at : at + len(short(tick))] = short(tick)
    lines.append(f"{'':>8} +{'-' * width}")
    lines.append(f"{'':>10}{''.join(below).rstrip()}  wasted GB-minutes")
    legend = "   ".join(f"{MARKS[place % len(MARKS)]} {name}" for place, name in enumerate(series))
    return [line.rstrip() for line in [*lines, f"{'':>10}{legend}"]]


def picture(dots: Sequence[Dot], title: str) -> str:
    """An SVG document."""
    across, up = _scale([dot.wasted for dot in dots]), _scale([dot.cold for dot in dots])
    series = list(dict.fromkeys(dot.series for dot in dots))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 40} {_TOP + _HEIGHT + 90}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="24" font-size="15">{escape(title)}</text>',
        f'<text x="{_LEFT}" y="42" fill="#64748b">cold starts</text>',
        f'<text x="{_LEFT + _WIDTH}" y="{_TOP + _HEIGHT + 38}" fill="#64748b" text-anchor="end">'
        "wasted GB-minutes</text>",
    ]
    for tick in across.ticks():
        x = _LEFT + across.share(tick) * _WIDTH
        parts += [
            _line(x, _TOP, x, _TOP + _HEIGHT),
            f'<text x="{x:.1f}" y="{_TOP + _HEIGHT + 18}" text-anchor="middle">{short(tick)}</text>',
        ]
    for tick in up.ticks():
        y = _TOP + (1 - up.share(tick)) * _HEIGHT
        parts += [
            _line(_LEFT, y, _LEFT + _WIDTH, y),
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{short(tick)}</text>',
        ]
    for place, name in enumerate(series):
        parts += _series(
            [dot for dot in dots if dot.series == name], across, up, COLORS[place % len(COLORS)]
        )
        at = _LEFT + place * 160
        y = _TOP + _HEIGHT + 66
        parts += [
            f'<circle cx="{at + 5}" cy="{y - 4}" r="5" fill="{COLORS[place % len(COLORS)]}"/>',
            f'<text x="{at + 16}" y="{y}">{escape(name)}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def _series(dots: Sequence[Dot], across: _Scale, up: _Scale, color: str) -> list[str]:
    places = [
        (_LEFT + across.share(dot.wasted) * _WIDTH, _TOP + (1 - up.share(dot.cold)) * _HEIGHT)
        for dot in dots
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline points="{path}" fill="none" stroke="{color}"/>'] if len(dots) > 1 else []
    for dot, (x, y) in zip(dots, places, strict=True):
        said = f"{dot.series} {dot.label}: {dot.cold:g} cold starts, {dot.wasted:g} GB-minutes"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{color}"><title>{escape(said)}</title></circle>'
            f'<text x="{x + 7:.1f}" y="{y - 6:.1f}" font-size="10" fill="{color}">{escape(dot.label)}</text>'
        )
    return parts


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#e2e8f0"/>'


def short(value: float) -> str:
    """As ``0.5``, ``20``, ``3k``, ``1.5M``."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{letter}"
    return f"{value:g}"
