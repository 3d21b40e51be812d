"""How alike the reports of a system are, and how many references it could have copied from train.

BLEU hides both: on IU X-Ray one fixed report reaches most of the published scores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

MEANING = {
    "distinct": "distinct reports / reports",
    "most_common": "share of the most frequent report",
    "mean_length": "words a report, full stops included",
    "mean_reference_length": "words a reference",
    "empty": "empty reports, which a labeler calls No Finding",
    "seen_references": "share of references that equal a training report",
}
"""The names, and what they mean."""


def degeneracy(
    generated: Sequence[str], references: Sequence[str] = (), training: Sequence[str] = ()
) -> dict[str, float]:
    """Count what scores do not show.

    Args:
        generated: at least one report; white space is normalised.
        references: of the same studies.
        training: the training reports, made as the references are; `seen_references` is left out without them.

    Returns:
        The names of `MEANING`; shares in [0, 1], `empty` as a number of reports.
    """
    reports = Counter(" ".join(text.split()) for text in generated)
    number = sum(reports.values())
    found = {
        "distinct": len(reports) / number,
        "most_common": max(reports.values()) / number,
        "mean_length": sum(len(text.split()) * count for text, count in reports.items()) / number,
        "empty": float(reports[""]),
    }
    if references:
        found["mean_reference_length"] = sum(len(text.split()) for text in references) / len(references)
    if training and references:
        seen = {" ".join(text.split()) for text in training}
        found["seen_references"] = sum(" ".join(text.split()) in seen for text in references) / len(references)
    return {name: found[name] for name in MEANING if name in found}
