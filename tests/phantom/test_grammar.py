from collections import Counter

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.phantom.findings import labels_of_findings
from r2cmn.phantom.grammar import every_sentence, labels_of_report, write_report
from r2cmn.phantom.make import describe

STUDIES = [describe(11, number) for number in range(2000)]


def reports(seed):
    return [write_report(np.random.default_rng([seed, number]), *study) for number, study in enumerate(STUDIES)]


REPORTS = reports(0)
TOKENIZER = Tokenizer.build(REPORTS[:840], threshold=3, cleaning="iu_xray", max_length=60)
CLEANED = [TOKENIZER.clean(report) for report in REPORTS]


def bleu_4(hypotheses, references):
    scores, _ = Bleu(4).compute_score(
        {i: [text] for i, text in enumerate(references)}, {i: [text] for i, text in enumerate(hypotheses)}, verbose=0
    )
    return float(scores[3])


def named(labels):
    return {name for name, value in zip(OBSERVATIONS, labels, strict=True) if value}


def test_labels_are_read_back_from_every_report():
    for (_, findings), raw, cleaned in zip(STUDIES, REPORTS, CLEANED, strict=True):
        assert labels_of_report(cleaned) == labels_of_report(raw) == labels_of_findings(findings), raw


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the heart is enlarged . no pneumothorax .", {"Cardiomegaly"}),
        ("there is no pleural effusion or pneumothorax .", {"No Finding"}),
        ("the heart is not enlarged . a small left pleural effusion is", {"Pleural Effusion"}),
        ("neither effusion nor pneumothorax is identified . an enteric tube", {"Support Devices", "No Finding"}),
        ("", {"No Finding"}),
    ],
)
def test_labels_of_incomplete_reports(text, expected):
    assert named(labels_of_report(text)) == expected


def test_reports_use_every_sentence_and_no_other():
    written = {sentence.strip() for report in CLEANED for sentence in report.split(" .") if sentence.strip()}
    # 2,000 studies leave out some of the rarer combinations of a place with the less usual wording.
    some, seen = set(every_sentence()), set(written)
    assert seen <= some
    number = len(STUDIES)
    while seen != some and number < 20000:
        text = TOKENIZER.clean(write_report(np.random.default_rng([0, number]), *describe(11, number)))
        seen |= {sentence.strip() for sentence in text.split(" .")} & some
        number += 1
    assert some - seen == set()


def test_reports_are_sentences():
    for report in REPORTS[:200]:
        assert report.endswith(".")
        assert all(sentence[0].isupper() for sentence in report[:-1].split(". "))
        assert "{" not in report


def test_a_report_fits_into_60_ids_and_has_no_unknown_word():
    lengths = [len(cleaned.split()) for cleaned in CLEANED]
    assert max(lengths) <= 59
    assert 25 < np.mean(lengths) < 45
    known = set(TOKENIZER.words)
    assert {word for cleaned in CLEANED for word in cleaned.split()} <= known
    assert 100 < len(known) < 200


def test_the_content_of_a_report_does_not_depend_on_the_random_wording():
    for report, other in zip(CLEANED, reports(1), strict=True):
        assert labels_of_report(report) == labels_of_report(other)
        for word in ("left", "right", "bilateral", "large", "upper", "middle"):
            if word != "bilateral" or "effusions" in report:  # "bilateral" edema is another word for severe
                assert (word in report.split()) == (word in TOKENIZER.clean(other).split()), report


def test_a_constant_report_scores_far_below_another_wording_of_the_same():
    references, others = CLEANED[:250], [TOKENIZER.clean(report) for report in reports(1)[:250]]
    ways = [text for text, _ in Counter(CLEANED).most_common(12)] + CLEANED[600:612]
    constant = max(bleu_4([text] * len(references), references) for text in ways)
    same = bleu_4(others, references)
    assert 0.45 < same < 0.70
    assert constant < 0.22
