"""MkDocs hook: builds the navigation from docs/index.md and adds the pages of the repository that docs/ links to.

Links in docs/ are those of the repository, so that they work on the hosting site, too. Pages outside docs/ and the
notebooks become pages of the site; a link to any other file of the repository, such as a source file, becomes its text.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OUTSIDE = (
    *("CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/*.md", "benchmarks/*.svg"),
    *("experiments/*/*.md", "experiments/*/*.svg", "experiments/*/*.png", "examples/*/*.md", "notebooks/*.ipynb"),
)
LINK = re.compile(r"(!?)\[([^\[\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_config(config):
    """Sets the navigation: a section for each heading of docs/index.md, a page for each link below it."""
    sections = re.split(r"^## +", (DOCS / "index.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    config.nav = [{"Home": "index.md"}]
    for section in sections:
        links = [(text, _uri(DOCS / target)) for _, text, target, _ in LINK.findall(section)]
        pages = [{text[:1].upper() + text[1:]: uri} for text, uri in links if uri is not None and uri.endswith(".md")]
        config.nav.append({section.splitlines()[0].strip(): pages})
    named = {uri for part in config.nav[1:] for pages in part.values() for page in pages for uri in page.values()}
    paths = [*DOCS.rglob("*.md"), *(path for pattern in OUTSIDE for path in ROOT.glob(pattern))]
    others = {_uri(path) for path in paths} - named - {"index.md"}
    more = sorted(uri for uri in others if uri.endswith(".md") and not uri.startswith("."))
    if more:
        config.nav.append({"More": more})
    return config


def on_files(files, config):
    """Adds pages and figures outside docs/ under their path in the repository."""
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            if path.suffix == ".ipynb":
                files.append(File.generated(config, _uri(path), content=_notebook(path)))
            else:
                files.append(File.generated(config, _uri(path), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turns links between files of the repository into links between pages of the site."""
    uri = page.file.src_uri
    here = DOCS / uri if (DOCS / uri).is_file() else ROOT / uri

    def rewrite(match):
        image, text, target, anchor = match.groups()
        path = here.parent / target
        found = _uri(path)
        if found is not None and files.get_file_from_path(found) is not None:
            return f"{image}[{text}]({posixpath.relpath(found, posixpath.dirname(uri) or '.')}{anchor or ''})"
        return text if path.exists() and DOCS not in path.resolve().parents else match.group()

    return LINK.sub(rewrite, markdown)


def _uri(path: Path) -> str | None:
    """Returns the place of a file in the site; None if it is not in the repository."""
    path = Path(os.path.normpath(path))
    for root in (DOCS, ROOT):
        if root in path.parents:
            uri = path.relative_to(root).as_posix()
            return f"{uri.removesuffix('.ipynb')}.md" if uri.endswith(".ipynb") else uri
    return None


def _notebook(path: Path) -> str:
    """Returns a notebook as Markdown: its text, and its code in blocks."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = [
        text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        for cell in cells
        if (text := "".join(cell["source"]).strip())
    ]
    return "\n\n".join([*parts, f"Run it: `jupyter lab notebooks/{path.name}`."]) + "\n"
