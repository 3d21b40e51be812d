"""Metrics of other programs with their directions: some are better if they are lower, as RadCliQ counts errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from r2cmn.evaluation.tables import plain_name


class Metric(NamedTuple):
    """A metric of another program.

    Attributes:
        title: printed name.
        higher: whether a higher score is better.
    """

    title: str
    higher: bool = True

    @property
    def direction(self) -> str:
        """The direction in words."""
        return "higher is better" if self.higher else "lower is better"


RADCLIQ = "radcliq_v1"
"""The metric whose inverse mean is shown too, since RadEval and ReXrank report that as RadCliQ-v1."""
INVERSE = Metric("1/RadCliQ-v1")
"""1 / (mean of RadCliQ-v1), the aggregate of RadEval and of ReXrank's table."""

RADGRAPH = ("radgraph_simple", "radgraph_partial", "radgraph_complete")
METRICS: dict[str, Metric] = {
    **{f"bleu_{n}": Metric(f"BLEU-{n}") for n in (1, 2, 3, 4)},
    "bleu": Metric("BLEU-4 (RadEval)"),
    "bleu_score": Metric("BLEU-2 (ReXrank)"),
    **{f"rouge{n}": Metric(f"ROUGE-{n.upper()}") for n in ("1", "2", "l")},
    "bertscore": Metric("BERTScore"),
    "radeval_bertscore": Metric("RadEval BERTScore"),
    "semb_score": Metric("SembScore (CheXbert)"),
    **{name: Metric(f"RadGraph F1, {name.partition('_')[2]}") for name in RADGRAPH},
    "radgraph": Metric("RadGraph F1"),
    "radgraph_combined": Metric("RadGraph F1, combined"),
    "radgraph_radcliq": Metric("RadGraph F1, of RadCliQ"),
    "ratescore": Metric("RaTEScore"),
    "green": Metric("GREEN"),
    "green_score": Metric("GREEN"),
    "matched_findings": Metric("GREEN, matched findings"),
    "mammo_green": Metric("MammoGREEN"),
    "crimson": Metric("CRIMSON"),
    "chexbert_accuracy": Metric("CheXbert, all 5 labels right"),
    "f1chexbert_sample_acc_5": Metric("CheXbert, share of 5 labels right"),
    "f1chexbert_sample_acc_all": Metric("CheXbert, share of 14 labels right"),
    "f1radbert_ct_sample_acc": Metric("RadBERT-CT, accuracy"),
    **{f"{name}_weighted_{kind}": Metric(f"SRR-BERT {kind}")
       for name in ("srrbert", "srr_bert") for kind in ("f1", "precision", "recall")},
    **{f"radfact_ct_{kind}": Metric(f"RadFact-CT {kind}") for kind in ("f1", "precision", "recall")},
    "temporal_f1": Metric("Temporal F1"),
    "radcliq_v0": Metric("RadCliQ-v0", higher=False),
    RADCLIQ: Metric("RadCliQ-v1", higher=False),
}  # fmt: skip
"""Metrics with a known direction by `plain_name` of their column or key."""

_GREEN_ERRORS = re.compile(r"\([a-f]\)_.*")
_DIRECTIONS = {"higher": True, "lower": False}


def known_metric(name: str) -> Metric | None:
    """Return the metric of a column or key; None if its direction is not known."""
    plain = plain_name(name)
    return Metric(f"GREEN, {name}", higher=False) if _GREEN_ERRORS.fullmatch(plain) else METRICS.get(plain)


def parse_directions(given: Sequence[str]) -> dict[str, Metric]:
    """Return metrics of the user by plain name, from `NAME=higher` or `NAME=lower`.

    Raises:
        ValueError: for another form, or a direction that contradicts a known one.
    """
    found = {}
    for text in given:
        name, _, direction = text.rpartition("=")
        if not name or direction not in _DIRECTIONS:
            raise ValueError(f"--direction is NAME=higher or NAME=lower, not '{text}'")
        metric = Metric(METRICS.get(plain_name(name), Metric(name)).title, _DIRECTIONS[direction])
        known = known_metric(name)
        if known is not None and known.higher != metric.higher:
            raise ValueError(f"--direction {text}: of {known.title}, {known.direction}")
        found[plain_name(name)] = metric
    return found
