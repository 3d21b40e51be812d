import json
from types import SimpleNamespace

import pytest

from r2cmn.data.annotations.normality import is_abnormal, split_by_normality
from r2cmn.data.annotations.sentences import split_sentences
from r2cmn.data.annotations.tags import annotate_tags, find_tags, read_tags, rule_tags, tag_report
from r2cmn.data.observations import OBSERVATIONS
from r2cmn.data.tokenizer import Tokenizer


def test_a_report_is_split_at_its_full_stops():
    assert split_sentences("the lungs are grey . no cat is seen .") == ["the lungs are grey", "no cat is seen"]
    assert split_sentences("cut in the") == ["cut in the"]  # as decoded from ids that were cut
    assert split_sentences(" . .  . a  b  . ") == ["a  b"]  # decoded sentences may be empty
    assert split_sentences("") == []


@pytest.mark.parametrize(
    ("sentence", "tags"),
    [
        ("a dense opacity lies in the left lung", ["Opacity"]),
        ("the heart is mildly enlarged", ["Cardiomegaly"]),
        ("an enlarged heart with hyperexpanded lungs", ["Cardiomegaly", "Emphysema"]),
        ("no dense opacity", []),
        ("the lungs are free of dense opacity", []),
        ("unremarkable mass", []),
        ("nothing but a mass", ["Mass"]),  # "nothing" is no negation
        ("no effusion but a mass", ["Mass"]),  # "but" ends the scope of "no"
        ("no effusion however no mass", []),
        ("no mass or another mass", []),
        ("an opacity is not identified", []),
        ("an opacity which in all of these many words is not identified", ["Opacity"]),  # more than 40 characters
        ("an opacity are absent", []),
        ("a port", ["Catheters, Indwelling"]),
        ("the support of biomass", []),  # a pattern begins at the beginning of a word
        ("an opacity without a mass", ["Opacity"]),
        ("noted is a mass", ["Mass"]),  # a negation is a whole word
    ],
)  # fmt: skip
def test_findings_hold_if_they_are_not_negated(sentence, tags):
    assert list(find_tags(sentence)) == tags


def test_a_report_without_a_finding_is_normal():
    assert len(rule_tags()) == 39
    assert tag_report(["no mass", "no opacity"]) == ["normal"]
    assert tag_report([]) == ["normal"]
    assert tag_report(["a mass", "no opacity", "a mass and an opacity"]) == ["Opacity", "Mass"]


def test_a_sentence_with_a_finding_is_abnormal():
    assert is_abnormal("a mass")
    assert not is_abnormal("no mass")
    assert split_by_normality(["clear", "a mass", "no mass", "an opacity"]) == (
        ["clear", "no mass"], ["a mass", "an opacity"]
    )  # fmt: skip


def studies(*reports, labels=None):
    return [SimpleNamespace(id=f"s{n}", report=report, labels=labels) for n, report in enumerate(reports)]


TOKENIZER = Tokenizer(["<unk>"])


def test_tags_of_rules_are_positions_of_all_rules():
    annotated = annotate_tags(studies("A mass. No opacity.", "Fine lungs."), TOKENIZER)
    assert annotated["tags"] == rule_tags()
    assert annotated["of_studies"] == [[rule_tags().index("Mass")], [38]]


def test_tags_of_labels_are_the_positive_ones():
    labels = [0] * 14
    labels[3], labels[5], labels[7] = 1, -1, 1
    annotated = annotate_tags([*studies("a", labels=labels), *studies("b")], TOKENIZER, "labels")
    assert annotated == {"tags": list(OBSERVATIONS), "of_studies": [[3, 7], None]}
    with pytest.raises(ValueError, match="labels"):
        annotate_tags(studies("a", "b"), TOKENIZER, "labels")


GIVEN = {"s0": "Mass/left/large;normal", "s1": ["Mass", "Mass/right"], "s2": {"major": ["Odd/a"], "automatic": ["x"]},
         "s3": "No Indexing", "s4": None, "s5": "", "s6": ["Mass"], "elsewhere": "Rare"}  # fmt: skip


def test_a_tag_file_masks_studies_without_tags(tmp_path):
    path = tmp_path / "tags.json"
    path.write_text(json.dumps(GIVEN))
    assert read_tags(path)["s0"] == ["Mass", "normal"]
    annotated = annotate_tags(studies(*"abcdefgh"), TOKENIZER, str(path), least=3)
    assert annotated["tags"] == ["Mass", "other"]  # "Rare" is no tag of a training study
    assert annotated["of_studies"] == [[0, 1], [0], [1], None, None, None, [0], None]
    assert annotate_tags(studies(*"abc"), TOKENIZER, str(path), least=1)["tags"] == ["Mass", "Odd", "normal"]


def test_a_csv_gives_the_same_tags(tmp_path):
    path = tmp_path / "tags.csv"
    path.write_text('id,tags\ns0,Mass/left/large; normal\ns3,"No Indexing"\ns5,\n')
    assert read_tags(path) == {"s0": ["Mass", "normal"], "s3": None, "s5": None}


@pytest.mark.parametrize(
    "content", ['{"s0": 3}', '{"s0": [1]}', '{"s0": {"minor": ["a"]}}', "[1]", "{", '{"a": "", "a": ""}']
)
def test_a_damaged_tag_file_is_named(tmp_path, content):
    path = tmp_path / "tags.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"tags\.json"):
        annotate_tags(studies("a"), TOKENIZER, str(path))


def test_a_tag_file_of_other_studies_is_an_error(tmp_path):
    path = tmp_path / "tags.json"
    path.write_text('{"t0": "Mass"}')
    with pytest.raises(ValueError, match=r"none of the 2 training studies"):
        annotate_tags(studies("a", "b"), TOKENIZER, str(path))
    with pytest.raises(ValueError, match=r"absent\.csv"):
        annotate_tags(studies("a"), TOKENIZER, str(tmp_path / "absent.csv"))
    assert annotate_tags([], TOKENIZER)["of_studies"] == []
