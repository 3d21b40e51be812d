"""ROUGE-L as coco-caption computes it, bit for bit, in a fiftieth of its time.

Departs from coco-caption in how the longest common subsequence is found: there word by word in a table, which takes as
long as all other scores of a validation epoch together; here a whole row of the table at once, as the bits of a number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BETA = 1.2  # coco-caption's; other implementations take 1 and their numbers do not compare


def rouge_l_per_report(generated: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return (n,) the ROUGE-L of each report, in [0, 1] (Lin, 2004).

    Reports are split at single spaces, as coco-caption does: extra spaces count as words, and an empty report is one
    empty word, so that two empty reports have ROUGE-L 1.

    Args:
        generated: reports.
        references: one for each report.
    """
    pairs = zip(generated, references, strict=True)
    return np.array([_rouge_l(ours.split(" "), theirs.split(" ")) for ours, theirs in pairs], dtype=np.float64)


def common_length(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence (Hyyro, 2004: bit-parallel).

    Bit j of `row` is 0 where the table of lengths grows from column j to column j + 1.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(one)) - 1
    row = every
    for word in other:
        matched = row & places.get(word, 0)
        row = (row + matched | row - matched) & every
    return len(one) - row.bit_count()


def _rouge_l(generated: list[str], reference: list[str]) -> float:
    common = common_length(reference, generated)
    precision, recall = common / float(len(generated)), common / float(len(reference))
    if not common:
        return 0.0
    return ((1 + BETA**2) * precision * recall) / float(recall + BETA**2 * precision)
