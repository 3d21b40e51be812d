"""CIDEr-D (Vedantam et al., 2015), with n-grams weighed by any collection of reports.

Shapes: n reports.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

ORDERS = 4
NGram = tuple[str, ...]


@lru_cache(maxsize=1024)
def count_ngrams(text: str) -> tuple[Counter[NGram], ...]:
    """Count the n-grams of a text, for n = 1 to 4; words are separated by white space.

    The latest texts are cached: samples of a study share their reference, and BLEU and CIDEr-D their counts.
    """
    words = list(map(sys.intern, text.split()))
    return tuple(Counter(zip(*(words[start:] for start in range(n)), strict=False)) for n in range(1, ORDERS + 1))


def document_frequencies(documents: Iterable[str]) -> dict[str, Any]:
    r"""Count in how many documents each n-gram occurs.

    Returns:
        Plain data for a checkpoint: `num_documents`, and `ngrams`, {number of documents: n-grams joined by "\n"}.
        N-grams of one document are left out, because CIDEr-D weighs unknown n-grams as if one document had them.
    """
    found: Counter[NGram] = Counter()
    num_documents = 0
    for num_documents, document in enumerate(documents, start=1):  # noqa: B007
        for counts in count_ngrams(document):
            found.update(counts.keys())
    ngrams: dict[int, list[str]] = {}
    for ngram, count in found.items():
        if count > 1:
            ngrams.setdefault(count, []).append(" ".join(ngram))
    return {"num_documents": num_documents, "ngrams": {n: "\n".join(ngrams[n]) for n in sorted(ngrams)}}


class _Vector(NamedTuple):
    """A report: the TF-IDF weights of its n-grams and their norm for each n, and its number of bigrams."""

    weights: list[dict[NGram, float]]
    norms: list[float]
    num_bigrams: int


class CiderD:
    """CIDEr-D in [0, 10] against one reference each, as in the code of its authors.

    10 times the mean over n = 1 to 4 of the cosine of TF-IDF vectors, in which a weight of the report counts at most as
    much as that of the reference, times a Gaussian of the difference in length. As there, lengths are numbers of
    bigrams, so texts of no word and of one word are of equal length.

    Args:
        frequencies: of `document_frequencies`.
        sigma: deviation of the Gaussian, in words; None leaves it out. Lengths of radiology reports vary much more than
            those of captions: with the original 6 the score mostly rewards the right length.
    """

    def __init__(self, frequencies: Mapping[str, Any], sigma: float | None = 6.0) -> None:
        self.frequencies = frequencies
        self.sigma = sigma

    @cached_property
    def _rarity(self) -> dict[NGram, float]:
        """ln(documents / documents with the n-gram), of n-grams in two or more."""
        total = self._rarest
        texts = ((math.log(n), text) for n, text in self.frequencies["ngrams"].items())
        return {
            tuple(map(sys.intern, ngram.split(" "))): total - log for log, text in texts for ngram in text.split("\n")
        }

    @property
    def _rarest(self) -> float:
        return math.log(max(self.frequencies["num_documents"], 1))

    def __call__(self, generated: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """Return (n,) scores."""
        vectors = {text: self._vector(text) for text in {*generated, *references}}
        pairs = zip(generated, references, strict=True)
        return np.array([self._score(vectors[ours], vectors[theirs]) for ours, theirs in pairs], dtype=np.float64)

    def _vector(self, text: str) -> _Vector:
        rarity, rarest, counts = self._rarity.get, self._rarest, count_ngrams(text)
        weights = [{ngram: count * rarity(ngram, rarest) for ngram, count in of_n.items()} for of_n in counts]
        norms = [math.hypot(*of_n.values()) for of_n in weights]
        return _Vector(weights, norms, counts[1].total())

    def _score(self, ours: _Vector, theirs: _Vector) -> float:
        total = 0.0
        for n, weights in enumerate(ours.weights):
            of_n = theirs.weights[n]
            # in the order of the text: a sum over a set would differ in its last bit between interpreters
            product = sum(min(weight, of_n[ngram]) * of_n[ngram] for ngram, weight in weights.items() if ngram in of_n)
            if product:
                total += product / (ours.norms[n] * theirs.norms[n])
        difference = 0 if self.sigma is None else (ours.num_bigrams - theirs.num_bigrams) / self.sigma
        return 10 * total / ORDERS * math.exp(-(difference**2) / 2)
