"""The files of an explained study: report, JSON, figures and explorer, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from r2cmn.explain.explanation import FORMAT, Explanation
from r2cmn.explain.page import Entry, explorer, index
from r2cmn.explain.rights import Rights
from r2cmn.files import check_writable, write_whole
from r2cmn.files.folders import make_private_folder

PAGE = "explorer.html"
INDEX = "index.html"
FILES = (
    *("explanation.json", "report.txt", "explanation_2.json", "report_2.txt"),
    *(f"{name}.{kind}" for name in ("figure5", "figure6", "figure6_2") for kind in ("svg", "png")),
)
"""The files beside the pages; those of a second model have the number 2."""


def prepare_folder(folder: Path, rights: Rights, names: Sequence[str] = (INDEX, PAGE, *reversed(FILES))) -> None:
    """Create a folder, and remove the files of an earlier command in it, its pages first.

    Args:
        folder: to create.
        rights: what the outputs may show; private ones need a private folder.
        names: of the files that will be written.

    Raises:
        ValueError: if it has a file of the same name as one of these, and no earlier command wrote them.
        OSError: if it cannot be created, or is a file.
    """
    if rights.is_private and not folder.exists():
        make_private_folder(folder)
    check_writable(folder / PAGE)
    found = [folder / name for name in names if (folder / name).is_file()]
    foreign = [path for path in found if path.suffix in (".html", ".json") and not _is_ours(path)]
    if foreign or (found and not any(map(_is_ours, found))):
        name = (foreign or found)[0]
        raise ValueError(f"{name} is not of r2cmn explain and in the way: give another folder with --out")
    for path in found:
        path.unlink()


def _is_ours(path: Path) -> bool:
    """Return whether a file is a page or an explanation that `r2cmn explain` wrote."""
    if path.name.startswith("explanation"):
        return FORMAT in path.read_text(encoding="utf-8", errors="replace")[:200]
    return path.suffix == ".html" and "Made by r2cmn" in path.read_text(encoding="utf-8", errors="replace")


def write_texts(folder: Path, explanations: Sequence[Explanation], rights: Rights) -> None:
    """Write `explanation.json` and `report.txt`; those of a second model are `explanation_2.json` and `report_2.txt`.

    Raises:
        OSError: if a file cannot be written.
    """
    for number, explanation in enumerate(explanations, 1):
        suffix = f"_{number}" if number > 1 else ""
        write_whole(folder / f"explanation{suffix}.json", explanation.to_json(), rights.file_mode)
        write_whole(folder / f"report{suffix}.txt", " ".join(explanation.words) + "\n", rights.file_mode)


def write_page(folder: Path, explanations: Sequence[Explanation], rights: Rights, start: int = 0) -> None:
    """Write `explorer.html`, see `r2cmn.explain.page.explorer`.

    Raises:
        OSError: if it cannot be written.
    """
    write_whole(folder / PAGE, explorer(explanations, rights, start), rights.file_mode)


def write_index(folder: Path, studies: Sequence[tuple[str, Sequence[Explanation]]], rights: Rights) -> None:
    """Write `index.html`, which links to the pages of studies.

    Args:
        folder: of the index.
        studies: the name of each study's folder in it, and its explanations.
        rights: what the page may show.

    Raises:
        OSError: if it cannot be written.
    """
    entries = [Entry(f"{name}/{PAGE}", explanations) for name, explanations in studies]
    write_whole(folder / INDEX, index(entries, rights), rights.file_mode)
