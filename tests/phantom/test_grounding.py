import pytest

from r2cmn.data.tokenizer import clean_iu_xray
from r2cmn.phantom import PhantomDataModule
from r2cmn.phantom.findings import Finding
from r2cmn.phantom.grammar import write_report
from r2cmn.phantom.grounding import ground
from r2cmn.phantom.make import REPORT, describe, stream
from r2cmn.types import Grounded, Grounding


def finding(kind, place, size=""):
    return Finding(kind, place, size, (0.1, 0.2, 0.3))


def boxes_of(*findings):
    return [{"finding": f.name, "view": view, "box": [0, 16, 32, 64]} for view in (0, 1) for f in findings]


def named(report, grounding):
    words = report.split()
    return [words[at] for at in grounding.words]


def test_words_and_boxes_of_a_finding():
    report = "the lungs are clear . there is a small left pleural effusion . there is mild cardiomegaly ."
    effusion, heart = finding("effusion", "left", "small"), finding("cardiomegaly", "heart", "mild")
    found = ground(report, [heart, effusion], boxes_of(heart, effusion), 64)
    assert [named(report, each) for each in found] == [
        ["mild", "cardiomegaly"], ["small", "left", "pleural", "effusion"]
    ] * 2  # fmt: skip
    assert [each.view for each in found] == [0, 0, 1, 1]
    assert found[1] == Grounding((8, 9, 10, 11), 0, (0.0, 0.25, 0.5, 1.0), "effusion", "left")


def test_two_effusions_of_one_size_share_their_words_and_of_two_sizes_do_not():
    left, right = finding("effusion", "left", "small"), finding("effusion", "right", "small")
    report = "small bilateral pleural effusions are present ."
    shared = [named(report, each) for each in ground(report, [left, right], boxes_of(left, right), 64)]
    assert shared == [["small", "bilateral", "pleural", "effusions"]] * 4
    large = finding("effusion", "right", "large")
    report = (
        "there is a small left pleural effusion . a large right pleural effusion is present with adjacent atelectasis ."
    )
    first, second, *_ = ground(report, [left, large], boxes_of(left, large), 64)
    assert named(report, first) == ["small", "left", "pleural", "effusion"]
    assert named(report, second) == ["large", "right", "pleural", "effusion", "adjacent", "atelectasis"]


def test_findings_that_are_invisible_or_not_mentioned_are_left_out():
    heart = finding("cardiomegaly", "heart", "mild")
    unseen = [{"finding": heart.name, "view": 1, "box": None}]
    assert ground("there is mild cardiomegaly .", [heart], unseen, 64) == []
    assert ground("there is severe cardiomegaly .", [heart], boxes_of(heart), 64) == []


def test_every_finding_of_every_report_is_named():
    number = 0
    for study in range(600):
        anatomy, findings = describe(3, study)
        report = clean_iu_xray(write_report(stream(3, study, REPORT), anatomy, findings))
        found = ground(report, findings, boxes_of(*findings), 64)
        assert len(found) == 2 * len(findings), report
        assert all(named(report, each) for each in found)
        number += len(findings)
    assert number > 800


@pytest.mark.parametrize("split", ["val", "test"])
def test_groundings_of_the_data_module(split):
    data = PhantomDataModule(30, side=64)
    assert isinstance(data, Grounded)
    groundings = data.groundings(split)
    assert len(groundings) == len(data.studies[split])
    for study, found in zip(data.studies[split], groundings, strict=True):
        is_ill, has_device = study.labels[13] == 0, study.labels[12] == 1
        assert bool(found) == (is_ill or has_device)
        report = data.tokenizer.clean(study.report)
        for each in found:
            assert named(report, each)
            left, top, right, bottom = each.box
            assert 0 <= left < right <= 1
            assert 0 <= top < bottom <= 1
            assert each.view in (0, 1)
