"""An audit as one page of HTML that needs nothing else: no script, no font, no picture from elsewhere.

Numbers are shown of every data set; what is named follows its licence. Only `public` and `non_commercial` show the most
frequent reports; `dua`, a data use agreement, shows neither reports nor names of studies, patients and images.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

from r2cmn.audit import Audit
from r2cmn.audit.charts import funnel_plot, length_plot, share_plot, text
from r2cmn.audit.counts import BIN
from r2cmn.audit.problems import Problem
from r2cmn.audit.published import Compared
from r2cmn.audit.table import MAX_LISTED, difference, number, picture_rows, published_text, split_rows
from r2cmn.data.reports import SPLITS


def page(audit: Audit) -> str:
    """Return the page."""
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    title = text(f"{audit.origin.title}: audit")
    body = [_header(audit), _tiles(audit), _findings(audit), _funnel(audit), _splits(audit), _lengths(audit),
            _repeated(audit), _normal(audit), _images(audit), _published(audit.compared), _terms(audit),
            _footer(audit)]  # fmt: skip
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>\n{style}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _header(audit: Audit) -> str:
    origin = audit.origin
    return (f"<header><h1>{text(origin.title)}</h1><p class='soft'>Audit of <code>{text(str(origin.dir))}</code> · "
            f"<code>license_class: {text(origin.license_class)}</code></p></header><main>")  # fmt: skip


def _tiles(audit: Audit) -> str:
    counts, repeated = audit.counts, audit.words.repeated
    errors = sum(len(problem.names) for problem in audit.errors)
    tiles = [
        (number(sum(count.studies for count in counts.values())), "studies: "
         + " + ".join(number(counts[split].studies) for split in SPLITS), ""),
        (number(sum(count.images for count in counts.values())), "images", ""),
        (number(audit.words.columns), f"columns: words used {audit.words.threshold} times in train, and id 0", ""),
        (number(errors), "errors: what training refuses, or what spoils a score", "bad" if errors else "good"),
    ]  # fmt: skip
    if repeated.studies["test"]:
        share = repeated.also_in["test"]["train"] / repeated.studies["test"]
        tiles.insert(3, (f"{share:.1%}", "of the test reports are, word for word, reports of train", ""))
    cells = [f"<div class='tile'><b class='{kind}'>{value}</b><span>{text(what)}</span></div>"
             for value, what, kind in tiles]  # fmt: skip
    return f"<div class='tiles'>{''.join(cells)}</div>"


def _findings(audit: Audit) -> str:
    problems = [_problem(problem, audit.origin.license_class != "dua") for problem in audit.problems]
    notes = [f"<p class='note'>{text(_sentence(note))}</p>" for note in audit.notes]
    return "".join([*problems, *notes])


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:].rstrip(".") + "."


def _problem(problem: Problem, named: bool) -> str:
    kind = "error" if problem.error else "note"
    names = problem.names[:MAX_LISTED] if named else []
    more = [f"and {len(problem.names) - MAX_LISTED:,} more"] if named and len(problem.names) > MAX_LISTED else []
    listed = "".join(f"<li>{text(name)}</li>" for name in (*names, *more))
    return (f"<div class='{kind}'><b>{kind.title() if problem.error else 'Warning'}</b>: {text(str(problem))}"
            f"{f'<ul>{listed}</ul>' if listed else ''}</div>")  # fmt: skip


def _funnel(audit: Audit) -> str:
    steps = [(step.what, step.studies, step.lost) for step in audit.funnel if step.studies is not None]
    left_out = len(audit.origin.record.left_out)
    words = (f"{left_out:,} were left out for a fault of their own, which <code>prepare.json</code> names."
             if left_out else "Hatched: what a step lost.")  # fmt: skip
    plot = funnel_plot(steps, "Studies that are left after each step")
    return _section("From the download to what can be used", f"{plot}<figcaption>Studies. {words}</figcaption>")


def _splits(audit: Audit) -> str:
    rows = "".join(f"<tr><th>{text(what)}</th>{''.join(f'<td>{text(value)}</td>' for value in values)}</tr>"
                   for what, values in split_rows(audit))  # fmt: skip
    head = "".join(f"<th>{split}</th>" for split in SPLITS)
    return _section(
        "Splits",
        f"<div class='scroll'><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody><caption>Words are "
        "counted after cleaning, a full stop as one, as the model reads them. Reports are compared after cleaning, a "
        "study counts once.</caption></table></div>",
    )


def _lengths(audit: Audit) -> str:
    histograms = {split: row.lengths.histogram for split, row in audit.counts.items() if row.lengths}
    limit = audit.origin.collection.max_length if audit.origin.collection else 60
    key = "".join(f"<li><i class='{split}'></i>{split}</li>" for split in histograms)
    plot = length_plot(histograms, BIN, limit, "Share of the reports of each split by their number of words")
    return _section("Length of reports", f"<ul class='key'>{key}</ul>{plot}")


def _repeated(audit: Audit) -> str:
    repeated = audit.words.repeated
    rows = [(split, repeated.also_in[split]["train"] / repeated.studies[split],
             _of(repeated.also_in[split]["train"], repeated.studies[split]))
            for split in SPLITS if repeated.studies[split]]  # fmt: skip
    plot = share_plot(rows, "Share of the studies of each split whose report a study of train has, too")
    words = "Studies whose report another study of train has, too. A system may know these by heart."
    return _section("Reports that repeat", f"{plot}<figcaption>{words}</figcaption>", _most_frequent(audit))


def _most_frequent(audit: Audit) -> str:
    frequent = audit.words.repeated.most_frequent
    if audit.origin.license_class == "dua" or not frequent:
        return ""
    rows = "".join(f"<tr><th>{number(times)}</th><td class='prose'>{text(report)}</td></tr>"
                   for times, report in frequent)  # fmt: skip
    return (
        f"<details><summary>The most frequent reports of train</summary><table><tbody>{rows}</tbody></table></details>"
    )


def _normal(audit: Audit) -> str:
    normal = audit.normal
    rows = [(split, share, _of(normal.normal[split], normal.known[split]))
            for split in SPLITS if (share := normal.share(split)) is not None]  # fmt: skip
    if not rows:
        return _section("Normal studies", "<p class='soft'>Unknown: there are neither MeSH tags nor labels.</p>")
    by = "the MeSH tag normal" if normal.source == "tags" else "the label No Finding"
    plot = share_plot(rows, "Share of normal studies by split")
    return _section("Normal studies", f"{plot}<figcaption>By {by}.</figcaption>")


def _of(part: int, whole: int) -> str:
    return f"{part / whole:.1%}  ({part:,} of {whole:,})"


def _images(audit: Audit) -> str:
    if not audit.pictures.counts:
        return _section("Images", "<p class='soft'>Not read.</p>")
    rows = "".join(f"<tr><th>{text(what)}</th><td class='prose'>{text(value)}</td></tr>"
                   for what, value in picture_rows(audit))  # fmt: skip
    return _section("Images", f"<table><tbody>{rows}</tbody></table>")


def _published(compared: Sequence[Compared]) -> str:
    if not compared:
        return ""
    rows = []
    for source in dict.fromkeys(row.source for row in compared):
        rows.append(f"<tr class='group'><th colspan='4'>{text(source[:1].upper() + source[1:])}</th></tr>")
        for row in compared:
            if row.source == source:
                differs = difference(row)
                rows.append(f"<tr><th>{text(row.what)}</th><td>{published_text(row)}</td>"
                            f"<td>{number(row.here) or 'not known'}</td>"
                            f"<td class='{'differs' if differs else ''}'>{text(differs)}</td></tr>")  # fmt: skip
    head = "<thead><tr><th></th><th>published</th><th>here</th><th>difference</th></tr></thead>"
    return _section("Beside what is published",
                    f"<div class='scroll'><table>{head}<tbody>{''.join(rows)}</tbody></table></div>")  # fmt: skip


def _terms(audit: Audit) -> str:
    if not audit.origin.terms.strip():
        return ""
    summary = "<summary>The terms of the collection</summary>"
    return f"<h2>Terms</h2><details>{summary}<pre>{text(audit.origin.terms)}</pre></details>"


def _section(title: str, content: str, after: str = "") -> str:
    return f"<h2>{title}</h2><figure class='panel'>{content}</figure>{after}"


def _footer(audit: Audit) -> str:
    shown = {
        "public": "It shows reports and names of the data set.",
        "non_commercial": "It shows reports and names of the data set, for non-commercial use.",
        "dua": "Under the data use agreement it shows neither reports nor names.",
    }[audit.origin.license_class]
    version = importlib.metadata.version("r2cmn")
    return f"</main><footer>Made by r2cmn {text(version)} on this machine; nothing was sent anywhere. {shown}</footer>"
