"""Templates, the frequent sentences of training reports, which HRGR (Li et al., 2018) retrieves.

The paper groups sentences by hand; here sentences with nearly the same words, leaving function words out, are a group.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from r2cmn.data.annotations.sentences import split_sentences
from r2cmn.data.tokenizer import UNKNOWN

if TYPE_CHECKING:
    from r2cmn.data.reports import Study
    from r2cmn.data.tokenizer import Tokenizer

_FUNCTION_WORDS = set(
    """the a an is are was were be been of in on at to and or there this that these those with within for as by it its
    has have had appear appears seen identified noted demonstrated evidence definite visualized visible grossly
    """.split()  # noqa: SIM905
)
_NEGATIONS = frozenset(("no", "not", "without", "negative", "free", "absent"))
_ALIKE = 0.75
"""Minimum Jaccard similarity of two groups that are merged."""

Key = frozenset[str]
"""The words of a sentence without function words and plural s; sentences with equal keys are a group."""


class Group(NamedTuple):
    """Sentences that say the same.

    Attributes:
        keys: their keys; the first is that of the most frequent group.
        sentences: with the number of reports that have each.
    """

    keys: list[Key]
    sentences: Counter[str]


def find_key(sentence: str) -> Key:
    """Return the key of a sentence of a cleaned report."""
    words = (word for word in sentence.split() if word not in _FUNCTION_WORDS)
    return frozenset(word[:-1] if word.endswith("s") and not word.endswith("ss") else word for word in words)


def group_sentences(reports: Iterable[Iterable[str]]) -> dict[Key, Counter[str]]:
    """Count the reports that have each sentence, by key.

    Args:
        reports: the sentences of each report.
    """
    groups: defaultdict[Key, Counter[str]] = defaultdict(Counter)
    for sentence, count in Counter(sentence for report in reports for sentence in set(report)).items():
        groups[find_key(sentence)][sentence] = count
    return groups


def merge_groups(groups: Mapping[Key, Counter[str]]) -> list[Group]:
    """Merge each group, in the order of frequency, into the first more frequent one with a similar key.

    A key with a negation is not similar to one without.
    """
    uses = Counter(word for key in groups for word in key)
    merged: list[Group] = []
    by_word: defaultdict[str, list[int]] = defaultdict(list)
    for key in sorted(groups, key=lambda key: (-groups[key].total(), sorted(key))):
        # keys with a similarity of 0.75 share one of their rarest words: few groups are compared
        rarest = sorted(key, key=lambda word: (uses[word], word))[: len(key) - math.ceil(_ALIKE * len(key)) + 1]
        near = sorted({number for word in rarest for number in by_word[word]})
        into = next((merged[number] for number in near if _are_alike(key, merged[number].keys[0])), None)
        if into is None:
            for word in rarest:
                by_word[word].append(len(merged))
            merged.append(Group([key], Counter(groups[key])))
        else:
            into.keys.append(key)
            into.sentences.update(groups[key])
    return merged


def _are_alike(one: Key, other: Key) -> bool:
    is_same_sign = one.isdisjoint(_NEGATIONS) == other.isdisjoint(_NEGATIONS)
    return is_same_sign and len(one & other) >= _ALIKE * len(one | other)


def make_templates(reports: Iterable[Iterable[str]], num_templates: int, words: Iterable[str]) -> list[dict[str, Any]]:
    """Make templates of the most frequent groups; the text is the most frequent sentence that can be written.

    Of equally frequent groups the one with the more frequent text is first.

    Args:
        reports: the sentences of each training report.
        num_templates: maximum number of templates.
        words: of the vocabulary; a group of which every sentence has another word gives no template.

    Returns:
        Plain data: the `text` of each template, the `count` of its occurrences and its `keys`, which `TemplateIndex`
        reads.
    """
    known = set(words)
    ranked: list[tuple[int, int, str, list[str]]] = []
    for group in merge_groups(group_sentences(reports)):
        texts = [(-count, text) for text, count in group.sentences.items() if known.issuperset(text.split())]
        if texts:
            keys = [" ".join(sorted(key)) for key in group.keys]
            ranked.append((-group.sentences.total(), *min(texts), keys))
    return [{"text": text, "count": -count, "keys": keys} for count, _, text, keys in sorted(ranked)[:num_templates]]


def annotate_templates(studies: Sequence[Study], tokenizer: Tokenizer, num_templates: int = 28) -> list[dict[str, Any]]:
    """Make the templates of training studies, see `make_templates`."""
    reports = (split_sentences(tokenizer.clean(study.report)) for study in studies)
    return make_templates(reports, num_templates, set(tokenizer.words) - {UNKNOWN})


class TemplateIndex:
    """Finds the template of a sentence.

    Args:
        templates: of `make_templates`.
    """

    def __init__(self, templates: Sequence[Mapping[str, Any]]):
        self._position = {key: number for number, template in enumerate(templates) for key in template["keys"]}

    def find(self, sentence: str) -> int | None:
        """Return the position of the template whose group a sentence of a cleaned report belongs to."""
        return self._position.get(" ".join(sorted(find_key(sentence))))


def encode_templates(templates: Sequence[Mapping[str, Any]], tokenizer: Tokenizer) -> list[list[int]]:
    """Return the ids of the words of each template, its full stop included.

    Raises:
        ValueError: if a word is not in the vocabulary.
    """
    number_of = {word: number for number, word in enumerate(tokenizer.words, start=1)}
    rows = []
    for number, template in enumerate(templates, start=1):
        words = [*template["text"].split(), "."]
        missing = sum(word not in number_of for word in words)
        if missing:
            raise ValueError(
                f"template {number} of {len(templates)} has {missing} words that are not in the vocabulary: templates "
                "and vocabulary must be made of the same training reports"
            )
        rows.append([number_of[word] for word in words])
    return rows
