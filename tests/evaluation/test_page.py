"""The page: complete in itself, every text escaped, nothing shown that a license forbids."""

import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest

import r2cmn
from r2cmn.evaluation.license import license_class_of
from r2cmn.evaluation.page import PageContent, page, write_page
from r2cmn.evaluation.protocols import Prepared, Protocol, References
from r2cmn.evaluation.published import Published, published
from r2cmn.evaluation.read import Predictions
from r2cmn.evaluation.result import evaluate
from r2cmn.evaluation.scored import Settings

from ..pages.checker import EVIL, check_escaped, check_page


def made(license_class="non_commercial", generated=None, baselines=None, title="mine"):
    generated = generated or ["SECRET lungs are clear .", "a GUARDED effusion ."] * 6
    truth = ["HIDDEN lungs are clear .", "an effusion ."] * 6
    references = [References(Protocol("released-1"), truth), References(Protocol("full-1"), truth)]
    result = evaluate(generated, references, title=title, baselines=baselines, settings=Settings(20, meteor=False))
    content = PageContent.of([f"PATIENT_{i}" for i in range(12)], Prepared(generated, references, "iu_xray", []),
                             license_class)  # fmt: skip
    return result, content


def test_the_page_is_complete_and_fetches_nothing():
    result, content = made(baselines={"other": ["lungs clear ."] * 12})
    html = page(result, content, published("iu_xray"))
    tags, words = check_page(html)
    assert not {"script", "link", "img", "iframe"} & set(tags)
    assert not re.search(r"https?://|@import|url\((?!#)", html)
    assert tags.count("svg") > 5
    made_by = f"r2cmn {r2cmn.__version__}"
    for expected in ("released-1", "full-1", "Ours minus other", "BASE+CMN", made_by, "labeler builtin-1"):
        assert expected in words, expected
    assert "nan" not in re.sub(r"<[^>]*>", " ", html.split("</style>")[1])
    assert not re.search(r'="[^"]*nan', html)


def test_every_text_is_escaped():
    result, content = made("public", generated=[EVIL] * 12, baselines={EVIL: ["x"] * 12}, title=EVIL)
    result = replace(result, notes=(EVIL,), labeler=EVIL, groups=(EVIL, 3))
    content = replace(content, examples=[(EVIL, EVIL, EVIL)])
    rows = [Published(EVIL, EVIL, {"BLEU_4": 0.1}, EVIL, EVIL, True, EVIL)]
    # title twice; systems, heading and plot of both protocols; labeler in each clinical name
    assert "script" not in check_escaped(page(result, content, rows), times=30)


@pytest.mark.parametrize(
    ("license_class", "text", "ids"), [("public", True, True), ("non_commercial", True, False), ("dua", False, False)]
)
def test_the_license_decides_what_is_shown(tmp_path, license_class, text, ids):
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


def test_reports_of_mimic_cxr_are_taken_as_dua():
    def read(text):
        return Predictions(Path("p.csv"), ["1"], [text], {"given": ["x"]})

    assert license_class_of(None, read("lungs clear .")) == "non_commercial"
    assert license_class_of(None, read("compared with ___ .")) == "dua"
    assert license_class_of("public", read("compared with ___ .")) == "public"
    with pytest.raises(ValueError, match="--license-class is one of public, non_commercial, dua, not 'secret'"):
        license_class_of("secret", read("x"))


def test_one_empty_report_makes_a_page():
    references = [References(Protocol("given-1"), ["x ."])]
    result = evaluate([""], references, settings=Settings(5, meteor=False))
    content = PageContent.of(["1"], Prepared([""], references, "iu_xray", []), "public")
    _, words = check_page(page(result, content))
    assert "(empty)" in words
