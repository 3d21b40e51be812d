"""The real IU X-Ray reports, in R2Gen's split, against counts that were made before this code was written."""

from pathlib import Path
from statistics import mean
from types import SimpleNamespace

import pytest

from r2cmn.data.annotations.normality import is_abnormal
from r2cmn.data.annotations.sentences import split_sentences
from r2cmn.data.annotations.tags import annotate_tags, read_tags, tag_report
from r2cmn.data.annotations.templates import (
    TemplateIndex,
    annotate_templates,
    encode_templates,
    group_sentences,
    merge_groups,
)
from r2cmn.data.reports import read_annotation
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.prepare.iu_xray import prepare_iu_xray

pytestmark = pytest.mark.realdata
UNUSABLE = "Technical Quality of Image Unsatisfactory"


@pytest.fixture(scope="module")
def real(tmp_path_factory, openi_reports) -> SimpleNamespace:
    """All 2,955 studies: the images at hand lack two of them."""
    folder: Path = tmp_path_factory.mktemp("openi")
    prepare_iu_xray(openi_reports, folder, reports_only=True)
    studies = read_annotation(folder)
    tokenizer = Tokenizer.build([study.report for study in studies["train"]])
    sentences = {
        split: [split_sentences(tokenizer.clean(study.report)) for study in rows] for split, rows in studies.items()
    }
    return SimpleNamespace(studies=studies, tokenizer=tokenizer, sentences=sentences, mesh=folder / "mesh.json")


def flat(reports):
    return [sentence for report in reports for sentence in report]


def test_sentences(real):
    sentences = flat(real.sentences["train"])
    assert (len(sentences), len(set(sentences))) == (9690, 3861)
    assert len(sentences) / len(real.studies["train"]) == pytest.approx(4.68, abs=0.005)
    assert mean(len(sentence.split()) for sentence in sentences) == pytest.approx(6.78, abs=0.005)
    assert max(map(len, real.sentences["train"])) == 13


def test_tags_of_the_rules(real):
    annotated = annotate_tags(real.studies["train"], real.tokenizer)
    assert len(annotated["tags"]) == 39
    assert mean(map(len, annotated["of_studies"])) == pytest.approx(1.93, abs=0.005)
    assert {tag for tags in annotated["of_studies"] for tag in tags} == set(range(39))
    assert sum(map(is_abnormal, flat(real.sentences["train"]))) == 2566


@pytest.mark.parametrize(
    ("split", "agreeing", "of_normal", "of_abnormal"),
    [("train", 1928, (46, 2628), 0.959), ("test", 543, (11, 1113), 0.944)],
)
def test_tags_of_the_rules_agree_with_mesh(real, split, agreeing, of_normal, of_abnormal):
    mesh = read_tags(real.mesh)
    rows = [(mesh[study.id] or [], own) for study, own in zip(real.studies[split], real.sentences[split], strict=True)]
    assert sum(("normal" in tags) == (tag_report(own) == ["normal"]) for tags, own in rows) == agreeing
    flagged = [is_abnormal(sentence) for tags, own in rows if "normal" in tags for sentence in own]
    assert (sum(flagged), len(flagged)) == of_normal
    abnormal = [any(map(is_abnormal, own)) for tags, own in rows if tags and not {"normal", UNUSABLE} & set(tags)]
    assert mean(abnormal) == pytest.approx(of_abnormal, abs=0.0005)


def test_tags_of_mesh(real):
    annotated = annotate_tags(real.studies["train"], real.tokenizer, str(real.mesh))
    assert len(annotated["tags"]) == 78
    assert annotated["tags"][-1] == "other"
    assert annotated["of_studies"].count(None) == 41
    assert sum(annotated["tags"].index("normal") in (tags or ()) for tags in annotated["of_studies"]) == 682


def test_groups_of_sentences(real):
    groups = group_sentences(real.sentences["train"])
    frequencies = [count for sentences in groups.values() for count in sentences.values()]
    assert [sum(count >= least for count in frequencies) for least in (100, 50, 15)] == [5, 17, 111]
    assert len(groups) == 3127
    assert len(merge_groups(groups)) == 2596


def test_templates(real):
    templates = annotate_templates(real.studies["train"], real.tokenizer, 200)
    assert [template["count"] for template in templates[:4]] == [702, 518, 379, 280]
    assert templates[27]["count"] == 51
    train, test = flat(real.sentences["train"]), flat(real.sentences["test"])
    members = set(train)  # a sentence of a test report counts here if a training report has it, word for word
    for number, of_train, of_test in [(28, 0.405, 0.462), (97, 0.592, 0.658), (200, 0.690, 0.726)]:
        find = TemplateIndex(templates[:number]).find
        assert mean(find(sentence) is not None for sentence in train) == pytest.approx(of_train, abs=0.0006)
        covered = [find(sentence) is not None and sentence in members for sentence in test]
        assert mean(covered) == pytest.approx(of_test, abs=0.0006)


def test_every_frequent_text_has_words_of_the_vocabulary_alone(real):
    groups = merge_groups(group_sentences(real.sentences["train"]))
    frequent = sorted(groups, key=lambda group: -group.sentences.total())[:97]
    texts = [{"text": group.sentences.most_common(1)[0][0]} for group in frequent]
    assert len(encode_templates(texts, real.tokenizer)) == 97
