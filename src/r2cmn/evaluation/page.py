"""The result as one page of HTML that needs nothing else: no script, no font, no picture from elsewhere.

What it shows of a data set follows its licence: `public` shows reports and ids, `non_commercial` reports without ids,
`dua`, a data use agreement, neither, and only its owner may read the file. Numbers are shown under all three.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from r2cmn.evaluation import sections
from r2cmn.evaluation.charts import text
from r2cmn.evaluation.files import Predictions
from r2cmn.evaluation.protocols import Prepared
from r2cmn.evaluation.published import Published
from r2cmn.evaluation.result import Result, write_whole

# as in r2cmn.data.datamodule, which imports Lightning; a test holds them equal
LICENSE_CLASSES = ("public", "non_commercial", "dua")
_DEIDENTIFIED = "___"
"""How MIMIC-CXR marks what was taken out of its reports."""
_EXAMPLES = 5
_MOST_FREQUENT = 8


@dataclass(frozen=True)
class PageContent:
    """What the page may show besides numbers.

    Attributes:
        license_class: public, non_commercial or dua.
        lengths: words of each report.
        reference_lengths: words of each reference.
        frequent: the most frequent reports and how often each was written; None for a text under dua.
        examples: (id, report, reference); ids are "" unless public; none under dua.
    """

    license_class: str
    lengths: list[int]
    reference_lengths: list[int]
    frequent: list[tuple[str | None, int]]
    examples: list[tuple[str, str, str]]

    @classmethod
    def of(cls, ids: Sequence[str], prepared: Prepared, license_class: str) -> PageContent:
        """Choose what may be shown."""
        generated, references = prepared.generated, prepared.references[0].texts
        text_shown, ids_shown = license_class != "dua", license_class == "public"
        chosen = range(0, len(ids), max(1, len(ids) // _EXAMPLES))[:_EXAMPLES] if text_shown else range(0)
        return cls(
            license_class,
            [len(report.split()) for report in generated],
            [len(report.split()) for report in references],
            [(report if text_shown else None, n) for report, n in Counter(generated).most_common(_MOST_FREQUENT)],
            [(ids[i] if ids_shown else "", generated[i], references[i]) for i in chosen],
        )


def license_class_of(choice: str | None, read: Predictions) -> str:
    """Return what the page may show: what was asked for, else dua for MIMIC-CXR and non_commercial for the rest.

    Raises:
        ValueError: for an unknown choice.
    """
    if choice is not None:
        if choice not in LICENSE_CLASSES:
            raise ValueError(f"--license-class is one of {', '.join(LICENSE_CLASSES)}, not '{choice}'")
        return choice
    marked = any(_DEIDENTIFIED in each for texts in (read.generated, *read.references.values()) for each in texts)
    mimic = read.annotation is not None and read.annotation.dataset == "mimic_cxr"
    return "dua" if mimic or marked else "non_commercial"


def write_page(
    path: Path, result: Result, content: PageContent, published: Sequence[Published] = (), version: str = ""
) -> None:
    """Write the page, whole or not at all; `version` is that of r2cmn.

    Raises:
        OSError: where it cannot be written.
    """
    write_whole(path, page(result, content, published, version), 0o600 if content.license_class == "dua" else 0o644)


def page(result: Result, content: PageContent, published: Sequence[Published] = (), version: str = "") -> str:
    """Return the page."""
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    title = text(result.title or "Evaluation")
    body = [
        _header(result, title),
        sections.notes(result),
        sections.scores(result),
        sections.degenerate(result, content.lengths, content.reference_lengths, content.frequent),
        sections.observations(result),
        sections.grid(result),
        *(sections.comparison(scored, result) for scored in result.protocols if scored.baselines),
        sections.beside(result, published) if published else "",
        sections.examples(content.examples),
        sections.method(result),
        _footer(content.license_class, version),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>\n{style}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _header(result: Result, title: str) -> str:
    names = ", ".join(f"<code>{text(scored.protocol.name)}</code>" for scored in result.protocols)
    return f"<header><h1>{title}</h1><p class='soft'>Scores under {names}</p></header><main>"


def _footer(license_class: str, version: str) -> str:
    shown = {
        "public": "It shows reports and ids of the data set.",
        "non_commercial": "It shows reports of the data set, for non-commercial use, without ids.",
        "dua": "Under the data use agreement it shows neither reports nor ids.",
    }[license_class]
    return f"</main><footer>Made by r2cmn {text(version)}. {shown}</footer>"
