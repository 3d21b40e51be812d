"""The page: whole in itself, every text escaped, nothing shown that a licence forbids; plots that are right."""

import math
import re
import stat
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from r2cmn.data.datamodule import LICENSE_CLASSES as OF_DATA
from r2cmn.evaluation.charts import Mark, histogram, interval_plot, ticks_of
from r2cmn.evaluation.files import Predictions
from r2cmn.evaluation.page import LICENSE_CLASSES, PageContent, license_class_of, page, write_page
from r2cmn.evaluation.protocols import Prepared, Protocol, References
from r2cmn.evaluation.published import published
from r2cmn.evaluation.result import evaluate
from r2cmn.evaluation.scored import Settings

EVIL = "<script>alert(1)</script> & \"quoted\" 'single' \x00 \ud800 é 肺"


def made(license_class="non_commercial", generated=None, baselines=None, title="mine"):
    generated = generated or ["SECRET lungs are clear .", "a GUARDED effusion ."] * 6
    truth = ["HIDDEN lungs are clear .", "an effusion ."] * 6
    references = [References(Protocol("released-1"), truth), References(Protocol("full-1"), truth)]
    result = evaluate(generated, references, title=title, baselines=baselines, settings=Settings(20, meteor=False))
    content = PageContent.of([f"PATIENT_{i}" for i in range(12)], Prepared(generated, references, "iu_xray", []),
                             license_class)  # fmt: skip
    return result, content


class Checker(HTMLParser):
    """Holds that every element is closed, in order, and that nothing is fetched from elsewhere."""

    VOID = ("meta", "br", "line", "circle", "rect", "path")

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            assert name not in ("src", "href", "onload", "onclick"), (tag, name, value)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def checked(html):
    checker = Checker()
    checker.feed(html)
    assert checker.open == []
    return checker


def test_the_page_is_whole_and_alone():
    result, content = made(baselines={"other": ["lungs clear ."] * 12})
    html = page(result, content, published("iu_xray"), "9.9")
    checker = checked(html)
    assert not {"script", "link", "img", "iframe"} & set(checker.tags)
    assert not re.search(r"https?://|@import|url\(", html)
    assert checker.tags.count("svg") > 5
    words = " ".join(checker.words)
    for expected in ("released-1", "full-1", "Ours minus other", "BASE+CMN", "r2cmn 9.9", "labeler builtin-1"):
        assert expected in words, expected
    assert "nan" not in re.sub(r"<[^>]*>", " ", html.split("</style>")[1])
    assert not re.search(r'="[^"]*nan', html)


def test_every_text_is_escaped():
    result, content = made("public", generated=[EVIL] * 12, baselines={EVIL: ["x"] * 12}, title=EVIL)
    html = page(result, content)
    checker = checked(html)
    assert "script" not in checker.tags
    assert "\x00" not in html
    html.encode()
    assert "<script>alert(1)</script>" in "".join(checker.words)


@pytest.mark.parametrize(
    ("license_class", "text", "ids"), [("public", True, True), ("non_commercial", True, False), ("dua", False, False)]
)
def test_the_licence_says_what_is_shown(tmp_path, license_class, text, ids):
    result, content = made(license_class)
    write_page(tmp_path / "p.html", result, content)
    html = (tmp_path / "p.html").read_text()
    for word in ("SECRET", "GUARDED", "HIDDEN"):
        assert (word in html) is text, word
    assert ("PATIENT_0" in html) is ids
    mode = stat.S_IMODE((tmp_path / "p.html").stat().st_mode)
    assert mode == (0o600 if license_class == "dua" else 0o644)
    assert "50.0%" in html  # numbers are shown under all
    assert [path.name for path in tmp_path.iterdir()] == ["p.html"]


def test_mimic_is_taken_to_be_under_an_agreement(tmp_path):
    def read(text):
        return Predictions(Path("p.csv"), ["1"], [text], {"given": ["x"]})

    assert license_class_of(None, read("lungs clear .")) == "non_commercial"
    assert license_class_of(None, read("compared with ___ .")) == "dua"
    assert license_class_of("public", read("compared with ___ .")) == "public"
    with pytest.raises(ValueError, match="--license-class is one of public, non_commercial, dua, not 'secret'"):
        license_class_of("secret", read("x"))
    assert LICENSE_CLASSES == OF_DATA


def test_empty_reports_and_one_report_make_a_page():
    references = [References(Protocol("given-1"), ["x ."])]
    result = evaluate([""], references, settings=Settings(5, meteor=False))
    content = PageContent.of(["1"], Prepared([""], references, "iu_xray", []), "public")
    checked(page(result, content))
    assert "(empty)" in page(result, content)


# ---- plots -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.08, 0.131), (-0.2, 0.2), (0, 0), (3, 3), (0, 537), (0, 1e-7)])
def test_ticks_are_round_and_hold_the_data(low, high):
    ticks = ticks_of(low, high)
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= high - 1e-9
    assert 2 <= len(ticks) <= 14
    steps = {round(b - a, 12) for a, b in pairwise(ticks)}
    assert max(steps) - min(steps) < 1e-9


def test_a_mark_stands_where_its_value_is():
    rows = [("one", [Mark(0.25, 0.0, 0.5, "a")]), ("two", [Mark(0.5, 0.5, 1.0, "b"), Mark(math.nan, 0, 0, "gone")])]
    svg = interval_plot(rows, "a <title>", least=0.0)
    ticks = {float(text): float(x) for x, text in re.findall(r'class="tick" x="([\d.]+)"[^>]*>([\d.]+)<', svg)}
    places = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', svg)]
    per_unit = (ticks[1.0] - ticks[0.0]) / 1.0
    assert places == pytest.approx([ticks[0.0] + 0.25 * per_unit, ticks[0.0] + 0.5 * per_unit], abs=0.2)
    assert "gone" not in svg
    assert "a &lt;title&gt;" in svg
    assert interval_plot([("x", [Mark(math.nan, math.nan, math.nan, "")])], "t") == ""


def test_a_mark_without_an_interval_is_a_point():
    svg = interval_plot([("x", [Mark(0.5, math.nan, math.nan, "t")])], "t", least=0.0)
    assert "nan" not in svg
    (x1, x2) = re.search(r'<g class="a"><line x1="([\d.]+)" x2="([\d.]+)"', svg).groups()
    assert x1 == x2


def test_bars_of_a_histogram_add_up():
    numbers = [0, 0, 3, 7, 7, 7, 100]
    svg = histogram([("a", numbers), ("b", [1])], "t", "words")
    heights = [float(h) for h in re.findall(r'<rect class="a bar"[^>]* height="([\d.]+)"', svg)]
    unit = min(heights)
    assert sum(round(h / unit) for h in heights) == len(numbers)
