import random
from collections import Counter
from types import SimpleNamespace

import pytest

from r2cmn.data.annotations.templates import (
    TemplateIndex,
    annotate_templates,
    encode_templates,
    find_key,
    group_sentences,
    make_templates,
    merge_groups,
)
from r2cmn.data.tokenizer import Tokenizer

WORDS = ["the", "cat", "sat", "on", "a", "mat", "no", "dog", "ran", ".", "far", "away", "grey"]


def test_the_key_leaves_function_words_and_plural_s_out():
    assert find_key("the cats are in the glass boxes") == {"cat", "glass", "boxe"}
    assert find_key("there is no cat seen") == {"no", "cat"}  # a negation is no function word
    assert find_key("there is") == frozenset()


def test_document_frequency_counts_reports():
    groups = group_sentences([["a cat", "a cat", "the cats"], ["a cat"], ["no cat"]])
    assert groups == {
        frozenset({"cat"}): Counter({"a cat": 2, "the cats": 1}), frozenset({"no", "cat"}): Counter({"no cat": 1})
    }  # fmt: skip


def plainly_merged(groups):
    """The specification as loops: every group is compared with all kept ones before it."""
    kept = []
    for key in sorted(groups, key=lambda key: (-sum(groups[key].values()), sorted(key))):
        for keys, sentences in kept:
            head = keys[0]
            negated = [bool({"no", "not", "without", "negative", "free", "absent"} & set(one)) for one in (key, head)]
            if negated[0] == negated[1] and len(key & head) / max(1, len(key | head)) >= 0.75:
                keys.append(key)
                sentences.update(groups[key])
                break
        else:
            kept.append(([key], Counter(groups[key])))
    return kept


def test_merging_equals_the_comparison_of_all_pairs():
    draw = random.Random(0)
    words = ["one", "two", "three", "four", "five", "six", "seven", "no", "not", "free"]
    reports = [[" ".join(draw.choices(words, k=draw.randint(1, 9))) for _ in range(4)] for _ in range(150)]
    groups = group_sentences([*reports, ["the"]])
    merged = merge_groups(groups)
    assert merged == plainly_merged(groups)
    assert len(merged) < len(groups) - 50


def test_similar_groups_merge_into_the_more_frequent_one_unless_only_one_is_negated():
    reports = [["cat sat far away"]] * 3 + [["cat ran far away"], ["cat sat far away grey"], ["no cat sat far away"]]
    merged = merge_groups(group_sentences(reports))
    assert [group.sentences for group in merged] == [
        Counter({"cat sat far away": 3, "cat sat far away grey": 1}),
        Counter({"no cat sat far away": 1}),  # 4 of 5 words, but a negation
        Counter({"cat ran far away": 1}),  # 3 of 5 words
    ]


REPORTS = [["the cat sat", "a dog ran far away"], ["the cats sat", "a dog ran far away"], ["cat sat"], ["no dog"]]


def test_templates_are_the_most_frequent_sentences_of_the_most_frequent_groups():
    templates = make_templates(REPORTS, 2, WORDS)
    assert templates == [
        {"text": "cat sat", "count": 3, "keys": ["cat sat"]},
        {"text": "a dog ran far away", "count": 2, "keys": ["away dog far ran"]},
    ]
    index = TemplateIndex(templates)
    assert [index.find(sentence) for sentence in ("cats sat", "far away dogs ran", "no dog", "no cat sat")] == [
        0, 1, None, None
    ]  # fmt: skip


def test_templates_do_not_depend_on_the_order_of_the_reports():
    assert make_templates(REPORTS[::-1], 28, WORDS) == make_templates(REPORTS, 28, WORDS)
    assert make_templates([], 28, WORDS) == []


def test_a_sentence_with_a_word_outside_the_vocabulary_is_no_template():
    reports = [["a cat sat", "the bird"], ["cat sat"], ["a cats sat"], ["a cats sat"]]
    (template,) = make_templates(reports, 28, WORDS)  # no "cats", no "bird"
    assert template == {"text": "a cat sat", "count": 4, "keys": ["cat sat"]}


def test_templates_are_made_of_cleaned_reports_and_encoded_with_their_full_stop():
    tokenizer = Tokenizer(["<unk>", *WORDS])
    studies = [SimpleNamespace(report="The cat sat. A bird (grey) ran."), SimpleNamespace(report="1. The cat sat!")]
    templates = annotate_templates(studies, tokenizer)
    assert [template["text"] for template in templates] == ["the cat sat"]
    assert [tokenizer.decode(row) for row in encode_templates(templates, tokenizer)] == ["the cat sat ."]
    with pytest.raises(ValueError, match="template 1 of 1 has 1 words"):
        encode_templates(templates, Tokenizer(["<unk>", *WORDS[1:]]))
