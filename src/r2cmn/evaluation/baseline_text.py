"""Reports that look at no image: the best constant, the most frequent and random training reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

ORDER = 4
_CHUNK = 20_000
"""Candidates at a time, so that the search among 270,000 reports needs no more memory than the reports do."""
# The numbers that coco-caption adds against divisions by zero.
_TINY, _SMALL = 1e-15, 1e-9


def best_constant(train: Sequence[str], val: Sequence[str]) -> str:
    """Return the training report that, written for every validation study, has the highest BLEU-4.

    The search is exact and over all reports; of equally good ones the first is taken.

    Args:
        train: reports to choose from, words separated by blanks.
        val: the references that decide.

    Raises:
        ValueError: without a report on either side.
    """
    candidates = list(dict.fromkeys(train))
    scores = constant_bleu(candidates, val)
    return candidates[int(np.flatnonzero(scores >= scores.max() * (1 - 1e-12))[0])]


def most_frequent(train: Sequence[str]) -> str:
    """Return the report that is written most often; of equally frequent ones the first.

    Raises:
        ValueError: without a report.
    """
    if not train:
        raise ValueError("there is no training report to choose from")
    return Counter(train).most_common(1)[0][0]


def random_reports(train: Sequence[str], num_studies: int, seed: int) -> list[str]:
    """Return one training report for each study, drawn with replacement.

    Raises:
        ValueError: without a training report.
    """
    if not train:
        raise ValueError("there is no training report to choose from")
    return [train[i] for i in np.random.default_rng(seed).integers(0, len(train), num_studies)]


def constant_bleu(candidates: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return BLEU-4 (C,) of each candidate written for every reference, as coco-caption computes it.

    A candidate's n-gram that it uses for the j-th time matches the references that use it at least j times. These are
    counted once, and each candidate then adds up the numbers of its n-grams: linear in all words, where scoring each
    candidate against each reference would be their product.

    Args:
        candidates: C reports, words separated by blanks.
        references: R reports.

    Raises:
        ValueError: without a report on either side.
    """
    if not candidates or not references:
        raise ValueError(f"a constant is chosen among reports by reports: {len(candidates)} and {len(references)}")
    numbers: dict[str, int] = {}
    read = _Words.of(references, numbers)
    tables = _count(read, len(numbers))
    scores = []
    for start in range(0, len(candidates), _CHUNK):
        chunk = _Words.of(candidates[start : start + _CHUNK], numbers)
        scores.append(_bleu(chunk.lengths, _matches(chunk, tables), len(references), int(read.lengths.sum())))
    return np.concatenate(scores)


class _Words(NamedTuple):
    """The words of several reports behind one another.

    Attributes:
        word: (T,) int64 number of the word; those that no reference uses have numbers beyond the references'.
        report: (T,) int64 which report it belongs to.
        lengths: (R,) int64 words of each report.
    """

    word: np.ndarray
    report: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, reports: Sequence[str], numbers: dict[str, int]) -> _Words:
        rows = [[numbers.setdefault(word, len(numbers)) for word in report.split()] for report in reports]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        word = np.fromiter((number for row in rows for number in row), dtype=np.int64, count=int(lengths.sum()))
        return cls(word, np.repeat(np.arange(len(rows)), lengths), lengths)


class _Table(NamedTuple):
    """The n-grams of one length in the references.

    Attributes:
        step: what the number of the prefix is multiplied with.
        keys: (G,) sorted, number of the prefix * step + last word.
        uses: (U,) sorted, position of an n-gram in `keys` * (most uses + 1) + j.
        most: the most uses of any n-gram in one report.
        num_reports: (U,) the references that use the n-gram at least j + 1 times.
    """

    step: int
    keys: np.ndarray
    uses: np.ndarray
    most: int
    num_reports: np.ndarray


def _count(references: _Words, step: int) -> list[_Table]:
    tables = []
    start = np.arange(len(references.word))
    prefix = np.zeros_like(start)
    for n in range(1, ORDER + 1):
        start, prefix = _with_next_word(references, start, prefix, n)
        key = prefix * max(step, 1) + references.word[start + n - 1]
        keys, prefix = np.unique(key, return_inverse=True)
        time = _time(references.report[start], prefix, len(keys))
        most = int(time.max(initial=0))
        uses, num_reports = np.unique(prefix * (most + 1) + time, return_counts=True)
        tables.append(_Table(max(step, 1), keys, uses, most, num_reports))
    return tables


def _matches(candidates: _Words, tables: list[_Table]) -> np.ndarray:
    """Return (4, C): n-grams of each candidate that match, summed over all references."""
    found = np.zeros((ORDER, len(candidates.lengths)))
    start = np.arange(len(candidates.word))
    start = start[candidates.word < tables[0].step]
    prefix = np.zeros_like(start)
    for n, table in enumerate(tables, 1):
        start, prefix = _with_next_word(candidates, start, prefix, n)
        word = candidates.word[start + n - 1]
        at, known = _look_up(table.keys, prefix * table.step + word)
        known &= word < table.step
        start, prefix = start[known], at[known]  # an n-gram that no reference holds begins no longer one either
        report = candidates.report[start]
        time = _time(report, prefix, len(table.keys))
        at, known = _look_up(table.uses, prefix * (table.most + 1) + np.minimum(time, table.most))
        known &= time <= table.most
        found[n - 1] = np.bincount(report[known], table.num_reports[at[known]], minlength=len(candidates.lengths))
    return found


def _with_next_word(words: _Words, start: np.ndarray, prefix: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Keep the (n-1)-grams that another word of the same report follows."""
    end = start + n - 1
    inside = end < len(words.word)
    inside[inside] = words.report[end[inside]] == words.report[start[inside]]
    return start[inside], prefix[inside]


def _time(report: np.ndarray, ngram: np.ndarray, num_ngrams: int) -> np.ndarray:
    """Return how often each n-gram was used before in its report."""
    key = report * max(num_ngrams, 1) + ngram
    order = np.argsort(key, kind="stable")
    in_order, position = key[order], np.arange(len(key))
    is_first = np.ones(len(key), dtype=bool)
    is_first[1:] = in_order[1:] != in_order[:-1]
    time = np.empty_like(position)
    time[order] = position - np.maximum.accumulate(np.where(is_first, position, 0))
    return time


def _look_up(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each wanted number stands among the sorted keys, and whether it does."""
    if not len(keys):
        return np.zeros_like(wanted), np.zeros(len(wanted), dtype=bool)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return at, keys[at] == wanted


def _bleu(lengths: np.ndarray, matches: np.ndarray, num_references: int, reference_length: int) -> np.ndarray:
    product = np.ones(len(lengths))
    for n, found in enumerate(matches):
        product *= (found + _TINY) / (num_references * np.maximum(lengths - n, 0) + _SMALL)
    ratio = (num_references * lengths + _TINY) / (reference_length + _SMALL)
    brevity = np.exp(np.minimum(1 - 1 / ratio, 0))
    return product ** (1 / ORDER) * brevity
