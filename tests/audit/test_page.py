"""The page and the files: complete, escaped, and silent about what a data use agreement protects."""

import json
import re
import stat
from dataclasses import replace

import pytest

from r2cmn.audit import audit
from r2cmn.audit.page import _length_plot, page, write_html, write_json
from r2cmn.audit.problems import Problem

from ..pages.checker import EVIL, MARKUP, check_escaped, check_page


@pytest.fixture
def repeating(write_folder):
    rows = [{"id": f"Zebra<{n}", "report": "Quokka <b>lungs</b> & heart.", "image_path": [f"{n}.png"], "patient": "p"}
            for n in range(4)]  # fmt: skip
    return write_folder(train=rows[:2], val=rows[2:3], test=rows[3:])


@pytest.mark.parametrize("license_class", ["public", "non_commercial", "dua"])
def test_the_license_decides_what_is_shown(repeating, license_class):
    content = page(audit(repeating, license_class=license_class))
    _, words = check_page(content)
    is_named = license_class != "dua"
    assert ("quokka" in content) is is_named
    assert ("p (train and val and test)" in words) is is_named
    assert ("neither reports nor ids" in words) is not is_named
    assert "patients in two splits: 1" in words
    assert "<b>lungs" not in content
    assert "Zebra<" not in content


def test_the_page_fetches_nothing(sound):
    content = page(audit(sound, dataset="iu_xray"))
    tags, words = check_page(content)
    assert not {"script", "link", "img", "iframe"} & set(tags)
    assert not re.search(r"src=|url\((?!#)|@import|@font-face", content)
    assert "prefers-color-scheme: dark" in content
    assert "Beside what is published" in words
    assert "Do not try to find out who they are" in words  # the terms


def test_every_text_is_escaped(write_folder):
    rows = [{"id": MARKUP, "report": MARKUP, "image_path": [f"{n}.png"], "patient": MARKUP} for n in range(3)]
    dir = write_folder(train=rows[:2], test=rows[2:])
    step = {"what": MARKUP, "studies": 3}
    record = {"dataset": "iu_xray", "license_class": "public", "funnel": [step], "splits": {}, "notes": [MARKUP],
              "published": [{"what": MARKUP, "published": 2, "here": 3}]}  # fmt: skip
    (dir / "prepare.json").write_text(json.dumps(record))
    (dir / "LICENSE.txt").write_text(MARKUP)
    (dir / "manifest.csv").write_text(f'view\n"{MARKUP.replace(chr(34), chr(34) * 2)}"\n')
    found = audit(dir)
    tags = check_escaped(page(found), MARKUP, times=7)
    assert "script" not in tags
    origin = replace(found.origin, terms=EVIL, collection=replace(found.origin.collection, title=EVIL))
    found = replace(found, origin=origin, notes=[EVIL], problems=[Problem(EVIL, [EVIL])])
    assert "script" not in check_escaped(page(found), times=5)


def test_a_folder_without_images_or_words_makes_a_page(write_folder):
    rows = [{"id": "a", "report": "", "image_path": []}]
    check_page(page(audit(write_folder(train=rows))))
    check_page(page(audit(write_folder(test=rows), with_images=False)))


def test_long_lists_are_cut(sound):
    found = replace(audit(sound, license_class="public", with_images=False), problems=[Problem("odd", ["n"] * 1025)])
    assert page(found).count("<li>n</li>") == 20
    assert "<li>and 1,005 more</li>" in page(found)


def test_files_under_dua_are_for_their_owner_only(sound, tmp_path):
    for license_class, mode in (("dua", 0o600), ("public", 0o644)):
        found = audit(sound, license_class=license_class, with_images=False)
        for write, name in ((write_json, "a.json"), (write_html, "a.html")):
            path = tmp_path / f"{license_class}_{name}"
            write(path, found)
            assert stat.S_IMODE(path.stat().st_mode) == mode
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(OSError, match=r"dua_a\.json/b\.json cannot be written"):
        write_json(tmp_path / "dua_a.json" / "b.json", found)


def test_the_last_bar_holds_the_tail():
    plot = _length_plot({"train": [0, 900, 0, 100] + [0] * 90 + [1]}, 20)
    heights = [float(height) for height in re.findall(r'train bar"[^>]*? height="([\d.]+)"', plot)]
    assert heights[0] / heights[1] == pytest.approx(9, rel=0.01)
    assert len(heights) == 3
