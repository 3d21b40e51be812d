"""Plots as inline SVG: a few kilobytes of text, sharp at any size, readable without colour and in print.

Colours are classes of `page.css`, one a split, so that a plot follows the page into the dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

WIDTH = 760
_TOP = 10


def text(words: str) -> str:
    """Return words as HTML: escaped, and without characters that no page may hold."""
    kept = "".join(c if c in "\t\n" or (c >= " " and not "\ud800" <= c <= "\udfff") else "\ufffd" for c in words)
    return escape(kept)


def funnel_plot(rows: Sequence[tuple[str, int, int]], title: str) -> str:
    """Draw a bar a step: what is left, and behind it, hatched, what the step lost.

    Args:
        rows: (step, left, lost).
        title: what a screen reader says of the plot.
    """
    most = max((left + lost for _, left, lost in rows), default=0) or 1
    label, right, height, gap = 266, 104, 24, 10
    scale = (WIDTH - label - right) / most
    parts = [
        '<defs><pattern id="lost" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<line class="hatch" x1="0" x2="0" y1="0" y2="6"/></pattern></defs>'
    ]
    for place, (step, left, lost) in enumerate(rows):
        y = _TOP + place * (height + gap)
        middle = y + height / 2
        words = f"{left:,}" + (f" <tspan class='soft'>−{lost:,}</tspan>" if lost else "")
        parts.append(
            f'<text class="label" x="{label - 12}" y="{middle}" dy=".35em">{text(_shortened(step))}</text>'
            f'<rect class="train bar" x="{label}" y="{y}" width="{left * scale:.1f}" height="{height}" rx="2"/>'
            f'<rect fill="url(#lost)" x="{label + left * scale:.1f}" y="{y}" width="{lost * scale:.1f}" '
            f'height="{height}"/>'
            f'<text class="value" x="{label + (left + lost) * scale + 8:.1f}" y="{middle}" dy=".35em">{words}</text>'
        )
    return _svg("".join(parts), _TOP + len(rows) * (height + gap), title)


def _shortened(words: str, most: int = 40) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"


def share_plot(rows: Sequence[tuple[str, float, str]], title: str) -> str:
    """Draw a bar a split, for shares of 0 to 1.

    Args:
        rows: (split, share, text beside it).
        title: what a screen reader says of the plot.
    """
    label, right, height, gap = 66, 176, 20, 9
    width = WIDTH - label - right
    bottom = _TOP + len(rows) * (height + gap)
    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = label + tick * width
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4}" y2="{bottom}"/>'
                     f'<text class="tick" x="{x:.1f}" y="{bottom + 15}">{tick:.0%}</text>')  # fmt: skip
    for place, (split, share, words) in enumerate(rows):
        y = _TOP + place * (height + gap)
        middle = y + height / 2
        parts.append(
            f'<text class="label" x="{label - 12}" y="{middle}" dy=".35em">{text(split)}</text>'
            f'<rect class="{text(split)} bar" x="{label}" y="{y}" width="{share * width:.1f}" height="{height}"/>'
            f'<text class="value" x="{WIDTH - right + 14}" y="{middle}" dy=".35em">{text(words)}</text>'
        )
    return _svg("".join(parts), bottom + 22, title)


def length_plot(histograms: Mapping[str, Sequence[int]], bin_width: int, limit: int, title: str) -> str:
    """Draw which share of a split's reports has how many words: train as bars, the others as steps.

    Args:
        histograms: by split, the number of reports in each bin.
        bin_width: words a bin.
        limit: `max_length`, where a line stands.
        title: what a screen reader says of the plot.
    """
    shares = {split: [number / sum(row) for number in row] for split, row in histograms.items() if sum(row)}
    count = max((len(row) for row in shares.values()), default=0)
    if not count:
        return ""
    count = max(_without_tail(shares.values()), math.ceil(limit / bin_width) + 1)
    most = max(max(row) for row in shares.values())
    left, right, height = 48, WIDTH - 12, 210
    step = (right - left) / count

    def y(share: float) -> float:
        return _TOP + height * (1 - share / (math.ceil(most / 0.05 - 1e-9) * 0.05))

    parts = []
    for tick in range(math.ceil(most / 0.05 - 1e-9) + 1):
        place = f"{y(tick * 0.05):.1f}"
        parts.append(
            f'<line class="grid" x1="{left}" x2="{right}" y1="{place}" y2="{place}"/>'
            f'<text class="tick end" x="{left - 8}" y="{place}" dy=".35em">{tick * 5}%</text>'
        )
    for split, row in shares.items():
        row = [*row[: count - 1], sum(row[count - 1 :])]  # the last bin holds the tail
        row += [0.0] * (count - len(row))
        if split == "train":
            parts += [f'<rect class="train bar" x="{left + n * step + 0.75:.1f}" y="{y(share):.1f}" '
                      f'width="{step - 1.5:.1f}" height="{y(0) - y(share):.1f}"/>'
                      for n, share in enumerate(row) if share]  # fmt: skip
        else:
            line = "".join(f"V{y(share):.1f}h{step:.2f}" for share in row)
            parts.append(f'<path class="{text(split)} step" d="M{left} {y(0):.1f}{line}V{y(0):.1f}"/>')
    every = max(1, math.ceil(count / 12))
    for n in range(0, count, every):
        parts.append(f'<text class="tick" x="{left + n * step:.1f}" y="{y(0) + 16:.1f}">{n * bin_width}</text>')
    x = left + limit / bin_width * step
    parts.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{y(0):.1f}"/>'
                 f'<text class="tick start" x="{x + 6:.1f}" y="{_TOP + 8}">cut at {limit} ids</text>'
                 f'<text class="tick" x="{(left + right) / 2:.0f}" y="{y(0) + 36:.1f}">words of a report; '
                 f'the last bar holds all longer ones</text>')  # fmt: skip
    return _svg("".join(parts), y(0) + 44, title)


def _without_tail(rows: Iterable[Sequence[float]]) -> int:
    """Return the bins that hold 99.5% of each split, and one for the rest."""
    ends = []
    for row in rows:
        total, end = 0.0, 0
        while end < len(row) and total < 0.995:
            total, end = total + row[end], end + 1
        ends.append(end + 1)
    return max(ends)


def _svg(content: str, height: float, title: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{text(title)}">{content}</svg>'
