"""Rendering: texts are escaped, missing values are errors, files are written with the right mode."""

import stat

import pytest
from jinja2 import UndefinedError

import r2cmn
from r2cmn.pages import Row, Table, code, render, text, with_note, write

from .checker import EVIL, check_escaped, check_page


def blank():
    table = Table([], [])
    tables = dict.fromkeys(("scores", "frequent", "observations", "grid", "published"), table)
    names = ("names", "notes", "plotted", "plots", "degeneracy", "compared", "others", "examples", "meanings")
    lists = dict.fromkeys(names, ())
    return {"title": "t", "labeler": "", "lengths": "", **tables, **lists}


def test_text_of_any_kind_is_escaped():
    assert text('a<b> & "c" \x00 \ud800') == "a&lt;b&gt; &amp; &#34;c&#34; \ufffd \ufffd"
    assert with_note("<", ">") == "&lt; <small>&gt;</small>"
    assert with_note("<", "") == "&lt;"
    assert code("<") == "<code>&lt;</code>"


def test_every_part_of_a_table_is_escaped():
    table = Table([EVIL, EVIL], [Row([EVIL, with_note(EVIL, EVIL)]), Row([code(EVIL)], "group")], EVIL, {1: "prose"})
    page = render("evaluation.html", **blank() | {"scores": table, "title": EVIL})
    assert "script" not in check_escaped(page, times=9)
    assert '<td class="prose">&lt;script&gt;' in page
    assert '<th colspan="2"><code>&lt;script&gt;' in page


def test_a_missing_value_is_an_error():
    values = blank()
    del values["labeler"]
    with pytest.raises(UndefinedError, match="labeler"):
        render("evaluation.html", **values)


@pytest.mark.parametrize(("license_class", "mode"), [("public", 0o644), ("non_commercial", 0o644), ("dua", 0o600)])
def test_the_license_class_decides_the_footer_and_the_mode(tmp_path, license_class, mode):
    page = render("evaluation.html", license_class, **blank())
    _, words = check_page(page)
    assert f"Made by r2cmn {r2cmn.__version__}." in words
    assert ("neither reports nor ids" in words) is (license_class == "dua")
    write(tmp_path / "page.html", page, license_class)
    assert stat.S_IMODE((tmp_path / "page.html").stat().st_mode) == mode
