"""Normal and abnormal sentences, which CMAS (Jing et al., 2019) writes with two writers.

The patterns of the paper, made by experts, are not public.
"""

from __future__ import annotations

from collections.abc import Iterable

from r2cmn.data.annotations.tags import find_tags


def is_abnormal(sentence: str) -> bool:
    """Return whether the rule tagger finds a tag in a sentence of a cleaned report."""
    return bool(find_tags(sentence))


def split_by_normality(sentences: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the normal and the abnormal sentences, each in their order."""
    split: tuple[list[str], list[str]] = ([], [])
    for sentence in sentences:
        split[is_abnormal(sentence)].append(sentence)
    return split
