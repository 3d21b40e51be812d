"""MkDocs hook: builds the navigation from docs/index.md and adds the pages of the repository that docs/ links to.

Links in docs/ are those of the repository, so that they work on the hosting site, too. Pages outside docs/ and the
notebooks become pages of the site; a link to any other file of the repository, such as a source file, becomes its text.

Zensical has no hooks. `python docs/.site/pages.py build/pages` writes the same pages and a mkdocs.yml for it:
`zensical build --strict -f build/pages/mkdocs.yml`.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import shutil
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OUTSIDE = (
    *("CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/*.md", "benchmarks/*.svg"),
    *("experiments/*/*.md", "experiments/*/*.svg", "experiments/*/*.png", "examples/*/*.md", "notebooks/*.ipynb"),
)
LINK = re.compile(r"(!?)\[([^\[\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_config(config):
    """Sets the navigation."""
    config.nav = navigation()
    return config


def on_files(files, config):
    """Adds pages and figures outside docs/ under their path in the repository."""
    from mkdocs.structure.files import File

    for uri, path in outside().items():
        given = {"content": read_notebook(path)} if path.suffix == ".ipynb" else {"abs_src_path": str(path)}
        files.append(File.generated(config, uri, **given))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turns links between files of the repository into links between pages of the site."""
    return rewrite_links(markdown, page.file.src_uri, files.src_uris)


def navigation() -> list[dict[str, Any]]:
    """Returns a section for each heading of docs/index.md with a page for each link below it, and one for the rest."""
    sections = re.split(r"^## +", (DOCS / "index.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    found: list[dict[str, Any]] = [{"Home": "index.md"}]
    named = {"index.md"}
    for section in sections:
        links = [(text, find_uri(DOCS / target)) for _, text, target, _ in LINK.findall(section)]
        pages = [{text[:1].upper() + text[1:]: uri} for text, uri in links if uri is not None and uri.endswith(".md")]
        found.append({section.splitlines()[0].strip(): pages})
        named |= {uri for page in pages for uri in page.values()}
    rest = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} | set(outside())
    more = sorted(uri for uri in rest - named if uri.endswith(".md"))
    return [*found, {"More": more}] if more else found


def outside() -> dict[str, Path]:
    """Returns the files outside docs/ that belong to the site, by their place in it."""
    paths = [path for pattern in OUTSIDE for path in sorted(ROOT.glob(pattern))]
    return {uri: path for path in paths if (uri := find_uri(path)) is not None}


def find_uri(path: Path) -> str | None:
    """Returns the place of a file in the site; None if it is not in the repository."""
    path = Path(os.path.normpath(path))
    for root in (DOCS, ROOT):
        if root in path.parents:
            uri = path.relative_to(root).as_posix()
            return f"{uri.removesuffix('.ipynb')}.md" if uri.endswith(".ipynb") else uri
    return None


def rewrite_links(markdown: str, uri: str, known: Collection[str]) -> str:
    """Returns a page with links to places of the site; a link to a file that is not in `known` becomes its text."""
    here = (DOCS / uri if (DOCS / uri).is_file() else ROOT / uri).parent

    def rewrite(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups()
        found = find_uri(here / target)
        if found in known:
            return f"{image}[{text}]({posixpath.relpath(found, posixpath.dirname(uri) or '.')}{anchor or ''})"
        return text if (here / target).exists() and found is not None else match.group()

    return LINK.sub(rewrite, markdown)


def read_notebook(path: Path) -> str:
    """Returns a notebook as Markdown: its text, and its code in blocks."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = [
        text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        for cell in cells
        if (text := "".join(cell["source"]).strip())
    ]
    return "\n\n".join([*parts, f"Run it: `jupyter lab notebooks/{path.name}`."]) + "\n"


def write_tree(folder: Path) -> None:
    """Writes all pages with their links rewritten, and the mkdocs.yml for them, for builders without hooks."""
    inside = [path for path in DOCS.rglob("*") if path.is_file() and Path(__file__).parent not in path.parents]
    places = {path.relative_to(DOCS).as_posix(): path for path in inside} | outside()
    for uri, path in places.items():
        target = folder / "docs" / uri
        target.parent.mkdir(parents=True, exist_ok=True)
        if uri.endswith(".md"):
            text = read_notebook(path) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
            target.write_text(rewrite_links(text, uri, places), encoding="utf-8")
        else:
            shutil.copy(path, target)
    options = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    options = re.sub(r"^hooks:\n(  .*\n)+", "", options, flags=re.MULTILINE).replace("build/site", "site")
    # its checker takes intervals such as [.1, .3] for references
    options = options.replace("validation:\n", "validation:\n  unresolved_references: false\n")
    options = options.replace("paths: [src]", f"paths: [{ROOT / 'src'}]")
    (folder / "mkdocs.yml").write_text(f"{options}\nnav: {json.dumps(navigation())}\n", encoding="utf-8")


if __name__ == "__main__":
    write_tree(Path(sys.argv[1]).resolve())
