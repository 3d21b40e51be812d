"""The model card: scores with intervals, baselines and terms; never a word of the data."""

import json

import pytest
import yaml

from r2cmn.data.reports import LICENSE_CLASSES
from r2cmn.evaluation.protocols import released_and_full
from r2cmn.evaluation.result import evaluate
from r2cmn.evaluation.scored import Settings
from r2cmn.prepare.collections import MIMIC_CXR
from r2cmn.sharing.card import LICENSES, Facts, render_card


@pytest.fixture(scope="module")
def result(make):
    """The result of a test of eight reports, with two baselines."""
    module = make("cmn")
    references = [f"secret{n} secret{n + 1} . secret5 ." for n in range(8)]
    both = released_and_full(module.tokenizer, references, references)
    generated = [*references[:4], *["secret1 secret2 ."] * 4]
    baselines = {"most frequent": ["secret1 secret2 ."] * 8, "nearest | image": references[::-1]}
    settings = Settings(num_resamples=50, meteor=False)
    return evaluate(generated, both, title="t", baselines=baselines, settings=settings, notes=["a note on the test"])


def card(module, **facts):
    return render_card(module, Facts(**facts))


def test_scores_have_intervals_and_baselines(make, result):
    text = card(make("cmn"), scores=json.loads(json.dumps(result.to_dict())))
    ours = result.protocols[0].ours.scores["BLEU_4"]
    other = result.protocols[0].baselines[0].scores["BLEU_4"]
    shown = [f"{each.value:.3f} [{each.low:.3f}, {each.high:.3f}]" for each in (ours, other)]
    line = next(line for line in text.splitlines() if line.startswith("| BLEU-4"))
    assert shown[0] in line
    assert shown[1] in line
    assert line.count("|") == 5
    assert "this model" in text
    assert "most frequent" in text
    assert all(f"`{scored.protocol.name}`" in text for scored in result.protocols)
    assert "a note on the test" in text
    assert "secret" not in text


def test_without_baselines_the_card_says_so(make, result):
    content = json.loads(json.dumps(result.to_dict()))
    for protocol in content["protocols"]:
        protocol["baselines"] = []
    assert "No baselines" in card(make("cmn"), scores=content)
    assert "No baselines" not in card(make("cmn"), scores=result.to_dict())


def test_without_scores_the_card_says_so(make):
    assert "not tested" in card(make("cmn"))


@pytest.mark.parametrize("content", [{}, {"names": {}}, {"protocols": [1]}])
def test_scores_of_something_else_are_refused(make, content):
    with pytest.raises(ValueError, match=r"scores\.json"):
        card(make("cmn"), scores=content)


@pytest.mark.parametrize("license_class", LICENSE_CLASSES)
def test_every_license_class_has_its_sentence(make, license_class):
    text = card(make("cmn", license_class=license_class), data="phantoms")
    assert LICENSES[license_class] in text
    assert "Not for diagnosis" in text
    assert "Trained on phantoms." in text
    header = yaml.safe_load(text.split("---")[1])
    assert header["license_name"] == license_class
    assert header["library_name"] == "r2cmn"


def test_the_card_carries_the_terms_of_the_collection(make):
    text = card(make("cmn", license_class="dua"), data="mimic_cxr")
    assert MIMIC_CXR.terms.strip() in text
    assert "Trained on MIMIC-CXR." in text


@pytest.mark.parametrize("name", ["hrgr", "coatt", "cmn"])
@pytest.mark.parametrize("license_class", LICENSE_CLASSES)
def test_no_card_has_text_of_the_data(make, name, license_class):
    assert "secret" not in card(make(name, license_class=license_class))


def test_a_title_cannot_break_the_card(make):
    text = card(make("cmn"), data="<script>alert(1)</script>\n# |x|")
    assert "<script>" not in text
