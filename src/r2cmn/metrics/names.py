"""Printed names of scores, each without ambiguity."""

from __future__ import annotations

import re

NLG = {
    "BLEU_1": "BLEU-1",
    "BLEU_2": "BLEU-2",
    "BLEU_3": "BLEU-3",
    "BLEU_4": "BLEU-4",
    "METEOR": "METEOR",
    "ROUGE_L": "ROUGE-L",
    "CIDEr": "CIDEr",
}
"""Printed names of the scores of language by their keys."""

# those that fit into a table; all are in the JSON and on the page
SHOWN_CE = (
    "CE_macro_P", "CE_macro_R", "CE_macro_F1", "CE_micro_P", "CE_micro_R", "CE_micro_F1",
    "CE_example_P", "CE_example_R", "CE_example_F1", "CE_micro_P_5", "CE_micro_R_5", "CE_micro_F1_5",
)  # fmt: skip
GROUNDING = {
    f"ground/{route}/{measure}": f"{route} {name}"
    for route in ("attention", "memory")
    for measure, name in (("pointing", "pointing"), ("auprc", "AUPRC"))
}
"""Printed names of the scores of maps against boxes that tables of several systems show, see `r2cmn ground`."""

_CE = re.compile(r"CE_(?P<average>macro|micro|example)_(?P<score>P|R|F1)(?P<five>_5)?(?P<upos>_upos)?")


def parse_ce(name: str) -> tuple[str, str, int, str] | None:
    """Split the key of a clinical score into (average, P R or F1, number of labels, what uncertain counts as)."""
    found = _CE.fullmatch(name)
    if found is None:
        return None
    uncertain = "positive" if found["upos"] else "negative"
    return found["average"], found["score"], 5 if found["five"] else 14, uncertain


def protocol_of_ce(name: str, labeler: str) -> str:
    """Return `CE(labeler=builtin-1, uncertain=negative, average=macro, labels=14)` for a key."""
    parts = parse_ce(name)
    assert parts is not None
    average, _, number, uncertain = parts
    return f"CE(labeler={labeler}, uncertain={uncertain}, average={average}, labels={number})"


def describe(name: str, labeler: str) -> str:
    """Return the full name of a score."""
    parts = parse_ce(name)
    return NLG.get(name, name) if parts is None else f"{protocol_of_ce(name, labeler)} {parts[1]}"


def short(name: str) -> str:
    """Return a short name of a score for a column, with its averaging and its number of labels."""
    parts = parse_ce(name)
    if parts is None:
        return NLG.get(name) or GROUNDING.get(name, name)
    average, score, number, uncertain = parts
    return f"CE {average}-{number} {score}" + (" U+" if uncertain == "positive" else "")
