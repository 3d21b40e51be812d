"""The pages of docs/ and the README: the site that they make, and that index.md names each of them."""

import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import r2cmn
import r2cmn.explain
from r2cmn import types

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)="?(https?:[^">\s]*)|@import|url\(["']?https?:"""
)


def test_the_index_names_every_page():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} - {"index.md"}
    notebooks = {f"../{path.relative_to(ROOT).as_posix()}" for path in ROOT.glob("notebooks/*.ipynb")}
    assert pages | notebooks <= set(re.findall(r"\]\(([^)#]+)", index))


def test_the_reference_has_every_public_name():
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md"))
    paths = re.findall(r"^::: (\S+)$", pages, re.MULTILINE)
    assert [path for path in paths if pydoc.locate(path) is None] == []
    listed = {path.rpartition(".")[2] for path in paths}
    listed |= set(vars(types))  # documented as a whole
    assert {*r2cmn.__all__, *r2cmn.explain.__all__} - {"__version__"} <= listed


def test_the_pages_for_a_builder_without_hooks_link_to_each_other(tmp_path):
    subprocess.run([sys.executable, DOCS / ".site" / "pages.py", tmp_path], check=True)
    pages = list((tmp_path / "docs").rglob("*.md"))
    links = [
        (page, target) for page in pages
        for target in re.findall(r"\]\((?!https?:|#)([^)\s#:]+)", page.read_text(encoding="utf-8"))
    ]  # fmt: skip
    assert len(links) > 100
    assert [(page.name, target) for page, target in links if not (page.parent / target).exists()] == []
    options = (tmp_path / "mkdocs.yml").read_text(encoding="utf-8")
    assert "hooks" not in options
    assert '{"Fidelity": "evaluate/fidelity.md"}' in options


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path):
    pytest.importorskip("mkdocstrings", reason="pip install 'r2cmn[docs]'")
    pytest.importorskip("material", reason="pip install 'r2cmn[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = [*tmp_path.rglob("*.html"), *tmp_path.rglob("*.css")]
    assert len(pages) > 30
    for page in pages:
        assert not FETCHED.search(page.read_text(encoding="utf-8")), page.relative_to(tmp_path)
    reference = (tmp_path / "reference" / "memory" / "index.html").read_text(encoding="utf-8")
    assert 'id="r2cmn.memory.MemoryNetwork.weights"' in reference
    assert "the rows of the matrix M" in reference
    moved = (tmp_path / "experiments" / "table2" / "index.html").read_text(encoding="utf-8")
    assert 'href="../phantom/"' in moved
