"""Counts how alike the reports of a system are, and how many references equal a training report.

BLEU hides both: on IU X-Ray one fixed report reaches most of the published scores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

MEANING = {
    "distinct": "distinct reports / reports",
    "most_common": "share of the most frequent report",
    "mean_length": "words per report, full stops included",
    "mean_reference_length": "words per reference",
    "empty": "empty reports, which a labeler calls No Finding",
    "seen_references": "share of references that equal a training report, both cleaned and whole",
}
"""Meaning of each count by its name."""
LOGGED = ("distinct", "most_common", "mean_length")
"""The counts that training logs and tables of baselines show."""


def degeneracy(generated: Sequence[str], references: Sequence[str] = (), seen: Sequence[bool] = ()) -> dict[str, float]:
    """Count repeated, empty and known reports; white space is normalized.

    Args:
        generated: at least one report.
        references: references of the same studies; without them their counts are left out.
        seen: whether each whole reference equals a training report; without it `seen_references` is left out.

    Returns:
        Counts by the names of `MEANING`; shares in [0, 1], `empty` as a number of reports.

    Raises:
        ValueError: without reports.
    """
    if not generated:
        raise ValueError("there are no reports to score: call update before compute")
    reports = Counter(" ".join(text.split()) for text in generated)
    number = len(generated)
    found = {
        "distinct": len(reports) / number,
        "most_common": max(reports.values()) / number,
        "mean_length": sum(len(text.split()) * count for text, count in reports.items()) / number,
        "empty": float(reports[""]),
    }
    if references:
        found["mean_reference_length"] = sum(len(text.split()) for text in references) / len(references)
    if seen:
        found["seen_references"] = sum(seen) / len(seen)
    return {name: found[name] for name in MEANING if name in found}
