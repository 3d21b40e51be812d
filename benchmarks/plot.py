"""Draw how the cost of the memory grows, one panel a quantity, from what `python -m benchmarks.memory --json` printed.

    for x in N K length batch views; do python -m benchmarks.memory --shapes $x --json > $x.json; done
    python -m benchmarks.plot N.json K.json length.json batch.json views.json --out benchmarks/memory.svg

Both axes are logarithmic; the upper line is the released arithmetic, the lower one ours.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

AXES = {"N": "N, vectors", "K": "K, vectors queried", "L": "L, features a view", "B": "B, studies", "views": "views"}
WIDTH, HEIGHT, LEFT, TOP, GAP = 270, 190, 60, 40, 40
COLORS = {"ours, s": "#0b6fb8", "released, s": "#b5472b"}


def varied(rows: list[dict[str, Any]]) -> str:
    """Return the quantity in which the rows differ most."""
    return max(AXES, key=lambda axis: len({row[axis] for row in rows}))


def scale(values: list[float], low: float, high: float) -> Any:
    """Return a function from values to pixels on a logarithmic axis."""
    first, last = math.log(min(values)), math.log(max(values))
    return lambda value: low + (math.log(value) - first) / ((last - first) or 1) * (high - low)


def panel(rows: list[dict[str, Any]], left: int, seconds: tuple[float, float]) -> list[str]:
    """Draw one quantity: both lines, their points, ticks at what was measured."""
    axis = varied(rows)
    rows = sorted(rows, key=lambda row: row[axis])
    x = scale([row[axis] for row in rows], left + 10, left + WIDTH - 10)
    y = scale(list(seconds), TOP + HEIGHT, TOP)
    parts = [f'<rect x="{left}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>']
    parts.append(f'<text x="{left + WIDTH / 2}" y="{TOP + HEIGHT + 36}" text-anchor="middle">{AXES[axis]}</text>')
    for row in rows:
        place = x(row[axis])
        parts.append(f'<text x="{place:.1f}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{row[axis]}</text>')
    for side, color in COLORS.items():
        points = [(x(row[axis]), y(row[side])) for row in rows]
        line = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{color}"/>' for px, py in points]
    return parts


def draw(panels: list[list[dict[str, Any]]], machine: str) -> str:
    """Return the figure as SVG; all panels share the axis of seconds."""
    times = [row[side] for rows in panels for row in rows for side in COLORS]
    least, most = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    seconds = (10.0**least, 10.0**most)
    y = scale(list(seconds), TOP + HEIGHT, TOP)
    width, height = LEFT + len(panels) * (WIDTH + GAP), TOP + HEIGHT + 50
    size = f'width="{width}" height="{height}" font-family="sans-serif" font-size="11"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>']
    parts.append(f'<rect width="{width}" height="{height}" fill="white"/>')
    parts.append(f'<text x="{LEFT}" y="16">Memory, forward and backward, seconds: ')
    for side, color in COLORS.items():
        parts.append(f'<tspan fill="{color}" font-weight="bold">{side.removesuffix(", s")} </tspan>')
    parts.append(f'</text><text x="{LEFT}" y="31" fill="#666">{machine}</text>')
    for power in range(least, most + 1):
        parts.append(f'<text x="{LEFT - 6}" y="{y(10.0**power) + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    for number, rows in enumerate(panels):
        parts += panel(rows, LEFT + number * (WIDTH + GAP), seconds)
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    read = [json.loads(path.read_text()) for path in options.files]
    options.out.write_text(draw([each["rows"] for each in read], read[0]["machine"]))


if __name__ == "__main__":
    main()
