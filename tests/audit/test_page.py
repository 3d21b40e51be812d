"""The page: well-formed, complete by itself, and silent on what a data use agreement protects."""

import html.parser
import re
import stat

import pytest

from r2cmn.audit import audit
from r2cmn.audit.charts import funnel_plot, length_plot, share_plot, text
from r2cmn.audit.page import page
from r2cmn.audit.write import write_html, write_json
from r2cmn.prepare.write import OutputError


class _Nesting(html.parser.HTMLParser):
    """Checks that what is opened is closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def _check(content):
    nesting = _Nesting()
    nesting.feed(content)
    assert (nesting.open, nesting.wrong) == ([], [])


@pytest.fixture
def repeating(write_folder):
    rows = [{"id": f"Zebra<{n}", "report": "Quokka <b>lungs</b> & heart.", "image_path": [f"{n}.png"], "patient": "p"}
            for n in range(4)]  # fmt: skip
    return write_folder(train=rows[:2], val=rows[2:3], test=rows[3:])


@pytest.mark.parametrize("license_class", ["public", "non_commercial", "dua"])
def test_what_is_shown_follows_the_licence(repeating, license_class):
    content = page(audit(repeating, license_class=license_class))
    _check(content)
    named = license_class != "dua"
    assert ("quokka" in content) is named
    assert ("p (train and val and test)" in content) is named
    assert "patients in two splits: 1" in content
    assert "<b>lungs" not in content
    assert "Zebra<" not in content


def test_the_page_needs_nothing_from_elsewhere(sound):
    content = page(audit(sound, dataset="iu_xray"))
    _check(content)
    assert not re.search(r"<script|<link|<img|src=|url\((?!#)|@import|@font-face", content)
    assert "prefers-color-scheme: dark" in content
    assert "Beside what is published" in content
    assert "Do not try to find out who they are" in content  # the terms


def test_the_page_of_a_folder_without_images_or_words(write_folder):
    rows = [{"id": "a", "report": "", "image_path": []}]
    _check(page(audit(write_folder(train=rows))))
    _check(page(audit(write_folder(test=rows), with_images=False)))


def test_files_under_dua_are_for_their_owner_only(sound, tmp_path):
    for license_class, mode in (("dua", 0o600), ("public", 0o644)):
        found = audit(sound, license_class=license_class, with_images=False)
        for write, name in ((write_json, "a.json"), (write_html, "a.html")):
            path = tmp_path / f"{license_class}_{name}"
            write(path, found)
            assert stat.S_IMODE(path.stat().st_mode) & ~0o022 == mode & ~0o022
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(OutputError, match=r"nowhere/a\.json cannot be written"):
        write_json(tmp_path / "nowhere" / "a.json", found)


def test_bars_are_as_long_as_their_numbers():
    plot = funnel_plot([("raw", 100, 0), ("kept", 60, 40)], "title")
    widths = [float(width) for width in re.findall(r'<rect [^>]*?width="([\d.]+)"', plot)]
    assert widths[2] / widths[0] == pytest.approx(0.6, abs=0.01)
    assert widths[3] / widths[0] == pytest.approx(0.4, abs=0.01)
    plot = share_plot([("train", 0.25, ""), ("test", 1.0, "")], "title")
    widths = [float(width) for width in re.findall(r'width="([\d.]+)"', plot)]
    assert widths[0] / widths[1] == pytest.approx(0.25, abs=0.01)


def test_the_last_bar_holds_the_tail():
    counts = [0, 900, 0, 100] + [0] * 90 + [1]
    plot = length_plot({"train": counts}, 5, 20, "title")
    heights = [float(height) for height in re.findall(r'train bar"[^>]*?height="([\d.]+)"', plot)]
    assert heights[0] / heights[1] == pytest.approx(9, rel=0.01)
    assert len(heights) == 3
    assert length_plot({}, 5, 20, "title") == ""


def test_text_of_any_kind_is_escaped():
    assert text('a<b> & "c" \x00 \ud800') == "a&lt;b&gt; &amp; &quot;c&quot; \ufffd \ufffd"
