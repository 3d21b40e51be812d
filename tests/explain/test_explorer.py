"""The explorer in a real browser without a screen: what it shows on hovering, tabbing, clicking and dragging."""

import numpy as np
import pytest

from r2cmn.explain.explanation import Explanation
from r2cmn.explain.page import Entry, explorer, index
from r2cmn.explain.rights import Rights

from ..pages.checker import MARKUP
from .browser import Page, start_browser
from .invented import WORDS, invented

pytestmark = pytest.mark.slow
OTHER = ["the", "lungs", "are", "clear", ".", "no", "effusion", "is", "seen", "."]
EFFUSION = WORDS.index("effusion")
SIDE = 4


driver = pytest.fixture(scope="module")(start_browser)


@pytest.fixture
def page(driver):
    return Page(driver)


@pytest.fixture
def write(tmp_path):
    def write(explanations, rights=None, start=0):
        path = tmp_path / "explorer.html"
        path.write_text(explorer(explanations, rights or Rights(), start), encoding="utf-8")
        return path

    return write


@pytest.fixture
def explanation():
    """As it is in explanation.json."""
    return Explanation.from_json(invented().to_json(), [view.pixels for view in invented().views])


def expected(explanation, word, **chosen):
    return np.concatenate([explanation.map(word, view, **chosen).ravel() for view in range(len(explanation.views))])


def test_hovering_a_word_shows_the_map_of_the_json(page, write, explanation):
    page.open(write([explanation]))
    assert page.values() == pytest.approx(expected(explanation, 0), abs=1e-6)
    page.hover(page.word(EFFUSION))
    assert page.values() == pytest.approx(expected(explanation, EFFUSION), abs=1e-6)
    page.choose(layer=1, head=2)
    chosen = {"route": "attention", "layer": 1, "head": 2}
    assert page.values() == pytest.approx(expected(explanation, EFFUSION, **chosen), abs=1e-6)
    assert page.values("raw") == pytest.approx(explanation.values(EFFUSION, **chosen), abs=1e-6)
    page.choose(route="memory", thread=1)
    assert page.values() == pytest.approx(expected(explanation, EFFUSION, route="memory", thread=1), abs=1e-6)
    page.choose(route="occlusion")
    assert page.values() == pytest.approx(expected(explanation, EFFUSION, route="occlusion"), abs=1e-6)
    assert page.values("raw") == pytest.approx(explanation.values(EFFUSION, "occlusion"), abs=1e-6)
    opacity = float(page.do("return getComputedStyle(arguments[0]).fillOpacity", page.all(".patch")[3]))
    assert opacity == pytest.approx(0.78 * page.values()[3], abs=1e-3)
    page.check_quiet()


def test_a_click_keeps_a_word_until_escape(page, write, explanation):
    page.open(write([explanation]))
    page.word(2).click()
    page.hover(page.word(EFFUSION))
    assert page.values() == pytest.approx(expected(explanation, 2), abs=1e-6)
    assert page.word(2).get_attribute("aria-pressed") == "true"
    page.press("ESCAPE")
    page.hover(page.word(0))
    page.hover(page.word(EFFUSION))
    assert page.values() == pytest.approx(expected(explanation, EFFUSION), abs=1e-6)


def test_tab_goes_through_the_form_the_words_and_the_views(page, write, explanation):
    page.open(write([explanation]))
    page.do("document.querySelectorAll('details').forEach((each) => each.remove())")
    script = """const each = document.activeElement, isWord = each.classList.contains("word");
        return each.name || each.dataset.view || (isWord ? each.textContent : each.className)"""
    order = []
    for _ in range(4 + len(WORDS) + 2 + 1):
        page.press("TAB")
        order.append(page.do(script))
        if len(order) == 4 + EFFUSION + 1:
            assert page.values() == pytest.approx(expected(explanation, EFFUSION), abs=1e-6)
    assert order == ["route", "layer", "head", "boxes", *WORDS, "0", "1", "vector"]
    page.check_quiet()


def test_arrow_keys_and_enter_choose_patches(page, write, explanation):
    page.open(write([explanation], start=EFFUSION))
    page.do("document.querySelector('[data-view=\"1\"]').focus()")
    page.press("TAB", "SHIFT+TAB", "ARROW_RIGHT", "ARROW_DOWN", "ENTER")
    assert "Words that look at view_1 2\u00b72" in page.one(".there").text
    patch = SIDE**2 + SIDE + 1
    place = page.one(".place").text
    assert place.startswith("view_1, row 2, column 2: ")
    assert float(place.split(": ")[1].split(",")[0]) == pytest.approx(explanation.values(EFFUSION)[patch], rel=6e-3)
    page.press("SHIFT+ARROW_RIGHT", "SHIFT+ARROW_DOWN")
    assert "Words that look at 4 patches" in page.one(".there").text
    page.press("ESCAPE")
    assert not page.one(".there").is_displayed()


def test_a_click_on_a_patch_lists_the_words_that_look_there_and_their_falls(page, write, explanation):
    page.open(write([explanation]))
    page.patch(5).click()
    rows = page.rows(".there")
    looks = np.array([explanation.values(word)[5] for word in range(len(WORDS))])
    order = np.argsort(-looks, kind="stable")[:12]
    assert list(rows) == [f"{WORDS[word]} ({word + 1})" for word in order]
    for word, cells in zip(order, rows.values(), strict=True):
        assert float(cells[0]) == pytest.approx(looks[word], rel=6e-3)
        assert float(cells[2].replace("\u2212", "-")) == pytest.approx(explanation.falls[5, word], rel=6e-3)
    shade = page.do("return getComputedStyle(arguments[0]).getPropertyValue('--look')", page.word(int(order[0])))
    assert float(shade) == 1


def test_a_drag_shows_the_largest_fall_and_that_it_is_not_the_sum(page, write, explanation):
    page.open(write([explanation]))
    page.choose(route="occlusion")
    page.actions().click_and_hold(page.patch(0)).move_to_element(page.patch(SIDE + 1)).release().perform()
    text = page.one(".there").text
    assert "Words that look at 4 patches" in text
    style = "const s = getComputedStyle(arguments[0]); return [s.fill, s.opacity, s.stroke, s.strokeWidth]"
    assert page.do(style, page.one(".mark.picked")) == ["none", "1", "rgb(255, 255, 255)", "2.5px"]
    for outline in page.all(".mark"):
        assert page.do(style, outline)[:2] == ["none", "1"]
    assert "it is not the sum" in text
    largest = explanation.falls[[0, 1, SIDE, SIDE + 1]].max(0)
    for name, cells in page.rows(".there").items():
        word = int(name.rpartition("(")[2][:-1]) - 1
        assert float(cells[0].replace("\u2212", "-")) == pytest.approx(largest[word], rel=6e-3)
    page.check_quiet()


def test_a_word_shows_alternatives_vectors_boxes_and_the_deletion_test(page, write, explanation):
    page.open(write([explanation], start=EFFUSION))
    assert page.rows(".about")["other"][0] == "0.250"
    assert "this map beats random order" in page.one(".deletion").text
    page.hover(page.word(EFFUSION - 1))
    assert "does not beat random order" in page.one(".error.deletion").text
    page.hover(page.word(EFFUSION))
    vectors = explanation.vectors
    weights, ids = vectors["words_weight"][EFFUSION], vectors["words"][EFFUSION]
    thread, place = np.unravel_index(weights.argmax(), weights.shape)
    button = page.one(".vector")
    assert int(button.text) == ids[thread, place]
    page.hover(button)
    assert len(page.all(".mark.uses")) == (vectors["patches"][thread] == ids[thread, place]).any(-1).sum()
    users = (vectors["words"][:, thread] == ids[thread, place]).any(-1)
    assert [each.text for each in page.all(".word.uses")] == [WORDS[word] for word in np.flatnonzero(users)]
    assert len(page.all(".mark.box")) == 1
    inside = np.zeros((SIDE, SIDE), bool)
    inside[2:, 2:] = True
    shown = explanation.map(EFFUSION, 0)
    share = shown[inside].sum() / shown.sum()
    cells = page.do(
        "return [...document.querySelectorAll('.about tr')].map((r) => [...r.children].map((c) => c.textContent))"
    )
    [box] = [row[1:] for row in cells if row[0] == "1 left pleural effusion, view_0"]
    assert box == ["inside" if inside.ravel()[shown.argmax()] else "outside", f"{100 * share:.0f}%", "25%"]
    page.one('input[name="boxes"]').click()
    assert page.all(".mark.box") == []


def test_two_models_show_the_same_word(page, write, explanation):
    base = invented(OTHER, seed=1, model="BASE", vectors=None)
    base.maps.pop("memory")
    page.open(write([explanation, base]))
    page.hover(page.word(EFFUSION))
    assert page.values(model=1) == pytest.approx(expected(base, 6), abs=1e-5)
    page.hover(page.word(WORDS.index("small")))
    assert "does not have the word" in page.one('[data-model="1"] .about').text
    assert page.values(model=1).max() == 0
    page.hover(page.word(6, model=1))
    assert page.values() == pytest.approx(expected(explanation, EFFUSION), abs=1e-6)
    page.choose(route="memory")
    assert "no such map" in page.one('[data-model="1"] .about').text
    page.patch(3).click()
    assert page.one('[data-model="1"] .there thead').text == "word fall"
    left, right = (page.one(f'[data-model="{n}"] .views').rect for n in (0, 1))
    assert left["y"] == right["y"]
    assert left["x"] < right["x"]
    page.check_quiet()


def test_vectors_of_separate_memories_are_of_words_or_of_patches(page, write, explanation):
    explanation.vectors["shared"] = False
    page.open(write([explanation]))
    page.hover(page.one(".vector"))
    assert page.all(".mark.uses") == []
    assert "a memory of their own" in page.one(".about").text


def test_texts_stay_texts(page, write):
    evil = invented([MARKUP] * 2, study=MARKUP, reference=MARKUP, notes={"attention": MARKUP}, model=MARKUP)
    evil.views[0].name, evil.views[0].boxes = MARKUP, [{"finding": MARKUP, "box": [0, 0.5, 1, 1]}]
    page.open(write([evil]))
    page.patch(1).click()
    assert page.word(1).get_property("textContent") == MARKUP
    assert MARKUP in page.one(".about").get_property("textContent")
    assert MARKUP in page.one(".there").get_property("textContent")
    assert page.do("return document.querySelectorAll('script').length") == 2
    page.check_quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_follows_the_color_scheme(page, write, explanation, scheme):
    page.open(write([explanation, explanation]), width=360, height=740, scheme=scheme)
    assert page.do("return document.documentElement.scrollWidth") <= 360
    paper = page.do("return getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(251, 250, 248)", "dark": "rgb(20, 23, 27)"}[scheme]


def test_a_print_has_the_maps_and_no_form(page, write, explanation):
    page.open(write([explanation]), media="print")
    assert not page.one("#choice").is_displayed()
    assert page.one(".patches").is_displayed()
    assert page.values().max() == 1


def test_under_an_agreement_the_maps_have_no_picture(page, write, explanation):
    page.open(write([explanation], Rights("dua")))
    page.hover(page.word(EFFUSION))
    assert page.values() == pytest.approx(expected(explanation, EFFUSION), abs=1e-6)
    assert page.word(EFFUSION).text == str(EFFUSION + 1)
    assert page.one(".about h3").text.startswith("word 7, probability")
    assert page.all("image, img") == []
    page.check_quiet()


def test_the_index_leads_to_the_pages(page, write, explanation, tmp_path):
    write([explanation])
    listed = tmp_path / "index.html"
    listed.write_text(index([Entry("explorer.html", [explanation])], Rights()), encoding="utf-8")
    page.open(listed, width=360)
    assert page.do("return document.documentElement.scrollWidth") <= 360
    page.check_quiet()
    page.one("article a").click()
    assert page.all(".patches")
