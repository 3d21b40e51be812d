"""The words of a report to explain by default: those that name findings."""

from __future__ import annotations

from collections.abc import Sequence

from r2cmn.metrics.labeler import RuleLabeler

_RANK = {1: 0, -1: 1, 0: 2, -2: 3}  # present, uncertain, absent, no statement
_LEAST_LETTERS = 4
_VERBS = ("is", "are", "was", "were", "has", "have", "appears", "appear", "remains", "remain")


def find_words(words: Sequence[str], limit: int = 6) -> list[int]:
    """Return the positions of the words that name findings, in their order.

    The built-in labeler (`r2cmn.metrics.labeler`) finds the phrases. The last word of each, or that before its verb, is
    taken: "effusion" of "pleural effusion", "heart" of "heart is enlarged". Findings that are present come first, then
    uncertain ones, then absent ones. If the report mentions none, its longest words are taken.

    Args:
        words: of a cleaned report.
        limit: the largest number of positions.
    """
    found: dict[int, int] = {}
    start = 0
    for end in [*(at + 1 for at, word in enumerate(words) if word == "."), len(words)]:
        for position, rank in _mentioned(words[start:end]):
            found[start + position] = min(rank, found.get(start + position, rank))
        start = end
    chosen = sorted(found, key=lambda at: (found[at], at))[:limit]
    if not chosen:
        long = [at for at, word in enumerate(words) if len(word) >= _LEAST_LETTERS and word.isalpha()]
        chosen = sorted(long, key=lambda at: (-len(words[at]), at))[:limit]
    return sorted(chosen)


def _mentioned(words: Sequence[str]) -> list[tuple[int, int]]:
    """Return the last word of each phrase in a sentence, and the rank of what is stated about it."""
    found = []
    for mention in RuleLabeler().mentions(" ".join(words)):
        phrase = mention.phrase.split()
        starts = range(len(words) - len(phrase) + 1)
        at = next((at for at in starts if list(words[at : at + len(phrase)]) == phrase), None)
        if at is not None:
            last = next((place for place, word in enumerate(phrase) if word in _VERBS and place), len(phrase)) - 1
            found.append((at + last, _RANK[mention.label]))
    return found
