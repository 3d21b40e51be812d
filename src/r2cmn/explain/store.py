"""The files of an explained study: report, JSON, figures and explorer, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from r2cmn.explain.explanation import Explanation
from r2cmn.explain.page import Entry, explorer, index
from r2cmn.explain.rights import Rights
from r2cmn.files import check_writable, write_whole
from r2cmn.files.folders import make_private_folder

FILES = ("report*.txt", "explanation*.json", "figure[56]*.svg", "figure[56]*.png")
PAGE = "explorer.html"
INDEX = "index.html"


def prepare_folder(folder: Path, rights: Rights) -> None:
    """Create a folder, and remove the files of an earlier command in it, its pages first.

    Raises:
        OSError: if it cannot be created, or is a file.
    """
    if rights.is_private and not folder.exists():
        make_private_folder(folder)
    check_writable(folder / PAGE)
    for pattern in (INDEX, PAGE, *FILES):
        for path in folder.glob(pattern):
            path.unlink()


def write_texts(folder: Path, explanations: Sequence[Explanation], rights: Rights) -> None:
    """Write `report.txt` and `explanation.json`; those of a second model are `report_2.txt` and `explanation_2.json`.

    Raises:
        OSError: if a file cannot be written.
    """
    for number, explanation in enumerate(explanations, 1):
        suffix = f"_{number}" if number > 1 else ""
        write_whole(folder / f"report{suffix}.txt", " ".join(explanation.words) + "\n", rights.file_mode)
        write_whole(folder / f"explanation{suffix}.json", explanation.to_json(), rights.file_mode)


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
