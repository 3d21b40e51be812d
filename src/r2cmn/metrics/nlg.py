"""BLEU, ROUGE-L, CIDEr and METEOR with the formulas of coco-caption, as the papers of this family report them.

Words are compared as the tokenizer writes them, full stops included, without the PTB tokenizer of image captioning:
with it, or with another ROUGE-L, the numbers are not comparable with the paper's tables.

Every score is a formula over statistics of each report, so that `r2cmn.metrics.sufficient` can score any resample of
the reports: BLEU and METEOR over sums of counts, ROUGE-L and CIDEr over the sum of the reports' own scores.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from r2cmn.metrics.cider import CiderD, count_ngrams, document_frequencies
from r2cmn.metrics.meteor import MeteorError, meteor_of_sums, meteor_statistics

NAMES = ("BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "METEOR", "ROUGE_L", "CIDEr")
Meteor = Literal["auto"] | bool
NUM_BLEU_STATISTICS = 10
SMALL, TINY = 1e-9, 1e-15  # added to denominators and numerators by coco-caption's BLEU, against division by zero
ROUGE_BETA = 1.2  # coco-caption's; other implementations use 1 and are not comparable

_warning_lock = threading.Lock()
_warned = False


def check_meteor(choice: Any) -> None:
    """Raise ValueError unless the choice is "auto", True or False."""
    if choice != "auto" and not isinstance(choice, bool):
        raise ValueError(f"metrics.meteor must be auto, true or false, not {choice!r}")


def nlg_scores(
    generated: Sequence[str], references: Sequence[str], meteor: Literal["auto"] | bool = "auto"
) -> dict[str, float]:
    """Score a corpus of reports against one reference each.

    White space is normalized first: leading spaces would count as words in ROUGE-L, and line breaks break METEOR.
    A pair of two empty reports has ROUGE-L 1 and 0 in all other scores, as in coco-caption.

    Args:
        generated: reports, words separated by spaces; may be empty strings.
        references: one for each report.
        meteor: True computes METEOR or raises; False leaves it out; "auto" computes it if it can, else warns once.

    Returns:
        BLEU_1 to BLEU_4, METEOR, ROUGE_L in [0, 1] and CIDEr in [0, 10]; METEOR is nan if it was not computed.

    Raises:
        ValueError: without reports, or if there are not as many references.
        MeteorError: if `meteor` is True and it could not be computed.
    """
    check_meteor(meteor)
    check_pairs(generated, references)
    generated, references = single_spaced(generated), single_spaced(references)
    scores = bleu(generated, references)
    counted = optional_meteor_statistics(generated, references, meteor)
    scores["METEOR"] = math.nan if counted is None else float(meteor_of_sums(counted.sum(axis=0, keepdims=True))[0])
    scores["ROUGE_L"] = rouge_l(generated, references)
    scores["CIDEr"] = cider(generated, references)
    return scores


def check_pairs(generated: Sequence[str], references: Sequence[str]) -> None:
    """Check that every report has one reference.

    Raises:
        ValueError: without reports, or if there are not as many references.
    """
    if len(generated) != len(references):
        raise ValueError(f"every report needs one reference: there are {len(generated)} and {len(references)}")
    if not len(generated):
        raise ValueError("there are no reports to score: call update before compute")


def single_spaced(texts: Sequence[str]) -> list[str]:
    """Return texts with single spaces between words and none around them."""
    return [" ".join(text.split()) for text in texts]


def bleu(generated: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """BLEU of the corpus, n-grams up to 1, 2, 3 and 4 (Papineni et al., 2002); at least one report."""
    scores = bleu_of_sums(bleu_statistics(generated, references).sum(axis=0, keepdims=True))
    return {name: float(score[0]) for name, score in scores.items()}


def bleu_statistics(generated: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return (n, 10) counts of coco-caption's BLEU for each report: their sum over a corpus gives its scores.

    Columns: matched n-grams (4) and all n-grams (4) of lengths 1 to 4, words generated, words of the reference (of
    several references coco-caption takes the closest length; a report has one).
    """
    rows = []
    for report, reference in zip(generated, references, strict=True):
        ours, theirs = count_ngrams(report), count_ngrams(reference)
        pairs = zip(ours, theirs, strict=True)
        matched = [sum(min(a[ngram], b[ngram]) for ngram in a.keys() & b.keys()) for a, b in pairs]
        rows.append((*matched, *(a.total() for a in ours), ours[0].total(), theirs[0].total()))
    return np.array(rows, dtype=np.float64).reshape(-1, NUM_BLEU_STATISTICS)


def bleu_of_sums(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Return the (R,) scores of corpora from the (R, 10) sums of `bleu_statistics`.

    Papineni et al. (2002), equation in section 2.3, with coco-caption's constants: without a matching 4-gram BLEU_4 is
    not 0 but so small that no table shows it.
    """
    matched, total, words, reference_words = sums[:, 0:4], sums[:, 4:8], sums[:, 8], sums[:, 9]
    ratio = (words + TINY) / (reference_words + SMALL)
    penalty = np.where(ratio < 1, np.exp(1 - 1 / np.minimum(ratio, 1)), 1.0)
    products = np.cumprod((matched + TINY) / (total + SMALL), axis=1)
    return {f"BLEU_{n}": penalty * products[:, n - 1] ** (1 / n) for n in range(1, 5)}


def rouge_l(generated: Sequence[str], references: Sequence[str]) -> float:
    """Mean ROUGE-L with beta 1.2 (Lin, 2004); splits at single spaces, so extra spaces count as words."""
    return float(rouge_l_per_report(generated, references).mean())


def rouge_l_per_report(generated: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return (n,) ROUGE-L of each report, in [0, 1] (Lin, 2004), bit for bit as coco-caption, 50 times faster.

    Reports are split at single spaces, as in coco-caption: extra spaces count as words, and an empty report is one
    empty word, so two empty reports have ROUGE-L 1.
    """
    pairs = zip(generated, references, strict=True)
    return np.array([_rouge_l(ours.split(" "), theirs.split(" ")) for ours, theirs in pairs], dtype=np.float64)


def _rouge_l(generated: list[str], reference: list[str]) -> float:
    common = common_length(reference, generated)
    precision, recall = common / float(len(generated)), common / float(len(reference))
    if not common:
        return 0.0
    return ((1 + ROUGE_BETA**2) * precision * recall) / float(recall + ROUGE_BETA**2 * precision)


def common_length(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence (Hyyro, 2004: bit-parallel).

    The bits of `row` are a row of the table of lengths: bit j is 0 if the length grows from column j to column j + 1.
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


def cider(generated: Sequence[str], references: Sequence[str]) -> float:
    """Mean CIDEr-D in [0, 10] (Vedantam et al., 2015); rare n-grams weigh more, so it depends on all references."""
    return float(cider_per_report(generated, references).mean())


def cider_per_report(generated: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return (n,) CIDEr-D of each report, in [0, 10]; all n references weigh the n-grams."""
    return CiderD(document_frequencies(references))(generated, references)


def optional_meteor_statistics(
    generated: Sequence[str], references: Sequence[str], meteor: Literal["auto"] | bool
) -> np.ndarray | None:
    """Return `meteor_statistics` of single-spaced texts, as line breaks break METEOR's protocol.

    Returns:
        None if `meteor` is False or, after one warning, if "auto" cannot compute METEOR.

    Raises:
        MeteorError: if `meteor` is True and it could not be computed.
    """
    if meteor is False:
        return None
    try:
        return meteor_statistics(single_spaced(generated), single_spaced(references))
    except MeteorError as error:
        if meteor is True:
            raise
        _warn_once(f"METEOR is left out: {error}")
        return None


def _warn_once(sentence: str) -> None:
    global _warned
    with _warning_lock:
        if _warned:
            return
        _warned = True
    warnings.warn(sentence, stacklevel=4)
