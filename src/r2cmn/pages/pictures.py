"""The style of all figures of matplotlib, and how they are written: the same bytes every time, as SVG and PNG."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from r2cmn.files import PUBLIC_FILE, load_optional, whole_file

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
"""Colors that the color-blind can tell apart (Okabe and Ito, 2008)."""

SUFFIXES = ("svg", "png")
"""Formats of each figure."""

_METADATA = {"Date": None, "Creator": "r2cmn"}
_STYLE = {
    "font.size": 8, "axes.labelsize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7, "legend.fontsize": 7,
    "font.family": "DejaVu Sans", "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.7,
    "xtick.major.width": 0.7, "ytick.major.width": 0.7, "lines.linewidth": 1.3, "lines.markersize": 4,
    "svg.hashsalt": "r2cmn", "savefig.dpi": 300, "axes.formatter.useoffset": False,
}  # fmt: skip


def styled(extra: str) -> Any:
    """Return a context in which matplotlib has the style.

    Args:
        extra: what installs matplotlib.

    Raises:
        ValueError: without matplotlib, naming the extra.
    """
    return load_optional("matplotlib", "a figure", extra).rc_context(_STYLE)


def figure_svg(drawn: Any) -> str:
    """Return a figure as SVG."""
    content = io.StringIO()
    with styled(""):
        drawn.savefig(content, format="svg", metadata=_METADATA)
    return content.getvalue()


def write_figure(drawn: Any, folder: Path, name: str, mode: int = PUBLIC_FILE) -> list[Path]:
    """Write a figure as SVG and PNG, each whole or not at all.

    Args:
        drawn: a figure of matplotlib.
        folder: of the files.
        name: of the files, without suffix.
        mode: of the files.
    """
    paths = [folder / f"{name}.{suffix}" for suffix in SUFFIXES]
    for path in paths:
        with whole_file(path, mode) as file, styled(""):
            suffix = path.suffix[1:]
            drawn.savefig(file, format=suffix, metadata=_METADATA if suffix == "svg" else None)
    return paths
