"""
The picture: throughput, memory and latency against the size of a plan, as one SVG that is readable on light and dark.

Drawn by hand, because three small panels need no plotting library.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)

_WIDTH, _HEIGHT = 300, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 46, 36
_STEPS = (1, 2, 2.5, 5, 10)
_TICKS = 4

_STYLE = """
text { font: 11px sans-serif; fill: #1f2328; }
.title { font-weight: bold; font-size: 13px; }
.quiet { fill: #59636e; }
.grid { stroke: #d1d9e0; stroke-width: 1; }
.line { fill: none; stroke-width: 2; }
.a { stroke: #0969da; } .fill-a { fill: #0969da; }
.b { stroke: #bc4c00; } .fill-b { fill: #bc4c00; }
.bar { stroke: #59636e; stroke-width: 1; stroke-dasharray: 4 3; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; } .quiet { fill: #9198a1; } .grid { stroke: #3d444d; } .bar { stroke: #9198a1; }
  .a { stroke: #4493f8; } .fill-a { fill: #4493f8; }
  .b { stroke: #f0883e; } .fill-b { fill: #f0883e; }
}
"""

Round = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a panel: its name, and its value in one round for one size; KeyError where there is none."""

    name: str
    value: Callable[[Round, int], float]


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the three; ``bar`` is what the design promises."""

    title: str
    lines: tuple[Line, ...]
    bar: float | None = None


PANELS = (
    Panel(
        "tasks a second",
        (
            Line("Switchover", lambda r, n: n / r[f"switchover {n}"]["run_seconds"]),
            Line("floor", lambda r, n: n / r[f"floor {n}"]["run_seconds"]),
        ),
    ),
    Panel(
        "peak memory, MB",
        (Line("Switchover", lambda r, n: r[f"switchover {n}"]["peak_bytes"] / 1_000_000),),
        bar=150,
    ),
    Panel(
        "from stage to stage, ms",
        (
            Line("median", lambda r, n: r[f"switchover {n}"]["gap_seconds"] * 1_000),
            Line("slowest in a hundred", lambda r, n: r[f"switchover {n}"]["slow_gap_seconds"] * 1_000),
        ),
    ),
)


def draw(rounds: Sequence[Round]) -> str:
    """The SVG; panels without samples stay empty."""
    parts = [_panel(panel, rounds, number * _WIDTH) for number, panel in enumerate(PANELS)]
    width = _WIDTH * len(PANELS)
    size = f'viewBox="0 0 {width} {_HEIGHT}" width="{width}" height="{_HEIGHT}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            "<title>Throughput, memory and latency against the number of tasks in a plan</title>",
            f"<style>{_STYLE}</style>",
            *parts,
            "</svg>",
            "",
        ]
    )


def _panel(panel: Panel, rounds: Sequence[Round], x: int) -> str:
    found = [(line, _points(line, rounds)) for line in panel.lines]
    values = [value for _, points in found for _, value in points] + ([panel.bar] if panel.bar is not None else [])
    step = _step(max(values, default=1.0))
    top = step * _TICKS
    parts = [f'<g transform="translate({x} 0)">', _text(_LEFT, 16, panel.title, "title")]
    for number in range(_TICKS + 1):
        y = _y(step * number, top)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y}" x2="{_WIDTH - _RIGHT}" y2="{y}"/>')
        parts.append(_text(_LEFT - 6, y + 4, f"{step * number:,.10g}", "quiet", anchor="end"))
    parts += [_text(_x(size), _HEIGHT - _BOTTOM + 16, _short(size), "quiet", anchor="middle") for size in SIZES]
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 4, "tasks in the plan", "quiet", anchor="middle"))
    if panel.bar is not None:
        y = _y(panel.bar, top)
        parts.append(f'<line class="bar" x1="{_LEFT}" y1="{y}" x2="{_WIDTH - _RIGHT}" y2="{y}"/>')
    legend = float(_LEFT)
    for (line, points), colour in zip(found, "ab", strict=False):
        path = " ".join(f"{_x(size):.1f},{_y(value, top)}" for size, value in points)
        parts.append(f'<polyline class="line {colour}" points="{path}"/>')
        parts += [f'<circle class="fill-{colour}" cx="{_x(n):.1f}" cy="{_y(v, top)}" r="3"/>' for n, v in points]
        parts.append(f'<rect class="fill-{colour}" x="{legend}" y="25" width="10" height="10"/>')
        parts.append(_text(legend + 14, 34, line.name, ""))
        legend += 14 + 6.5 * len(line.name) + 12
    return "\n".join([*parts, "</g>"])


def _points(line: Line, rounds: Sequence[Round]) -> list[tuple[int, float]]:
    points: list[tuple[int, float]] = []
    for size in SIZES:
        values: list[float] = []
        for round_ in rounds:
            try:
                values.append(line.value(round_, size))
            except KeyError:
                continue
        if values:
            points.append((size, statistics.median(values)))
    return points


def _step(largest: float) -> float:
    """A round number of which four reach the largest value."""
    rough = largest / _TICKS
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    return next(power * step for step in _STEPS if power * step * _TICKS >= largest)


def _x(size: int) -> float:
    share = math.log10(size / SIZES[0]) / math.log10(SIZES[-1] / SIZES[0])
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float, top: float) -> float:
    return round(_HEIGHT - _BOTTOM - value / top * (_HEIGHT - _TOP - _BOTTOM), 1)


def _short(size: int) -> str:
    return f"{size // 1_000}k"


def _text(x: float, y: float, text: str, style: str, *, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
