"""The explorer and the index as text: numbers, escaping, license, size."""

import base64
import json
import re

import numpy as np
import pytest

from r2cmn.explain.explanation import Explanation
from r2cmn.explain.pack import pack, picture
from r2cmn.explain.page import MAX_PAGE, Entry, explorer, index
from r2cmn.explain.rights import Rights

from ..pages.checker import EVIL, check_escaped, check_page
from .invented import WORDS, invented

SECRETS = ["effusion", "phantom_7", "view_0", "iVBOR"]
DUA = Rights("dua", terms="These are the terms.")


def unpack(packed):
    """Decode independently of the page's script."""
    values, factor, whole = [], 0, 0
    for byte in base64.b64decode(packed["data"]):
        whole |= (byte & 127) << factor
        factor += 7
        if byte < 128:
            values.append(
                -(whole + 1) // 2 if packed["signed"] and whole % 2 else whole // (2 if packed["signed"] else 1)
            )
            factor = whole = 0
    return np.array(values).reshape(packed["shape"]) / 10 ** packed["digits"]


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


@pytest.mark.parametrize("values", [[0, 127, 128, 16383, 16384, 2**40], [-1, 0, 1, -64, 64, -65], [], [[0.123456, -3]]])
def test_packing_keeps_every_digit(values):
    values = np.array(values, float)
    found = unpack(pack(values, 6))
    assert found.shape == values.shape
    assert (found == np.round(values, 6)).all()


def test_the_page_has_the_numbers_of_the_json():
    explanation = invented()
    [model] = data_of(explorer([explanation], Rights()))["models"]
    read = Explanation.from_json(explanation.to_json())
    for route in ("attention", "memory", "occlusion"):
        assert (unpack(model["maps"][route]) == read.maps[route]).all()
    for name in ("words", "words_weight", "patches", "patches_weight"):
        assert (unpack(model["vectors"][name]) == read.vectors[name]).all()
    assert model["probabilities"] == pytest.approx(np.exp(read.log_probs), abs=1e-6)
    assert model["words"] == WORDS


def test_every_text_is_escaped():
    boxes = [{"finding": EVIL, "box": [0, 0, 0.5, 0.5]}]
    explanation = invented(words=[EVIL] * 3, study=EVIL, model=EVIL, reference=EVIL, notes={"attention": EVIL})
    explanation.views[0].name, explanation.views[0].boxes = EVIL, boxes
    for explanations in ([explanation], [explanation, explanation]):
        tags = check_escaped(explorer(explanations, Rights()), times=6)
        assert tags.count("script") == 2
    page = index([Entry("001/explorer.html", [explanation])], Rights())
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 3


def test_under_an_agreement_a_page_has_neither_words_nor_pictures():
    explanation = invented()
    for page in (explorer([explanation], DUA), index([Entry("001/explorer.html", [explanation])], DUA)):
        for secret in SECRETS:
            assert secret not in page
        assert "neither words nor images" in page
        assert "Not for diagnosis" in page
    [model] = data_of(explorer([explanation], DUA))["models"]
    assert (model["choices"], model["beams"], model["reference"]) == ([], [], None)
    assert all((view["picture"], view["boxes"]) == ("", []) for view in model["views"])
    assert (unpack(model["maps"]["attention"]) == explanation.maps["attention"].round(6)).all()


def test_with_permission_it_has_them_and_the_terms():
    permitted = Rights("dua", has_permission=True, terms=f"The terms. {EVIL}")
    explanation = invented()
    for page in (explorer([explanation], permitted), index([Entry("001/explorer.html", [explanation])], permitted)):
        assert "The terms. &lt;script&gt;" in page
        assert "effusion" in page
        assert "do not pass it on" in page
    assert permitted.file_mode == 0o600


def test_ids_are_shown_of_public_data_alone():
    explanation = invented()
    assert "phantom_7" in explorer([explanation], Rights("public"))
    page = explorer([explanation], Rights("non_commercial"))
    assert "phantom_7" not in page
    assert "view_0" not in page
    assert "effusion" in page
    assert Rights("non_commercial").file_mode == 0o644


@pytest.mark.parametrize("rights", [Rights(), Rights("non_commercial"), DUA])
def test_a_page_is_whole_and_fetches_nothing(rights):
    _, words = check_page(explorer([invented(), invented(seed=1, model="BASE", vectors=None)], rights))
    assert "CMN" in words
    assert "BASE" in words
    assert "default-src 'none'" in explorer([invented()], rights)


def test_a_page_at_the_size_of_the_paper_is_below_three_megabytes():
    words = [f"word{n}" for n in range(100)]
    large = invented(words, side=7, layers=3, heads=8, threads=8, pixels=224, seed=0)
    noise = np.random.default_rng(0).integers(0, 256, (224, 224), dtype=np.uint8)
    for view in large.views:
        view.pixels = noise
    page = explorer([large, large], Rights())
    assert len(page) < MAX_PAGE
    assert data_of(page)["digits"] == 6


def test_a_larger_page_has_fewer_digits(monkeypatch):
    monkeypatch.setattr("r2cmn.explain.page.MAX_PAGE", 80_000)
    page = explorer([invented(layers=6, heads=8, pixels=8)], Rights())
    assert data_of(page)["digits"] < 6


def test_a_report_of_no_words_and_an_unknown_picture_have_a_page():
    empty = invented(words=[], deletion=None)
    empty.views[0].pixels = np.zeros((0, 0), np.uint8)
    check_page(explorer([empty], Rights()))
    assert picture(np.zeros((0, 0), np.uint8)) == ""


def test_large_pictures_are_reduced():
    content = base64.b64decode(picture(np.zeros((900, 600), np.uint8)))
    assert int.from_bytes(content[16:20]) == 341
    assert int.from_bytes(content[20:24]) == 512
